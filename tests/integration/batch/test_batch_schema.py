"""What the tables of batch tasks hold to by themselves: transitions, and progress by delta."""

from __future__ import annotations

from itertools import product

import psycopg
import pytest

from include.batch.model import SUBTASK_STATUSES, TASK_STATUSES
from include.batch.states import SUBTASK_NEXT, TASK_NEXT
from include.kit.db import Database

TASK = """
INSERT INTO batch_task (task_id, project_id, task_name, task_type, created_at, updated_at)
VALUES (lpad(to_hex(%s::integer), 24, '0'), 'p', 'lamps', 'createCommands', now(), now()) RETURNING id
"""
SUBTASKS = """
INSERT INTO batch_subtask (batch_id, target, created_at, updated_at)
SELECT %s, 'lamp-' || n, now(), now() FROM generate_series(1, %s) n
"""
PROGRESS = """
SELECT total, waitting, processing, success, fail, fail_wait_retry, stopped, removed
FROM batch_task WHERE id = %s
"""


async def make(database: Database, subtasks: int, number: int = 1) -> int:
    async with database.transaction() as connection:
        row = await (await connection.execute(TASK, [number])).fetchone()
        assert row is not None
        await connection.execute(SUBTASKS, [row["id"], subtasks])
    return int(row["id"])


async def progress(database: Database, task: int) -> dict[str, int]:
    async with database.transaction() as connection:
        row = await (await connection.execute(PROGRESS, [task])).fetchone()
    assert row is not None
    return {name: value for name, value in dict(row).items() if value}


async def test_statements_over_many_subtasks_of_two_tasks_move_the_counters(database: Database) -> None:
    one, other = await make(database, 1000), await make(database, 10, number=2)
    async with database.transaction() as connection:
        await connection.execute("UPDATE batch_subtask SET status = 'Processing' WHERE id % 2 = 0")
        await connection.execute("UPDATE batch_subtask SET progress = 7")
        await connection.execute(
            "UPDATE batch_subtask SET status = 'Fail', finished_at = now() WHERE target = 'lamp-10'"
        )
    assert await progress(database, one) == {"total": 1000, "waitting": 500, "processing": 499, "fail": 1}
    assert await progress(database, other) == {"total": 10, "waitting": 5, "processing": 4, "fail": 1}


async def test_the_table_allows_the_transitions_of_the_model_and_no_others(database: Database) -> None:
    task = await make(database, 0)
    async with database.transaction() as connection:
        for tables, statuses, allowed in (
            ("batch_task", TASK_STATUSES, TASK_NEXT),
            ("batch_subtask", SUBTASK_STATUSES, SUBTASK_NEXT),
        ):
            for old, new in product(statuses, statuses):
                query = f"SELECT {tables}_may(%s, %s) AS may"
                row = await (await connection.execute(query, [old, new])).fetchone()
                assert row is not None
                assert row["may"] == (new in allowed[old]), (tables, old, new)  # type: ignore[index]
    with pytest.raises(psycopg.errors.CheckViolation, match="may not go from Initializing to Success"):
        async with database.transaction() as connection:
            await connection.execute(
                "UPDATE batch_task SET status = 'Success', finished_at = now() WHERE id = %s", [task]
            )


async def test_an_event_is_written_for_each_subscription_with_the_change(database: Database) -> None:
    task = await make(database, 1)
    async with database.transaction() as connection:
        await connection.execute(
            "INSERT INTO event_subscription (project_id, url, secret, resources, created_at)"
            " VALUES ('p', 'http://a', 's', '{batchtask}', now()),"
            "        ('p', 'http://b', 's', '{other}', now()), ('q', 'http://c', 's', '{batchtask}', now())"
        )
        await connection.execute("UPDATE batch_task SET status = 'Processing' WHERE id = %s", [task])
        await connection.execute("UPDATE batch_task SET updated_at = now() WHERE id = %s", [task])
        rows = await (await connection.execute("SELECT resource, body FROM event")).fetchall()
    assert [(row["resource"], row["body"]["status"]) for row in rows] == [("batchtask", "Processing")]
