"""The wire of document 003: field names, types, and how an item becomes `TaskFields`.

Types are strict: a client that sends `"1"` for a number was wrong before, too. What Go clients cannot help is
their zero values: those mean "not given" wherever they could not mean anything else.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    StrictStr,
    WithJsonSchema,
    model_validator,
)

from api_plugin.common.bodies import WireModel
from include.callbacks.model import METHODS, TaskFields, TaskKey
from include.callbacks.model import Method as CallMethod
from include.callbacks.start_time import LATEST_TIMESTAMP, TaskType

ITEMS_MOST = 1000
NAME_LONGEST = 255
DESCRIPTION_LONGEST = 2000
HEADERS_MOST = 50
TIMEOUT_LONGEST = 3600
LOG_DEFAULT, LOG_MOST = 100, 1000
_INTEGER = 2**31 - 1
_BIGINT = 2**63 - 1


def _clean(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must not contain half of a surrogate pair") from None
    return text


def _number_text(value: Any) -> Any:
    """Write a number out, so that `start_time` and `redo_param` are text from here on."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return str(int(value)) if isinstance(value, int) or value.is_integer() else repr(value)


def _no_zero_number(value: Any) -> Any:
    """Drop a number 0 in update_task: no task starts at the Unix epoch."""
    return None if value == 0 and not isinstance(value, bool) else value


def _zero_is_none(value: Any) -> Any:
    return None if value in ("", 0) and not isinstance(value, bool) else value


def _empty_is_none(value: Any) -> Any:
    return None if value == "" else value


def _known_method(value: str) -> str:
    if value.lower() not in METHODS:
        raise ValueError(f"must be one of {', '.join(METHODS)}")
    return value.lower()


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def _timestamp(value: Any) -> Any:
    """Read ISO 8601 with an offset, or Unix seconds; `""` stays what it is."""
    if value is None or value == "":
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LATEST_TIMESTAMP:
        return datetime.fromtimestamp(value, UTC)
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError("must be ISO 8601 with an offset, or Unix seconds")


def _task_id(value: Any) -> Any:
    """Read a task id. What cannot be one stays text: then the name decides (document 003, update_task)."""
    if isinstance(value, bool) or not isinstance(value, int | str | None):
        raise ValueError("must be a number or its text")
    if value in ("", 0, None):
        return None
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) <= 19):
        return value
    return int(value) if 1 <= int(value) <= _BIGINT else str(value)


Text = Annotated[StrictStr, AfterValidator(_clean)]
Name = Annotated[
    StrictStr,
    Field(min_length=1, max_length=NAME_LONGEST),
    AfterValidator(_clean),
    AfterValidator(_not_blank),
]
Description = Annotated[StrictStr, Field(max_length=DESCRIPTION_LONGEST), AfterValidator(_clean)]
OptionalName = Annotated[Name | None, BeforeValidator(_empty_is_none)]
OptionalText = Annotated[Text | None, BeforeValidator(_empty_is_none)]
OneOrTwo = Annotated[Annotated[int, Field(strict=True, ge=1, le=2)] | None, BeforeValidator(_zero_is_none)]
TypeNumber = Annotated[Annotated[int, Field(strict=True, ge=1, le=7)] | None, BeforeValidator(_zero_is_none)]
Method = Annotated[Annotated[Text, AfterValidator(_known_method)] | None, BeforeValidator(_empty_is_none)]
Moment = Annotated[Any, BeforeValidator(_timestamp), WithJsonSchema({"type": ["string", "number", "null"]})]
LogLimit = Annotated[int, Field(strict=True, ge=1, le=LOG_MOST)]


class TaskItem(WireModel):
    """What add_task and update_task have in common. None is a field that was not given."""

    enable: OneOrTwo = Field(None, description="1 on, 2 off")
    module: Annotated[int, Field(strict=True, ge=-_INTEGER - 1, le=_INTEGER)] | None = None
    type: TypeNumber = Field(
        None, description="1 once, 2 interval, 3 hourly, 4 daily, 5 monthly, 6 yearly, 7 weekly"
    )
    start_time: Annotated[OptionalText, BeforeValidator(_number_text)] = Field(
        None, description="Unix seconds, or a crontab, seconds first", examples=["0 30 9 * * *"]
    )
    url: OptionalText = Field(None, description="http://host/path; for rpc host:port/handler.function")
    method: Method = Field(None, description="get, post, rpc, put, patch, delete or head, in any case")
    resp_regexp: Text | None = Field(None, description="RE2, searched in the answer; * matches all")
    body: Text | None = None
    body_type: OneOrTwo = Field(None, description="1 JSON, 2 form")
    redo_param: Annotated[Text | None, BeforeValidator(_number_text)] = Field(
        None, description="seconds before each retry, separated by blanks", examples=["2 4 8"]
    )
    timezone: OptionalText = Field(None, description="IANA name", examples=["Asia/Shanghai"])
    timeout: Annotated[float, Field(strict=True, gt=0, le=TIMEOUT_LONGEST)] | None = Field(
        None, description="seconds"
    )
    misfire: Annotated[Literal["fire_once", "skip", "fire_all"] | None, BeforeValidator(_empty_is_none)] = (
        None
    )
    overlap: Annotated[Literal["allow", "skip", "queue"] | None, BeforeValidator(_empty_is_none)] = None
    headers: Annotated[dict[Text, Text], Field(max_length=HEADERS_MOST)] | None = None
    secret: Text | None = Field(None, description="signs the calls (Standard Webhooks)")
    description: Description | None = None
    expires_at: Moment = Field(None, description="ISO 8601 with an offset, or Unix seconds")

    def fields(self, name: str | None) -> TaskFields:
        """Return what the use cases take."""
        return TaskFields(
            name=name,
            enable=None if self.enable is None else self.enable == 1,
            type=None if self.type is None else TaskType(self.type),
            method=cast(CallMethod | None, self.method),
            expires_at=self.expires_at or None,
            clears_expiry=self.expires_at == "",
            **self.model_dump(include=_SAME),
        )


#: What `TaskFields` spells and means as the wire does.
_SAME = {field.name for field in dataclasses.fields(TaskFields)} - {
    "name", "enable", "type", "method", "expires_at", "clears_expiry"
}  # fmt: skip


class AddItem(TaskItem):
    """An item of add_task. Missing fields are named by the use case, which knows what is required."""

    name: OptionalName = Field(None, description="unique among the tasks of a project")
    task_id: Any = Field(None, description="ignored: clients send the same structure to update_task")


class RefItem(WireModel):
    """An item of query_task_status and run_again_task: the id where it is valid, else the name."""

    task_id: Annotated[
        Any, BeforeValidator(_task_id), WithJsonSchema({"type": ["integer", "string", "null"]})
    ] = Field(None, description="a number, or its text")
    name: OptionalName = None

    @model_validator(mode="after")
    def _needs_a_key(self) -> Self:
        if isinstance(self.task_id, str) and self.name is None:
            raise ValueError("task_id: is not the number of a task")
        return self

    @property
    def key(self) -> TaskKey:
        return TaskKey(self.task_id if isinstance(self.task_id, int) else None, self.name)


class UpdateItem(RefItem, TaskItem):
    """An item of update_task: a key, and the fields to change; `""` clears an optional one."""

    module: Annotated[
        Annotated[int, Field(strict=True, ge=-_INTEGER - 1, le=_INTEGER)] | None,
        BeforeValidator(_zero_is_none),
    ] = None
    start_time: Annotated[OptionalText, BeforeValidator(_number_text), BeforeValidator(_no_zero_number)] = (
        Field(None, description="Unix seconds, or a crontab, seconds first", examples=["0 30 9 * * *"])
    )


class AddBody(WireModel):
    """The body of add_task."""

    task_list: list[AddItem] = Field(min_length=1, max_length=ITEMS_MOST)


class UpdateBody(WireModel):
    """The body of update_task."""

    task_list: list[UpdateItem] = Field(min_length=1, max_length=ITEMS_MOST)


class RefBody(WireModel):
    """The body of run_again_task."""

    task_list: list[RefItem] = Field(min_length=1, max_length=ITEMS_MOST)


class QueryBody(RefBody):
    """The body of query_task_status; `limit` is the most attempts shown of each task."""

    limit: LogLimit = LOG_DEFAULT


class TaskResult(BaseModel):
    """What became of one item; `err` is empty where it went well."""

    task_id: str
    name: str
    err: str


class TaskResults(BaseModel):
    """One result an item, in the order of the request."""

    task_result: list[TaskResult]


class LogLine(BaseModel):
    """One attempt.

    Times are "YYYY-MM-DD HH:MM:SS" in the installation's zone, `end_time` is empty while it runs. `resp` is
    the answer, or what went wrong where there was none; `err` (ours) what went wrong in either case.
    """

    task_id: str
    name: str
    run_type: int = Field(description="1 normal, 2 retry or rerun")
    status: int = Field(description="1 started, 2 succeeded, 3 failed")
    begin_time: str
    end_time: str
    url: str
    body: str
    resp: str
    err: str


class TaskLog(BaseModel):
    """Attempts, newest first; `task_result` (ours) lists the items that name no task."""

    log_list: list[LogLine]
    task_result: list[TaskResult]


Data = TypeVar("Data")


class Envelope(BaseModel, Generic[Data]):
    """Every answer: `data` counts where `state` is 0."""

    state: int = Field(description="0 ok, 1 request not readable, 2 not authorised, -1 internal")
    msg: str
    data: Data
