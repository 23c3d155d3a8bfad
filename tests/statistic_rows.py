"""Rows of projects that are due by a statistic, with values that do where a test does not care."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from tests.builders import insert_definition, insert_schedule

STATISTICS, NATURAL = "统计周期", "自然时间周期"
SNAPSHOT = (
    "cycle_type", "statistics_id", "period_num", "period_unit", "notice_num", "notice_unit", "guide"
)  # fmt: skip


def insert_project(connection: psycopg.Connection, uid: str = "st_test", **changes: Any) -> int:
    """Insert an active project of organisation p1 and return its id: by the statistic `hours`, every 25."""
    schedule = connection.execute("SELECT id FROM schedule WHERE cycle = 'statistics'").fetchone()
    organization = changes.pop("organization_id", "p1")
    definition = insert_definition(
        connection,
        schedule["id"]
        if schedule
        else insert_schedule(connection, kind="maintenance", cycle="statistics", expression="0 0 * * * *"),
        kind="maintenance",
        name=uid,
        project_id=organization or None,
        enabled=changes.pop("enabled", True),
    )
    values = {
        "definition_id": definition,
        "name": uid,
        "alias": uid,
        "cycle_type": STATISTICS,
        "statistics_id": "hours",
        "period_num": 25,
        "period_unit": "",
        "notice_num": 0,
        "notice_unit": "日",
        "guide": "",
        "timezone": "Asia/Shanghai",
        **changes,
    }
    _insert(connection, "maintenance_project", values)
    return definition


def insert_state(
    connection: psycopg.Connection, project: int, object_id: str = "pump", **changes: Any
) -> None:
    """Insert where an object stands; nothing was counted by its anchor."""
    values = {
        "definition_id": project,
        "object_id": object_id,
        "position": 1,
        "anchor_at": datetime.fromisoformat("2026-01-01T00:00:00Z"),
        **changes,
    }
    _insert(connection, "maintenance_state", values)


def insert_task(
    connection: psycopg.Connection, project: int, object_id: str = "pump", **changes: Any
) -> dict[str, Any]:
    """Insert a noticed task, let the state point at it, and return its row."""
    snapshot = connection.execute(
        """
        SELECT p.*, d.name AS uid, coalesce(d.project_id, '') AS organization_id
        FROM maintenance_project p JOIN definition d ON d.id = p.definition_id WHERE d.id = %s
        """,
        [project],
    ).fetchone()
    created = changes.pop("created_at", datetime.fromisoformat("2026-02-01T00:00:00Z"))
    values = {
        "definition_id": project,
        "organization_id": snapshot["organization_id"],
        "object_id": object_id,
        "project_uid": snapshot["uid"],
        "project_name": snapshot["name"],
        "project_alias": snapshot["alias"],
        "object_name": object_id,
        "object_alias": object_id,
        **{name: snapshot[name] for name in SNAPSHOT},
        "created_at": created,
        "updated_at": created,
        **changes,
    }  # fmt: skip
    row = _insert(connection, "maintenance_task", values)
    if row["closed_at"] is None:
        connection.execute(
            "UPDATE maintenance_state SET open_task_id = %s WHERE definition_id = %s AND object_id = %s",
            [row["id"], project, object_id],
        )
    return row


def _insert(connection: psycopg.Connection, table: str, values: dict[str, Any]) -> dict[str, Any]:
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING *").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(sql.Placeholder() * len(values)),
    )
    row: dict[str, Any] = connection.execute(statement, list(values.values())).fetchone()
    return row
