"""How sub-tasks are performed: over the device gateway one by one, or by the platform alone in chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from include.batch.model import Step, Subtask, Task
from include.kit.db import Connection


class Performer(Protocol):
    """Performs one sub-task over the device gateway."""

    async def perform(self, task: Task, subtask: Subtask) -> Step:
        """Do what the sub-task wants next; never raises but for cancellation.

        May be called twice for one attempt, after a process was killed: what is sent then carries the same
        `subtask.request_id(task.task_id)`. A stop of the task waits until the first bytes have left, so what
        is done before that should not take long.
        """

    async def close(self) -> None:
        """Finish what is being written."""
        return


class LocalPerformer(Protocol):
    """Performs many sub-tasks in the transaction in which they were claimed and will be recorded."""

    async def perform(self, connection: Connection, task: Task, subtasks: Sequence[Subtask]) -> list[Step]:
        """Do them all, and return what became of each in order."""
