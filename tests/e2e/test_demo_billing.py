"""`./carillon demo billing` against a running instance, as a user calls it."""

from __future__ import annotations

import json
import os
import subprocess

import psycopg

from include.cli.home import ROOT
from tests.e2e.conftest import Up


def test_two_towns_are_billed_once(instance: Up) -> None:
    done = subprocess.run(
        [str(ROOT / "carillon"), "demo", "billing", "--json"],
        env={**os.environ, "CARILLON_HOME": str(instance.home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    story = json.loads(done.stdout)
    assert story["not_as_expected"] == []
    assert story["airflow_tries"] == 2
    assert story["seconds"] < 240  # some of it is waiting for the minute
    assert [(one["commodity"], one["bills"]) for one in story["projects"]] == [
        ("water", 999),
        ("electricity", 1000),
    ]
    assert [one["second_run"] for one in story["projects"]] == [
        {"before": 999, "after": 999, "same": True},
        {"before": 1000, "after": 1000, "same": True},
    ]
    assert {one["airflow_run"] for one in (project["run"] for project in story["projects"])} != {None}
    assert [one["what"] for one in story["explained"]] == ["household of five", "replacement", "estimate"]
    assert any("It is shared" in sentence for sentence in story["explained"][0]["sentences"])
    assert sorted(one["kind"] for one in story["exceptions"]) == ["no_tariff", "reverse_read"]
    projects = [one["project_id"] for one in story["projects"]]
    with psycopg.connect(instance.instance.database_url) as connection:
        bills = connection.execute(
            "SELECT count(*), count(DISTINCT service_point_id) FROM bill WHERE project_id = ANY(%s)",
            [projects],
        ).fetchone()
        left = connection.execute(
            "SELECT count(*) FROM definition WHERE project_id = ANY(%s) AND deleted_at IS NULL", [projects]
        ).fetchone()
        tokens = connection.execute(
            "SELECT count(*) FROM token WHERE name = 'demo' AND revoked_at IS NULL"
        ).fetchone()
    assert (bills, left, tokens) == ((1999, 1999), (0,), (0,))
