"""Billing runs: every service point of a task's project, chunk by chunk, each chunk in one transaction.

A chunk is first corrected (what readings say now about earlier bills), then billed by one statement. Whatever
dies in the middle leaves whole chunks behind, and whoever takes the run up again finds them billed already.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

import psycopg

from include.billing.chunks import Calendar, merge, settle_or_park
from include.billing.model import Commodity, ProjectRules
from include.billing.periods import period_end
from include.billing.repository import BillingRepository
from include.billing.stored import Bucket, Chunk, ChunkResult, Ordered, RunRow
from include.cron import CronSchedule
from include.errors import NotFoundError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection, Database
from include.readings.locks import close_readings
from include.settings import get_settings

log = logging.getLogger(__name__)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Previewed:
    """A chunk that was billed in a transaction that will be rolled back.

    :ivar connection: sees the bills
    """

    connection: Connection
    chunk: Chunk
    result: ChunkResult
    adjusted: int


@dataclass(frozen=True)
class RunOrder:
    """What a run is about.

    :ivar due_at: the instant, aware UTC
    :ivar airflow_run: the DAG run's id, for people who look for it
    """

    definition_id: int
    due_at: datetime
    origin: Literal["scheduled", "manual"]
    airflow_run: str


@dataclass(frozen=True)
class RunReport:
    """What a run did, over all its tries.

    :ivar state: succeeded, or partial where service points were parked
    :ivar repeated: an earlier try, or an earlier run of the same instant, began it
    """

    run_id: int
    state: str
    billed: int
    adjusted: int
    parked: int
    total: Decimal
    period_to: datetime
    repeated: bool


class BillingRuns:
    """The use cases; each transaction is its own.

    :param say: told of progress, a line at a time
    """

    def __init__(self, database: Database, *, clock: Clock = system_clock, say: Say | None = None) -> None:
        self.database = database
        self.clock = clock
        self.say = say or log.info

    async def run(self, order: RunOrder) -> RunReport:
        """Bill everything of a task up to an instant; what is billed already stays as it is.

        :raises NotFoundError: there is no such billing task
        :raises DatabaseUnavailableError: try again, nothing is billed twice
        """
        async with self.database.transaction() as connection:
            task, rules, run = await self._open(connection, order)
            buckets = await BillingRepository(connection).list_buckets(task.project_id, task.commodity)
        if run.state == "succeeded":
            self.say(f"{task.name}: was billed up to {run.period_to.isoformat()} before")
            return _report(run, repeated=True)
        chunks = merge(buckets)
        points = sum(bucket.points for bucket in buckets)
        self.say(
            f"{task.name}: {points} service points in {len(chunks)} chunks, up to {run.period_to.isoformat()}"
        )
        try:
            await self._bill_all(task, rules, run, chunks, points)
        except psycopg.Error as error:
            await self._finish(order, run, "failed", str(error).split("\n", 1)[0])
            raise
        return await self._finish(order, run)

    async def preview(
        self,
        project_id: str,
        commodity: Commodity,
        at: datetime,
        cron: CronSchedule,
        *,
        only_ids: Sequence[int] | None = None,
    ) -> AsyncIterator[Previewed]:
        """Bill up to a moment and roll it back, chunk by chunk: the caller looks at each before it is gone.

        :param only_ids: of the service points only these
        """
        async with self.database.transaction() as connection:
            repository = BillingRepository(connection)
            rules = await repository.load_rules(project_id)
            buckets = await repository.list_buckets(project_id, commodity)
        period_to = period_end(at, rules.zone, rules.cut)
        calendar = Calendar(cron, rules, period_to)
        for bucket in merge(buckets):
            ids = only_ids and [one for one in only_ids if bucket.low <= one <= bucket.high]
            if ids == []:
                continue
            chunk = Chunk(
                project_id,
                commodity,
                bucket.low,
                bucket.high,
                period_to,
                self.clock(),
                rules,
                calendar.factors,
                self.clock(),
                only_ids=ids or None,
            )
            async with (
                self.database.transaction() as connection,
                connection.transaction(force_rollback=True),
            ):
                adjusted, result = await self._settle(connection, chunk, calendar)
                yield Previewed(connection, chunk, result, adjusted)

    async def _open(self, connection: Connection, order: RunOrder) -> tuple[Ordered, ProjectRules, RunRow]:
        repository = BillingRepository(connection)
        task = await repository.find_ordered(order.definition_id)
        if task is None:
            raise NotFoundError(f"there is no billing task {order.definition_id}")
        rules = await repository.load_rules(task.project_id)
        # Readings that are being recorded come before the cutoff, or after it: never astride.
        await close_readings(connection, task.project_id)
        run = await repository.open_run(
            task,
            due_at=order.due_at,
            period_to=period_end(order.due_at, rules.zone, rules.cut),
            origin=order.origin,
            airflow_run=order.airflow_run,
            now=self.clock(),
        )
        return task, rules, run

    async def _bill_all(
        self, task: Ordered, rules: ProjectRules, run: RunRow, chunks: Sequence[Bucket], points: int
    ) -> None:
        cron = CronSchedule.from_canonical(task.expression, task.timezone)
        calendar = Calendar(cron, rules, run.period_to)
        waiting = list(enumerate(chunks))[::-1]
        done = 0

        async def work(slot: int) -> None:
            nonlocal done
            while waiting:
                number, bucket = waiting.pop()
                result, adjusted = await self._bill_chunk(task, rules, run, bucket, calendar, slot)
                done += bucket.points
                self.say(
                    f"chunk {number + 1} of {len(chunks)}: {result.billed} billed, {adjusted} corrected, "
                    f"{result.parked} parked, {result.total} in all; {done} of {points} service points"
                )

        workers = [
            asyncio.ensure_future(work(slot))
            for slot in range(min(get_settings().billing_workers, len(chunks)))
        ]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _bill_chunk(
        self,
        task: Ordered,
        rules: ProjectRules,
        run: RunRow,
        bucket: Bucket,
        calendar: Calendar,
        slot: int,
    ) -> tuple[ChunkResult, int]:
        chunk = Chunk(
            task.project_id,
            task.commodity,
            bucket.low,
            bucket.high,
            run.period_to,
            run.cutoff,
            rules,
            calendar.factors,
            self.clock(),
            run_id=run.id,
            state="draft" if rules.grace_days else "final",
            slot=slot,
        )
        async with self.database.transaction() as connection:
            adjusted, result = await self._settle(connection, chunk, calendar)
            await BillingRepository(connection).count_chunk(run.id, result, adjusted)
        return result, adjusted

    async def _settle(
        self, connection: Connection, chunk: Chunk, calendar: Calendar
    ) -> tuple[int, ChunkResult]:
        """Correct and bill a chunk, alone with its service points until the transaction ends."""
        repository = BillingRepository(connection)
        await repository.allow_long()
        await repository.lock_points(chunk.project_id, chunk.commodity, chunk.low, chunk.high)
        grace = timedelta(days=chunk.rules.grace_days)
        await repository.finalize_drafts(chunk, chunk.now - grace)
        adjusted, result = await settle_or_park(connection, chunk, calendar)
        await repository.close_exceptions(chunk)
        return adjusted, result

    async def _finish(
        self, order: RunOrder, run: RunRow, state: str | None = None, reason: str | None = None
    ) -> RunReport:
        async with self.database.transaction() as connection:
            repository = BillingRepository(connection)
            await repository.note_run(order.definition_id, order.due_at, repeated=run.repeated)
            finished = await repository.finish_run(run.id, state, reason, self.clock())
        return _report(finished, repeated=run.repeated)


def _report(run: RunRow, *, repeated: bool) -> RunReport:
    return RunReport(
        run.id, run.state, run.billed, run.adjusted, run.parked, run.total, run.period_to, repeated
    )
