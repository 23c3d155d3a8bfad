"""The wire of document 000: names, types, codes, and how what is sent becomes what the use cases take.

Types are strict. A number in a query is digits; in a body it may be written as digits, too. Answers carry
more than the document lists: what is ours is marked so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StrictBool, StrictStr
from pydantic.json_schema import WithJsonSchema

from api_plugin.common.bodies import WireModel
from include.billing.model import Commodity
from include.billing_tasks.model import TaskFields
from include.bills.model import SPAN_DAYS_MOST, DateSpan
from include.errors import InvalidInputError

PAGE_DEFAULT, PAGE_SIZE_DEFAULT, PAGE_SIZE_MOST = 1, 10, 100
NAME_LONGEST, DESCRIPTION_LONGEST, DEVICE_LONGEST, TYPE_LONGEST = 255, 2000, 128, 64
_BIGINT = 2**63 - 1

#: `device_type` of tasks and of `/history/`; 0 is all of them.
TASK_TYPES: dict[Commodity, int] = {"water": 1, "electricity": 2}

#: `device_type` of `/history/time/`, in and out; 10 is all of them.
SPAN_TYPES: dict[Commodity, int] = {"electricity": 0, "water": 1}

ALL_TASK_TYPES, ALL_SPAN_TYPES = 0, 10

_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})", re.ASCII)


def _digits(value: Any) -> Any:
    """Read a whole number as it stands in a URL: neither sign nor blank nor point."""
    if isinstance(value, str) and (not value.isascii() or not value.isdigit()):
        raise ValueError("must be a whole number")
    return int(value) if isinstance(value, str) and len(value) <= 20 else value


def _number(value: Any) -> Any:
    """Read a whole number of a body, which may be written as digits."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("must be a whole number")
    return _digits(value)


def _clean(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL characters")
    return text


def _printable(text: str) -> str:
    if not _clean(text).isprintable() or not text.strip():
        raise ValueError("must have printable characters only, and one that is not blank")
    return text


def _date(value: Any) -> Any:
    """Read a date; month and day may have one digit, as in the document's sample."""
    match = _DATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a date such as 2019-9-21")
    try:
        return date(*map(int, match.groups()))
    except ValueError:
        raise ValueError("is not a date of the calendar") from None


def _one_of(codes: Sequence[int], meaning: str) -> AfterValidator:
    def check(value: int) -> int:
        if value not in codes:
            raise ValueError(f"must be {meaning}")
        return value

    return AfterValidator(check)


Whole = Annotated[int, BeforeValidator(_digits)]
BodyWhole = Annotated[int, BeforeValidator(_number), WithJsonSchema({"type": ["integer", "string"]})]

ProjectQuery = Annotated[Whole, Query(ge=0, le=_BIGINT, description="project")]
Page = Annotated[Whole, Query(ge=1, le=_BIGINT // PAGE_SIZE_MOST)]
PageSize = Annotated[Whole, Query(ge=1, le=PAGE_SIZE_MOST)]
TaskTypeQuery = Annotated[
    Whole,
    _one_of([ALL_TASK_TYPES, *TASK_TYPES.values()], "0 (all), 1 (water) or 2 (electricity)"),
    Query(description="0 all, 1 water, 2 electricity"),
]
SpanTypeQuery = Annotated[
    Whole,
    _one_of([ALL_SPAN_TYPES, *SPAN_TYPES.values()], "10 (all), 0 (electricity) or 1 (water)"),
    Query(description="10 all, 0 electricity, 1 water"),
]
#: Empty is not given.
DeviceQuery = Annotated[
    str,
    Query(max_length=DEVICE_LONGEST, description="device id or meter number, exactly"),
    AfterValidator(_clean),
]
SubtypeQuery = Annotated[
    str,
    Query(max_length=TYPE_LONGEST, description="kind of water; bills of electricity pass"),
    AfterValidator(_clean),
]
DateQuery = Annotated[date, BeforeValidator(_date), Query(examples=["2019-9-21"])]

Name = Annotated[StrictStr, Field(min_length=1, max_length=NAME_LONGEST), AfterValidator(_printable)]
Description = Annotated[StrictStr, Field(max_length=DESCRIPTION_LONGEST), AfterValidator(_clean)]
CrontabIn = Annotated[
    dict[str, Any],
    Field(description="month, day, hour and minute; each *, a number, a list, a range or a step"),
]


def commodities_of(codes: dict[Commodity, int], code: int) -> list[Commodity]:
    """Return what a `device_type` that was checked means; the code of none of them is all of them."""
    return [commodity for commodity, own in codes.items() if own == code] or list(codes)


def read_span(start: date, end: date) -> DateSpan:
    """Return the dates of a request. Raises InvalidInputError naming `end_date`."""
    if end < start:
        raise InvalidInputError(f"{end} lies before start_date {start}", field="end_date")
    if (end - start).days >= SPAN_DAYS_MOST:
        raise InvalidInputError(f"is more than {SPAN_DAYS_MOST} days from start_date", field="end_date")
    return DateSpan(start, end)


class CreateBody(WireModel):
    """The body of POST /task/."""

    name: Name
    project_id: Annotated[BodyWhole, Field(ge=0, le=_BIGINT)]
    crontab: CrontabIn
    device_type: Annotated[BodyWhole, _one_of(list(TASK_TYPES.values()), "1 (water) or 2 (electricity)")]
    enabled: StrictBool = True
    description: Description = ""

    def fields(self) -> TaskFields:
        """Return what the use cases take."""
        return TaskFields(self.name, self.crontab, self.enabled, self.description)


class UpdateBody(WireModel):
    """The body of PUT /tasks/{natrual_key}/; where a task belongs cannot be changed (A14)."""

    name: Name
    crontab: CrontabIn
    enabled: StrictBool
    description: Description
    project_id: Any = Field(None, description="ignored")
    device_type: Any = Field(None, description="ignored")

    def fields(self) -> TaskFields:
        """Return what the use cases take."""
        return TaskFields(self.name, self.crontab, self.enabled, self.description)


class StatusBody(WireModel):
    """The body of PUT /tasks/{natrual_key}/status/."""

    enabled: StrictBool


class LoginBody(WireModel):
    """The body of POST /login/."""

    username: Name
    password: Annotated[StrictStr, Field(min_length=1, max_length=1000)]


class CrontabOut(BaseModel):
    """A crontab as it was sent."""

    month: str | int
    day: str | int
    hour: str | int
    minute: str | int


class TaskOut(BaseModel):
    """A billing task. Times are naive, by the clocks of the project."""

    name: str
    crontab: CrontabOut
    natrual_key: str = Field(description="its id; the document spells it so")
    project_id: int
    device_type: int = Field(description="1 water, 2 electricity")
    enabled: bool
    last_run_at: str = Field(description="create_time before the first run")
    update_time: str
    create_time: str
    description: str
    next_run_at: str | None = Field(description="ours; null while it is disabled")
    run_count: int = Field(description="ours")


class BillOut(BaseModel):
    """A bill of `/history/`. Times are naive, by the clocks of the project."""

    id: str
    device_id: str
    device_type: int
    charge: str
    reading_data: str = Field(
        description="quantity of the period; the closing reading where the project wants"
    )
    from_time: str
    to_time: str
    created_at: str
    consumption: str = Field(description="ours: quantity of the period, in full")
    opening_reading: str | None = Field(description="ours")
    closing_reading: str | None = Field(description="ours")
    unit: str = Field(description="ours")
    state: str = Field(description="ours")
    flags: list[str] = Field(description="ours, see docs/billing.md")


class Resident(BaseModel):
    """Somebody who shares a bill."""

    name: str
    cellphone: str


class Share(BaseModel):
    """What of a bill falls to the resident at the same place."""

    weight: str
    amount: str


class SpanBillOut(BillOut):
    """A bill of `/history/time/`."""

    house_address: list[str] = Field(description="five parts")
    residents: list[Resident]
    previous_reading_data: str = Field(
        description="quantity of the bill before; the opening reading where the project wants"
    )
    shares: list[Share] = Field(description="ours: parts of the charge, in the order of `residents`")


class TokenOut(BaseModel):
    """What a log-in gives."""

    token: str = Field(description="goes into the header `Authorization: token …`")
    expires_at: str


Item = TypeVar("Item")


class Listed(BaseModel, Generic[Item]):
    """A page of a list."""

    count: int = Field(description="of all pages")
    page_size: int
    next: bool | None = Field(description="true or null: whether a page follows")
    previous: bool | None = Field(description="true or null: whether a page comes before")
    results: list[Item]


def listed(items: list[Item], count: int, page: int, page_size: int) -> Listed[Item]:
    """Return a page with what a client needs to turn it."""
    return Listed(
        count=count,
        page_size=page_size,
        next=True if page * page_size < count else None,
        previous=True if page > 1 and count > 0 else None,
        results=items,
    )


def local_time(moment: datetime, zone: Any) -> str:
    """Write a moment as the document does: naive, to the second."""
    return f"{moment.astimezone(zone):%Y-%m-%dT%H:%M:%S}"
