"""The statements on projects, tasks and handles: with `evaluation_repository` all of this domain's engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import orjson

from include.kit.db import Repository
from include.kit.sql import load_queries
from include.maintenance.model import CycleType, Handle, HandleFields, Project, ProjectFields, Task

queries = load_queries(__file__)

Row = Mapping[str, Any]
Projects = Sequence[str] | None

#: Nothing is armed for maintenance; the spine wants one.
MISFIRE_GRACE = timedelta(days=36500)

_TASK = [field.name for field in fields(Task)]


class MaintenanceRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits."""

    # --- projects

    async def make_uid(self) -> str:
        [row] = await self._rows(queries.make_uid)
        return str(row["uid"])

    async def insert_project(
        self,
        values: ProjectFields,
        *,
        organization_id: str,
        schedule_id: int,
        timezone: str,
        by: int,
        now: datetime,
    ) -> int | None:
        """Return the id of its definition, None where its uid is taken."""
        rows = await self._rows(
            queries.insert_project,
            **_columns(values),
            organization_id=organization_id,
            schedule_id=schedule_id,
            timezone=timezone,
            misfire_grace=MISFIRE_GRACE,
            by=by,
            now=now,
        )
        return int(rows[0]["definition_id"]) if rows else None

    async def put_objects(self, project: int, object_ids: Sequence[str]) -> None:
        await self._run(queries.put_objects, project=project, object_ids=list(object_ids))

    async def remove_objects(self, project: int, kept: Sequence[str]) -> None:
        await self._run(queries.remove_objects, project=project, object_ids=list(kept))

    async def find_projects(self, uid: str, projects: Projects, organization_id: str | None) -> list[Project]:
        rows = await self._rows(
            queries.find_projects, uid=uid, projects=_list(projects), organization_id=organization_id
        )
        return [Project(**row) for row in rows]

    async def lock_project(self, project: int) -> bool:
        return bool(await self._rows(queries.lock_project, project=project))

    async def update_project(
        self, project: int, values: ProjectFields, *, schedule_id: int, by: int, now: datetime
    ) -> None:
        await self._run(
            queries.update_project,
            **_columns(values),
            project=project,
            schedule_id=schedule_id,
            by=by,
            now=now,
        )

    async def switch_project(
        self, project: int, *, active: bool, active_since: datetime, by: int, now: datetime
    ) -> None:
        await self._run(
            queries.switch_project, project=project, active=active, active_since=active_since, by=by, now=now
        )

    async def delete_project(self, project: int, now: datetime) -> None:
        await self._run(queries.delete_project, project=project, now=now)

    async def find_statistic(self, organization_id: str, uid: str) -> int | None:
        rows = await self._rows(queries.find_statistic, organization_id=organization_id, uid=uid)
        return int(rows[0]["id"]) if rows else None

    # --- where objects stand

    async def anchor_objects(self, project: int, now: datetime, *, anew: bool) -> None:
        """Have all objects count from now, or those that were never started."""
        await self._run(queries.anchor_objects, project=project, anew=anew, now=now)

    async def rebase_objects(
        self,
        project: int,
        *,
        cycle_type: CycleType,
        period_num: Decimal,
        period_unit: str,
        same_statistic: bool,
        now: datetime,
    ) -> None:
        """Begin the plan with the period under way; the values are those by which it was reckoned."""
        await self._run(
            queries.rebase_objects,
            project=project,
            cycle_type=cycle_type,
            period_num=period_num,
            period_unit=period_unit,
            same_statistic=same_statistic,
            now=now,
        )

    async def work_out(self, project: int, object_id: str | None = None) -> None:
        await self._run(queries.work_out, project=project, object_id=object_id)

    # --- tasks

    async def follow_plan(self, project: int, now: datetime) -> None:
        await self._run(queries.follow_plan, project=project, now=now)

    async def stop_tasks(self, project: int, now: datetime) -> None:
        await self._run(queries.stop_tasks, project=project, now=now)

    async def cancel_tasks(self, project: int, now: datetime, *, kept: Sequence[str] | None = None) -> None:
        """Cancel the open tasks, except those of objects that are kept."""
        await self._run(queries.cancel_tasks, project=project, kept=_list(kept), now=now)

    async def find_task(self, uid: str, projects: Projects) -> Task | None:
        rows = await self._rows(queries.find_task, uid=uid, projects=_list(projects))
        return _task(rows[0]) if rows else None

    async def share_project_of_task(self, uid: str, projects: Projects) -> bool:
        return bool(await self._rows(queries.share_project_of_task, uid=uid, projects=_list(projects)))

    async def lock_open_task(self, uid: str) -> Task | None:
        rows = await self._rows(queries.lock_open_task, uid=uid)
        return _task(rows[0]) if rows else None

    # --- handles

    async def close_task(
        self, task: int, kind: Literal["HANDLE", "IGNORE"], values: HandleFields, *, by: int, now: datetime
    ) -> str:
        """Return the uid of the handle."""
        [row] = await self._rows(
            queries.close_task,
            task=task,
            kind=kind,
            description=values.description,
            handler_ids=_json(list(values.handler_ids)),
            handler_keys=[str(one) for one in values.handler_ids],
            handler_names=list(values.handler_names),
            fee=values.fee,
            result=values.result,
            images=_json(values.images),
            by=by,
            now=now,
        )
        return str(row["uid"])

    async def move_on(
        self, project: int, object_id: str, kind: Literal["HANDLE", "IGNORE"], now: datetime
    ) -> None:
        await self._run(queries.move_on, project=project, object_id=object_id, kind=kind, now=now)

    async def find_handle(self, uid: str, projects: Projects) -> Handle | None:
        rows = await self._rows(queries.find_handle, uid=uid, projects=_list(projects))
        if not rows:
            return None
        values = dict(rows[0])
        [task] = await self._rows(queries.find_task, uid=values.pop("task_uid"), projects=None)
        return Handle(task=_task(task), **values)


def _columns(values: ProjectFields) -> dict[str, Any]:
    columns = asdict(values)
    del columns["object_ids"]
    return columns


def _task(row: Row) -> Task:
    return Task(**{name: row[name] for name in _TASK})


def _list(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else list(names)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
