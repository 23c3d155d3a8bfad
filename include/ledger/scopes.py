"""Scopes: what one run is about, and so how it is armed and what it loads.

A scheduled run of a crontab answers for the instants of its window, a run of the one-shot schedule for
whatever falls due in its minute, a manual run for one execution now of each definition it names.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from include.cron import CronSchedule, weekday_bit
from include.ledger.model import Due
from include.ledger.repository import LedgerRepository, Older, Shard
from include.ledger.windows import Window
from include.settings import get_settings

#: A longer outage is written as this many single instants and one row for the rest; fewer where so many
#: definitions hang on the schedule that arming would write more rows than `LISTED_ROWS`.
LISTED_INSTANTS = 1440
LISTED_ROWS = 50_000
LISTED_ALWAYS = 60

#: A due execution that nobody took for this long was left behind by an earlier run.
ORPHANED_AFTER = timedelta(seconds=10)

#: A longer window is an outage; listing its instants must not hold up the event loop.
LONG_WINDOW = timedelta(hours=1)


#: Instants, the bits of their weekdays, and what of a long outage is not listed singly.
Instants = tuple[list[datetime], list[int], list[Older]]


class Scope(Protocol):
    """How a run is armed and what it has to do.

    :ivar ends: the last moment at which something new can enter, or None if nothing can
    """

    shard: Shard
    ends: datetime | None

    async def arm(self, ledger: LedgerRepository, now: datetime) -> None:
        """Write the executions that the run answers for; repeating it changes nothing."""

    async def load(self, ledger: LedgerRepository, now: datetime, known: Sequence[int]) -> list[Due]:
        """Return what is still to do, but for the executions that are `known`."""

    async def count_open(self, ledger: LedgerRepository) -> int:
        """Return how much of it has not ended, whoever has it."""


class CronScope:
    """A window of a crontab."""

    def __init__(self, shard: Shard, window: Window, cron: CronSchedule) -> None:
        self.shard = shard
        self.window = window
        self.cron = cron
        self.ends: datetime | None = window.end
        self._instants: Instants | None = None

    async def arm(self, ledger: LedgerRepository, now: datetime) -> None:
        listed, days, older = await self._list(ledger)
        if older:
            await ledger.arm_condensed(self.shard, older, since=self.window.start, now=now)
        await ledger.adopt_moved(self.shard, listed, days)
        await ledger.arm_scheduled(self.shard, listed, days)
        threshold = misfire_threshold()
        await ledger.settle_misfires(
            self.shard,
            start=self.window.start,
            until=self.window.end,
            now=now,
            threshold=threshold,
            later=self._has_instant(self.window.end, now - threshold),
        )

    async def load(self, ledger: LedgerRepository, now: datetime, known: Sequence[int]) -> list[Due]:
        dues = await ledger.load_window(
            self.shard, known, self.window.start, self.window.end, now - ORPHANED_AFTER
        )
        days: dict[datetime, int] = {}
        for due in dues:
            if due.due_at not in days:
                days[due.due_at] = self._day(due.due_at)
            due.day = days[due.due_at]
        return dues

    async def count_open(self, ledger: LedgerRepository) -> int:
        return await ledger.count_open(self.shard, start=self.window.start, until=self.window.end)

    def _has_instant(self, after: datetime, until: datetime) -> bool:
        """Whether the schedule has an instant in `(after, until]`."""
        latest = self.cron.last_at_or_before(until, not_before=after) if until > after else None
        return latest is not None and latest > after

    def _day(self, instant: datetime) -> int:
        return weekday_bit(self.cron.day_of(instant))

    async def _list(self, ledger: LedgerRepository) -> Instants:
        if self._instants is None:
            live = await ledger.count_live(self.shard)
            most = max(LISTED_ALWAYS, min(LISTED_INSTANTS, LISTED_ROWS // max(1, live)))
            if self.window.end - self.window.start > LONG_WINDOW:
                self._instants = await asyncio.to_thread(_list_newest, self.cron, self.window, most)
            else:
                self._instants = _list_newest(self.cron, self.window, most)
        return self._instants


class OnceScope:
    """A minute of the one-shot schedule: one-shots, reruns, and long retries of other schedules."""

    def __init__(self, shard: Shard, window: Window) -> None:
        self.shard = shard
        self.window = window
        self.ends: datetime | None = window.end

    async def arm(self, ledger: LedgerRepository, now: datetime) -> None:
        await ledger.arm_once(self.shard, self.window.end)
        await ledger.settle_misfires(
            self.shard,
            start=_LONG_AGO,
            until=self.window.end,
            now=now,
            threshold=misfire_threshold(),
        )

    async def load(self, ledger: LedgerRepository, now: datetime, known: Sequence[int]) -> list[Due]:
        return await ledger.load_once(self.shard, known, self.window.end)

    async def count_open(self, ledger: LedgerRepository) -> int:
        return await ledger.count_open(self.shard, start=self.window.start, until=self.window.end, once=True)


class ManualScope:
    """A run that a person triggered: every enabled definition once, or those that `conf` names."""

    ends: datetime | None = None

    def __init__(self, shard: Shard, due_at: datetime, definition_ids: Sequence[int] | None) -> None:
        self.shard = shard
        self.due_at = due_at
        self.definition_ids = definition_ids

    async def arm(self, ledger: LedgerRepository, now: datetime) -> None:
        await ledger.arm_manual(self.shard, self.due_at, self.definition_ids)

    async def load(self, ledger: LedgerRepository, now: datetime, known: Sequence[int]) -> list[Due]:
        return await ledger.load_manual(self.shard, known)

    async def count_open(self, ledger: LedgerRepository) -> int:
        return await ledger.count_open(self.shard, manual=True)


def misfire_threshold() -> timedelta:
    """What is at most this late is late, not missed: a takeover by another process fires it."""
    return timedelta(seconds=get_settings().misfire_threshold_seconds)


def _list_newest(cron: CronSchedule, window: Window, most: int) -> Instants:
    """Return the newest instants of a window, the bits of their weekdays, and what is older."""
    newest: deque[datetime] = deque(maxlen=most)
    older: dict[int, Older] = {}
    for instant in cron.iter_after(window.start):
        if instant > window.end:
            break
        if len(newest) == most:
            day = weekday_bit(cron.day_of(newest[0]))
            before = older[day].count if day in older else 0
            older[day] = Older(day, before + 1, newest[0])
        newest.append(instant)
    return list(newest), [weekday_bit(cron.day_of(instant)) for instant in newest], list(older.values())


_LONG_AGO = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
