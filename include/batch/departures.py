"""Claimed sub-tasks that have not left yet, and the lock by which a stop waits for them.

A stop answers only when nothing of its task can begin to leave any more. So whoever claims holds the task's
sending lock from before the claim until the bytes of all it claimed are the network's, and a stop takes that
lock for itself (`TaskRepository.lock_stopping`) before it says so in the database.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from include.batch.repository import TaskRepository
from include.kit.db import UNAVAILABLE, Connection, Database

#: How soon to ask again for a lock that a stop has or waits for.
ASK_AGAIN_SECONDS = 0.02


class Departures:
    """Which sub-tasks have not left.

    :ivar staying: their ids
    """

    def __init__(self) -> None:
        self.staying: set[int] = set()
        self.empty = asyncio.Event()
        self.empty.set()

    def expect(self, id: int) -> Callable[[], None]:
        """One more is about to leave; returns what to call when it has, once or more often."""

        def left() -> None:
            self.staying.discard(id)
            if not self.staying:
                self.empty.set()

        self.staying.add(id)
        self.empty.clear()
        return left

    async def wait(self, seconds: float) -> bool:
        """Return whether all have left in time."""
        try:
            async with asyncio.timeout(seconds):
                await self.empty.wait()
        except TimeoutError:
            return False
        return True


class SendingLocks:
    """The sending locks that this process holds, on a connection of their own; claims of a task take turns.

    Turns, because a session that has a lock already gets it again without a look at who waits: shards that
    relieve each other would let a stop wait for ever.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.connection: Connection | None = None
        self.talking = asyncio.Lock()
        self.turns: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.users: dict[int, int] = defaultdict(int)

    async def close(self) -> None:
        if self.connection:
            await self.connection.close()

    @asynccontextmanager
    async def held(self, id: int) -> AsyncIterator[None]:
        """Hold the sending lock of a task.

        :raises DatabaseUnavailableError: the server cannot be reached
        """
        self.users[id] += 1
        try:
            async with self.turns[id]:
                while not await self._say(id, take=True):
                    await asyncio.sleep(ASK_AGAIN_SECONDS)
                try:
                    yield
                finally:
                    await self._say(id, take=False)
        finally:
            self.users[id] -= 1
            if not self.users[id]:
                del self.users[id], self.turns[id]

    async def _say(self, id: int, *, take: bool) -> bool:
        async with self.talking:
            if self.connection is None or self.connection.closed:
                if not take:
                    return True  # gone with its session
                self.connection = await self.database.connect()
            tasks = TaskRepository(self.connection)
            try:
                if take:
                    return await tasks.try_lock_sending(id)
                await tasks.unlock_sending(id)
            except UNAVAILABLE:
                # The session and its locks are gone, or will be with this.
                await self.connection.close()
                return not take
            return True
