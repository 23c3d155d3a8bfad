"""The statements of the REST calls on batch tasks: lists, and what stop, confirm and delete change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from include.batch.model import Subtask, SubtaskFilter, SubtaskStatus, Task, TaskFilter
from include.batch.repository import read_task
from include.batch.subtask_repository import read_subtask
from include.kit.db import Repository
from include.kit.sql import load_queries

queries = load_queries(__file__, "api_queries.sql")

#: Past every id of ours.
_LAST = 2**63 - 1


class ApiRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits."""

    prepare = False

    async def missing_group(self, project_id: str, group_ids: Sequence[str]) -> str | None:
        rows = await self._rows(queries.missing_group, project_id=project_id, group_ids=list(group_ids))
        return rows[0]["group_id"] if rows else None

    async def list_tasks(self, project_id: str, wanted: TaskFilter) -> list[Task]:
        # Never a generic plan: the conditions that do not apply must fall away before it is made.
        rows = await self._rows(queries.list_tasks, **task_values(project_id, wanted))
        return [read_task(row) for row in rows]

    async def count_tasks(self, project_id: str, wanted: TaskFilter) -> int:
        rows = await self._rows(queries.count_tasks, **task_values(project_id, wanted))
        return int(rows[0]["count"])

    async def list_subtasks(self, id: int, wanted: SubtaskFilter) -> list[Subtask]:
        rows = await self._rows(queries.list_subtasks, **subtask_values(id, wanted))
        return [read_subtask(row) for row in rows]

    async def find_targets(self, id: int, targets: Sequence[str]) -> dict[str, tuple[SubtaskStatus, bool]]:
        """Return by target the status of its sub-task, and whether somebody has that in hand."""
        rows = await self._rows(queries.find_targets, id=id, targets=list(targets))
        return {row["target"]: (row["status"], row["in_hand"]) for row in rows}

    async def stop_subtasks(self, id: int, now: datetime, targets: Sequence[str] | None = None) -> None:
        await self._run(queries.stop_subtasks, id=id, now=now, targets=_listed(targets))

    async def confirm_subtasks(
        self, id: int, *, wake_at: datetime, now: datetime, targets: Sequence[str] | None = None
    ) -> None:
        await self._run(queries.confirm_subtasks, id=id, wake_at=wake_at, now=now, targets=_listed(targets))

    async def delete_task(self, id: int) -> None:
        await self._run(queries.delete_task, id=id)


def task_values(project_id: str, wanted: TaskFilter) -> dict[str, Any]:
    """Return the parameters of the statements that list and count tasks."""
    return {
        "project_id": project_id,
        "marker": wanted.marker,
        "task_type": wanted.task_type,
        "app_id": wanted.app_id,
        "status": wanted.status,
        "offset": wanted.offset,
        "limit": wanted.limit,
    }


def subtask_values(id: int, wanted: SubtaskFilter) -> dict[str, Any]:
    """Return the parameters of the statement that lists sub-tasks."""
    return {
        "id": id,
        "before": min(int(wanted.marker, 16), _LAST),
        "status": wanted.status,
        "target": wanted.target,
        "offset": wanted.offset,
        "limit": wanted.limit,
    }


def _listed(targets: Sequence[str] | None) -> list[str] | None:
    return None if targets is None else list(targets)
