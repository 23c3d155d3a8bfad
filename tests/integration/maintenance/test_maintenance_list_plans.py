"""Lists over many rows read an index: what is asked for is a small part of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from include.kit.db import Database
from include.maintenance.conditions import kinds
from include.maintenance.filters import Filter, read_filter
from include.maintenance.lists import HANDLE_COLUMNS, TASK_COLUMNS, MaintenanceLists
from tests.builders import insert_definition, insert_schedule

TASKS = 20_000


class Explaining:
    """A connection that executes statements and keeps the indexes that their plans read."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.indexes: list[str] = []

    async def execute(self, statement: Any, parameters: Any, **options: Any) -> Any:
        text = statement if isinstance(statement, str) else statement.as_string(self.connection)
        cursor = await self.connection.execute(f"EXPLAIN (FORMAT JSON) {text}", parameters)
        [row] = await cursor.fetchall()
        self.indexes += [
            node["Index Name"] for node in nodes(row["QUERY PLAN"][0]["Plan"]) if "Index Name" in node
        ]
        return await self.connection.execute(statement, parameters, **options)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


@pytest.fixture
def many(connection: psycopg.Connection) -> None:
    """Half of the tasks are open, the others were handled; one of twenty is ours."""
    schedule = insert_schedule(connection, kind="maintenance", cycle="every_day")
    project = insert_definition(connection, schedule, kind="maintenance", name="p", project_id="ours")
    connection.execute(
        "INSERT INTO maintenance_project (definition_id, name, alias, cycle_type, period_num, period_unit,"
        " notice_num, notice_unit, guide, timezone)"
        " VALUES (%s, 'p', 'p', '自然时间周期', 1, '日', 0, '日', '', 'Asia/Shanghai')",
        [project],
    )
    connection.execute(
        "INSERT INTO maintenance_task (definition_id, organization_id, object_id, state, project_uid,"
        " project_name, project_alias, object_name, object_alias, cycle_type, statistics_id, period_num,"
        " period_unit, notice_num, notice_unit, guide, closed_at, created_at, updated_at)"
        " SELECT %(project)s, CASE WHEN n %% 40 < 2 THEN 'ours' ELSE 'theirs' END, 'object-' || n,"
        " CASE WHEN n %% 2 = 0 THEN 'due' ELSE 'handled' END,"
        " 'p', 'p', 'p', 'pump ' || md5(n::text), 'a', '自然时间周期', '', 1, '日', 0, '日', '',"
        " CASE WHEN n %% 2 = 0 THEN NULL ELSE now() END, now() - n * interval '1 minute', now()"
        " FROM generate_series(1, %(count)s) n",
        {"project": project, "count": TASKS},
    )
    connection.execute(
        "INSERT INTO maintenance_handle (task_id, organization_id, kind, description, handler_ids,"
        " handler_keys, handler_names, fee, result, images, created_at, updated_at)"
        " SELECT id, organization_id, 'HANDLE', '', '[]', ARRAY[(id % 1000)::text], ARRAY['Ann'], 0,"
        " md5(id::text), '\"\"', created_at, updated_at FROM maintenance_task WHERE state = 'handled'"
    )
    connection.execute("VACUUM ANALYZE maintenance_task, maintenance_handle")
    yield
    # Statistics are not emptied with the tables.
    connection.execute("CREATE TABLE this_database_is_used_up ()")


async def indexes(
    database: Database, name: str, wanted: Filter, projects: list[str] | None = None
) -> tuple[set[str], int]:
    async with database.transaction() as connection:
        explaining = Explaining(connection)
        lists = MaintenanceLists(explaining, projects=projects)  # type: ignore[arg-type]
        found = await getattr(lists, name)(wanted, limit=10, offset=0)
    return set(explaining.indexes), found.count


def asked(columns: Any, *triples: Any) -> Filter:
    return read_filter(list(triples), None, None, kinds(columns), ZoneInfo("Asia/Shanghai"))


async def test_lists_of_many_read_an_index(database: Database, many: None) -> None:
    hash_of_one = "%c4ca4238a0%"
    of_any_state = ["state", "in", ["handled", "due"]]
    for name, wanted, projects, index, count in (
        ("tasks", asked(TASK_COLUMNS), ["ours"], "maintenance_task_listed", TASKS // 40),
        ("handles", asked(HANDLE_COLUMNS), ["ours"], "maintenance_handle_listed", TASKS // 40),
        (
            "tasks",
            asked(TASK_COLUMNS, of_any_state, ["object_name", "=", hash_of_one]),
            None,
            "maintenance_task_words",
            1,
        ),
        (
            "handles",
            asked(HANDLE_COLUMNS, ["handler_id_list", "=", 1]),
            None,
            "maintenance_handle_keys",
            TASKS // 1000,
        ),
    ):
        read, found = await indexes(database, name, wanted, projects)
        assert index in read
        assert found == count
