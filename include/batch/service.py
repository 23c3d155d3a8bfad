"""Use cases on batch tasks: create, list, show, delete. What acts on one that runs is in `actions.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from include.batch.api_repository import ApiRepository
from include.batch.model import (
    UPGRADE_TYPES,
    NewTask,
    Page,
    Progress,
    Subtask,
    SubtaskFilter,
    SubtaskStatus,
    Task,
    TaskFilter,
)
from include.batch.repository import TaskRepository
from include.batch_files.service import resolve_file
from include.errors import ConflictError, InvalidInputError, NotFoundError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection
from include.ota.service import resolve_package

#: Which counter of a task says how many sub-tasks have a status.
COUNTERS: Mapping[SubtaskStatus, str] = {
    "Waitting": "waitting",
    "Processing": "processing",
    "Success": "success",
    "Fail": "fail",
    "FailWaitRetry": "fail_wait_retry",
    "Stopped": "stopped",
    "Removed": "removed",
}


class TaskStateError(ConflictError):
    """The task is not in a status that allows this."""


class BatchService:
    """The tasks of one project, inside the caller's transaction."""

    def __init__(self, connection: Connection, project_id: str, *, clock: Clock = system_clock) -> None:
        self.connection = connection
        self.project_id = project_id
        self.clock = clock
        self.tasks = TaskRepository(connection)
        self.repository = ApiRepository(connection)

    async def create(self, new: NewTask) -> Task:
        """Store a task; a run of it is wanted from then on.

        :raises InvalidInputError: a group or package that the project does not have, a file without columns
        :raises FileMissingError: there is no such file, or it has aged out
        """
        if new.task_type in UPGRADE_TYPES:
            await resolve_package(self.connection, self.project_id, new.task_type, new.document)
        await self._check_source(new)
        id = await self.tasks.insert_task(new, self.clock())
        return _existing(await self.tasks.find_task(id, with_targets=True), id)

    async def list_tasks(self, wanted: TaskFilter) -> tuple[Sequence[Task], Page]:
        """Return a page of tasks with their targets, the newest first."""
        tasks = await self.repository.list_tasks(self.project_id, wanted)
        count = await self.repository.count_tasks(self.project_id, wanted)
        return tasks, Page(count, tasks[-1].task_id if tasks else None)

    async def show(self, task_id: str, wanted: SubtaskFilter) -> tuple[Task, Sequence[Subtask], Page]:
        """Return a task with its targets, and a page of its sub-tasks, the newest first.

        :raises NotFoundError: the project has no such task
        """
        task = await self.find(task_id, with_targets=True)
        subtasks = await self.repository.list_subtasks(task.id, wanted)
        marker = f"{subtasks[-1].id:024x}" if subtasks else None
        return task, subtasks, Page(await self._count(task, wanted), marker)

    async def delete(self, task_id: str) -> None:
        """Forget a task that has finished.

        :raises NotFoundError: the project has no such task
        :raises TaskStateError: it has not finished
        """
        task = await self.lock(task_id)
        if not task.finished:
            raise TaskStateError(f"a task that is {task.status} cannot be deleted")
        await self.repository.delete_task(task.id)

    async def lock(self, task_id: str) -> Task:
        """Lock a task for a change of it or its sub-tasks. Raises NotFoundError."""
        task = await self.find(task_id)
        return _existing(await self.tasks.lock_task(task.id), task_id)

    async def find(self, task_id: str, *, with_targets: bool = False) -> Task:
        """Return a task. Raises NotFoundError."""
        found = await self.tasks.find_task(
            task_id=task_id, projects=[self.project_id], with_targets=with_targets
        )
        return _existing(found, task_id)

    async def _check_source(self, new: NewTask) -> None:
        """Look for what the targets are to come from; of several sources only the first counts."""
        if new.targets is not None:
            return
        if new.targets_filter is not None:
            missing = await self.repository.missing_group(self.project_id, new.targets_filter["group_ids"])
            if missing is not None:
                raise InvalidInputError(f"there is no group {missing!r}", field="targets_filter.group_ids")
        elif new.document_source is not None:
            await resolve_file(self.connection, self.project_id, new.task_type, new.document_source)

    async def _count(self, task: Task, wanted: SubtaskFilter) -> int:
        """Return how many sub-tasks match, on all pages: never by counting rows."""
        if wanted.target is None:
            return subtask_count(task.progress, wanted.status)
        found = await self.repository.find_targets(task.id, [wanted.target])
        return sum(wanted.status in (None, status) for status, _ in found.values())


def subtask_count(progress: Progress, status: SubtaskStatus | None) -> int:
    """Return how many sub-tasks have a status; None: all."""
    count: int = getattr(progress, COUNTERS[status] if status else "total")
    return count


def _existing(task: Task | None, task_id: object) -> Task:
    if task is None:
        raise NotFoundError(f"there is no batch task {task_id!r}")
    return task
