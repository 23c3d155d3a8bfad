"""`./carillon explain` on a real ledger."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.cli.main import main

#: The day before yesterday, at 09:30 in Asia/Shanghai, on which day it is the same date there.
DUE = (datetime.now(UTC) - timedelta(days=2)).replace(hour=1, minute=30, second=0, microsecond=0)


SCHEDULE = """
INSERT INTO schedule (kind, expression, timezone, dag_id, description, active, active_since)
VALUES ('callback', '0 30 9 * * *', 'Asia/Shanghai', 'callback.x', 'At 09:30', true, %(since)s)
"""
DEFINITION = """
INSERT INTO definition (kind, schedule_id, name, enabled, active_since, misfire, misfire_grace, overlap,
                        created_at, updated_at)
SELECT 'callback', id, 'report', true, %(since)s, 'skip', '1h', 'allow', %(since)s, %(since)s FROM schedule
RETURNING id
"""
EXECUTION = """
WITH made AS (
    INSERT INTO execution (definition_id, schedule_id, due_at, origin, state, reason, attempts, lateness_ms,
                           finished_at)
    SELECT id, schedule_id, %(due)s, 'scheduled', 'failed', 'answered 500', 2, 1.5, %(due)s FROM definition
    RETURNING id, due_at, definition_id
)
INSERT INTO attempt (execution_id, due_at, number, definition_id, run_type, state, begin_at, end_at, status,
                     error)
SELECT id, due_at, n, definition_id, least(n, 2), 'failed', due_at + n * interval '1 s',
       due_at + n * interval '1.25 s', 500, 'answered [b]500'
FROM made, generate_series(1, 2) AS n
"""


@pytest.fixture
def task(connection: psycopg.Connection) -> int:
    """A daily callback that failed twice at `DUE`; returns its id."""
    since = {"since": DUE - timedelta(days=3)}
    connection.execute(SCHEDULE, since)
    row = connection.execute(DEFINITION, since).fetchone()
    connection.execute(EXECUTION, {"due": DUE})
    return int(row["id"])


def explain(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["explain", *words]) == 0
    return capsys.readouterr().out


def test_by_id_at_an_instant(task: int, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(explain(capsys, str(task), "--at", DUE.isoformat(), "--json"))
    assert found["definition"]["name"] == "report"
    assert (found["at"], found["reason_code"]) == (DUE.isoformat(), "failed")
    assert found["sentence"] == "It fired and failed after 2 attempts: answered 500."
    assert found["execution"]["state"] == "failed"
    assert [attempt["number"] for attempt in found["attempts"]] == [1, 2]


def test_by_name_in_words(task: int, capsys: pytest.CaptureFixture[str]) -> None:
    out = explain(capsys, "report", "--at", f"{DUE:%Y-%m-%d}T09:30")  # in the schedule's own zone
    assert "It fired and failed after 2 attempts: answered 500." in out
    assert f"instant {DUE:%Y-%m-%d} 09:30:00 (Asia/Shanghai)" in out
    assert "answered [b]500" in out  # an answer is text, whatever it looks like
    assert "09:30:02.000" in out


def test_an_instant_that_is_none(task: int, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(explain(capsys, "report", "--at", f"{DUE:%Y-%m-%d}T09:31", "--json"))
    assert (found["reason_code"], found["execution"], found["attempts"]) == ("not_an_instant", None, [])


def test_without_an_instant_the_latest_one_counts(
    task: int, connection: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(explain(capsys, "report", "--json"))
    now = datetime.now(UTC)
    at = datetime.fromisoformat(found["at"])
    assert now - timedelta(days=1) < at <= now
    assert (at.hour, at.minute) == (1, 30)
    connection.execute("UPDATE definition SET deleted_at = now()")
    found = json.loads(explain(capsys, "report", "--json"))
    assert found["at"] == DUE.isoformat()  # nothing is owed after its end


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["nobody"], 1, "there is no definition named 'nobody'"),
        (["4711"], 1, "there is no definition 4711"),
        (["report", "--at", "yesterday"], 2, "--at: 'yesterday' is not an ISO 8601 date and time"),
    ],
)
def test_complaints(
    task: int, words: list[str], code: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", *words]) == code
    assert complaint in capsys.readouterr().err


def test_a_name_in_two_projects_asks_for_the_id(
    task: int, connection: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    connection.execute(
        "INSERT INTO definition (kind, schedule_id, project_id, name, enabled, active_since, misfire,"
        " misfire_grace, overlap, created_at, updated_at) SELECT kind, schedule_id, '42', name, enabled,"
        " active_since, misfire, misfire_grace, overlap, created_at, updated_at FROM definition"
    )
    assert main(["explain", "report"]) == 1
    assert f"{task} (callback, project none)" in capsys.readouterr().err
