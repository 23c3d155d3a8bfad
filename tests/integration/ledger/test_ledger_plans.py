"""Claiming and recording cost as many steps as there are executions, not the square of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg

from include.kit.clock import system_clock
from include.kit.db import Database
from include.ledger.model import CallResult, Record
from include.ledger.repository import LedgerRepository, Shard
from tests.builders import insert_schedule

COUNT = 300


class Explaining:
    """A connection that executes statements and keeps their plans in the place of their rows."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.plans: list[dict[str, Any]] = []

    async def execute(self, statement: str, parameters: Any) -> Any:
        cursor = await self.connection.execute(
            f"EXPLAIN (ANALYZE, TIMING off, FORMAT JSON) {statement}", parameters
        )
        [row] = await cursor.fetchall()
        plan = row["QUERY PLAN"]
        self.plans.append((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
        return cursor


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def compared_in_vain(plan: dict[str, Any]) -> float:
    """Pairs of rows that a join looked at and that did not belong together."""
    return sum(node.get("Rows Removed by Join Filter", 0) for node in nodes(plan))


async def test_each_execution_is_looked_up_and_not_compared_with_all(
    database: Database, connection: psycopg.Connection
) -> None:
    """The planner has seen a ledger in which nothing is open, as it is most of the time."""
    now = system_clock()
    due = now + timedelta(seconds=30)
    schedule_id = insert_schedule(connection)
    connection.execute(
        "INSERT INTO definition (kind, schedule_id, name, enabled, active_since, misfire, misfire_grace,"
        " overlap, created_at, updated_at)"
        " SELECT 'callback', %(id)s, 'd' || n, true, %(then)s, 'skip', '1 hour', 'allow', %(then)s, %(then)s"
        " FROM generate_series(1, %(count)s) AS n",
        {"id": schedule_id, "then": now - timedelta(days=1), "count": COUNT},
    )
    connection.execute("ANALYZE execution, attempt, definition")
    shard = Shard(schedule_id, 0, 1, "run", 1)
    async with database.transaction() as opened:
        ledger = LedgerRepository(opened)
        assert await ledger.arm_scheduled(shard, [due], [1]) == COUNT
        dues = await ledger.load_window(shard, [], now, due, now)
    assert len(dues) == COUNT
    async with database.transaction() as opened:
        explaining = Explaining(opened)
        ledger = LedgerRepository(explaining)  # type: ignore[arg-type]
        await ledger.claim(dues, claimer=7, now=now)
        result = CallResult(True, due, due, "http://x")
        records = [Record(one, 1, result, "succeeded") for one in dues]
        await ledger.record(records, claimer=7, lanes=[None] * COUNT)
    assert [compared_in_vain(plan) for plan in explaining.plans] == [0, 0]
    states = connection.execute(
        "SELECT e.state, a.state AS attempt, count(*) AS n FROM execution e"
        " JOIN attempt a ON a.execution_id = e.id AND a.due_at = e.due_at GROUP BY 1, 2"
    ).fetchall()
    assert states == [{"state": "succeeded", "attempt": "succeeded", "n": COUNT}]
