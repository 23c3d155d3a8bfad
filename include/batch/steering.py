"""What a rollout does to a task under way: it says what may begin now, halts the task, opens the next wave.

Three places ask: a shard before it claims (`admit`, `count_begun`), expansion (`divide`), and whoever changed
what has ended (`steer`, by `settling.settle`). All of them have locked the task.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from include.batch.model import Task
from include.batch.repository import TaskRepository
from include.batch.rollout import (
    Allowance,
    Rollout,
    Sample,
    Slot,
    abort_reason,
    allowance,
    hold_reason,
    paced_until,
    parse,
    slot_of,
    wave_sizes,
    zone_of,
)
from include.batch.rollout_repository import RolloutRepository, Unplaced
from include.kit.db import Connection
from include.settings import get_settings

#: Sub-tasks that are given their times at once.
PLACED_AT_ONCE: Final = 10_000
#: The end of the window of what has none, but was given its part of a spread.
FOREVER: Final = datetime(9999, 1, 1, tzinfo=UTC)


def rollout_of(task: Task) -> Rollout:
    """Return the rollout of a task; of one that was asked for without, one that limits nothing."""
    return parse(task.asked.rollout or {})


async def admit(connection: Connection, task: Task, room: int, now: datetime) -> Allowance:
    """Return how many sub-tasks may begin an attempt now; those that are due have their times then."""
    if task.paused_at is not None:
        return Allowance(0)
    if task.due_at > now:
        return Allowance(0, task.due_at)
    rollout = rollout_of(task)
    if rollout.window or rollout.spread_seconds:
        await _place(RolloutRepository(connection), task, rollout, now)
    return allowance(rollout, task, now, wanted=room)


async def count_begun(connection: Connection, task: Task, begun: int, now: datetime) -> None:
    """Take note that attempts were begun, as `admit` allowed; a task that waited is at work from then on."""
    if not begun:
        return
    tasks = TaskRepository(connection)
    until = paced_until(rollout_of(task), task, now, begun=begun)
    await tasks.count_dispatched(task.id, begun, until)
    if task.status == "Waitting":
        await tasks.move_task(task.id, "Processing", now)


async def divide(connection: Connection, task: Task, now: datetime) -> None:
    """Divide the sub-tasks of a task into its waves; what failed already is in none, and not judged."""
    await judge_anew(connection, task)
    waves = rollout_of(task).waves
    if waves:
        sizes = wave_sizes(waves, task.progress.waitting)
        await RolloutRepository(connection).insert_waves(task.id, sizes, now)


async def judge_anew(connection: Connection, task: Task) -> None:
    """Judge whether too many fail by what ends from here on."""
    if task.asked.rollout is not None:
        await RolloutRepository(connection).leave_out_of_sample(task.id)


async def steer(connection: Connection, task: Task, now: datetime) -> str | None:
    """Pause a task of which too many failed, or open its next wave.

    :returns: why the task is to be stopped, None: it is not
    """
    if task.asked.rollout is None or task.status == "Stopping":
        return None
    rollout, repository = rollout_of(task), RolloutRepository(connection)
    reason = abort_reason(rollout.abort, _sample(task))
    if rollout.abort and reason and task.paused_at is None:
        if rollout.abort.action == "stop":
            return reason
        await repository.pause_task(task.id, reason, now)
    await _open_next_wave(connection, task, rollout, now)
    return None


async def _open_next_wave(connection: Connection, task: Task, rollout: Rollout, now: datetime) -> None:
    waves, progress = rollout.waves or (), task.progress
    # The counters tell most of the time that it has not ended; of later waves all sub-tasks wait.
    if task.open_wave >= len(waves) or progress.processing or progress.fail_wait_retry:
        return
    repository = RolloutRepository(connection)
    found = await repository.find_open_wave(task)
    if found is None:
        return
    reason = hold_reason(
        waves[task.open_wave - 1],
        number=task.open_wave,
        size=found.size,
        succeeded=found.succeeded,
        approved=found.approved,
    )
    if reason:
        await repository.describe_task(task.id, reason, now)
    else:
        await open_wave(connection, task, now)


async def open_wave(connection: Connection, task: Task, now: datetime) -> None:
    """Open the wave after the last one that is open."""
    await RolloutRepository(connection).open_wave(task.id, task.open_wave + 1, now)
    await TaskRepository(connection).notify_task(task.id)


async def _place(repository: RolloutRepository, task: Task, rollout: Rollout, now: datetime) -> None:
    """Give what is due its part of a spread, and of the maintenance window that is open or comes next."""
    while found := await repository.unplaced_subtasks(task, limit=PLACED_AT_ONCE, now=now):
        slots = [(one.id, _slot(task, rollout, one)) for one in found]
        await repository.place_subtasks(slots, now)


def _slot(task: Task, rollout: Rollout, one: Unplaced) -> Slot:
    zone = zone_of(rollout.window, one.timezone, get_settings().timezone) if rollout.window else "UTC"
    slot = slot_of(rollout, task_id=task.task_id, target=one.target, after=one.after, zone=zone)
    return slot if slot.window_ends_at else replace(slot, window_ends_at=FOREVER)


def _sample(task: Task) -> Sample:
    progress = task.progress
    return Sample(max(0, progress.success - task.judged_success), max(0, progress.fail - task.judged_fail))
