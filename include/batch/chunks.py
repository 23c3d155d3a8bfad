"""What the platform does alone, without a word to a device: claimed, performed and recorded in chunks.

All three in one transaction, so each sub-task is performed exactly once, whatever is killed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from include.batch.codes import DEFECT
from include.batch.engine import BatchEngine
from include.batch.model import Step, Subtask, SubtaskStatus, Task
from include.batch.performing import LocalPerformer
from include.batch.repository import TaskRepository
from include.batch.settling import record
from include.batch.shard import Look, Shard, log, next_look
from include.batch.steering import admit, count_begun
from include.batch.subtask_repository import SubtaskRepository
from include.errors import DatabaseUnavailableError
from include.kit.clock import system_clock
from include.kit.db import Connection

CHUNK = 500


class Chunks(Shard):
    """A shard that performs chunk by chunk.

    :param task: with its document
    """

    def __init__(
        self, engine: BatchEngine, task: Task, performer: LocalPerformer, write_line: Callable[[str], None]
    ) -> None:
        super().__init__(engine, task.id, write_line)
        self.performer = performer
        self.size = CHUNK

    async def look(self) -> Look:
        try:
            async with self.engine.database.transaction() as connection:
                look, statuses = await self._look(connection)
        except DatabaseUnavailableError:
            raise
        except Exception:
            # One sub-task that cannot be performed must not take the others of its chunk with it.
            log.exception("a chunk of %d could not be performed", self.size)
            self.size //= 2
            return Look(await self._find(), more=True)
        self.size = min(CHUNK, max(1, self.size) * 2)
        for status in statuses:
            self.summary.count(status)
        return look

    async def _look(self, connection: Connection) -> tuple[Look, Sequence[SubtaskStatus]]:
        now, claimer = system_clock(), self.engine.presence.claimer
        tasks, subtasks = TaskRepository(connection), SubtaskRepository(connection)
        task = await tasks.lock_task(self.id)
        if task is None or task.finished:
            return Look(task), ()
        room = 0 if task.status == "Stopping" else max(1, self.size)
        allowed = await admit(connection, task, room, now)
        limit = allowed.count
        found = await subtasks.claim_subtasks(task, limit=limit, fresh=limit, claimer=claimer, now=now)
        if not found:
            return Look(task, wake_at=await next_look(subtasks, task, allowed, 0)), ()
        await count_begun(connection, task, len(found), now)
        claimed = [one.subtask for one in found]
        steps = await self._perform(connection, task, claimed)
        pairs = list(zip(claimed, steps, strict=True))
        written = await record(connection, task, pairs, claimer=claimer, now=system_clock())
        return Look(await tasks.find_task(self.id), more=True), list(written.values())

    async def _perform(self, connection: Connection, task: Task, claimed: list[Subtask]) -> list[Step]:
        if self.size:
            return await self.performer.perform(connection, task, claimed)
        # Alone it could not be performed either.
        reason = "it could not be performed; the log of its shard says why"
        return [Step(one.id, "Fail", error_code=DEFECT, error_msg=reason, retryable=False) for one in claimed]

    async def _find(self) -> Task | None:
        async with self.engine.database.transaction() as connection:
            return await TaskRepository(connection).find_task(self.id)
