"""The courier: tells events to those who subscribed to them, at least once each.

It works from the rows that were committed with what happened, so nothing is lost when a process ends: what it
had in hand is taken up by another courier, under the same webhook-id, when its lease has run out. Couriers
share the work, one in each process of the API server.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from include.errors import CarillonError, DatabaseUnavailableError
from include.events.model import Claimed, Result
from include.events.repository import EventRepository
from include.kit.clock import Clock, system_clock
from include.kit.db import UNAVAILABLE, Database
from include.kit.egress import EgressGuard
from include.kit.http import OutboundClient, OutboundRequest
from include.kit.secrets import decrypt
from include.kit.signing import WebhookSigner
from include.ledger.batches import Batches
from include.settings import get_settings

log = logging.getLogger(__name__)

#: Events in hand at a time, and of one subscription: who hangs must not keep the others waiting.
IN_HAND, IN_HAND_OF_ONE = 256, 8
#: Between two looks when nobody says that there is something: what a courier that died had in hand.
POLL_SECONDS = 15.0
RECONNECT_SECONDS = 1.0
#: How long a result waits for others to be written with it.
RECORD_SECONDS = 0.02
#: Beyond an attempt's own timeout: the wait for a turn at its host, and for the database.
TURN_SECONDS = 5.0
LEASE_MARGIN_SECONDS = 10.0
#: For results that are still to be written when the process ends; what is not is told again.
CLOSE_SECONDS = 2.0
ERROR_LONGEST = 2000


class Courier:
    """Claims what is due, sends it, records what came of it.

    :param timeout: seconds that a receiver has to answer
    """

    def __init__(
        self,
        database: Database,
        client: OutboundClient,
        *,
        timeout: float,
        poll: float = POLL_SECONDS,
        clock: Clock = system_clock,
    ) -> None:
        self.database = database
        self.client = client
        self.timeout = timeout
        self.poll = poll
        self.clock = clock
        self.results: Batches[Result, None] = Batches(self._record, delay=RECORD_SECONDS, limit=IN_HAND)
        self.bell = asyncio.Event()
        self.in_hand: dict[asyncio.Task[None], int] = {}
        self.away = False

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.timeout + TURN_SECONDS + LEASE_MARGIN_SECONDS)

    async def run(self) -> None:
        """Tell what is due until cancelled; no failure ends it."""
        listener = asyncio.create_task(self._listen(), name="carillon-event-listener")
        try:
            while True:
                self.bell.clear()
                await self._take()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.poll):
                        await self.bell.wait()
        finally:
            tasks = [listener, *self.in_hand]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self.results.close()

    async def _take(self) -> None:
        """Take as much in hand as there is room for."""
        room = IN_HAND - len(self.in_hand)
        if room == 0:
            return
        try:
            async with self.database.transaction() as connection:
                claimed = await EventRepository(connection).claim_events(
                    limit=room, most=IN_HAND_OF_ONE, busy=Counter(self.in_hand.values()), lease=self.lease
                )
        except Exception as error:
            self._complain(error)
            return
        self.away = False
        for one in claimed:
            task = asyncio.create_task(self._tell(one), name="carillon-event")
            self.in_hand[task] = one.event.subscription_id
            task.add_done_callback(self._done)

    async def _tell(self, claimed: Claimed) -> None:
        event = claimed.event
        result = Result(event.id, event.attempts, await self._attempt(claimed))
        await self.results.add(result)
        if result.error is None:
            return
        if result.delay is not None:
            asyncio.get_running_loop().call_later(result.delay.total_seconds(), self.bell.set)
            return
        log.warning(
            "event %s of subscription %d is given up after %d attempts: %s",
            event.webhook_id,
            event.subscription_id,
            event.attempts,
            result.error,
        )

    async def _attempt(self, claimed: Claimed) -> str | None:
        """Send an event; return what went wrong, None: the receiver has it."""
        event = claimed.event
        body = event.document()
        try:
            headers = WebhookSigner(decrypt(claimed.secret)).headers(
                message_id=event.webhook_id,
                send_at=self.clock(),
                due_at=event.created_at,
                attempt=event.attempts,
                body=body,
            )
            request = OutboundRequest(
                "POST", claimed.url, (("content-type", "application/json"), *headers), body, self.timeout
            )
            async with asyncio.timeout(self.timeout + TURN_SECONDS):
                response = await self.client.send(await self.client.prepare(request))
        except TimeoutError:
            return "no turn at the receiver in time: too many calls wait for it"
        except CarillonError as error:
            return str(error)[:ERROR_LONGEST]
        return None if response.ok else f"the receiver answered with status {response.status}"

    async def _record(self, results: Sequence[Result]) -> Sequence[None]:
        async with self.database.transaction() as connection:
            await EventRepository(connection).record(results)
        return [None] * len(results)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self.in_hand[task]
        # Another event may have waited for this one, or for the room.
        self.bell.set()
        if not task.cancelled() and task.exception() is not None:
            log.error("an event could not be told", exc_info=task.exception())

    def _complain(self, error: Exception) -> None:
        if isinstance(error, DatabaseUnavailableError):
            if not self.away:
                log.warning("events wait: %s", error.message)
            self.away = True
        else:
            log.error("events could not be claimed, will go on trying", exc_info=error)

    async def _listen(self) -> None:
        """Ring the bell whenever something is to be told."""
        while True:
            with suppress(DatabaseUnavailableError, *UNAVAILABLE):
                async with await self.database.connect() as connection:
                    await EventRepository(connection).listen()
                    self.bell.set()
                    async for _ in connection.notifies():
                        self.bell.set()
            await asyncio.sleep(RECONNECT_SECONDS)


@asynccontextmanager
async def delivering(database: Database) -> AsyncIterator[None]:
    """Run a courier beside an app."""
    settings = get_settings()
    client = OutboundClient(
        EgressGuard(settings.egress_allow), response_limit_bytes=settings.response_limit_bytes
    )
    courier = Courier(database, client, timeout=settings.event_timeout_seconds)
    task = asyncio.create_task(courier.run(), name="carillon-courier")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await client.aclose()
