"""Micro-batches: many small requests to the database become one statement.

Hundreds of windows claim at the same moment and thousands of results arrive within a second; a transaction
for each would be the bottleneck. What is added within `delay` goes together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from include.errors import DatabaseUnavailableError

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Answer = TypeVar("Answer")

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 2.0


class Batches(Generic[Item, Answer]):
    """Collects items and hands them to `write` together; each item's answer comes back by itself.

    :param write: takes the items, returns one answer an item in the same order
    :param delay: seconds that an item may wait for company
    :param limit: most items in one write
    :param busy: while true, writing is put off (for `LONGEST_PAUSE_SECONDS` at the most)
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        *,
        delay: float,
        limit: int,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self.write = write
        self.delay = delay
        self.limit = limit
        self.busy = busy
        self.waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self.arrived = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def add(self, item: Item) -> asyncio.Future[Answer]:
        """Queue an item; the future holds its answer once it is committed."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.waiting.append((item, future))
        self.arrived.set()
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._run(), name="carillon-batches")
        return future

    async def close(self) -> None:
        """Write what is still waiting, then stop."""
        while self.waiting:
            await asyncio.sleep(self.delay)
        if self.task:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self.arrived.wait()
            await asyncio.sleep(self.delay)
            await self._let_busy_pass()
            batch, self.waiting = self.waiting[: self.limit], self.waiting[self.limit :]
            if not self.waiting:
                self.arrived.clear()
            await self._write(batch)

    async def _let_busy_pass(self) -> None:
        deadline = asyncio.get_running_loop().time() + LONGEST_PAUSE_SECONDS
        while self.busy() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(self.delay)

    async def _write(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await until_available(lambda: self.write([item for item, _ in batch]))
        except Exception as error:
            if len(batch) > 1:  # one item that cannot be written must not take the others with it
                middle = len(batch) // 2
                await self._write(batch[:middle])
                await self._write(batch[middle:])
                return
            log.exception("an item could not be written")
            if not batch[0][1].done():
                batch[0][1].set_exception(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)


async def until_available(action: Callable[[], Awaitable[Answer]]) -> Answer:
    """Repeat an action for as long as the database is away; a restart costs time, never a result."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return await action()
        except DatabaseUnavailableError as error:
            log.warning("waiting for the database: %s", error.message)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
