"""Retention of the ledger (DESIGN section 4): whole months go, whole months come.

Bills and maintenance history live elsewhere and are never touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from psycopg.errors import DeadlockDetected, LockNotAvailable

from include.errors import DatabaseUnavailableError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection, Database
from include.retention.model import LedgerReport, Month, Partition, is_over, months_of
from include.retention.repository import RetentionRepository
from include.schedules.repository import ScheduleRepository

#: How often a month is tried when firing does not leave a gap, and the pause between two tries.
LOCK_TRIES = 20
LOCK_PAUSE_SECONDS = 0.5

IN_USE = "the ledger was in use all the time; run it again later"

T = TypeVar("T")


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

        async def drop(connection: Connection) -> str | None:
            repository = RetentionRepository(connection)
            await repository.lock_ledger()
            reason = _open_reason(await repository.count_open(month))
            if reason is None:
                await repository.drop_month(month)
            return reason

        return await self._in_a_gap(drop, otherwise=IN_USE)

    async def _in_a_gap(self, work: Callable[[Connection], Awaitable[T]], *, otherwise: T) -> T:
        """Do something that locks the whole ledger, between two transactions of others.

        :return: what `work` returns, or `otherwise` where no gap was found
        """
        for _ in range(LOCK_TRIES):
            try:
                async with self.database.transaction() as connection:
                    await RetentionRepository(connection).wait_briefly_for_locks()
                    return await work(connection)
            except DatabaseUnavailableError as error:
                # The pool's transaction passes every operational error on under this name.
                if not isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):
                    raise
            await asyncio.sleep(LOCK_PAUSE_SECONDS)
        return otherwise

    async def _clean_rest(self, report: LedgerReport, *, dry_run: bool) -> None:
        async with self.database.transaction() as connection:
            repository = RetentionRepository(connection)
            act = repository.count_stray if dry_run else repository.delete_stray
            report.executions_deleted, report.attempts_deleted = await act(report.cutoff)

    async def _make_months(self, report: LedgerReport) -> None:
        async def make(connection: Connection) -> int | None:
            repository = RetentionRepository(connection)
            before = len(await repository.list_partitions())
            await ScheduleRepository(connection).ensure_partitions(self.clock())
            return len(await repository.list_partitions()) - before

        report.partitions_made = await self._in_a_gap(make, otherwise=None)
        if report.partitions_made is None:
            self.say(f"the coming months were not made: {IN_USE}")


def _open_reason(count: int) -> str | None:
    if count == 0:
        return None
    return f"{count} of its executions {'has' if count == 1 else 'have'} not ended"
