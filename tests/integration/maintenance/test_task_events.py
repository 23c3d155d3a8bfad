"""Events of maintenance tasks: what is told, to whom, and what is not."""

from __future__ import annotations

import pytest

from tests.event_rows import subscribe
from tests.maintenance_rows import Bench, local

URL = "https://example.com/events"


@pytest.fixture
async def listening(bench: Bench) -> Bench:
    """A bench of whose tasks organisation p1 hears."""
    await subscribe(bench.database, URL, resource="maintenance.task")
    return bench


def told(bench: Bench) -> list[tuple[str, str]]:
    rows = bench.rows("SELECT action, body ->> 'object_id' AS object FROM event ORDER BY id")
    return [(row["action"], row["object"]) for row in rows]


async def test_each_state_is_told_once(listening: Bench) -> None:
    bench = listening
    await bench.create("p1")
    for day in (23, 23, 24, 25, 25):
        bench.now = local(2026, 11, day)
        await bench.tick()
    events = told(bench)
    assert [sorted(events[begin : begin + 2]) for begin in range(0, len(events), 2)] == [
        [(state, "a"), (state, "c")] for state in ("noticed", "due", "overdue")
    ]
    await bench.handle(bench.open()["a"])
    await bench.ignore(bench.open()["c"])
    assert told(bench)[6:] == [("handled", "a"), ("ignored", "c")]


async def test_what_is_told(listening: Bench) -> None:
    bench = listening
    project = await bench.create("p1", object_ids=["a"])
    bench.now = local(2026, 11, 23)
    await bench.tick()
    [event] = bench.rows("SELECT resource, action, subject, body FROM event")
    uid = bench.open()["a"]
    assert event == {
        "resource": "maintenance.task",
        "action": "noticed",
        "subject": uid,
        "body": {
            "task_id": uid, "state": "noticed", "project_id": project.uid, "project_name": "na_test",
            "object_id": "a", "object_name": "a", "cycle_type": "自然时间周期",
            "due_at": "2026-11-23T16:00:00+00:00", "missed": 0,
        },
    }  # fmt: skip


async def test_a_stop_and_a_missed_point_are_not_told(listening: Bench) -> None:
    bench = listening
    project = await bench.create("p1", object_ids=["a"])
    bench.now = local(2026, 11, 25)
    await bench.tick()
    bench.now = local(2026, 11, 30)
    await bench.tick()
    await bench.project("stop", project.uid)
    assert told(bench) == [("overdue", "a")]


async def test_others_hear_nothing(listening: Bench) -> None:
    bench = listening
    await subscribe(bench.database, URL, resource="batchtask")
    await bench.create("p2")
    bench.now = local(2026, 11, 25)
    await bench.tick()
    assert told(bench) == []
