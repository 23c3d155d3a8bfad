"""The work on one chunk of a billing run: correct what was billed, price what was not, park what cannot be.

All of it happens inside the caller's transaction, alone with the chunk's service points.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice, takewhile

import psycopg

from include.billing.model import ProjectRules
from include.billing.periods import coverage, months_between, period_end
from include.billing.repository import CHUNK, BillingRepository
from include.billing.rerating import rerate
from include.billing.stored import Bucket, Chunk, ChunkResult, Factor, StoredBill
from include.cron import CronSchedule
from include.kit.db import Connection

log = logging.getLogger(__name__)

#: Beginnings of periods that are worked out before anybody asks: those of the last instants.
EXPECTED_STARTS = 3

#: Service points whose readings are in memory at a time.
CORRECTED_TOGETHER = 200

_LONG_AGO = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


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


def batched(ids: Iterable[int], size: int) -> Iterator[list[int]]:
    """Yield lists of up to `size` ids."""
    rest = iter(ids)
    while part := list(islice(rest, size)):
        yield part
