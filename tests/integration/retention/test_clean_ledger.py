"""Retention of the ledger against real Postgres: what goes, what stays, what comes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.kit.db import Database
from include.retention import service as module
from include.retention.model import Month
from include.retention.service import RetentionService

# Long ago, so that the partitions which the migration made for the present are never among the old ones.
NOW = datetime(1996, 11, 20, 12, tzinfo=UTC)
KEEP = timedelta(days=90)  # the cutoff lies in August


SCHEDULE = """
INSERT INTO schedule (kind, expression, timezone, dag_id, description)
VALUES ('callback', '0 0 0 * * *', 'UTC', 'callback.x', 'daily')
ON CONFLICT DO NOTHING
"""
DEFINITION = """
INSERT INTO definition (kind, schedule_id, name, enabled, active_since, misfire, misfire_grace, overlap,
                        created_at, updated_at)
SELECT 'callback', id, 'one', true, now(), 'skip', '1h', 'allow', now(), now() FROM schedule
ON CONFLICT DO NOTHING
"""
EXECUTION = """
WITH made AS (
    INSERT INTO execution (definition_id, schedule_id, due_at, origin, state, finished_at, next_attempt_at)
    SELECT id, schedule_id, %(due)s, 'scheduled', %(state)s, %(finished)s, %(next)s FROM definition
    RETURNING id, due_at, definition_id
)
INSERT INTO attempt (execution_id, due_at, number, definition_id, run_type, state, begin_at)
SELECT id, due_at, 1, definition_id, 1, 'started', due_at FROM made
"""


def fill(connection: psycopg.Connection, *months: int) -> None:
    """Make partitions of these months of 1996, each with one succeeded execution and its attempt."""
    connection.execute(SCHEDULE)
    connection.execute(DEFINITION)
    for month in months:
        moment = datetime(1996, month, 15, tzinfo=UTC)
        connection.execute("SELECT ensure_ledger_partitions(%s, %s)", [moment, moment])
        add(connection, moment)


def add(connection: psycopg.Connection, due_at: datetime, state: str = "succeeded") -> None:
    """Write an execution and its attempt."""
    ended = state in ("succeeded", "failed", "skipped", "missed")
    moments = {"finished": due_at if ended else None, "next": None if ended else due_at}
    connection.execute(EXECUTION, {"due": due_at, "state": state, **moments})


def partitions(connection: psycopg.Connection) -> set[str]:
    rows = connection.execute(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits"
        " WHERE inhparent IN ('execution'::regclass, 'attempt'::regclass)"
    )
    return {row["name"] for row in rows}


def count(connection: psycopg.Connection, table: str) -> int:
    query = {
        "execution": "SELECT count(*) AS n FROM execution",
        "attempt": "SELECT count(*) AS n FROM attempt",
    }
    row = connection.execute(query[table]).fetchone()
    return int(row["n"])


async def clean(database: Database, *, dry_run: bool = False, lines: list[str] | None = None) -> dict:
    say = lines.append if lines is not None else lambda line: None
    report = await RetentionService(database, clock=lambda: NOW, say=say).clean_ledger(KEEP, dry_run=dry_run)
    return report.as_json()


async def test_months_wholly_older_go_and_the_rest_stays(
    database: Database, connection: psycopg.Connection
) -> None:
    fill(connection, 5, 7, 8, 9)
    found = await clean(database)
    assert found["months_dropped"] == ["1996-05", "1996-07"]
    left = partitions(connection)
    assert not left & {"execution_1996_05", "attempt_1996_05", "execution_1996_07", "attempt_1996_07"}
    # August holds the cutoff: some of it is younger.
    assert {"execution_1996_08", "attempt_1996_08", "execution_rest", "attempt_rest"} <= left
    assert (count(connection, "execution"), count(connection, "attempt")) == (2, 2)


async def test_coming_months_are_made(database: Database, connection: psycopg.Connection) -> None:
    later = NOW + timedelta(days=400)
    report = await RetentionService(database, clock=lambda: later).clean_ledger(KEEP)
    assert report.partitions_made == 10  # of two tables: last month, this one, three to come
    assert {"execution_1997_11", "attempt_1998_03"} <= partitions(connection)


async def test_a_month_with_an_open_execution_stays_whole(
    database: Database, connection: psycopg.Connection
) -> None:
    fill(connection, 5, 6)
    add(connection, datetime(1996, 5, 20, tzinfo=UTC), "retrying")
    lines: list[str] = []
    found = await clean(database, lines=lines)
    assert found["months_dropped"] == ["1996-06"]
    assert found["months_kept"] == {"1996-05": "1 of its executions has not ended"}
    assert "1996-05 stays: 1 of its executions has not ended" in lines
    assert (count(connection, "execution"), count(connection, "attempt")) == (2, 2)


async def test_old_rows_outside_all_months_go_unless_open(
    database: Database, connection: psycopg.Connection
) -> None:
    fill(connection, 9)
    add(connection, datetime(1995, 1, 1, tzinfo=UTC))
    add(connection, datetime(1995, 1, 2, tzinfo=UTC), "pending")
    found = await clean(database)
    assert (found["executions_deleted"], found["attempts_deleted"]) == (1, 1)
    assert (count(connection, "execution"), count(connection, "attempt")) == (2, 2)


async def test_a_dry_run_says_the_same_and_changes_nothing(
    database: Database, connection: psycopg.Connection
) -> None:
    fill(connection, 5, 7, 9)
    add(connection, datetime(1996, 7, 20, tzinfo=UTC), "pending")
    add(connection, datetime(1995, 1, 1, tzinfo=UTC))
    before = partitions(connection), count(connection, "execution"), count(connection, "attempt")
    told = await clean(database, dry_run=True)
    assert (partitions(connection), count(connection, "execution"), count(connection, "attempt")) == before
    done = await clean(database)
    assert {**told, "partitions_made": done["partitions_made"]} == done
    assert told["months_dropped"] == ["1996-05"]


async def test_it_waits_for_a_gap_and_then_drops(
    database: Database, database_url: str, connection: psycopg.Connection
) -> None:
    fill(connection, 5)
    with psycopg.connect(database_url) as busy:
        busy.execute("SELECT * FROM execution FOR UPDATE")
        task = asyncio.create_task(clean(database))
        await asyncio.sleep(1.5)  # past the first lock timeout
        assert "execution_1996_05" in partitions(connection)
        busy.rollback()
    assert (await task)["months_dropped"] == ["1996-05"]


async def test_a_ledger_that_is_never_free_is_left_and_said_so(
    database: Database, database_url: str, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_TRIES", 1)
    monkeypatch.setattr(module, "LOCK_PAUSE_SECONDS", 0)
    fill(connection, 5)
    with psycopg.connect(database_url) as busy:
        busy.execute("SELECT * FROM execution FOR UPDATE")
        found = await clean(database)
        busy.rollback()
    assert found["partitions_made"] is None
    assert found["months_kept"] == {"1996-05": "the ledger was in use all the time; run it again later"}
    assert "execution_1996_05" in partitions(connection)


def test_december_ends_in_the_next_year() -> None:
    assert Month(2026, 12).ends == datetime(2027, 1, 1, tzinfo=UTC)
    assert Month(2026, 1).ends == datetime(2026, 2, 1, tzinfo=UTC)
