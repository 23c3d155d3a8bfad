"""Asking a source for the readings that a boundary lacks, before it is billed.

The source is somebody else's server: it may be slow, away, or wrong. Each batch is a transaction of its own,
and none is open while one waits for an answer. What went wrong is in the exceptions queue; the run goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from include.billing.model import Commodity
from include.errors import OutboundError, OutboundProtocolError
from include.kit.clock import Clock, system_clock
from include.kit.db import Database
from include.readings.model import MissingRow
from include.readings.repository import ReadingRepository
from include.readings.service import ReadingService

log = logging.getLogger(__name__)

#: Asks for the readings of these meters around a moment; returns rows as `add_bulk` takes them, raises
#: OutboundError.
Fetch = Callable[[Sequence[str], datetime], Awaitable[Sequence[Any]]]

BATCH = 500
#: A meter has at most six registers; a source may send some history with each.
ANSWER_MOST = 10_000
ANSWER_SECONDS = 60.0
RETRY_DELAYS = (2.0, 10.0)
DETAIL_LONGEST = 300


@dataclass(frozen=True, slots=True)
class PullReport:
    """What came of asking.

    :ivar asked: meters that lacked a reading
    :ivar stored: good readings
    :ivar quarantined: readings stored as suspect
    :ivar refused: rows of answers that cannot be used
    :ivar failed: meters of batches that were not answered
    """

    asked: int = 0
    stored: int = 0
    quarantined: int = 0
    refused: int = 0
    failed: int = 0


async def pull_missing(
    database: Database,
    project_id: str,
    commodity: Commodity,
    at: datetime,
    *,
    fetch: Fetch,
    batch: int = BATCH,
    answer_seconds: float = ANSWER_SECONDS,
    retry_delays: Sequence[float] = RETRY_DELAYS,
    clock: Clock = system_clock,
) -> PullReport:
    """Ask for readings of all meters that lack one within the tolerance before a boundary, and store them.

    :param answer_seconds: seconds for one answer
    :param retry_delays: seconds before each further try of a batch
    :raises DatabaseUnavailableError: the only thing that ends it early
    """
    report, after = PullReport(), 0
    while True:
        async with database.transaction() as connection:
            meters = await ReadingService(connection, clock=clock).missing(
                project_id, at, commodity=commodity, after=after, limit=batch
            )
        if not meters:
            return report
        after = meters[-1].meter_id
        report = replace(report, asked=report.asked + len(meters))
        try:
            rows = await _ask(fetch, meters, at, answer_seconds, retry_delays)
        except OutboundError as error:
            report = replace(report, failed=report.failed + len(meters))
            await _note_failure(database, project_id, len(meters), error)
            continue
        report = await _store(database, project_id, meters, rows, report, clock)


async def _ask(
    fetch: Fetch, meters: Sequence[MissingRow], at: datetime, seconds: float, delays: Sequence[float]
) -> list[Any]:
    device_ids = [meter.device_id for meter in meters]
    error = OutboundError()
    for delay in (0.0, *delays):
        await asyncio.sleep(delay)
        try:
            async with asyncio.timeout(seconds):
                return _checked(await fetch(device_ids, at))
        except TimeoutError:
            error = OutboundError(f"no answer within {seconds:g} s")
        except OutboundError as failure:
            error = failure
        except Exception as failure:  # whatever a source's client raises: the run goes on without its answer
            log.exception("asking the meter source failed")
            error = OutboundError(f"{type(failure).__name__}: {failure}")
    raise error


def _checked(rows: object) -> list[Any]:
    if not isinstance(rows, Sequence) or isinstance(rows, str | bytes):
        raise OutboundProtocolError("the answer is not a list of readings")
    if len(rows) > ANSWER_MOST:
        raise OutboundProtocolError(f"the answer has more than {ANSWER_MOST} readings")
    return list(rows)


async def _store(
    database: Database,
    project_id: str,
    meters: Sequence[MissingRow],
    rows: Sequence[Any],
    report: PullReport,
    clock: Clock,
) -> PullReport:
    asked = {meter.device_id: meter for meter in meters}
    own = [row for row in rows if isinstance(row, Mapping) and _device(row) in asked]
    foreign = len(rows) - len(own)
    async with database.transaction() as connection:
        # Whatever it says of itself, it was pulled.
        stored = await ReadingService(connection, clock=clock).add_bulk(
            project_id,
            [{**row, "source": "pull"} for row in own],
            on_decrease="quarantine",
            on_duplicate="skip",
            on_spike="quarantine",
            on_invalid="leave_out",
        )
        refused = {own[bad.row]["device_id"]: f"{bad.field}: {bad.message}" for bad in stored.refused}
        if refused:
            now = await ReadingRepository(connection).moment()
            queued = [
                (asked[device], _cut(f"the source's reading: {why}")) for device, why in refused.items()
            ]
            await ReadingRepository(connection).note_refused_pulls(project_id, queued, now)
    return replace(
        report,
        stored=report.stored + stored.accepted,
        quarantined=report.quarantined + len(stored.quarantined),
        refused=report.refused + len(stored.refused) + foreign,
    )


async def _note_failure(database: Database, project_id: str, meters: int, error: OutboundError) -> None:
    log.warning("the meter source did not answer for %d meters of project %s: %s", meters, project_id, error)
    async with database.transaction() as connection:
        repository = ReadingRepository(connection)
        now = await repository.moment()
        detail = _cut(f"the source did not answer for {meters} meters: {error}")
        await repository.note_failed_pull(project_id, detail, now)


def _device(row: Mapping[str, Any]) -> str:
    device_id = row.get("device_id")
    return device_id if isinstance(device_id, str) else ""


def _cut(text: str) -> str:
    printable = text.encode("utf-8", "replace").decode().replace("\x00", "")
    return printable if len(printable) <= DETAIL_LONGEST else printable[: DETAIL_LONGEST - 1] + "…"
