"""What the tasks of a batch DAG do: expand, fan out, settle. Airflow's side of it is `triggers.py`."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime

from include.batch.engine import BatchEngine
from include.batch.expansion import expand
from include.batch.fanout import FanOut
from include.batch.model import LOCAL_TYPES, Task
from include.batch.repository import TaskRepository
from include.batch.settling import reopen
from include.batch.shard import Shard, Summary, counters
from include.errors import NotFoundError
from include.kit.clock import system_clock
from include.ledger.batches import until_available

TASK_RETRIED = frozenset({"Fail", "PartialSuccess"})

#: A shard is for so many sub-tasks; what the platform does alone needs one.
SUBTASKS_PER_SHARD = 2000

Say = Callable[[str], None]


class BatchRun:
    """One run of a batch task.

    :param task_id: as clients know it
    :param say: takes a line for the log
    """

    def __init__(self, engine: BatchEngine, task_id: str, say: Say) -> None:
        self.engine = engine
        self.task_id = task_id
        self.say = say

    async def expand(self) -> Task:
        """Make the sub-tasks, unless that was done; returns the task. Raises NotFoundError."""
        id = (await until_available(self._find)).id
        task = await until_available(lambda: self._expand(id))
        if task is None:
            raise self._missing()
        self.say(f"{task.asked.task_type} {task.asked.task_name!r}: {task.progress.total} targets")
        return task

    async def fan_out(self, shard: int, cleared_at: datetime | None = None) -> Summary:
        """Work as one of the shards until the task has ended.

        :param shard: from 0
        :param cleared_at: when this shard was cleared; what failed before is performed again
        :raises NotFoundError: no such task
        """
        if cleared_at is not None:
            await until_available(lambda: self._reopen(cleared_at))
        task = await until_available(self._find)
        if shard >= _shards(task) and cleared_at is None:
            self.say(f"not needed: {task.progress.total} targets are the work of {_shards(task)} shards")
            return Summary(task={"status": task.status, **counters(task)})
        return await (await self._shard(task)).run()

    async def settle(self) -> Task:
        """Return the task as it stands. Raises NotFoundError."""
        return await until_available(self._find)

    async def _shard(self, task: Task) -> Shard:
        if task.asked.task_type in LOCAL_TYPES:
            raise NotImplementedError
        performer = await self.engine.performer(task.asked.task_type)
        return FanOut(self.engine, task, performer, self.say)

    async def _find(self) -> Task:
        async with self.engine.database.transaction() as connection:
            task = await TaskRepository(connection).find_task(task_id=self.task_id)
        if task is None:
            raise self._missing()
        return task

    async def _expand(self, id: int) -> Task | None:
        async with self.engine.database.transaction() as connection:
            return await expand(connection, id, system_clock())

    async def _reopen(self, cleared_at: datetime) -> None:
        async with self.engine.database.transaction() as connection:
            tasks = TaskRepository(connection)
            found = await tasks.find_task(task_id=self.task_id)
            task = await tasks.lock_task(found.id) if found else None
            if task is None or task.status not in TASK_RETRIED:
                return
            if task.finished_at is None or task.finished_at >= cleared_at:
                return  # another shard that was cleared with this one was quicker
            targets = await reopen(connection, task, {"Fail"}, system_clock())
        self.say(f"cleared: {len(targets)} targets that failed are tried again")

    def _missing(self) -> NotFoundError:
        return NotFoundError(f"there is no batch task {self.task_id!r}")


def _shards(task: Task) -> int:
    if task.asked.task_type in LOCAL_TYPES:
        return 1
    return max(1, math.ceil(task.progress.total / SUBTASKS_PER_SHARD))
