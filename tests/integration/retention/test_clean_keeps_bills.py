"""Retention takes a month of the ledger, and nothing of what was billed in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from include.kit.db import Database
from include.retention.service import RetentionService
from tests.billing_rows import insert_bill, insert_place
from tests.builders import insert_definition, insert_execution, insert_schedule

DUE = datetime(1996, 3, 1, tzinfo=UTC)
NOW = datetime(1996, 11, 20, tzinfo=UTC)

#: Everything that billing writes.
TABLES = ("billing_task", "billing_run", "bill", "bill_line", "bill_share", "bill_tally", "billing_exception")


def counts(connection: psycopg.Connection) -> dict[str, int]:
    found: dict[str, Any] = {
        table: connection.execute(f"SELECT count(*) AS n FROM {table}").fetchone()["n"]  # type: ignore[call-overload]
        for table in (*TABLES, "execution")
    }
    return found


async def test_bills_and_runs_stay(database: Database, connection: psycopg.Connection) -> None:
    connection.execute("SELECT ensure_ledger_partitions(%s, %s)", [DUE, DUE])
    schedule_id = insert_schedule(connection, kind="billing", active_since=DUE - timedelta(days=1))
    task = insert_definition(connection, schedule_id, kind="billing", project_id="42")
    insert_execution(connection, task, DUE)
    connection.execute(
        "INSERT INTO billing_task (definition_id, natrual_key, commodity, crontab)"
        " VALUES (%s, repeat('a', 32), 'electricity', '{}')",
        [task],
    )
    run_id = connection.execute(
        "INSERT INTO billing_run (definition_id, project_id, commodity, due_at, period_to, cutoff, origin,"
        " state, started_at, finished_at)"
        " VALUES (%s, '42', 'electricity', %s, %s, %s, 'scheduled', 'succeeded', %s, %s) RETURNING id",
        [task, DUE, DUE, DUE, DUE, DUE],
    ).fetchone()["id"]
    place = insert_place(connection)
    span = {"period_from": DUE - timedelta(days=30), "period_to": DUE, "run_id": run_id}
    insert_bill(connection, place, shares=[("one", "138")], lines=[{}], **span)
    connection.execute(
        "INSERT INTO billing_exception (project_id, service_point_id, run_id, kind, detail, parked,"
        " created_at) VALUES ('42', %s, %s, 'zero_usage', 'none', false, %s)",
        [place.service_point_id, run_id, DUE],
    )
    before = counts(connection)
    report = await RetentionService(database, clock=lambda: NOW).clean_ledger(timedelta(days=90))
    assert [str(month) for month in report.dropped] == ["1996-03"]
    assert counts(connection) == {**before, "execution": 0}
    assert all(before.values())
