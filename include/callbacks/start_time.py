"""`type` and `start_time` of document 003: what they mean as a schedule. Pure.

Source: api-docs 003, "任务类型定义" and `start_time`; DESIGN section 9 for what the document leaves open.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from include.cron import CronSchedule, check_zone, parse_seconds_first
from include.errors import InvalidInputError

#: A single task this far in the past still fires, at once; an older one is refused.
PAST_TOLERANCE = timedelta(seconds=60)

#: 1 January 9999; beyond it a number is no time in seconds, more likely one in milliseconds.
LATEST_TIMESTAMP = 253_370_764_800

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


class TaskType(IntEnum):
    """The types of document 003. Types 3 to 7 all read `start_time` as a crontab."""

    SINGLE = 1
    INTERVAL = 2
    HOUR = 3
    DAILY = 4
    MONTH = 5
    YEAR = 6
    WEEK = 7


@dataclass(frozen=True)
class Start:
    """When a task runs: by a crontab, or once at `due_at` (aware UTC). Exactly one of them is set."""

    cron: CronSchedule | None = None
    due_at: datetime | None = None


def parse_start_time(
    type_: TaskType, text: str, *, timezone: str, now: datetime, allow_past: bool = False
) -> Start:
    """Return what `start_time` of a task of this type means.

    :param text: as the client sent it, a number written out
    :param allow_past: accept a single task whose time is over (it is only stored again, unchanged)
    :raises InvalidInputError: names `start_time` or `timezone`
    """
    check_zone(timezone, field="timezone")
    text = text.strip()
    if not text:
        raise InvalidInputError("must not be empty", field="start_time")
    is_number = _NUMBER.fullmatch(text) is not None
    if type_ is TaskType.SINGLE:
        return Start(due_at=_single(text, is_number, timezone, now, allow_past))
    if is_number:
        return Start(cron=parse_seconds_first(_every(type_, text), zone=timezone, field="start_time"))
    return Start(cron=parse_seconds_first(text, zone=timezone, field="start_time"))


def _single(text: str, is_number: bool, timezone: str, now: datetime, allow_past: bool) -> datetime:
    if not is_number:
        return parse_seconds_first(text, zone=timezone, field="start_time").next_after(now)
    seconds = float(text)
    if not 0 <= seconds <= LATEST_TIMESTAMP:
        raise InvalidInputError(f"{text} is not a Unix time in seconds", field="start_time")
    due_at = datetime.fromtimestamp(seconds, UTC)
    if due_at < now - PAST_TOLERANCE and not allow_past:
        raise InvalidInputError(f"{due_at.isoformat()} lies in the past", field="start_time")
    return due_at


def _every(type_: TaskType, text: str) -> str:
    if type_ is not TaskType.INTERVAL:
        raise InvalidInputError(
            f"{text!r} is a number: a task of type {int(type_)} needs a crontab", field="start_time"
        )
    if not text.isdigit() or int(text) < 1:
        raise InvalidInputError(f"{text!r} is not a whole number of seconds, 1 or more", field="start_time")
    return f"@every {int(text)}s"
