"""Maintenance for tests: a bench with a clock that stands still until it is set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from include.kit.db import Database
from include.maintenance.evaluation import evaluate_schedule
from include.maintenance.evaluation_repository import Moved
from include.maintenance.handling import HandlingService
from include.maintenance.model import NATURAL, Handle, HandleFields, Project, ProjectFields
from include.maintenance.projects import ProjectService

ZONE = ZoneInfo("Asia/Shanghai")
#: 22 November 2026, 12:35 in Shanghai.
NOON = datetime(2026, 11, 22, 4, 35, tzinfo=UTC)


def local(*words: int) -> datetime:
    """Return a moment by the clocks of Shanghai, in UTC: `local(2026, 11, 24)`."""
    year, month, day, *rest = words
    return datetime(year, month, day, *rest, tzinfo=ZONE).astimezone(UTC)  # type: ignore[misc, arg-type]


def fields(**changes: Any) -> ProjectFields:
    """Return a project that is good: every 2 days, with a notice of one, of the objects a and c."""
    values: dict[str, Any] = {
        "uid": "",
        "name": "na_test",
        "alias": "",
        "description": "",
        "cycle_type": NATURAL,
        "statistics_id": "",
        "period_num": Decimal(2),
        "period_unit": "日",
        "notice_num": 1,
        "notice_unit": "日",
        "guide": "",
        "object_ids": ["a", "c"],
    }
    return ProjectFields(**{**values, **changes})


@dataclass
class Bench:
    """The services on a database, by a clock of their own.

    :ivar projects: what the caller may see
    """

    database: Database
    connection: psycopg.Connection[Any]
    now: datetime = NOON
    projects: Sequence[str] | None = None
    counts: dict[str, int] = field(default_factory=dict)

    def clock(self) -> datetime:
        return self.now

    def go(self, **steps: float) -> None:
        """Let time pass: `go(days=1)`."""
        self.now += timedelta(**steps)

    async def create(self, organization_id: str = "", *, start: bool = True, **changes: Any) -> Project:
        async with self.database.transaction() as connection:
            service = ProjectService(connection, projects=self.projects, clock=self.clock)
            project = await service.create(fields(**changes), organization_id, 7)
            return await service.start(project.uid, organization_id) if start else project

    async def project(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of `ProjectService` in a transaction of its own."""
        async with self.database.transaction() as connection:
            service = ProjectService(connection, projects=self.projects, clock=self.clock)
            return await getattr(service, method)(*arguments, **options)

    async def handle(self, task_uid: str, **values: Any) -> Handle:
        async with self.database.transaction() as connection:
            service = HandlingService(connection, projects=self.projects, clock=self.clock)
            return await service.handle(task_uid, HandleFields(**values), 7)

    async def ignore(self, task_uid: str) -> Handle:
        async with self.database.transaction() as connection:
            return await HandlingService(connection, projects=self.projects, clock=self.clock).ignore(
                task_uid, 7
            )

    async def tick(self) -> list[Moved]:
        """Evaluate all schedules, as their DAGs would."""
        found: list[Moved] = []
        for row in self.rows("SELECT id FROM schedule WHERE kind = 'maintenance' AND active ORDER BY id"):
            found += await evaluate_schedule(self.database, row["id"], self.clock)
        return found

    def rows(self, statement: str, *values: Any) -> list[Mapping[str, Any]]:
        return self.connection.execute(statement, values).fetchall()

    def tasks(self, *columns: str) -> list[tuple[Any, ...]]:
        """Return columns of all tasks, in the order in which they were made."""
        rows = self.rows(f"SELECT {', '.join(columns)} FROM maintenance_task ORDER BY id")
        return [tuple(row.values()) for row in rows]

    def open(self) -> dict[str, str]:
        """Return the uids of open tasks by object."""
        rows = self.rows("SELECT object_id, uid FROM maintenance_task WHERE closed_at IS NULL ORDER BY id")
        return {row["object_id"]: row["uid"] for row in rows}

    def sample(self, object_id: str, total: float, organization_id: str = "", **more: Any) -> None:
        """Say how far the statistic `st` of an object has grown."""
        values = {"unit": "小时", "daily_growth": None, "uid": "st", **more}
        self.connection.execute(
            "INSERT INTO statistic (organization_id, uid, name, unit, created_at, updated_at)"
            " VALUES (%s, %s, 'st', %s, %s, %s) ON CONFLICT DO NOTHING",
            [organization_id, values["uid"], values["unit"], self.now, self.now],
        )
        self.connection.execute(
            "INSERT INTO statistic_value SELECT id, %s, %s, %s, %s, %s FROM statistic"
            " WHERE organization_id = %s AND uid = %s ON CONFLICT (statistic_id, object_id) DO UPDATE"
            " SET total = excluded.total, at = excluded.at, daily_growth = excluded.daily_growth",
            [object_id, self.now, total, total, values["daily_growth"], organization_id, values["uid"]],
        )
