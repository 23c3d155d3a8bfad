"""Use cases of the own API on batch tasks: list them all, pause, resume, approve a wave, look ahead.

What the vendor's API has too, create, retry, stop, confirm, delete, is in `service.py` and `actions.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from include.batch.actions import BatchActions
from include.batch.control_repository import NEWEST, ControlFilter, ControlRepository, SubtaskRecord
from include.batch.expansion import expand
from include.batch.model import UPGRADE_TYPES, NewTask, Preview, SubtaskStatus, Task
from include.batch.repository import TaskRepository
from include.batch.rollout import Rollout, predicted_end, wave_sizes, zone_of
from include.batch.rollout_repository import RolloutRepository, WaveRecord
from include.batch.service import BatchService, TaskStateError
from include.batch.steering import open_wave, rollout_of
from include.errors import NotFoundError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection
from include.ota.service import resolve_package
from include.settings import get_settings


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task with what stands beside it.

    :ivar run_failure: why its next run could not be started yet
    :ivar waves: none where it has none
    """

    task: Task
    run_failure: str | None
    waves: Sequence[WaveRecord] = ()


class BatchControl:
    """The use cases, each the whole of the caller's transaction.

    :param projects: the project ids that the caller's token may see, None for all; what is of another one is
        not found
    :param by: who asks, None: not known
    """

    def __init__(
        self,
        connection: Connection,
        *,
        projects: Sequence[str] | None = None,
        by: str | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self.connection = connection
        self.projects = projects
        self.by = by
        self.clock = clock
        self.tasks = TaskRepository(connection)
        self.repository = ControlRepository(connection)
        self.rollouts = RolloutRepository(connection)

    async def list_tasks(
        self, wanted: ControlFilter, *, before: str | None = None, limit: int
    ) -> list[TaskRecord]:
        """Return tasks without their waves, the newest first.

        :param before: a task_id, of the last one of the page before
        """
        rows = await self.repository.list_tasks(
            wanted, projects=self.projects, before=before or NEWEST, limit=limit
        )
        return [TaskRecord(task, failure) for task, failure in rows]

    async def show(self, task_id: str) -> TaskRecord:
        """Return a task. Raises NotFoundError."""
        task = await self._find(task_id)
        waves = await self.rollouts.list_waves(task.id)
        return TaskRecord(task, await self.repository.find_run_failure(task.id), waves)

    async def subtasks(
        self,
        task_id: str,
        *,
        status: SubtaskStatus | None = None,
        wave: int | None = None,
        after: int,
        limit: int,
    ) -> list[SubtaskRecord]:
        """Return sub-tasks in the order of their targets. Raises NotFoundError."""
        task = await self._find(task_id)
        return await self.repository.list_subtasks(
            task.id, status=status, wave=wave, after=after, limit=limit
        )

    async def pause(self, task_id: str, reason: str | None = None) -> TaskRecord:
        """Begin nothing more of a task; what was begun settles. One that is paused stays so.

        :raises NotFoundError: no such task
        :raises TaskStateError: it has ended, or is about to
        :raises DatabaseUnavailableError: what was just claimed did not leave in time
        """
        found = await self._find(task_id)
        actions = BatchActions(self.connection, found.asked.project_id, clock=self.clock)
        task = await actions.lock_unsent(task_id)
        if task.finished or task.status == "Stopping":
            raise TaskStateError(f"a task that is {task.status} cannot be paused")
        await self.rollouts.pause_task(task.id, reason or self._words("paused"), self.clock())
        return await self.show(task_id)

    async def resume(self, task_id: str) -> TaskRecord:
        """Have a task go on that was paused; whether too many fail is judged anew from here on.

        :raises NotFoundError: no such task
        """
        task = await self._lock(task_id)
        await self.rollouts.resume_task(task.id, self.clock())
        await self.tasks.notify_task(task.id)
        return await self.show(task_id)

    async def approve(self, task_id: str, wave: int) -> TaskRecord:
        """Let the wave after this one begin when this one has passed its gate; where it has ended, at once.

        So a wave that ended below its gate is passed all the same by somebody who has seen that.

        :raises NotFoundError: no such task, or it has no such wave
        :raises TaskStateError: there is nothing to approve
        """
        task = await self._lock(task_id)
        waves = rollout_of(task).waves or ()
        if not 1 <= wave <= len(waves):
            raise NotFoundError(f"the task has no wave {wave}")
        if wave < task.open_wave:
            return await self.show(task_id)
        if task.finished or task.status == "Stopping":
            raise TaskStateError(f"a task that is {task.status} goes on with no wave")
        if wave > task.open_wave:
            raise TaskStateError(f"wave {wave} has not begun")
        busy = task.progress.processing or task.progress.fail_wait_retry
        ended = not busy and await self.rollouts.find_open_wave(task) is not None
        if not waves[wave - 1].approval and not ended:
            raise TaskStateError(f"wave {wave} has not ended, and needs no approval before that")
        now = self.clock()
        await self.rollouts.approve_wave(task.id, wave, self.by, now)
        if ended:
            await open_wave(self.connection, task, now)
        return await self.show(task_id)

    async def preview(self, new: NewTask) -> Preview:
        """Return what a task would do: it is made, looked at, and taken back.

        :raises NotFoundError: the project is not the caller's
        :raises InvalidInputError: as where it were created
        """
        if self.projects is not None and new.project_id not in self.projects:
            raise NotFoundError(f"there is no project {new.project_id!r}")
        async with self.connection.transaction(force_rollback=True):
            created = await BatchService(self.connection, new.project_id, clock=self.clock).create(new)
            task = await expand(self.connection, created.id, self.clock()) or created
            return await self._look_ahead(task)

    async def _look_ahead(self, task: Task) -> Preview:
        version = None
        if task.asked.task_type in UPGRADE_TYPES:
            package = await resolve_package(
                self.connection, task.asked.project_id, task.asked.task_type, task.asked.document
            )
            version = package.version
        excluded = await self.repository.count_exclusions(task, version)
        rollout = rollout_of(task)
        zones: Counter[str] = Counter()
        for zone, count in (await self.repository.count_zones(task)).items():
            default = get_settings().timezone
            zones[zone_of(rollout.window, zone, default) if rollout.window else default] += count
        waiting = excluded.pop("offline", 0) if task.asked.task_type in UPGRADE_TYPES else 0
        return Preview(
            total=task.progress.total,
            excluded=excluded,
            waiting={"offline": waiting} if waiting else {},
            waves=wave_sizes(rollout.waves, zones.total()) if rollout.waves else (),
            ends_at=self._predicted_end(task, rollout, zones),
        )

    def _predicted_end(self, task: Task, rollout: Rollout, zones: Mapping[str, int]) -> datetime | None:
        if task.asked.need_confirm:
            return None
        return predicted_end(rollout, begins_at=max(task.due_at, self.clock()), zones=zones)

    async def _find(self, task_id: str) -> Task:
        found = await self.tasks.find_task(task_id=task_id, projects=self.projects)
        if found is None:
            raise NotFoundError(f"there is no batch task {task_id!r}")
        return found

    async def _lock(self, task_id: str) -> Task:
        found = await self._find(task_id)
        return await self.tasks.lock_task(found.id) or found

    def _words(self, done: str) -> str:
        return f"{done} by {self.by}" if self.by else f"{done} by a call"
