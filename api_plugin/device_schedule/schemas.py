"""The wire of document 001: names, types, and how what is sent becomes what the use cases take.

The document's samples are not all JSON; where it contradicts itself, the samples are followed
(`create_time`, not `createtime`). What is ours is marked so.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StrictBool, StrictStr
from pydantic.json_schema import WithJsonSchema

from api_plugin.common.bodies import WireModel
from include.cron import FirstDay
from include.timers.model import (
    COMMANDS_LONGEST,
    GROUPS_MOST,
    KEY,
    TIMERS_MOST,
    TTL_LONGEST,
    GroupFields,
    Offline,
    TimerFields,
    TimerGroup,
)

PAGE_SIZE_DEFAULT, PAGE_SIZE_MOST = 10, GROUPS_MOST
PAGE_MOST = 1_000_000

_DIGITS = re.compile(r"[0-9]{1,2}")
_DEVICE = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PERIOD = re.compile(r"[01]{7}")


def _clock(most: int) -> BeforeValidator:
    """A number of the clock: in digits as the document has it, or as a number."""

    def check(value: Any) -> str:
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(text, str) or _DIGITS.fullmatch(text) is None or int(text) > most:
            raise ValueError(f"must be 0 to {most} in digits")
        return text

    return BeforeValidator(check)


def _form(pattern: re.Pattern[str], meaning: str) -> AfterValidator:
    def check(text: str) -> str:
        if pattern.fullmatch(text) is None:
            raise ValueError(f"must be {meaning}")
        return text

    return AfterValidator(check)


Hour = Annotated[str, _clock(23), WithJsonSchema({"type": ["string", "integer"], "examples": ["19"]})]
Minute = Annotated[str, _clock(59), WithJsonSchema({"type": ["string", "integer"], "examples": ["15"]})]
Key = Annotated[StrictStr, _form(KEY, "32 hexadecimal digits")]
DeviceId = Annotated[StrictStr, _form(_DEVICE, "1 to 128 letters, digits, - or _")]
Period = Annotated[
    StrictStr,
    _form(_PERIOD, "seven digits, each 0 or 1"),
    Field(
        description="a digit for each day of the week, from Sunday unless `first_day` or a setting says"
        " Monday; 1: the timers are due. 0000000: once, at the next hour:minute",
        examples=["0101010"],
    ),
]
DeviceQuery = Annotated[str, _form(_DEVICE, "1 to 128 letters, digits, - or _"), Query()]
PageQuery = Annotated[int | None, Query(ge=1, le=PAGE_MOST, description="ours; all groups where left out")]
PageSizeQuery = Annotated[int | None, Query(ge=1, le=PAGE_SIZE_MOST, description="ours")]


class TaskIn(WireModel):
    """A timer: a time of day and what to send."""

    hour: Hour
    minute: Minute
    commands: Annotated[
        StrictStr,
        Field(
            max_length=COMMANDS_LONGEST,
            description="JSON text of an object",
            examples=['{"switch":1}'],
        ),
    ]

    def fields(self, name: str | None = None) -> TimerFields:
        """Return what the use cases take."""
        return TimerFields(self.hour, self.minute, self.commands, name)


class NamedTaskIn(TaskIn):
    """A timer of an update: one with a name stays, one without is new."""

    name: Key | None = None


class Options(WireModel):
    """What is ours: how a group differs from the defaults."""

    timezone: Annotated[StrictStr, Field(max_length=64)] | None = Field(
        None, description="ours: IANA name; else the device's, else Asia/Shanghai"
    )
    first_day: FirstDay | None = Field(None, description="ours: what the first digit of `period` means")
    offline: Offline | None = Field(None, description="ours: what happens when the device is away")
    offline_ttl: Annotated[int, Field(strict=True, ge=1, le=int(TTL_LONGEST.total_seconds()))] | None = Field(
        None, description="ours: seconds for which `deliver_when_online` goes on trying"
    )

    def options(self) -> dict[str, Any]:
        """Return what the use cases take."""
        ttl = None if self.offline_ttl is None else timedelta(seconds=self.offline_ttl)
        return {
            "timezone": self.timezone,
            "first_day": self.first_day,
            "offline": self.offline,
            "offline_ttl": ttl,
        }


class CreateBody(Options):
    """The body of POST task/."""

    device_id: DeviceId
    period: Period
    tasks: Annotated[list[TaskIn], Field(min_length=1, max_length=TIMERS_MOST)]

    def fields(self) -> GroupFields:
        """Return what the use cases take."""
        return GroupFields(self.period, [task.fields() for task in self.tasks], **self.options())


class UpdateBody(Options):
    """The body of PUT task/{group_id}/: timers that it leaves out are removed."""

    period: Period
    enabled: StrictBool
    tasks: Annotated[list[NamedTaskIn], Field(min_length=1, max_length=TIMERS_MOST)]
    group_id: Key | None = Field(None, description="that of the path, if at all")
    device_id: DeviceId | None = Field(None, description="that of the group, if at all")

    def fields(self) -> GroupFields:
        """Return what the use cases take."""
        tasks = [task.fields(task.name) for task in self.tasks]
        return GroupFields(self.period, tasks, self.enabled, **self.options())


class CrontabOut(BaseModel):
    """A time of day as it was sent."""

    hour: str
    minute: str


class TaskOut(BaseModel):
    """A timer."""

    crontab: CrontabOut
    commands: str = Field(description="the JSON text as it was sent")
    name: str = Field(description="its id, 32 hexadecimal digits")


class GroupOut(BaseModel):
    """A group of timers. Times are naive, by the clocks of the group."""

    tasks: list[TaskOut]
    period: str
    enabled: bool = Field(description="false, too, once all one-shots of a group have been")
    group_id: str
    update_time: str
    create_time: str
    next_run_at: str | None = Field(description="ours; null while nothing of it is due")


class Listed(BaseModel):
    """The groups of a device, the newest first."""

    count: int
    next: str | None
    previous: str | None
    results: list[GroupOut]


def group_out(group: TimerGroup, now: datetime) -> GroupOut:
    """Write a group as the document does."""
    zone = ZoneInfo(group.timezone)
    next_run_at = group.next_run_at(now)
    return GroupOut(
        tasks=[
            TaskOut(
                crontab=CrontabOut(hour=timer.hour, minute=timer.minute),
                commands=timer.commands,
                name=timer.name,
            )
            for timer in group.timers
        ],
        period=group.period,
        enabled=group.is_on(now),
        group_id=group.group_id,
        update_time=_local(group.updated_at, zone),
        create_time=_local(group.created_at, zone),
        next_run_at=_local(next_run_at, zone) if next_run_at else None,
    )


def _local(moment: datetime, zone: ZoneInfo) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}"
