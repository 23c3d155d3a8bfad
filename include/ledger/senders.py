"""The senders: a bounded pool of tasks that make the calls of an instant.

Thirty-two warm senders get a burst out sooner than a task for each call (DESIGN section 10). A sender that
waits for a slow target is no use to the others, so while calls queue behind waiting senders more of them are
started, and end again when the queue is empty.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

Job = Callable[[], Awaitable[None]]

GROW_SECONDS = 0.05
MOST_SENDERS = 5000


class Senders:
    """Runs jobs in the order in which they are put.

    :param count: senders that stay; more come and go with slow targets
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.jobs: deque[Job] = deque()
        self.ready = asyncio.Semaphore(0)
        self.started = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.grower: asyncio.Task[None] | None = None

    def open(self) -> Senders:
        for _ in range(self.count):
            self._start(self._stay())
        return self

    async def close(self) -> None:
        tasks = [*self.tasks, *([self.grower] if self.grower else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def put(self, jobs: list[Job]) -> None:
        """Queue jobs; those that are there go first."""
        self.jobs.extend(jobs)
        for _ in jobs:
            self.ready.release()
        if self.grower is None or self.grower.done():
            self.grower = asyncio.create_task(self._grow(), name="carillon-grow")

    async def _stay(self) -> None:
        while True:
            await self.ready.acquire()
            await self._run(self.jobs.popleft())

    async def _help_out(self) -> None:
        while not self.ready.locked():
            await self.ready.acquire()
            await self._run(self.jobs.popleft())

    async def _run(self, job: Job) -> None:
        self.started += 1
        try:
            await job()
        except Exception:
            log.exception("a sender's job failed")

    async def _grow(self) -> None:
        """Start helpers while the queue stands still."""
        while self.jobs:
            before = self.started
            await asyncio.sleep(GROW_SECONDS)
            if self.jobs and self.started - before < self.count and len(self.tasks) < MOST_SENDERS:
                for _ in range(min(len(self.jobs), MOST_SENDERS - len(self.tasks))):
                    self._start(self._help_out())

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
