"""`./carillon demo batch` against a running instance, as a user calls it."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import psycopg

from include.cli.home import ROOT
from tests.e2e.conftest import Up
from tests.integration.gateway.simulated import call_admin

DEVICES, FAILING = 200, 4


def test_pumps_are_upgraded_and_nothing_is_left_but_the_task_on_a_second_run_too(instance: Up) -> None:
    before = call_admin(instance.instance.gateway_url, "GET", "counters")
    first = run_demo(instance)
    assert_told(instance, first)
    assert_nothing_left(instance)
    again = run_demo(instance)
    assert_told(instance, again)
    assert_nothing_left(instance)
    assert first["task_id"] != again["task_id"]
    after = call_admin(instance.instance.gateway_url, "GET", "counters")
    assert after["upgrades"] - before["upgrades"] == 2 * (DEVICES + FAILING)
    assert after["devices"] == before["devices"]


def run_demo(up: Up) -> dict[str, Any]:
    done = subprocess.run(
        [str(ROOT / "carillon"), "demo", "batch", "--devices", str(DEVICES), "--json"],
        env={**os.environ, "CARILLON_HOME": str(up.home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    story: dict[str, Any] = json.loads(done.stdout)
    return story


def assert_told(up: Up, story: dict[str, Any]) -> None:
    assert story["not_as_expected"] == []
    assert story["status"] == "Success"
    outcomes = [
        (one["devices"], one["succeeded"], one["failed"]) for one in (*story["waves"], story["retry"])
    ]
    assert outcomes == [(20, 20, 0), (180, 176, 4), (4, 4, 0)]
    assert {why["error_code"]: why["devices"] for why in story["failures"]} == {"OTA.105": 2, "OTA.107": 2}
    assert story["attempts"] == DEVICES + FAILING
    assert story["simulator"] == {"devices": 200, "upgrades": 204, "repeated_notices": 0}
    assert story["all"]["devices_per_second"] > 0
    assert len(story["runs"]) == 2
    with psycopg.connect(up.instance.airflow_database_url) as connection:
        runs = connection.execute(
            "SELECT run_id FROM dag_run WHERE dag_id = 'batch.firmwareUpgrade' AND run_id = ANY(%s)",
            [story["runs"]],
        ).fetchall()
    assert len(runs) == 2


def assert_nothing_left(up: Up) -> None:
    with psycopg.connect(up.instance.database_url) as connection:
        left = connection.execute(
            "SELECT (SELECT count(*) FROM device WHERE project_id LIKE 'demo-%'),"
            " (SELECT count(*) FROM device_upgrade WHERE device_id LIKE 'demo-%'),"
            " (SELECT count(*) FROM ota_package WHERE project_id LIKE 'demo-%'),"
            " (SELECT count(*) FROM token WHERE name = 'demo' AND revoked_at IS NULL)"
        ).fetchone()
    assert left == (0, 0, 0, 0)
    faults = call_admin(up.instance.gateway_url, "GET", "faults")
    assert faults["ota"]["results"] == {}
