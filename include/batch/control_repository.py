"""The statements of the own API on batch tasks: what the vendor's does not show or ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from include.batch.model import (
    UPGRADE_TYPES,
    Phase,
    SubtaskStatus,
    Task,
    TaskStatus,
    TaskType,
)
from include.batch.repository import read_task
from include.batch.steering import FOREVER
from include.kit.db import Repository
from include.kit.sql import load_queries

queries = load_queries(__file__, "control_queries.sql")

Row = Mapping[str, Any]

#: Before these the newest tasks come: past every task_id.
NEWEST = "g"


@dataclass(frozen=True, slots=True)
class ControlFilter:
    """What a list of tasks is about; None does not limit it.

    :ivar name: a part of it, in any case
    """

    project: str | None = None
    task_type: TaskType | None = None
    status: TaskStatus | None = None
    name: str | None = None
    paused: bool | None = None


@dataclass(frozen=True, slots=True)
class SubtaskRecord:
    """A sub-task with all that there is of it.

    :ivar wake_at: when it wants attention next
    :ivar window_ends_at: of the maintenance window in which that lies
    """

    id: int
    target: str
    wave: int
    status: SubtaskStatus
    attempt: int
    retries_left: int
    phase: Phase | None
    phase_ends_at: datetime | None
    wake_at: datetime | None
    window_ends_at: datetime | None
    progress: int | None
    output: str | None
    error_code: str | None
    error_msg: str | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None


class ControlRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits."""

    # The conditions that do not apply must fall away before a plan is made.
    prepare = False

    async def list_tasks(
        self, wanted: ControlFilter, *, projects: Sequence[str] | None, before: str, limit: int
    ) -> list[tuple[Task, str | None]]:
        """Return tasks, each with why its next run could not be started."""
        rows = await self._rows(
            queries.list_tasks,
            projects=None if projects is None else list(projects),
            project=wanted.project,
            task_type=wanted.task_type,
            status=wanted.status,
            name=wanted.name,
            paused=wanted.paused,
            before=before,
            limit=limit,
        )
        return [(read_task(row), row["run_failure"]) for row in rows]

    async def find_run_failure(self, id: int) -> str | None:
        [row] = await self._rows(queries.find_run_failure, id=id)
        failure: str | None = row["run_failure"]
        return failure

    async def list_subtasks(
        self, id: int, *, status: SubtaskStatus | None, wave: int | None, after: int, limit: int
    ) -> list[SubtaskRecord]:
        rows = await self._rows(
            queries.list_subtasks,
            id=id,
            status=status,
            wave=wave,
            after=after,
            limit=limit,
            forever=FOREVER,
        )
        return [SubtaskRecord(**row) for row in rows]

    async def count_exclusions(self, task: Task, version: str | None) -> dict[str, int]:
        """Return how many sub-tasks would not be performed, by reason.

        :param version: of the package that an upgrade is about
        """
        task_type = task.asked.task_type
        upgraded = task_type in UPGRADE_TYPES
        rows = await self._rows(
            queries.count_exclusions,
            id=task.id,
            project_id=task.asked.project_id,
            task_type=task_type,
            version=version,
            upgraded=upgraded,
            sent=upgraded or task_type in _SENT,
            online=upgraded or task_type == "createCommands",
        )
        return {row["reason"]: row["count"] for row in rows}

    async def count_zones(self, task: Task) -> dict[str | None, int]:
        """Return how many sub-tasks that wait have a device in which zone."""
        rows = await self._rows(queries.count_zones, id=task.id, project_id=task.asked.project_id)
        return {row["timezone"]: row["count"] for row in rows}


_SENT: frozenset[TaskType] = frozenset(
    {"createCommands", "createAsyncCommands", "createMessages", "updateDeviceShadows"}
)
