"""The presence of a process: its claimer id, held by an advisory lock, and its ear for notifications.

Both hang on one connection. When the process dies the server drops the lock, and whoever arms next sees that
the claims of this id are nobody's any more. When only the connection dies, it is made again with the same id,
and every listener is woken, since notifications may have been lost meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from psycopg import sql

from include.errors import DatabaseUnavailableError
from include.kit.db import UNAVAILABLE, Connection, Database
from include.ledger.repository import LedgerRepository

log = logging.getLogger(__name__)

#: What is told on each is the id of what changed: of a schedule, of a batch task.
SCHEDULES, BATCH_TASKS = "carillon_schedule", "carillon_batch"
CHANNELS = (SCHEDULES, BATCH_TASKS)
RECONNECT_SECONDS = 0.5
LOST: tuple[type[Exception], ...] = (DatabaseUnavailableError, *UNAVAILABLE)


class Presence:
    """Keeps the lock and the LISTEN connection of this process.

    :ivar claimer: the id under which this process claims executions
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.claimer = 0
        self.listeners: dict[tuple[str, str], set[Callable[[], None]]] = defaultdict(set)
        self.task: asyncio.Task[None] | None = None
        self.connection: Connection | None = None

    async def open(self) -> Presence:
        """Take an identity; returns when the lock is held."""
        self.connection = await self._connect()
        self.task = asyncio.create_task(self._listen(), name="carillon-presence")
        return self

    async def close(self) -> None:
        if self.task:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        if self.connection:
            await self.connection.close()

    @contextmanager
    def listening(
        self, id: int, on_change: Callable[[], None], *, channel: str = SCHEDULES
    ) -> Iterator[None]:
        """Call `on_change` whenever a schedule, or what another of `CHANNELS` tells of, may have changed."""
        key = (channel, str(id))
        self.listeners[key].add(on_change)
        try:
            yield
        finally:
            self.listeners[key].discard(on_change)
            if not self.listeners[key]:
                del self.listeners[key]

    async def _connect(self) -> Connection:
        connection = await self.database.connect()
        for channel in CHANNELS:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        repository = LedgerRepository(connection)
        if not self.claimer:
            self.claimer = await repository.next_claimer_id()
        # The server may not have noticed yet that the old session is gone.
        while not await repository.hold_claimer_lock(self.claimer):
            await asyncio.sleep(RECONNECT_SECONDS)
        return connection

    async def _listen(self) -> None:
        while True:
            try:
                if self.connection is None or self.connection.closed:
                    self.connection = await self._connect()
                    self._wake_all()
                async for notify in self.connection.notifies():
                    self._wake(notify.channel, notify.payload)
            except LOST as error:
                log.warning("lost the notification connection, making it again: %s", error)
                if self.connection is None or self.connection.closed:
                    self.connection = None
                    await asyncio.sleep(
                        RECONNECT_SECONDS if isinstance(error, DatabaseUnavailableError) else 0
                    )

    def _wake(self, channel: str, payload: str) -> None:
        for on_change in tuple(self.listeners.get((channel, payload), ())):
            on_change()

    def _wake_all(self) -> None:
        for listeners in tuple(self.listeners.values()):
            for on_change in tuple(listeners):
                on_change()
