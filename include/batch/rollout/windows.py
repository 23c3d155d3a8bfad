"""Maintenance windows and random spread: when a sub-task may begin.

A local time that a clock change skips is the first instant after the gap, one that comes twice is its first
occurrence, as for crontabs. A window whose two ends fall into one gap is not held that day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from typing import Final
from zoneinfo import ZoneInfo

from include.batch.rollout.model import DAYS, DEVICE, Rollout, Window
from include.cron.zones import span_at
from include.tariffs.windows import MINUTES, minute_of_day

#: A window that began yesterday may last, where a whole day was skipped the day before.
_BACK: Final = 2
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Opening:
    """One time that a window is open, `[start, end)` in UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Slot:
    """When a sub-task may begin.

    :ivar window_ends_at: from when on it must wait for the next window; None: never
    """

    wake_at: datetime
    window_ends_at: datetime | None = None


def zone_of(window: Window, device: str | None, default: str) -> str:
    """Return the zone by whose clocks a window is open for a device."""
    return (device or default) if window.timezone == DEVICE else window.timezone


@lru_cache(maxsize=4096)
def opening_at(window: Window, zone: str, moment: datetime) -> Opening:
    """Return the opening in which a moment (aware) lies, else the next one."""
    first = moment.astimezone(ZoneInfo(zone)).date() - timedelta(days=_BACK)
    days = (first + timedelta(days=ahead) for ahead in count())
    openings = (_opening(window, zone, day) for day in days if DAYS[day.weekday()] in window.days)
    return next(one for one in openings if one.start < one.end and moment < one.end)


def slot_of(rollout: Rollout, *, task_id: str, target: str, after: datetime, zone: str) -> Slot:
    """Return when a sub-task may begin that must not before `after`: always the same for the same arguments.

    The spread is over `spread_seconds` or what is left of the window, whichever is less.

    :param zone: of the window, see `zone_of`
    """
    spread = timedelta(seconds=rollout.spread_seconds or 0)
    if rollout.window is None:
        return Slot(after + _share(spread, task_id, target))
    opening = opening_at(rollout.window, zone, after)
    begins = max(after, opening.start)
    room = min(spread, opening.end - begins)
    return Slot(begins + _share(room, task_id, target), opening.end)


def _share(room: timedelta, task_id: str, target: str) -> timedelta:
    """Return a part of some room, always less than all of it, that a target has for a task."""
    digest = blake2b(f"{task_id}:{target}".encode(), digest_size=6).digest()
    return room // _MICROSECOND * int.from_bytes(digest) // 2**48 * _MICROSECOND


def _opening(window: Window, zone: str, day: date) -> Opening:
    """Return the opening of a day; one that is not held ends where it starts."""
    start, end = minute_of_day(window.start), minute_of_day(window.end)
    if end <= start:
        end += MINUTES
    return Opening(_instant(day, start, zone), _instant(day, end, zone))


def _instant(day: date, minute: int, zone: str) -> datetime:
    """Return the instant of a local time, whose minutes may run into the next day."""
    place = ZoneInfo(zone)
    local = datetime(day.year, day.month, day.day) + timedelta(minutes=minute)  # noqa: DTZ001  # wall clock
    # Of a time that comes twice this is the first, of one that is skipped one after the gap.
    instant = local.replace(tzinfo=place).astimezone(UTC)
    skipped = instant.astimezone(place).replace(tzinfo=None) != local
    return span_at(zone, instant).start if skipped else instant
