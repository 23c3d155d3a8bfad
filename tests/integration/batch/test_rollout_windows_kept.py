"""Maintenance windows and spread: when sub-tasks may begin, by the clocks of their devices."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.batch.actions import BatchActions
from include.batch.model import Task, TaskPolicy
from include.batch.repository import TaskRepository
from include.batch.rollout import Allowance, parse, slot_of
from include.batch.steering import admit
from tests.batch_rows import add_task, insert_lamps, lamps, subtasks, task_row
from tests.integration.batch.conftest import Bench

#: A Sunday; 10:00 in Shanghai, which is the default zone, 21:00 of Saturday in New York.
NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
NIGHT = {"start": "21:30", "end": "23:00"}
ZONES = {"lamp-0": None, "lamp-1": "America/New_York", "lamp-2": "UTC"}


@pytest.fixture
def zones(connection) -> None:
    insert_lamps(connection, 3)
    for device_id, zone in ZONES.items():
        connection.execute("UPDATE device SET timezone = %s WHERE device_id = %s", [zone, device_id])


async def look(database, task: Task, now: datetime, room: int = 100) -> Allowance:
    """Look as a shard does before it claims."""
    async with database.transaction() as connection:
        locked = await TaskRepository(connection).lock_task(task.id)
        assert locked is not None
        return await admit(connection, locked, room, now)


def times(connection, task: Task) -> dict[str, tuple[datetime, datetime]]:
    rows = subtasks(connection, task, "target, wake_at, window_ends_at")
    return {target: (wake_at, ends) for target, wake_at, ends in rows}


@pytest.mark.usefixtures("zones")
async def test_each_device_has_the_window_of_its_own_clocks(database, connection) -> None:
    task = await add_task(database, now=NOW, targets=lamps(3), rollout={"window": NIGHT})
    await look(database, task, NOW)
    assert times(connection, task) == {
        "lamp-0": (datetime(2026, 11, 22, 13, 30, tzinfo=UTC), datetime(2026, 11, 22, 15, tzinfo=UTC)),
        "lamp-1": (datetime(2026, 11, 22, 2, 30, tzinfo=UTC), datetime(2026, 11, 22, 4, tzinfo=UTC)),
        "lamp-2": (datetime(2026, 11, 22, 21, 30, tzinfo=UTC), datetime(2026, 11, 22, 23, tzinfo=UTC)),
    }


@pytest.mark.usefixtures("zones")
async def test_a_zone_of_the_window_is_for_all(database, connection) -> None:
    window = {**NIGHT, "timezone": "America/New_York"}
    task = await add_task(database, now=NOW, targets=lamps(3), rollout={"window": window})
    await look(database, task, NOW)
    assert {wake_at for wake_at, _ in times(connection, task).values()} == {NOW + timedelta(minutes=30)}


@pytest.mark.usefixtures("zones")
async def test_who_missed_the_window_waits_for_the_next(database, connection) -> None:
    task = await add_task(database, now=NOW, targets=lamps(3), rollout={"window": NIGHT})
    late = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)  # the one of New York has just ended
    await look(database, task, NOW)
    before = times(connection, task)
    await look(database, task, late)
    after = times(connection, task)
    assert after.pop("lamp-1") == tuple(moment + timedelta(days=1) for moment in before.pop("lamp-1"))
    assert after == before


@pytest.mark.usefixtures("zones")
async def test_nobody_looked_for_days(database, connection) -> None:
    task = await add_task(database, now=NOW, targets=lamps(3), rollout={"window": NIGHT})
    later = NOW + timedelta(days=5)
    await look(database, task, later)
    assert all(wake_at > later for wake_at, _ in times(connection, task).values())


async def test_a_retry_outside_the_window_waits_for_the_next(database, connection) -> None:
    insert_lamps(connection, 1)
    window = {"start": "01:00", "end": "03:00", "timezone": "UTC"}
    task = await add_task(database, now=NOW, rollout={"window": window})
    await look(database, task, NOW)
    assert times(connection, task) == {"lamp-0": (NOW, NOW + timedelta(hours=1))}
    retry_at = NOW + timedelta(hours=2)
    connection.execute("UPDATE batch_subtask SET status = 'Processing', attempt = 1, wake_at = NULL")
    connection.execute("UPDATE batch_subtask SET status = 'FailWaitRetry', wake_at = %s", [retry_at])
    await look(database, task, retry_at)
    opens = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
    assert times(connection, task) == {"lamp-0": (opens, opens + timedelta(hours=2))}


async def test_a_spread_is_that_of_the_task_and_target(database, connection) -> None:
    insert_lamps(connection, 50)
    rollout = {"spread_seconds": 600}
    task = await add_task(database, now=NOW, targets=lamps(50), rollout=rollout)
    await look(database, task, NOW + timedelta(seconds=30))
    first = times(connection, task)
    expected = {
        target: slot_of(parse(rollout), task_id=task.task_id, target=target, after=NOW, zone="UTC").wake_at
        for target in lamps(50)
    }
    assert {target: wake_at for target, (wake_at, _) in first.items()} == expected
    await look(database, task, NOW + timedelta(seconds=500))
    assert times(connection, task) == first, "once placed it stays"


async def test_a_wave_is_placed_when_it_opens(database, connection) -> None:
    insert_lamps(connection, 4)
    rollout = {"waves": [{"count": 2}, {"rest": True}], "spread_seconds": 60}
    task = await add_task(database, now=NOW, targets=lamps(4), rollout=rollout)
    await look(database, task, NOW)
    assert [end is not None for _, end in times(connection, task).values()] == [True, True, False, False]
    opened = NOW + timedelta(hours=1)
    connection.execute("UPDATE batch_wave SET opened_at = %s WHERE wave = 2", [opened])
    connection.execute("UPDATE batch_task SET open_wave = 2")
    await look(database, task, opened)
    for target in ("lamp-2", "lamp-3"):
        assert opened <= times(connection, task)[target][0] < opened + timedelta(seconds=60)


async def test_what_waits_for_a_confirm_is_placed_after_it(database, connection) -> None:
    insert_lamps(connection, 2)
    task = await add_task(
        database,
        now=NOW,
        task_type="firmwareUpgrade",
        targets=lamps(2),
        need_confirm=True,
        document=None,
        rollout={"window": {**NIGHT, "timezone": "UTC"}},
    )
    await look(database, task, NOW)
    assert set(times(connection, task).values()) == {(None, None)}
    confirmed = datetime(2026, 11, 22, 22, 0, tzinfo=UTC)
    async with database.transaction() as session:
        await BatchActions(session, "p1", clock=lambda: confirmed).confirm(task.task_id, ["lamp-0"])
    await look(database, task, confirmed)
    ends = datetime(2026, 11, 22, 23, 0, tzinfo=UTC)
    assert times(connection, task) == {"lamp-0": (confirmed, ends), "lamp-1": (None, None)}


async def test_nothing_is_placed_while_it_may_not_begin(database, connection) -> None:
    insert_lamps(connection, 1)
    due = NOW + timedelta(hours=5)
    policy = TaskPolicy(schedule_time=due)
    task = await add_task(database, now=NOW, policy=policy, rollout={"window": NIGHT})
    assert await look(database, task, NOW) == Allowance(0, due)
    connection.execute("UPDATE batch_task SET paused_at = now()")
    assert await look(database, task, due) == Allowance(0)
    assert times(connection, task) == {"lamp-0": (due, None)}
    connection.execute("UPDATE batch_task SET paused_at = NULL")
    assert (await look(database, task, due)).count == 100
    assert times(connection, task)["lamp-0"][0] == datetime(2026, 11, 22, 13, 30, tzinfo=UTC)


async def test_a_shard_sends_to_those_whose_window_is_open(bench: Bench) -> None:
    now = datetime.now(UTC)
    window = {"start": f"{now - timedelta(hours=1):%H:%M}", "end": f"{now + timedelta(hours=1):%H:%M}"}
    task = await bench.add(6, rollout={"window": window, "spread_seconds": 2})
    bench.connection.execute(
        "UPDATE device SET timezone = CASE WHEN id % 2 = 0 THEN 'UTC' ELSE 'Asia/Tokyo' END"
    )
    in_utc = [
        row["device_id"]
        for row in bench.connection.execute("SELECT device_id FROM device WHERE timezone = 'UTC'").fetchall()
    ]
    work = bench.engine.keep(bench.fan_out(task, seconds=600))
    await bench.until(lambda: bench.progress(task).get("success") == 3)
    work.cancel()
    assert sorted(bench.simulator.admin("GET", "received")) == sorted(in_utc)
    assert task_row(bench.connection, task)["status"] == "Processing"
    for target, wake_at in subtasks(bench.connection, task, "target, wake_at"):
        if target not in in_utc:
            assert now + timedelta(hours=10) < wake_at < now + timedelta(hours=15)
