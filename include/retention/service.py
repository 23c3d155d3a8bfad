"""Retention of the ledger (DESIGN section 4): whole months go, whole months come.

Bills and maintenance history live elsewhere and are never touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from psycopg.errors import DeadlockDetected, LockNotAvailable

from include.errors import DatabaseUnavailableError
from include.kit.clock import Clock, system_clock
from include.kit.db import Database
from include.retention.model import LedgerReport, Month, Partition, is_over, months_of
from include.retention.repository import RetentionRepository
from include.schedules.repository import ScheduleRepository

#: How often a month is tried when firing does not leave a gap, and the pause between two tries.
LOCK_TRIES = 20
LOCK_PAUSE_SECONDS = 0.5


class RetentionService:
    """The use case; each month is a transaction of its own, so that no lock is held longer than its drop.

    :param say: takes a line for people, about what happens now
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock = system_clock,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.database = database
        self.clock = clock
        self.say = say

    async def clean_ledger(self, keep: timedelta, *, dry_run: bool = False) -> LedgerReport:
        """Drop the months that are wholly older than `keep`, make those to come; return what was done.

        A month in which an execution is still open stays, whatever its age.
        """
        report = LedgerReport(cutoff=self.clock() - keep)
        async with self.database.transaction() as connection:
            partitions = await RetentionRepository(connection).list_partitions()
        for month in months_of(partitions):
            if is_over(month, report.cutoff):
                await self._clean_month(month, partitions, report, dry_run=dry_run)
        await self._clean_rest(report, dry_run=dry_run)
        if not dry_run:
            await self._make_months(report)
        return report

    async def _clean_month(
        self, month: Month, partitions: list[Partition], report: LedgerReport, *, dry_run: bool
    ) -> None:
        reason = await self._look(month) if dry_run else await self._drop(month)
        if reason:
            self.say(f"{month} stays: {reason}")
            report.kept[month] = reason
            return
        names = {month.partition_of("execution"), month.partition_of("attempt")}
        found = [partition for partition in partitions if partition.name in names]
        report.dropped.append(month)
        report.rows += sum(partition.rows for partition in found)
        report.bytes += sum(partition.bytes for partition in found)
        self.say(f"{month} {'would be dropped' if dry_run else 'dropped'}")

    async def _look(self, month: Month) -> str | None:
        """Return why a month has to stay, None if it may go."""
        async with self.database.transaction() as connection:
            return _open_reason(await RetentionRepository(connection).count_open(month))

    async def _drop(self, month: Month) -> str | None:
        """Drop a month; return why it has to stay, None if it is gone."""
        for _ in range(LOCK_TRIES):
            try:
                return await self._drop_now(month)
            except DatabaseUnavailableError as error:
                # The pool's transaction passes every operational error on under this name.
                if not isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):
                    raise
            await asyncio.sleep(LOCK_PAUSE_SECONDS)
        return "the ledger was in use all the time; run it again later"

    async def _drop_now(self, month: Month) -> str | None:
        async with self.database.transaction() as connection:
            repository = RetentionRepository(connection)
            await repository.lock_ledger()
            reason = _open_reason(await repository.count_open(month))
            if reason is None:
                await repository.drop_month(month)
            return reason

    async def _clean_rest(self, report: LedgerReport, *, dry_run: bool) -> None:
        async with self.database.transaction() as connection:
            repository = RetentionRepository(connection)
            act = repository.count_stray if dry_run else repository.delete_stray
            report.executions_deleted, report.attempts_deleted = await act(report.cutoff)

    async def _make_months(self, report: LedgerReport) -> None:
        async with self.database.transaction() as connection:
            repository = RetentionRepository(connection)
            before = len(await repository.list_partitions())
            await ScheduleRepository(connection).ensure_partitions(self.clock())
            report.partitions_made = len(await repository.list_partitions()) - before


def _open_reason(count: int) -> str | None:
    if count == 0:
        return None
    return f"{count} of its executions {'has' if count == 1 else 'have'} not ended"
