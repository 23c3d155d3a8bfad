"""Evaluations at once, beside handling and stopping, and killed: no task twice, none missing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from include.cli.postgres import child_argv
from include.errors import NotFoundError
from include.maintenance import evaluation
from include.maintenance.evaluation import evaluate_schedule
from tests.maintenance_rows import Bench, local

ROOT = Path(__file__).parents[3]
OBJECTS = 500
PROJECTS = 20

EVALUATE = """
import asyncio, sys
from datetime import datetime
from include.kit.db import Database, database_url
from include.maintenance import evaluation
from include.maintenance.evaluation_repository import EvaluationRepository

open_tasks = EvaluationRepository.open_tasks

async def linger(*arguments):
    found = await open_tasks(*arguments)
    await asyncio.sleep(0.1)  # so that it is killed with a chunk in hand
    return found

async def main():
    database = await Database(database_url()).open()
    evaluation.CHUNK = 1
    EvaluationRepository.open_tasks = linger
    await evaluation.evaluate_schedule(database, 1, lambda: datetime.fromisoformat(sys.argv[1]))

asyncio.run(main())
"""


@pytest.fixture
async def town(bench: Bench) -> Bench:
    """Many objects of one cycle, all of whose tasks are noticed tomorrow."""
    ids = [f"object {number}" for number in range(OBJECTS)]
    for number in range(PROJECTS):
        await bench.create(uid=f"p{number}", object_ids=ids)
    bench.now = local(2026, 11, 23)
    return bench


def check_one_open_task_each(bench: Bench) -> None:
    """Look at every object: its one open task, and that the object knows it."""
    [row] = bench.rows(
        "SELECT count(*) AS objects, count(DISTINCT t.id) AS tasks,"
        " count(*) FILTER (WHERE t.id = s.open_task_id) AS held"
        " FROM maintenance_state s"
        " LEFT JOIN maintenance_task t USING (definition_id, object_id)"
        " WHERE t.closed_at IS NULL"
    )
    assert tuple(row.values()) == (OBJECTS * PROJECTS,) * 3


async def test_at_once(town: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "CHUNK", 1)
    for state, day in (("noticed", 23), ("due", 24), ("overdue", 25)):
        town.now = local(2026, 11, day)
        reports = await asyncio.gather(*[evaluate_schedule(town.database, 1, town.clock) for _ in range(4)])
        counts: Counter[str] = Counter()
        for one in (moved for report in reports for moved in report):
            counts[one.state] += one.count
        assert counts == {state: OBJECTS * PROJECTS}
        check_one_open_task_each(town)
        assert town.rows("SELECT count(*) AS n FROM maintenance_task") == [{"n": OBJECTS * PROJECTS}]


async def test_killed_in_the_middle_and_run_again(town: Bench, database_url: str) -> None:
    process = subprocess.Popen(
        [*child_argv(), sys.executable, "-c", EVALUATE, town.now.isoformat()],
        cwd=ROOT,
        env={**os.environ, "CARILLON_DATABASE_URL": database_url},
    )
    try:
        deadline = time.monotonic() + 120
        while not town.rows("SELECT FROM maintenance_task LIMIT 1"):
            assert process.poll() is None
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    halfway = town.rows("SELECT count(*) AS n FROM maintenance_task")[0]["n"]
    assert 0 < halfway < OBJECTS * PROJECTS
    moved = await town.tick()
    assert sum(one.count for one in moved) == OBJECTS * PROJECTS - halfway
    check_one_open_task_each(town)


async def test_beside_handling(town: Bench) -> None:
    """What is handled while it is evaluated is handled once, and is due again as its handling says."""
    await town.tick()
    town.now = local(2026, 11, 24)
    uids = [row["uid"] for row in town.rows("SELECT uid FROM maintenance_task ORDER BY random() LIMIT 100")]
    results = await asyncio.gather(
        *[town.handle(uid) for uid in uids * 2],
        *[evaluate_schedule(town.database, 1, town.clock) for _ in range(4)],
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, BaseException)]
    assert [type(error) for error in refused] == [NotFoundError] * 100
    await town.tick()
    states = town.rows("SELECT state, count(*) AS n FROM maintenance_task GROUP BY state ORDER BY state")
    assert [tuple(row.values()) for row in states] == [("due", OBJECTS * PROJECTS - 100), ("handled", 100)]
    found = town.rows("SELECT count(*) AS n FROM maintenance_state WHERE due_at = %s", local(2026, 11, 26))
    assert found == [{"n": 100}]


async def test_beside_stopping(town: Bench) -> None:
    """A project that was stopped has no task that goes on."""
    uids = [f"p{number}" for number in range(PROJECTS)]
    await asyncio.gather(
        *[evaluate_schedule(town.database, 1, town.clock) for _ in range(2)],
        *[town.project("stop", uid) for uid in uids],
    )
    assert {row["state"] for row in town.rows("SELECT DISTINCT state FROM maintenance_task")} <= {"stopped"}
    for uid in uids:
        await town.project("start", uid)
    check_one_open_task_each(town)
    assert {row["state"] for row in town.rows("SELECT DISTINCT state FROM maintenance_task")} == {"noticed"}
