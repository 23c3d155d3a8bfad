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


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("UPDATE batch_task SET status = 'Success', finished_at = now()", "batch_task_transition"),
        ("UPDATE batch_task SET status = 'Waiting'", "batch_task_status"),
        ("UPDATE batch_task SET status = 'Stopped'", "batch_task_finished"),
        ("UPDATE batch_task SET finished_at = now()", "batch_task_finished"),
        ("UPDATE batch_task SET success = success + 1", "batch_task_progress"),
        ("UPDATE batch_task SET total = total + 1", "batch_task_progress"),
        ("UPDATE batch_task SET waitting = -1, success = 4", "batch_task_progress"),
        ("UPDATE batch_task SET retry_count = 1", "batch_task_retry_pair"),
        ("UPDATE batch_task SET retry_count = 6, retry_interval = '1 minute'", "batch_task_retry_count"),
        ("UPDATE batch_task SET task_id = 'x'", "batch_task_id_form"),
        ("UPDATE batch_task SET task_mode = 'DEVICE'", "batch_task_mode"),
        ("UPDATE batch_subtask SET status = 'Success', finished_at = now()", "batch_subtask_transition"),
        ("UPDATE batch_subtask SET status = 'FailWaitRetry'", "batch_subtask_transition"),
        ("UPDATE batch_subtask SET status = 'Done'", "batch_subtask_transition"),
        ("UPDATE batch_subtask SET status = 'Stopped'", "batch_subtask_finished"),
        ("UPDATE batch_subtask SET claimed_by = 7", "batch_subtask_claim"),
        ("UPDATE batch_subtask SET progress = 101", "batch_subtask_progress"),
        ("UPDATE batch_subtask SET phase = 'install'", "batch_subtask_phase"),
        ("UPDATE batch_subtask SET target = 'lamp-1'", "batch_subtask_once"),
    ],
)
async def test_a_statement_that_breaks_a_rule_is_refused(
    database: Database, connection: psycopg.Connection, change: str, constraint: str
) -> None:
    """Whoever writes it: what no service would, an operator at a prompt may."""
    task = await make(database, 3)
    if constraint == "batch_task_status":  # the step there is refused before its spelling is
        connection.execute("ALTER TABLE batch_task DISABLE TRIGGER batch_task_transition")
    with pytest.raises(psycopg.errors.IntegrityError) as caught:
        connection.execute(change.encode())
    assert caught.value.diag.constraint_name == constraint
    assert await progress(database, task) == {"total": 3, "waitting": 3}


@pytest.mark.parametrize("end", ["Success", "Removed"])
async def test_what_has_ended_well_never_begins_again(
    database: Database, connection: psycopg.Connection, end: str
) -> None:
    task = await make(database, 1)
    connection.execute("UPDATE batch_subtask SET status = 'Processing'")
    connection.execute("UPDATE batch_subtask SET status = %s, finished_at = now()", [end])
    for status in set(SUBTASK_STATUSES) - {end}:
        with pytest.raises(psycopg.errors.CheckViolation, match=f"may not go from {end} to {status}"):
            connection.execute("UPDATE batch_subtask SET status = %s, finished_at = NULL", [status])
    assert await progress(database, task) == {"total": 1, end.lower(): 1}


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
    body = {
        "app_id": None,
        "task_id": f"{1:024x}",
        "task_type": "createCommands",
        "status": "Processing",
        "status_desc": "",
    }
    assert [(row["resource"], row["body"]) for row in rows] == [("batchtask", body)]
