"""`./carillon demo maintenance`, as a user calls it where no instance runs: it starts one, and ends it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import psutil

from include.cli.home import ROOT

OBJECTS, DAYS = 60, 4
#: A start and some ticks, on a machine that has much else to do.
TIMEOUT_SECONDS = 700


def test_machines_are_due_as_expected_and_nothing_is_left_running(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            str(ROOT / "carillon"),
            "demo",
            "maintenance",
            "--objects",
            str(OBJECTS),
            "--days",
            str(DAYS),
            "--json",
        ],
        env={**os.environ, "CARILLON_HOME": str(tmp_path / "none"), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert_told(json.loads(done.stdout))
    assert list(tmp_path.iterdir()) == []
    assert [
        one for one in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(one.info["cmdline"])
    ] == []


def assert_told(story: dict[str, Any]) -> None:
    assert story["not_as_expected"] == []
    assert story["most_open"] == 1
    found = {one["uid"]: one for one in story["projects"]}
    assert {uid: (one["handled"], one["ignored"]) for uid, one in found.items()} == {
        "filters": (7, 7),
        "belts": (7, 7),
        "oil": (4, 4),
        "inspection": (0, 0),
    }
    # What was handled is noticed or due again by the end; what was left is overdue.
    assert found["filters"]["waiting"] == 0
    assert found["filters"]["overdue"] >= 6
    assert (found["oil"]["no_data"], found["oil"]["waiting"]) == (4, 12)
    assert found["inspection"]["waiting"] == OBJECTS
    assert story["crossed"] == 12
    assert story["evaluated_seconds"] > 0
    assert [one["action"] for one in story["lists"]] == [
        "get_v2_task_list",
        "get_v2_task_list",
        "get_v2_handle_list",
    ]
    assert story["lists"][2]["rows"] == 7
    assert len(story["preview"]["following"]) == 11
