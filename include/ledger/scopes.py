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

from include.cron import CronSchedule
from include.ledger.model import Due
from include.ledger.repository import LedgerRepository, Shard
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
        self._instants: tuple[list[datetime], int, datetime | None] | None = None

    async def arm(self, ledger: LedgerRepository, now: datetime) -> None:
        listed, older_count, latest_older = await self._list(ledger)
        if latest_older:
            await ledger.arm_condensed(
                self.shard, latest=latest_older, since=self.window.start, count=older_count, now=now
            )
        await ledger.adopt_moved(self.shard, listed)
        await ledger.arm_scheduled(self.shard, listed)
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
        return await ledger.load_window(
            self.shard, known, self.window.start, self.window.end, now - ORPHANED_AFTER
        )

    async def count_open(self, ledger: LedgerRepository) -> int:
        return await ledger.count_open(self.shard, start=self.window.start, until=self.window.end)

    def _has_instant(self, after: datetime, until: datetime) -> bool:
        """Whether the schedule has an instant in `(after, until]`."""
        latest = self.cron.last_at_or_before(until, not_before=after) if until > after else None
        return latest is not None and latest > after

    async def _list(self, ledger: LedgerRepository) -> tuple[list[datetime], int, datetime | None]:
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


def _list_newest(
    cron: CronSchedule, window: Window, most: int
) -> tuple[list[datetime], int, datetime | None]:
    """Return the newest instants of a window, how many older ones there are, and the latest of those."""
    newest: deque[datetime] = deque(maxlen=most)
    older, latest_older = 0, None
    for instant in cron.iter_after(window.start):
        if instant > window.end:
            break
        if len(newest) == most:
            older, latest_older = older + 1, newest[0]
        newest.append(instant)
    return list(newest), older, latest_older


_LONG_AGO = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
