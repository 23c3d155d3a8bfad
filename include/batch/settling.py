"""How a task goes from status to status by what became of its sub-tasks.

Everything here is inside the transaction of a caller who has locked the task.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from include.batch.api_repository import ApiRepository
from include.batch.model import Step, Subtask, SubtaskStatus, Task, TaskStatus
from include.batch.repository import TaskRepository
from include.batch.states import final_status
from include.batch.steering import judge_anew, steer
from include.batch.subtask_repository import SubtaskRepository
from include.kit.db import Connection


async def record(
    connection: Connection,
    task: Task,
    steps: Sequence[tuple[Subtask, Step]],
    *,
    claimer: int,
    now: datetime,
) -> dict[int, SubtaskStatus]:
    """Write what became of sub-tasks, and end their task with the last of them.

    :returns: the status of each sub-task that was still the claimer's to write
    """
    written = await SubtaskRepository(connection).record_steps(task, steps, claimer=claimer, now=now)
    if written:
        await settle(connection, task.id, now)
    return written


async def release(
    connection: Connection, task: Task, *, claimer: int, held: Sequence[int], now: datetime
) -> int:
    """Free the claims of processes that are gone; returns how many. A task that is stopping may end by it."""
    released = await SubtaskRepository(connection).release_dead_claims(
        task, claimer=claimer, held=held, now=now
    )
    if released and task.status == "Stopping":
        await settle(connection, task.id, now)
    return released


async def reopen(
    connection: Connection,
    task: Task,
    statuses: Collection[SubtaskStatus],
    now: datetime,
    *,
    targets: Sequence[str] | None = None,
) -> list[str]:
    """Have sub-tasks begin anew, all of these statuses or named ones, and with them a task that had ended.

    :returns: their targets
    """
    reopened = await SubtaskRepository(connection).reopen_subtasks(
        task, statuses, wake_at=now, now=now, targets=targets
    )
    if not reopened:
        return reopened
    tasks = TaskRepository(connection)
    if task.finished:
        await tasks.move_task(task.id, "Processing", now)
    await judge_anew(connection, task)
    # What was reopened may be of a wave that waits for the one before, which has long ended.
    await settle(connection, task.id, now)
    await tasks.notify_task(task.id)
    return reopened


async def settle(connection: Connection, id: int, now: datetime) -> TaskStatus:
    """End a task of which no sub-task is open, else have its rollout steer it; returns its status."""
    tasks = TaskRepository(connection)
    task = await tasks.find_task(id)
    if task is None or task.finished:
        return task.status if task else "Stopped"
    final = final_status(task.status, task.progress)
    if final is None:
        reason = await steer(connection, task, now)
        return await _stop(connection, id, reason, now) if reason else task.status
    description = await _description(connection, task) if final != "Success" else None
    await tasks.move_task(id, final, now, status_desc=description)
    # Whoever waits for more of it need not.
    await tasks.notify_task(id)
    return final


async def _stop(connection: Connection, id: int, reason: str, now: datetime) -> TaskStatus:
    """Stop a task by itself: nothing more of it is claimed, what is in hand settles."""
    await ApiRepository(connection).stop_subtasks(id, now)
    tasks = TaskRepository(connection)
    await tasks.move_task(id, "Stopping", now, status_desc=reason)
    await tasks.notify_task(id)
    return await settle(connection, id, now)


async def _description(connection: Connection, task: Task) -> str:
    """Return the main reason why a task did not succeed (A5, `status_desc`)."""
    progress = task.progress
    if not progress.total:
        return "no target"
    if task.status == "Stopping" and task.status_desc:
        return task.status_desc
    counts = {"failed": progress.fail, "stopped": progress.stopped, "removed": progress.removed}
    words = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    failure = await SubtaskRepository(connection).main_failure(task.id)
    return f"{words} of {progress.total}" + (f"; mostly {' '.join(failure)}".rstrip() if failure else "")
