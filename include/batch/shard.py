"""A shard of a batch task: looks what is due, works, sleeps, until the task has ended.

How it works is its subclass's: `fanout.py` sends over the gateway, `chunks.py` performs what the platform
does alone. It lives in the event loop of a triggerer beside many others, so nothing here blocks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from include.batch.engine import BatchEngine
from include.batch.model import SubtaskStatus, Task
from include.batch.rollout import Allowance
from include.batch.subtask_repository import SubtaskRepository
from include.kit.clock import system_clock
from include.ledger.batches import until_available
from include.ledger.presence import BATCH_TASKS

log = logging.getLogger(__name__)

#: How often to look without being told: by then a claim of a process that died is seen, too.
LOOK_SECONDS = 5.0
#: How often the log tells how far it is.
TELL_SECONDS = 5.0


@dataclass
class Summary:
    """What a shard did, for its log and its XCom.

    :ivar performed: tries of sub-tasks, or steps of an upgrade
    """

    performed: int = 0
    succeeded: int = 0
    failed: int = 0
    to_retry: int = 0
    removed: int = 0
    task: dict[str, Any] = field(default_factory=dict)

    def count(self, status: SubtaskStatus | None) -> None:
        """Take note of a sub-task that was recorded."""
        self.performed += 1
        self.succeeded += status == "Success"
        self.failed += status == "Fail"
        self.to_retry += status == "FailWaitRetry"
        self.removed += status == "Removed"

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Look:
    """What a shard saw when it looked.

    :ivar task: as it was, None: it is gone
    :ivar more: whether more may be due than it had room for
    :ivar wake_at: when something is due next, None: not by itself
    """

    task: Task | None
    more: bool = False
    wake_at: datetime | None = None

    @property
    def over(self) -> bool:
        return self.task is None or self.task.finished


class Shard:
    """One shard, from its first look to the end of the task.

    :param write_line: takes a line for the task's log
    """

    def __init__(self, engine: BatchEngine, id: int, write_line: Callable[[str], None]) -> None:
        self.engine = engine
        self.id = id
        self.write_line = write_line
        self.summary = Summary()
        self.wake = asyncio.Event()
        self.told_at = float("-inf")
        self.told = ""
        self.swept_at = float("-inf")

    async def run(self) -> Summary:
        """Work until the task has ended."""
        with self.engine.presence.listening(self.id, self.wake.set, channel=BATCH_TASKS):
            try:
                while True:
                    self.wake.clear()
                    look = await until_available(self.look)
                    self.tell(look)
                    if look.over:
                        return self.summary
                    await self.rest(look)
            finally:
                self.stopped()

    async def look(self) -> Look:
        """Do what is due, or begin to. Raises DatabaseUnavailableError: then it is called again."""
        raise NotImplementedError

    async def rest(self, look: Look) -> None:
        """Return when it is worth looking again."""
        if not look.more:
            await self.sleep(self.seconds_until(look.wake_at))

    def stopped(self) -> None:
        """It looks no more, because the task has ended or because it was cancelled."""

    # --- for the subclasses

    def sweeps(self) -> bool:
        """Return whether it is time to look for claims of processes that died."""
        now = asyncio.get_running_loop().time()
        if now - self.swept_at < LOOK_SECONDS:
            return False
        self.swept_at = now
        return True

    def seconds_until(self, moment: datetime | None) -> float:
        """Return how long to sleep for something that is due at a moment."""
        left = ((moment or _NEVER) - system_clock()).total_seconds()
        return min(max(left, 0.0), LOOK_SECONDS)

    async def sleep(self, seconds: float) -> None:
        """Return after some time, or when there is news."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.wake.wait()

    def tell(self, look: Look) -> None:
        """Write how far the task is, every few seconds and in the end, where that changed."""
        task, now = look.task, asyncio.get_running_loop().time()
        if task is None:
            self.write_line("the batch task is gone")
            return
        if not look.over and now - self.told_at < TELL_SECONDS:
            return
        self.told_at = now
        counts = counters(task)
        self.summary.task = {"status": task.status, **counts}
        done, line = self.summary, f"{task.status}{' (paused)' if task.paused_at else ''}: {_words(counts)}"
        line += f"; this shard: {done.performed} performed, {done.succeeded} succeeded, {done.failed} failed"
        if line != self.told:
            self.told = line
            self.write_line(line)


async def next_look(
    subtasks: SubtaskRepository, task: Task, allowed: Allowance, begun: int
) -> datetime | None:
    """Return when a task is worth a look of which so many were begun, None: not before there is news."""
    used_up = begun == allowed.count
    wake_at = await subtasks.next_wake(task, fresh=not used_up)
    moments = [wake_at, allowed.again_at] if used_up else [wake_at]
    return min((one for one in moments if one is not None), default=None)


def counters(task: Task) -> dict[str, int]:
    """Return the counters of a task by name."""
    names = ("total", "waitting", "processing", "success", "fail", "fail_wait_retry", "stopped", "removed")
    return {name: getattr(task.progress, name) for name in names}


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "total")


_NEVER = datetime.max.replace(tzinfo=UTC)
