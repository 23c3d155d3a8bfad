"""`./carillon demo timers` against a running instance, as a user calls it."""

from __future__ import annotations

import json
import os
import subprocess

import psycopg

from include.cli.home import ROOT
from tests.e2e.conftest import Up
from tests.integration.gateway.simulated import call_admin

DEVICES, OFFLINE = 48, 12


def test_lamps_are_switched_once_each_and_nothing_is_left(instance: Up) -> None:
    before = call_admin(instance.instance.gateway_url, "GET", "counters")
    words = ("--devices", str(DEVICES), "--offline", str(OFFLINE), "--minutes", "1", "--json")
    done = subprocess.run(
        [str(ROOT / "carillon"), "demo", "timers", *words],
        env={**os.environ, "CARILLON_HOME": str(instance.home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    story = json.loads(done.stdout)
    assert story["not_as_expected"] == []
    assert story["one_shots"] == DEVICES // 4
    groups = {one["offline"]: one for one in story["groups"]}
    assert {(one["timers"], one["sent"], one["acknowledged"], one["away"]) for one in groups.values()} == {
        (16, 16, 12, 4)
    }
    assert {policy: one["fates"] for policy, one in groups.items()} == {
        "skip": {"skipped": 4},
        "deliver_when_online": {"acknowledged": 4},
        "shadow_desired": {"left in the shadow": 4},
    }
    # Tried at once and after 5 s, then they came back; after 10 s more they were there.
    assert min(groups["deliver_when_online"]["delivered_later_s"]) >= 15
    assert story["all"]["lateness_ms"]["p50"] >= 0
    assert story["simulator"] == {"devices": 40, "commands": 40, "repeats": 0}
    due = story["dues"][0]
    assert story["dag_ids"] == [f"timer.{due[11:13]}{due[14:16]}", "timer.once"]
    assert_nothing_left(instance)
    after = call_admin(instance.instance.gateway_url, "GET", "counters")
    assert after["received"] - before["received"] == 40
    assert after["devices"] == before["devices"]


def assert_nothing_left(up: Up) -> None:
    with psycopg.connect(up.instance.database_url) as connection:
        left = connection.execute(
            "SELECT (SELECT count(*) FROM device WHERE project_id LIKE 'demo-%'),"
            " (SELECT count(*) FROM device_binding WHERE user_name LIKE 'demo-%'),"
            " (SELECT count(*) FROM definition WHERE project_id LIKE 'demo-%' AND deleted_at IS NULL),"
            " (SELECT count(*) FROM timer_group WHERE created_by LIKE 'demo-%' AND deleted_at IS NULL),"
            " (SELECT count(*) FROM token WHERE name = 'demo' AND revoked_at IS NULL)"
        ).fetchone()
    assert left == (0, 0, 0, 0, 0)
