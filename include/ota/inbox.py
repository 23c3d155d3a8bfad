"""What devices say over a broker: read, and taken in micro-batches, in the order in which it came."""

from __future__ import annotations

import logging
from asyncio import Future
from collections.abc import Sequence

from include.errors import InvalidInputError
from include.kit.clock import Clock, system_clock
from include.kit.db import Database
from include.ledger.batches import Batches
from include.ota.events import DeviceEventService
from include.ota.reports import Report, StatusReport, read_payload

log = logging.getLogger(__name__)

DELAY_SECONDS = 0.05
MOST = 500


class EventInbox:
    """Listens at a gateway (`include.gateway.model.EventListener`).

    :ivar unreadable: payloads that were no events
    """

    def __init__(self, database: Database, *, clock: Clock = system_clock) -> None:
        self.database = database
        self.clock = clock
        self.unreadable = 0
        self.batches: Batches[Report, None] = Batches(self._take, delay=DELAY_SECONDS, limit=MOST)

    def heard_event(self, device_id: str, payload: bytes) -> None:
        try:
            reading = read_payload(device_id, payload)
        except InvalidInputError as error:
            self.unreadable += 1
            log.warning("what %.128s said cannot be read: %s", device_id, error)
            return
        for report in reading.reports:
            self._add(report)

    def heard_status(self, device_id: str, online: bool) -> None:
        self._add(StatusReport(device_id=device_id, online=online))

    async def close(self) -> None:
        """Take what is still waiting, then stop."""
        await self.batches.close()

    def _add(self, report: Report) -> None:
        self.batches.add(report).add_done_callback(_logged)

    async def _take(self, reports: Sequence[Report]) -> list[None]:
        async with self.database.transaction() as connection:
            tally = await DeviceEventService(connection, clock=self.clock).take(reports)
        if tally.unknown_devices:
            log.info("%d of %d reports are of unknown devices", tally.unknown_devices, len(reports))
        return [None] * len(reports)


def _logged(future: Future[None]) -> None:
    """Batches has logged what went wrong; nobody else waits for it."""
    if not future.cancelled():
        future.exception()
