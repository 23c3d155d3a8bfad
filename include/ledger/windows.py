"""Windows: which instants one DAG run answers for. Pure: every moment comes in as an argument.

A window is the half-open span `(start, end]` (DESIGN section 4). The windows of a schedule touch, so no
instant falls between two runs, and no instant belongs to two. All moments are aware and in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from include.cron import CronSchedule

MINUTE = timedelta(minutes=1)

#: A run whose logical date is in the future is not started by Airflow, and the logical date is the start of
#: the data interval. A dense schedule arms its window before that window starts, so its data intervals are
#: its windows moved back by this much (ADR 0005), which is more than any lead.
DENSE_SHIFT = timedelta(seconds=60)


@dataclass(frozen=True)
class Window:
    """The half-open span `(start, end]` of one run."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Planned:
    """A window and the moment at which its run is created."""

    window: Window
    run_after: datetime


def is_dense(cron: CronSchedule) -> bool:
    """Whether a window of this schedule may have to be armed before it starts.

    Judged by the longest lead there can be, not by the one that is set: a schedule that changed sides with a
    setting would read its last interval wrongly and lose a minute.
    """
    if cron.is_interval:
        return cron.next_after(_EPOCH) - _EPOCH < DENSE_SHIFT
    return 60 - cron.seconds[-1] + cron.seconds[0] < DENSE_SHIFT.total_seconds()


def plan_cron(cron: CronSchedule, previous_end: datetime, now: datetime, lead: timedelta) -> Planned:
    """Return the window that follows `previous_end`.

    Where instants were missed, it ends at the latest of them and runs at once; else it ends at the last
    instant of the minute of the next one, so that one run serves up to 60 instants.
    """
    missed = cron.last_at_or_before(now, not_before=previous_end)
    if missed is not None and missed > previous_end:
        return Planned(Window(previous_end, missed), missed)
    first = cron.next_after(previous_end)
    same_minute = cron.between(first, _minute_of(first) + MINUTE - timedelta(microseconds=1))
    return Planned(Window(previous_end, [first, *same_minute][-1]), first - lead)


def plan_once(previous_end: datetime, now: datetime, lead: timedelta) -> Planned:
    """Return the one-minute window that follows `previous_end`, or one to the present after a pause."""
    if now - previous_end > MINUTE:
        return Planned(Window(previous_end, now), now)
    end = _minute_of(previous_end) + MINUTE
    return Planned(Window(previous_end, end), previous_end - lead)


def to_interval(window: Window, *, dense: bool) -> Window:
    """Return the data interval under which Airflow knows a window."""
    return Window(window.start - DENSE_SHIFT, window.end - DENSE_SHIFT) if dense else window


def from_interval(interval: Window, *, dense: bool) -> Window:
    """Return the window that a data interval stands for."""
    return Window(interval.start + DENSE_SHIFT, interval.end + DENSE_SHIFT) if dense else interval


def _minute_of(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
