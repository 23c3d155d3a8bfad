"""Expansion: a task gets its sub-tasks, set-based, once."""

from __future__ import annotations

from datetime import datetime

from include.batch.model import Task
from include.batch.repository import TaskRepository
from include.batch.settling import settle
from include.batch.steering import divide
from include.batch.subtask_repository import SubtaskRepository
from include.kit.db import Connection


async def expand(connection: Connection, id: int, now: datetime) -> Task | None:
    """Make the sub-tasks of a task that has none yet, in the caller's transaction; may be repeated.

    Afterwards the task waits (`Waitting`: it is scheduled for later, or to be confirmed first), is at work
    (`Processing`), or has failed: there was no target, or none that the project has.

    :returns: the task as it is now, None where it is gone
    """
    tasks = TaskRepository(connection)
    task = await tasks.lock_task(id)
    if task is None or task.status != "Initializing":
        return task
    due_at = max(task.due_at, now)
    wake_at = None if task.asked.need_confirm else due_at
    await SubtaskRepository(connection).insert_subtasks(id, wake_at=wake_at, now=now)
    await divide(connection, await tasks.find_task(id) or task, now)
    if await settle(connection, id, now) == "Initializing":
        waits = task.asked.need_confirm or due_at > now
        await tasks.move_task(id, "Waitting" if waits else "Processing", now)
    return await tasks.find_task(id)
