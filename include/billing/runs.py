"""Billing runs: every service point of a task's project, chunk by chunk, each chunk in one transaction.

A chunk is first corrected (what readings say now about earlier bills), then billed by one statement. Whatever
dies in the middle leaves whole chunks behind, and whoever takes the run up again finds them billed already.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice, takewhile
from typing import Literal

import psycopg

from include.billing.model import Commodity, ProjectRules
from include.billing.periods import coverage, months_between, period_end
from include.billing.repository import CHUNK, BillingRepository
from include.billing.rerating import rerate
from include.billing.stored import Bucket, Chunk, ChunkResult, Factor, Ordered, RunRow, StoredBill
from include.cron import CronSchedule
from include.errors import NotFoundError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection, Database
from include.readings.locks import close_readings
from include.settings import get_settings

log = logging.getLogger(__name__)

#: Beginnings of periods that are worked out before anybody asks: those of the last instants.
EXPECTED_STARTS = 3

#: Service points whose readings are in memory at a time.
CORRECTED_TOGETHER = 200

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


class Calendar:
    """How long the periods of a run are, by their beginnings."""

    def __init__(self, cron: CronSchedule, rules: ProjectRules, period_to: datetime) -> None:
        self.cron = cron
        self.rules = rules
        self.period_to = period_to
        #: Of the beginnings that most service points have.
        self.factors = self.work_out(self._last_starts())

    def work_out(self, starts: Iterable[datetime]) -> list[Factor]:
        """Return how long the periods are that begin here."""
        zone = self.rules.zone
        midnights = zone if self.rules.cut == "midnight" else None
        return [
            Factor(
                start,
                months_between(start, self.period_to, zone),
                coverage(start, self.period_to, self.cron, midnights),
            )
            for start in starts
            if start < self.period_to
        ]

    def _last_starts(self) -> list[datetime]:
        starts: list[datetime] = []
        before = self.period_to
        while len(starts) < EXPECTED_STARTS:
            earlier = self.cron.last_at_or_before(before - timedelta(microseconds=1), not_before=_LONG_AGO)
            if earlier is None:
                break
            before = earlier
            starts.append(period_end(earlier, self.rules.zone, self.rules.cut))
        return starts


async def correct(repository: BillingRepository, chunk: Chunk) -> tuple[int, list[int]]:
    """Look again at the bills that may be wrong, and note what they must be corrected by.

    Returns how many corrections there are, and the service points that cannot be billed before somebody has
    looked: a bill of theirs cannot be priced any more, so nobody knows what the next one begins with.
    """
    since = await repository.list_doubtful(chunk)
    if chunk.only_ids is not None:
        wanted = set(chunk.only_ids)
        since = {one: moment for one, moment in since.items() if one in wanted}
    corrections, stuck = 0, []
    for ids in batched(since, CORRECTED_TOGETHER):
        found, parked = await _correct_some(repository, chunk, {one: since[one] for one in ids})
        corrections += found
        stuck += parked
    return corrections, stuck


async def _correct_some(
    repository: BillingRepository, chunk: Chunk, since: Mapping[int, datetime]
) -> tuple[int, list[int]]:
    facts = await repository.load_facts(list(since), chunk.cutoff)
    chains = await repository.load_chain(since)
    known = {one: _known(chain, chunk.cutoff) for one, chain in chains.items()}
    # Thousands of bills: other tasks of this process get their turn meanwhile.
    rerated = await asyncio.to_thread(
        lambda: {one: rerate(facts[one], chain) for one, chain in known.items()}
    )
    changes = [change for one in rerated.values() if one.stuck is None for change in one.changes]
    await repository.insert_adjustments(
        chunk.project_id, [change.adjustment() for change in changes], cutoff=chunk.cutoff, now=chunk.now
    )
    stuck = []
    for service_point_id, one in rerated.items():
        if one.stuck is not None:
            bill, why = one.stuck
            detail = f"bill {bill.id} cannot be priced again, so that corrections are held up: {why.detail}"
            await repository.park_points(chunk, [service_point_id], why.kind, detail)
            stuck.append(service_point_id)
    settled = [one for one in since if one not in stuck and len(known[one]) == len(chains[one])]
    await repository.drop_requests(settled, chunk.cutoff)
    return len(changes), stuck


def _known(chain: Sequence[StoredBill], cutoff: datetime) -> list[StoredBill]:
    """Return the bills that were made with no more knowledge than there is at a cutoff.

    Who takes up an old run again knows less than those who billed meanwhile.
    """
    return list(takewhile(lambda bill: bill.earlier or bill.cutoff <= cutoff, chain))


async def price(repository: BillingRepository, chunk: Chunk, calendar: Calendar) -> ChunkResult:
    """Bill a chunk, and again those that began where nobody expected it."""
    result = await repository.price_chunk(chunk)
    if not result.unknown_starts:
        return result
    learnt = await asyncio.to_thread(calendar.work_out, result.unknown_starts)
    again = await repository.price_chunk(replace(chunk, factors=[*chunk.factors, *learnt]))
    # Whoever was parked is parked again, and was billed only once.
    return ChunkResult(result.billed + again.billed, result.total + again.total, again.parked)


async def settle_or_park(connection: Connection, chunk: Chunk, calendar: Calendar) -> tuple[int, ChunkResult]:
    """Correct and bill a chunk; whose data make a statement fail is parked, and the others are billed."""
    repository = BillingRepository(connection)
    try:
        async with connection.transaction():
            adjusted, stuck = await correct(repository, chunk)
            await repository.plan_for_chunks()
            result = await price(repository, replace(chunk, skip_ids=stuck), calendar)
            await repository.plan_for_chunks(wide=False)
            return adjusted, result + ChunkResult(parked=len(stuck))
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        ids = chunk.only_ids
        if ids is None:
            ids = await repository.list_points(chunk.project_id, chunk.commodity, chunk.low, chunk.high)
        if len(ids) == 1:
            detail = str(error).split("\n", 1)[0]
            log.warning("service point %s cannot be billed: %s", ids[0], detail)
            await repository.park_points(chunk, ids, "failed", detail)
            return 0, ChunkResult(parked=1)
    middle = len(ids) // 2
    parts = [replace(chunk, only_ids=part) for part in (ids[:middle], ids[middle:])]
    first_adjusted, first = await settle_or_park(connection, parts[0], calendar)
    second_adjusted, second = await settle_or_park(connection, parts[1], calendar)
    return first_adjusted + second_adjusted, first + second


def merge(buckets: Sequence[Bucket]) -> list[Bucket]:
    """Put neighbouring ranges together where few service points of the project are in each."""
    merged: list[Bucket] = []
    for bucket in buckets:
        if merged and merged[-1].points + bucket.points <= CHUNK:
            last = merged.pop()
            bucket = Bucket(last.low, bucket.high, last.points + bucket.points)
        merged.append(bucket)
    return merged


def _report(run: RunRow, *, repeated: bool) -> RunReport:
    return RunReport(
        run.id, run.state, run.billed, run.adjusted, run.parked, run.total, run.period_to, repeated
    )


def batched(ids: Iterable[int], size: int) -> Iterator[list[int]]:
    """Yield lists of up to `size` ids."""
    rest = iter(ids)
    while part := list(islice(rest, size)):
        yield part


_LONG_AGO = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
