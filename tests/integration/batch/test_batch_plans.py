"""Lists of tasks and sub-tasks cost the page and not the table, and a claim costs what is claimed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from include.batch.api_repository import queries, subtask_values, task_values
from include.batch.model import SubtaskFilter, TaskFilter
from include.batch.repository import queries as runtime_queries
from tests.databases import Databases

TASKS, SUBTASKS = 10_000, 100_000
PROJECTS = ("old", "main", "other3", "nobody")
#: Where nearly all rows of an index match, or few more than the page are there, plans with and without a
#: filter cost the same, and either is taken.
MOST_TOUCHED = 2

#: A fifth of all tasks, the oldest, are of one project, half of the others of another; nine of ten are of one
#: type, one in a hundred has a rare status.
FILL = """
INSERT INTO batch_task (task_id, project_id, app_id, task_name, task_type, targets, status, created_at,
                        updated_at, finished_at)
SELECT lpad(to_hex(n), 24, '0'),
       CASE WHEN n <= 2000 THEN 'old' WHEN mod(n, 2) = 1 THEN 'main' ELSE 'other' || mod(n, 7) END,
       'app' || mod(n, 3), 'task', CASE WHEN mod(n, 10) = 5 THEN 'softwareUpgrade' ELSE 'createCommands' END,
       (SELECT array_agg('device-' || m) FROM generate_series(1, 50) m),
       CASE WHEN mod(n, 100) = 1 THEN 'Fail' ELSE 'Success' END, now(), now(), now()
FROM generate_series(1, %(tasks)s) n
"""

#: A fifth of all sub-tasks, the oldest, are of task 1, and a fifth are of task 2; one in a hundred failed.
FILL_SUBTASKS = """
INSERT INTO batch_subtask (batch_id, target, status, created_at, updated_at, finished_at)
SELECT CASE WHEN n <= 20000 THEN 1 WHEN mod(n, 4) = 0 THEN 2 ELSE 3 + mod(n, 5000) END, 'device-' || n,
       CASE WHEN mod(n, 100) = 4 THEN 'Fail' ELSE 'Success' END, now(), now(), now()
FROM generate_series(1, %(subtasks)s) n
"""

#: A task under way, made after the tables were last analysed: 300 of 5,000 are in hand, the rest are due.
FILL_DUE = """
INSERT INTO batch_subtask (batch_id, target, status, attempt, claimed_by, wake_at, created_at, updated_at)
SELECT 9999, 'due-' || n, CASE WHEN n <= 300 THEN 'Processing' ELSE 'Waitting' END,
       CASE WHEN n <= 300 THEN 1 ELSE 0 END, CASE WHEN n <= 300 THEN 7 END, CASE WHEN n > 300 THEN now() END,
       now(), now()
FROM generate_series(1, 5000) n
RETURNING id, claimed_by
"""

TASK_CASES = {
    "type": TaskFilter(task_type="createCommands"),
    "rare type": TaskFilter(task_type="softwareUpgrade"),
    "type that nobody has": TaskFilter(task_type="freezeDevices"),
    "status": TaskFilter(task_type="createCommands", status="Success"),
    "rare status": TaskFilter(task_type="createCommands", status="Fail"),
    "status that none has": TaskFilter(task_type="createCommands", status="Processing"),
    "app": TaskFilter(task_type="createCommands", app_id="app1"),
    "app that nobody has": TaskFilter(task_type="createCommands", app_id="nowhere"),
    "all types": TaskFilter(),
    "in the middle": TaskFilter(task_type="createCommands", marker=f"{TASKS // 2:024x}"),
}
SUBTASK_CASES = {
    "all": SubtaskFilter(),
    "status": SubtaskFilter(status="Success"),
    "rare status": SubtaskFilter(status="Fail"),
    "status that none has": SubtaskFilter(status="Removed"),
    "target": SubtaskFilter(target="device-77777"),
    "target and status": SubtaskFilter(target="device-77777", status="Fail"),
    "target that is none": SubtaskFilter(target="nobody"),
    "in the middle": SubtaskFilter(marker=f"{SUBTASKS // 2:024x}"),
}


@pytest.fixture(scope="module")
def filled(databases: Databases) -> Iterator[psycopg.Connection]:
    name = databases.create()
    with psycopg.connect(databases.postgres.url(name), autocommit=True) as connection:
        connection.execute(FILL, {"tasks": TASKS})
        connection.execute(FILL_SUBTASKS, {"subtasks": SUBTASKS})
        # A snapshot of somebody else's, such as autovacuum's, keeps pages from being known as visible to all.
        visible = "SELECT FROM pg_class WHERE relname = 'batch_task' AND relallvisible < relpages"
        deadline = time.monotonic() + 60
        connection.execute("VACUUM (INDEX_CLEANUP ON, ANALYZE)")
        while connection.execute(visible).rowcount and time.monotonic() < deadline:
            time.sleep(0.2)
            connection.execute("VACUUM (INDEX_CLEANUP ON, ANALYZE)")
        yield connection
    databases.drop(name)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def explain(connection: psycopg.Connection, statement: str, values: dict[str, Any]) -> dict[str, Any]:
    row = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values).fetchone()  # type: ignore[arg-type]
    assert row is not None
    plan: dict[str, Any] = row[0][0]["Plan"]
    return plan


def rows_touched(plan: dict[str, Any]) -> float:
    """How many rows of tables were looked at, those that a filter dropped too."""
    return sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in nodes(plan)
        if "Relation Name" in node
    )


def scans(plan: dict[str, Any]) -> set[str]:
    return {
        node["Node Type"] for node in nodes(plan) if "Relation Name" in node or "Scan" in node["Node Type"]
    }


@pytest.mark.parametrize("offset", [0, 500])
@pytest.mark.parametrize("project", PROJECTS)
@pytest.mark.parametrize("name", TASK_CASES)
def test_a_page_of_tasks(filled: psycopg.Connection, name: str, project: str, offset: int) -> None:
    wanted = TASK_CASES[name]
    values = {**task_values(project, wanted), "offset": offset}
    plan = explain(filled, queries.list_tasks, values)
    assert "Seq Scan" not in scans(plan)
    assert rows_touched(plan) <= MOST_TOUCHED * (offset + wanted.limit)


@pytest.mark.parametrize("project", PROJECTS)
@pytest.mark.parametrize("name", TASK_CASES)
def test_tasks_are_counted_in_an_index_alone(filled: psycopg.Connection, name: str, project: str) -> None:
    plan = explain(filled, queries.count_tasks, task_values(project, TASK_CASES[name]))
    assert scans(plan) == {"Index Only Scan"}


@pytest.mark.parametrize("offset", [0, 500])
@pytest.mark.parametrize("task", [1, 2, 3])
@pytest.mark.parametrize("name", SUBTASK_CASES)
def test_a_page_of_sub_tasks(filled: psycopg.Connection, name: str, task: int, offset: int) -> None:
    wanted = SUBTASK_CASES[name]
    plan = explain(filled, queries.list_subtasks, {**subtask_values(task, wanted), "offset": offset})
    assert "Seq Scan" not in scans(plan)
    assert rows_touched(plan) <= MOST_TOUCHED * (offset + wanted.limit)


def test_named_targets(filled: psycopg.Connection) -> None:
    targets = [f"device-{n}" for n in range(1, 101)]
    plan = explain(filled, queries.find_targets, {"id": 1, "targets": targets})
    assert "Seq Scan" not in scans(plan)
    assert rows_touched(plan) <= len(targets)


class TestUnderWay:
    """What a shard does many times a second, with statistics from before the task was made."""

    @pytest.fixture
    def in_hand(self, filled: psycopg.Connection) -> Iterator[list[int]]:
        """A task under way until the end of the test; the ids of what is in hand."""
        with filled.transaction(force_rollback=True):
            yield [id for id, claimer in filled.execute(FILL_DUE) if claimer]

    @pytest.mark.parametrize("generic", [False, True])
    def test_a_claim(self, filled: psycopg.Connection, in_hand: list[int], generic: bool) -> None:
        values = {"id": 9999, "project_id": "main", "open_wave": 1, "limit": 128, "fresh": 128, "claimer": 8}
        plan = self.explain(filled, runtime_queries.claim_subtasks, values, generic)
        # Found, locked, changed; the devices are looked for and not there.
        assert rows_touched(plan) <= 4 * 128

    @pytest.mark.parametrize("generic", [False, True])
    def test_a_look_ahead(self, filled: psycopg.Connection, in_hand: list[int], generic: bool) -> None:
        values = {"id": 9999, "open_wave": 1, "fresh": True}
        plan = self.explain(filled, runtime_queries.next_wake, values, generic)
        assert rows_touched(plan) <= 2

    @pytest.mark.parametrize("generic", [False, True])
    def test_what_is_recorded(self, filled: psycopg.Connection, in_hand: list[int], generic: bool) -> None:
        ids = in_hand[:50]
        values = {
            "id": 9999,
            "stopping": False,
            "retry_at": None,
            "claimer": 7,
            "steps": json.dumps([{"id": id, "attempt": 1, "status": "Success"} for id in ids]),
        }
        plan = self.explain(filled, runtime_queries.record_steps, values, generic)
        assert rows_touched(plan) <= 4 * len(ids)
        assert filled.execute("SELECT success FROM batch_task WHERE id = 9999").fetchone() == (len(ids),)

    def explain(
        self, connection: psycopg.Connection, statement: str, values: dict[str, Any], generic: bool
    ) -> dict[str, Any]:
        """Explain as it is at first, or as it is when the driver has prepared it and used it some times."""
        mode = "force_generic_plan" if generic else "force_custom_plan"
        connection.execute(f"SET LOCAL plan_cache_mode = {mode}")  # type: ignore[arg-type]
        return explain(connection, statement, {**values, "now": datetime.now(UTC)})
