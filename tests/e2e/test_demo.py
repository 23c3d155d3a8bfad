"""`./carillon demo`, `explain` and `clean` against a running instance, as a user calls them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.cli.home import ROOT
from tests.e2e.conftest import Up


def carillon(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "CARILLON_HOME": str(home)}
    return subprocess.run(
        [str(ROOT / "carillon"), *words], env=env, capture_output=True, text=True, check=False, timeout=240
    )


@pytest.fixture(scope="module")
def story(instance: Up) -> dict[str, Any]:
    """What one demo of 40 seconds told."""
    done = carillon(instance.home, "demo", "--seconds", "40", "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def task(story: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in story["tasks"] if one["name"].endswith(f"-{name}"))


class TestDemo:
    def test_everything_ends_as_it_should(self, story: dict[str, Any]) -> None:
        assert story["summary"]["not_as_expected"] == []
        assert len(story["tasks"]) == 9
        assert story["summary"]["executions"] >= 15

    def test_retries_follow_redo_param(self, story: dict[str, Any]) -> None:
        [recovered] = task(story, "recovering")["executions"]
        [failed] = task(story, "failing")["executions"]
        assert (recovered["state"], recovered["attempts"]) == ("succeeded", 3)
        assert (failed["state"], failed["attempts"]) == ("failed", 3)
        assert failed["reason"] == "the target answered with status 500"
        assert (story["received"]["/recovering"], story["received"]["/failing"]) == (3, 3)

    def test_the_interval_keeps_its_grid(self, story: dict[str, Any]) -> None:
        dues = [one["due_at"] for one in task(story, "interval")["executions"]]
        assert len(dues) == len(set(dues)) >= 5
        assert all(int(due[17:19]) % 5 == 0 for due in dues)

    def test_nothing_is_sent_before_its_instant(self, story: dict[str, Any]) -> None:
        late = [one["lateness_ms"] for each in story["tasks"] for one in each["executions"]]
        assert min(value for value in late if value is not None) >= 0

    def test_rpc_and_signature_came_through(self, story: dict[str, Any]) -> None:
        for name in ("rpc", "signed"):
            executions = task(story, name)["executions"]
            assert len(executions) >= 2
            assert {one["state"] for one in executions} == {"succeeded"}

    def test_it_leaves_nothing_behind(self, instance: Up, story: dict[str, Any]) -> None:
        ids = [int(one["task_id"]) for one in story["tasks"]]
        with psycopg.connect(instance.instance.database_url) as connection:
            live = connection.execute(
                "SELECT count(*) FROM definition WHERE id = ANY(%s) AND deleted_at IS NULL", [ids]
            ).fetchone()
            tokens = connection.execute(
                "SELECT count(*) FROM token WHERE name = 'demo' AND revoked_at IS NULL"
            ).fetchone()
        assert (live, tokens) == ((0,), (0,))

    def test_explain_tells_why_one_failed(self, instance: Up, story: dict[str, Any]) -> None:
        done = carillon(instance.home, "explain", task(story, "failing")["task_id"])
        assert done.returncode == 0, done.stderr
        assert "It fired and failed after 3 attempts: the target answered with status 500." in done.stdout


#: Makes the runs whose tasks have ended look old.
AGE = """
UPDATE dag_run r SET start_date = start_date - interval '20 days'
WHERE start_date > now() - interval '14 days'
  AND NOT EXISTS (SELECT FROM task_instance t
                   WHERE t.dag_id = r.dag_id AND t.run_id = r.run_id
                     AND coalesce(t.state, '') NOT IN ('success', 'failed'))
"""
#: Those of them that may go: not the last scheduled run of their DAG, from which Airflow plans the next one.
OLD = """
SELECT run.id FROM dag_run run
WHERE start_date < now() - interval '14 days'
  AND start_date < (SELECT max(start_date) FROM dag_run WHERE dag_id = run.dag_id AND run_type <> 'manual')
"""


def column(connection: psycopg.Connection, query: str) -> set[Any]:
    return {row[0] for row in connection.execute(query)}


def wait_for_old_runs(connection: psycopg.Connection) -> set[Any]:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        connection.execute(AGE)
        if len(found := column(connection, OLD)) >= 2:
            return found
        time.sleep(2)
    raise AssertionError("the runs of the demo did not end")


class TestClean:
    def test_old_runs_of_airflow_go_and_the_last_of_each_dag_stays(
        self, instance: Up, story: dict[str, Any]
    ) -> None:
        # New runs start all the while, and each makes the last one of its DAG old: so runs are
        # followed by their ids, not counted.
        with psycopg.connect(instance.instance.airflow_database_url, autocommit=True) as connection:
            old = wait_for_old_runs(connection)
            dags = column(connection, "SELECT DISTINCT dag_id FROM dag_run WHERE run_type <> 'manual'")
            told = json.loads(carillon(instance.home, "clean", "--dry-run", "--json").stdout)
            assert old <= column(connection, "SELECT id FROM dag_run")
            done = carillon(instance.home, "clean", "--json")
            assert done.returncode == 0, done.stderr
            assert not old & column(connection, "SELECT id FROM dag_run")
            assert dags <= column(connection, "SELECT DISTINCT dag_id FROM dag_run")
        found = json.loads(done.stdout)
        assert found["airflow"]["rows"]["dag_run"] >= told["airflow"]["rows"]["dag_run"] >= len(old)

    def test_people_get_sentences(self, instance: Up) -> None:
        done = carillon(instance.home, "clean", "--dry-run")
        assert done.returncode == 0, done.stderr
        assert "Ledger, before" in done.stdout
        assert "months would go: none" in done.stdout


def test_without_an_instance(homes: Path) -> None:
    done = carillon(homes / "empty", "demo")
    assert done.returncode == 1
    assert "start one with ./carillon up" in done.stderr
