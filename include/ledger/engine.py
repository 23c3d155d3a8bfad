"""The engine: what all windows armed in one process share.

One pool, one presence, one outbound client, one set of senders; claims and results of all windows go to the
database together. There is one engine an event loop, made by the first window that needs it.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from include.gateway.model import DeviceGateway
from include.gateway.shared import SharedGateway
from include.kit.clock import system_clock
from include.kit.db import Database, database_url
from include.kit.egress import EgressGuard
from include.kit.http import OutboundClient
from include.ledger.batches import Batches
from include.ledger.model import Due, Record
from include.ledger.presence import Presence
from include.ledger.repository import LedgerRepository, Shard, Verdict
from include.ledger.senders import Senders
from include.ota.inbox import EventInbox
from include.schedules.model import Kind
from include.schedules.repository import ScheduleRepository
from include.schedules.service import ScheduleService
from include.settings import get_settings

CLAIM_DELAY_SECONDS = 0.02
RECORD_DELAY_SECONDS = 0.1
RELEASE_DELAY_SECONDS = 0.5


class Engine:
    """Shared parts of firing in this process.

    :ivar held: executions that a window of this process has in memory, by id, and which window
    :ivar coming: how many executions all windows together are about to claim for an instant
    """

    _engines: ClassVar[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[Engine]]] = (
        weakref.WeakKeyDictionary()
    )

    def __init__(self, database: Database) -> None:
        settings = get_settings()
        self.database = database
        self.presence = Presence(database)
        self.client = OutboundClient(
            EgressGuard(settings.egress_allow),
            per_host_limit=settings.per_host_limit,
            response_limit_bytes=settings.response_limit_bytes,
        )
        self.senders = Senders(settings.senders)
        self.inbox = EventInbox(database)
        self.shared_gateway = SharedGateway(self.inbox)
        self.held: dict[int, object] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.coming: Counter[datetime] = Counter()
        self.claims: Batches[Sequence[Due], list[Verdict]] = Batches(
            self._claim, delay=CLAIM_DELAY_SECONDS, limit=500
        )
        self.records: Batches[tuple[Kind, Record], None] = Batches(
            self._record, delay=RECORD_DELAY_SECONDS, limit=1000, busy=lambda: bool(self.senders.jobs)
        )

    @classmethod
    async def current(cls) -> Engine:
        """Return the engine of the running event loop, started."""
        loop = asyncio.get_running_loop()
        task = cls._engines.get(loop)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = cls._engines[loop] = asyncio.create_task(Engine(Database(database_url())).open())
        return await asyncio.shield(task)

    @classmethod
    async def close_current(cls) -> None:
        """Stop the engine of the running event loop, if there is one."""
        task = cls._engines.pop(asyncio.get_running_loop(), None)
        if task is not None:
            await (await task).close()

    async def open(self) -> Engine:
        """Start everything.

        :raises DatabaseUnavailableError: the database is away; nothing is left open
        """
        await self.database.open()
        try:
            await self.presence.open()
        except BaseException:
            await self.database.close()
            raise
        self.senders.open()
        return self

    async def gateway(self) -> DeviceGateway:
        """Return the device gateway that all windows share, opened by the first that needs it.

        :raises InvalidInputError: none is set, or what is set cannot be used
        """
        return await self.shared_gateway.get()

    async def close(self) -> None:
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.senders.close()
        await self.records.close()
        await self.claims.close()
        await self.shared_gateway.close()
        await self.inbox.close()
        await self.client.aclose()
        await self.presence.close()
        await self.database.close()

    def release_later(self, shard: Shard) -> None:
        """Free what a window claimed and will not send, once its last jobs have passed the senders."""
        task = asyncio.create_task(self._release(shard), name="carillon-release")
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _release(self, shard: Shard) -> None:
        await asyncio.sleep(RELEASE_DELAY_SECONDS)
        async with self.database.transaction() as connection:
            await LedgerRepository(connection).release_dead_claims(
                shard, claimer=self.presence.claimer, held=list(self.held), now=system_clock()
            )

    async def _claim(self, groups: Sequence[Sequence[Due]]) -> list[list[Verdict]]:
        async with self.database.transaction() as connection:
            verdicts = await LedgerRepository(connection).claim(
                [due for group in groups for due in group],
                claimer=self.presence.claimer,
                now=system_clock(),
            )
        by_id = {verdict.execution_id: verdict for verdict in verdicts}
        # Each verdict goes to one group only, should two of them ask for the same execution.
        return [[by_id.pop(due.id) for due in group if due.id in by_id] for group in groups]

    async def _record(self, records: Sequence[tuple[Kind, Record]]) -> list[None]:
        async with self.database.transaction() as connection:
            schedules = ScheduleService(ScheduleRepository(connection))
            kinds = {kind for kind, record in records if record.handed_over}
            lanes = {kind: await schedules.ensure_once(kind) for kind in sorted(kinds)}
            await LedgerRepository(connection).record(
                [record for _, record in records],
                claimer=self.presence.claimer,
                lanes=[lanes[kind] if record.handed_over else None for kind, record in records],
            )
            await schedules.changed(lanes.values(), system_clock())
        return [None] * len(records)


async def sleep_until(moment: datetime) -> None:
    """Return at the moment or just after it, never before, also when the wall clock is set meanwhile."""
    target = moment.timestamp()
    while (left := target - system_clock().timestamp()) > 0:
        await asyncio.sleep(min(left, 1.0))
