"""The statements on billing tasks: the only caller of this domain's `queries.sql`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from include.billing.model import Commodity
from include.billing_tasks.model import (
    MISFIRE_GRACE,
    BillingTask,
    LockedTask,
    ProjectCalendar,
    TaskFields,
    TaskPage,
)
from include.kit.db import Connection
from include.kit.sql import load_queries

queries = load_queries(__file__)

Projects = Sequence[str] | None


class BillingTaskRepository:
    """One method a statement, on a connection whose transaction somebody else commits."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def insert_task(
        self,
        fields: TaskFields,
        *,
        natrual_key: str,
        project_id: str,
        commodity: Commodity,
        schedule_id: int,
        now: datetime,
    ) -> None:
        await self.connection.execute(
            queries.insert_task,
            {
                **_columns(fields),
                "natrual_key": natrual_key,
                "project_id": project_id,
                "commodity": commodity,
                "schedule_id": schedule_id,
                "misfire_grace": MISFIRE_GRACE,
                "now": now,
            },
        )

    async def find_task(self, natrual_key: str, projects: Projects, timezone: str) -> BillingTask | None:
        cursor = await self.connection.execute(
            queries.find_task, {**_key(natrual_key, projects), "timezone": timezone}
        )
        row = await cursor.fetchone()
        return BillingTask(**row) if row else None

    async def list_tasks(
        self, project_id: str, commodities: Sequence[Commodity], *, limit: int, offset: int, timezone: str
    ) -> TaskPage:
        cursor = await self.connection.execute(
            queries.list_tasks,
            {
                "project_id": project_id,
                "commodities": list(commodities),
                "limit": limit,
                "offset": offset,
                "timezone": timezone,
            },
        )
        rows = await cursor.fetchall()
        counts = [row.pop("count") for row in rows]
        return TaskPage(counts[0], [BillingTask(**row) for row in rows if row["definition_id"] is not None])

    async def lock_task(self, natrual_key: str, projects: Projects) -> LockedTask | None:
        cursor = await self.connection.execute(queries.lock_task, _key(natrual_key, projects))
        row = await cursor.fetchone()
        return LockedTask(**row) if row else None

    async def lock_tasks_of_project(self, project_id: str) -> list[LockedTask]:
        cursor = await self.connection.execute(queries.lock_tasks_of_project, {"project_id": project_id})
        return [LockedTask(**row) for row in await cursor.fetchall()]

    async def update_task(
        self, definition_id: int, fields: TaskFields, *, schedule_id: int, moved: bool, now: datetime
    ) -> None:
        await self.connection.execute(
            queries.update_task,
            {
                **_columns(fields),
                "id": definition_id,
                "schedule_id": schedule_id,
                "moved": moved,
                "now": now,
            },
        )

    async def move_task(self, definition_id: int, schedule_id: int, now: datetime) -> None:
        await self.connection.execute(
            queries.move_task, {"id": definition_id, "schedule_id": schedule_id, "now": now}
        )

    async def project_calendar(self, project_id: str) -> ProjectCalendar | None:
        cursor = await self.connection.execute(queries.project_calendar, {"project_id": project_id})
        row = await cursor.fetchone()
        return ProjectCalendar(**row) if row else None


def _columns(fields: TaskFields) -> Mapping[str, Any]:
    return {
        "name": fields.name,
        "crontab": orjson.dumps(dict(fields.crontab)).decode(),
        "enabled": fields.enabled,
        "description": fields.description or None,
    }


def _key(natrual_key: str, projects: Projects) -> Mapping[str, Any]:
    return {"natrual_key": natrual_key, "projects": None if projects is None else list(projects)}
