"""What clients of document 002 send: read, checked, and what is made of it. No I/O.

What the document calls an Object is text. Null is what a field has that is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    WithJsonSchema,
)

from include.errors import InvalidInputError
from include.maintenance.model import (
    CYCLE_TYPES,
    NOTICE_UNITS,
    OBJECTS_MOST,
    PERIOD_UNITS,
    STATISTICS,
    STATISTICS_ALIAS,
    CycleType,
    HandleFields,
    NoticeUnit,
    ProjectFields,
    ScheduleMode,
)
from include.metering.rows import Row, check_project

NAME_LONGEST, TEXT_LONGEST, GUIDE_LONGEST, OBJECT_LONGEST = 255, 2000, 20_000, 128
HANDLERS_MOST, IMAGES_MOST, IMAGE_LONGEST = 100, 20, 2048
PAGE_SIZE_DEFAULT, PAGE_SIZE_MOST = 10, 200
GRACE_DAYS_MOST = 365
#: What a number may be that JSON can carry without loss: nine digits and six more.
_NUMBER_LESS_THAN, _PLACES = Decimal(10**9), 6
_BIGINT = 2**63 - 1

_UID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def _empty(value: Any) -> Any:
    return "" if value is None else value


def _none_or_empty_list(value: Any) -> Any:
    return [] if value in (None, "") else value


def _clean(text: str) -> str:
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must not contain NUL characters or half of a surrogate pair")
    return text


def _filled(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must have printable characters only")
    return _filled(text)


def _check_uid(text: str) -> str:
    if text and not _UID.fullmatch(text):
        raise ValueError("must have 1 to 64 letters, digits, _ and -")
    return text


def _check_organization(text: str | None) -> str | None:
    return check_project(text) if text else text


def _decimal(value: Any) -> Any:
    """Read a number; a text is none, be it of digits."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("must be a number")
    number = Decimal(str(value))
    if not number.is_finite() or not abs(number) < _NUMBER_LESS_THAN or round(number, _PLACES) != number:
        raise ValueError(f"must be less than {_NUMBER_LESS_THAN} and have at most {_PLACES} decimal places")
    return number


def _whole(value: Any) -> Any:
    """Read a whole number, which may be written 2.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _digits(value: Any) -> Any:
    """Read a whole number that may be a text; an empty one is none."""
    if value in (None, "") and not isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        return int(value)
    return _whole(value)


def _handler(value: Any) -> Any:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 64:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _BIGINT:
        return value
    raise ValueError("must be a whole number or its text")


Text = Annotated[StrictStr, BeforeValidator(_empty), Field(max_length=TEXT_LONGEST), AfterValidator(_clean)]
Guide = Annotated[StrictStr, BeforeValidator(_empty), Field(max_length=GUIDE_LONGEST), AfterValidator(_clean)]
Name = Annotated[StrictStr, Field(max_length=NAME_LONGEST), AfterValidator(_clean), AfterValidator(_filled)]
Alias = Annotated[StrictStr, BeforeValidator(_empty), Field(max_length=NAME_LONGEST), AfterValidator(_clean)]
Uid = Annotated[StrictStr, AfterValidator(_check_uid), AfterValidator(_filled)]
UidOrEmpty = Annotated[StrictStr, BeforeValidator(_empty), AfterValidator(_check_uid)]
OrganizationId = Annotated[
    StrictStr | None,
    AfterValidator(_check_organization),
    Field(description="ours: which project of the token; needed where it has several"),
]
Number = Annotated[Decimal, BeforeValidator(_decimal), WithJsonSchema({"type": "number"})]
Count = Annotated[StrictInt, BeforeValidator(_whole), Field(ge=0, le=36_500)]
ObjectId = Annotated[StrictStr, Field(min_length=1, max_length=OBJECT_LONGEST), AfterValidator(_printable)]
Objects = Annotated[list[ObjectId], Field(min_length=1, max_length=OBJECTS_MOST)]
HandlerId = Annotated[
    Any, BeforeValidator(_handler), WithJsonSchema({"type": ["integer", "string"], "pattern": "^[0-9]+$"})
]
Image = Annotated[StrictStr, Field(max_length=IMAGE_LONGEST), AfterValidator(_clean)]
Images = Annotated[
    Annotated[StrictStr, Field(max_length=IMAGE_LONGEST * IMAGES_MOST), AfterValidator(_clean)]
    | Annotated[list[Image], Field(max_length=IMAGES_MOST)],
    BeforeValidator(_empty),
]
Filters = Annotated[
    Any,
    WithJsonSchema({"type": ["string", "array", "null"]}),
    Field(description="[[field, operator, value], …], as an array or as its JSON text"),
]


class Request(Row):
    """What every body may have; `action` was read before."""

    model_config = ConfigDict(hide_input_in_errors=True)

    action: Any = Field(None, description="what to do; not needed at the path of an action")


class DispatchRequest(BaseModel):
    """The body at the path of no action: that of the action, which it names."""

    model_config = ConfigDict(extra="allow")

    action: StrictStr = Field(examples=["get_v2_project_list"])


class UidRequest(Request):
    """The body of an action on one thing."""

    uid: Uid


class ProjectUidRequest(UidRequest):
    """The body of an action on one project."""

    organization_id: OrganizationId = None


class ProjectRequest(Request):
    """What creating and updating have in common. None: it was not sent."""

    alias: Alias | None = None
    description: Text | None = None
    cycle_type: StrictStr | None = Field(None, description="自然时间周期 or 统计周期 (统计时间周期)")
    statistics_id: UidOrEmpty | None = Field(None, description="of 统计周期; needed to start")
    period_num: Number | None = Field(None, description="of 统计周期: growth, in the statistic's unit")
    period_unit: StrictStr | None = Field(None, description="年, 月, 周, 日 or 小时")
    notice_num: Count | None = None
    notice_unit: StrictStr | None = Field(None, description="月 or 日")
    guide: Guide | None = None
    schedule_mode: ScheduleMode | None = Field(
        None, description="ours: the next period counts from the handling (floating) or from the plan (fixed)"
    )
    grace_days: Annotated[StrictInt, Field(ge=0, le=GRACE_DAYS_MOST)] | None = Field(
        None, description="ours: how long after its day something due is not overdue yet"
    )
    organization_id: OrganizationId = None

    def told(self) -> dict[str, Any]:
        """Return what was sent, by the names of `ProjectFields`.

        What fields must be to each other is the service's to know.

        :raises InvalidInputError: names the field
        """
        told = self.model_dump(
            include=self.model_fields_set - {"action", "uid", "organization_id"}, exclude_none=True
        )
        if "object_id_list" in told:
            told["object_ids"] = tuple(dict.fromkeys(told.pop("object_id_list")))
        if "cycle_type" in told:
            told["cycle_type"] = _cycle_type(told["cycle_type"])
        if "period_unit" in told:
            told["period_unit"] = _period_unit(told["period_unit"])
        if "notice_unit" in told:
            told["notice_unit"] = _notice_unit(told["notice_unit"], told.get("notice_num", 1))
        return told


class CreateRequest(ProjectRequest):
    """The body of create_v2_project."""

    uid: UidOrEmpty = Field("", description="one is made where it is empty")
    name: Name
    object_id_list: Objects

    def fields(self) -> ProjectFields:
        """Return the project. Raises InvalidInputError, which names the field."""
        told = self.told()
        for name in ("cycle_type", "period_num"):
            if name not in told:
                raise InvalidInputError("is required", field=name)
        if told.get("notice_num") and "notice_unit" not in told:
            raise InvalidInputError("is required", field="notice_unit")
        return ProjectFields(**{**_DEFAULTS, **told, "uid": self.uid})


class UpdateRequest(ProjectRequest):
    """The body of update_v2_project: what is not sent stays."""

    uid: Uid
    name: Name | None = None
    object_id_list: Objects | None = None


class HandleRequest(Request):
    """The body of v2_handle."""

    task_id: Uid
    description: Text = ""
    handler_id_list: Annotated[
        list[HandlerId], BeforeValidator(_none_or_empty_list), Field(max_length=HANDLERS_MOST)
    ] = Field(default_factory=list)
    handler_name_list: Annotated[
        list[Alias], BeforeValidator(_none_or_empty_list), Field(max_length=HANDLERS_MOST)
    ] = Field(default_factory=list)
    fee: Annotated[Number, Field(ge=0)] | None = None
    result: Text = ""
    images: Images = Field("", description="a text or a list of texts, given back as sent")

    def fields(self) -> HandleFields:
        """Return what was done. Raises InvalidInputError, which names the field."""
        if self.handler_name_list and len(self.handler_name_list) != len(self.handler_id_list):
            raise InvalidInputError(
                "must have as many entries as handler_id_list, or none", field="handler_name_list"
            )
        return HandleFields(
            description=self.description,
            handler_ids=tuple(self.handler_id_list),
            handler_names=tuple(self.handler_name_list),
            fee=self.fee or Decimal(0),
            result=self.result,
            images=self.images,
        )


class IgnoreRequest(Request):
    """The body of v2_handle_ignore."""

    task_id: Uid


class ListRequest(Request):
    """The body of a list."""

    page_size: Annotated[
        Annotated[StrictInt, Field(ge=1, le=PAGE_SIZE_MOST)] | None, BeforeValidator(_digits)
    ] = Field(None, description=f"{PAGE_SIZE_DEFAULT} where it is left out")
    page_index: Annotated[Annotated[StrictInt, Field(ge=1, le=10**9)] | None, BeforeValidator(_digits)] = (
        Field(None, description="from 1")
    )
    where_and: Filters = None
    where_or: Filters = None
    where_in: Filters = None

    @property
    def page(self) -> tuple[int, int]:
        """Which page, from 1, and how many rows it has."""
        return self.page_index or 1, self.page_size or PAGE_SIZE_DEFAULT


#: Of what need not be sent to create a project.
_DEFAULTS: Mapping[str, Any] = {
    "alias": "",
    "description": "",
    "statistics_id": "",
    "period_unit": "",
    "notice_num": 0,
    "notice_unit": "日",
    "guide": "",
}


def _cycle_type(text: str | None) -> CycleType:
    if text == STATISTICS_ALIAS:
        return STATISTICS
    if text not in CYCLE_TYPES:
        raise InvalidInputError(f"must be one of {', '.join(CYCLE_TYPES)}", field="cycle_type")
    return text


def _period_unit(text: str) -> str:
    if text not in ("", *PERIOD_UNITS):
        raise InvalidInputError(f"must be one of {', '.join(PERIOD_UNITS)}", field="period_unit")
    return text


def _notice_unit(text: str, num: int) -> NoticeUnit:
    if text == "" and num == 0:
        return "日"
    if text not in NOTICE_UNITS:
        raise InvalidInputError(f"must be one of {', '.join(NOTICE_UNITS)}", field="notice_unit")
    return text
