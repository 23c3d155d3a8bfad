"""What the tests of batch tasks share: devices, tasks as they are asked for, and a look at the tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg

from include.batch.expansion import expand
from include.batch.model import NewTask, Task
from include.batch.repository import TaskRepository
from include.kit.db import Database

PROJECT = "p1"
NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
COMMAND = {"service_id": "light", "command_name": "switch", "paras": {"on": True}}


def lamps(count: int, start: int = 0) -> list[str]:
    """Return the ids of lamps, `lamp-0` and so on."""
    return [f"lamp-{number}" for number in range(start, start + count)]


def insert_lamps(connection: psycopg.Connection, count: int, project: str = PROJECT, start: int = 0) -> None:
    """Make lamps of a project, all online."""
    connection.execute(
        "INSERT INTO device (device_id, project_id, product_id, node_id, status, created_at, updated_at)"
        " SELECT 'lamp-' || n, %s, 'lamp', 'lamp-' || n, 'ONLINE', now(), now()"
        " FROM generate_series(%s::integer, %s::integer) n",
        [project, start, start + count - 1],
    )


def new_task(**changes: Any) -> NewTask:
    """Return commands for one lamp, at once."""
    values: dict[str, Any] = {
        "project_id": PROJECT,
        "task_name": "evening lights",
        "task_type": "createCommands",
        "targets": ["lamp-0"],
        "document": COMMAND,
    }
    return NewTask(**{**values, **changes})


async def add_task(database: Database, *, now: datetime = NOW, expanded: bool = True, **changes: Any) -> Task:
    """Insert a task, with its sub-tasks unless `expanded` is false, and return it."""
    async with database.transaction() as connection:
        tasks = TaskRepository(connection)
        id = await tasks.insert_task(new_task(**changes), now)
        if expanded:
            await expand(connection, id, now)
        task = await tasks.find_task(id)
    assert task is not None
    return task


def subtasks(connection: psycopg.Connection, task: Task, columns: str = "target, status") -> list[Any]:
    """Return columns of a task's sub-tasks in their order, one alone not as a tuple."""
    rows = connection.execute(
        f"SELECT {columns} FROM batch_subtask WHERE batch_id = %s ORDER BY id",  # type: ignore[arg-type]
        [task.id],
    ).fetchall()
    values = [tuple(row.values()) for row in rows]
    return [value[0] for value in values] if "," not in columns else values


def task_row(connection: psycopg.Connection, task: Task) -> dict[str, Any]:
    """Return the row of a task."""
    row = connection.execute("SELECT * FROM batch_task WHERE id = %s", [task.id]).fetchone()
    assert row is not None
    return dict(row)


def progress(connection: psycopg.Connection, task: Task) -> dict[str, int]:
    """Return the counters of a task that are not zero."""
    names = ("total", "waitting", "processing", "success", "fail", "fail_wait_retry", "stopped", "removed")
    row = task_row(connection, task)
    return {name: row[name] for name in names if row[name]}
