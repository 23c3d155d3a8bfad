"""What was missed: by policy, in the ledger, and never silently."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from include.callbacks.model import TaskKey
from include.callbacks.service import CallbackService
from include.kit.clock import system_clock
from include.ledger import scopes
from include.ledger.repository import LedgerRepository
from include.ledger.windows import Window
from include.schedules.repository import ScheduleRepository
from include.schedules.service import ONCE_LINGER, ScheduleService
from tests.integration.ledger.conftest import Ledger, soon

SECOND = timedelta(seconds=1)


@pytest.fixture
def last_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """No later window follows that would fire in the place of this one."""
    monkeypatch.setattr(scopes.CronScope, "_has_instant", lambda self, after, until: False)


@pytest.mark.usefixtures("last_window")
class TestPolicies:
    @pytest.mark.parametrize(
        ("misfire", "states"),
        [
            ("fire_once", ["skipped", "skipped", "succeeded"]),
            ("skip", ["skipped", "skipped", "succeeded"]),
            ("fire_all", ["succeeded", "succeeded", "succeeded"]),
        ],
    )
    async def test_within_the_grace(self, ledger: Ledger, misfire: str, states: list[str]) -> None:
        (task,) = await ledger.add("a", misfire=misfire)
        end = soon(-20)
        await ledger.fire(await ledger.cron_scope(task, end - 3 * SECOND, end))
        assert [state for state, _ in await ledger.states(task)] == states

    @pytest.mark.parametrize(("misfire", "late"), [("fire_once", 3700), ("fire_all", 3700), ("skip", 70)])
    async def test_older_than_the_grace_is_missed(self, ledger: Ledger, misfire: str, late: int) -> None:
        (task,) = await ledger.add("a", misfire=misfire)
        end = soon(-late)
        await ledger.fire(await ledger.cron_scope(task, end - 2 * SECOND, end))
        assert await ledger.states(task) == 2 * [("missed", "misfire: older than its grace")]
        assert ledger.caller.sent == []

    async def test_a_little_late_is_not_missed(self, ledger: Ledger) -> None:
        """A window taken over within the threshold fires all its instants, whatever the policy."""
        (task,) = await ledger.add("a")
        end = soon(-3)
        await ledger.fire(await ledger.cron_scope(task, end - 2 * SECOND, end))
        assert ledger.caller.times(task) == [end - SECOND, end]

    async def test_a_definition_answers_only_for_instants_after_it_became_active(
        self, ledger: Ledger
    ) -> None:
        end = soon(-3)
        (task,) = await ledger.add("a", since=end - 1.5 * SECOND)
        await ledger.fire(await ledger.cron_scope(task, end - 10 * SECOND, end))
        assert ledger.caller.times(task) == [end - SECOND, end]


async def test_the_planned_run_leaves_firing_to_the_catch_up_run(ledger: Ledger) -> None:
    """After an outage the run that was planned comes first; a later instant fires in its place."""
    (task,) = await ledger.add("a", start_time="*/10 * * * * *")
    end = soon(-60)
    end = end.replace(second=end.second // 10 * 10)
    await ledger.fire(await ledger.cron_scope(task, end - 10 * SECOND, end))
    assert [state for state, _ in await ledger.states(task)] == ["skipped"]
    now = system_clock()
    latest = now.replace(second=now.second // 10 * 10, microsecond=0)
    await ledger.fire(await ledger.cron_scope(task, end, latest))
    assert ledger.caller.times(task)[-1] == latest
    assert len(ledger.caller.sent) <= 3  # the latest missed one, and what is only late


async def test_waiting_in_a_queue_is_no_misfire(ledger: Ledger) -> None:
    (task,) = await ledger.add("a", overlap="queue")
    end = soon(-17)
    scope = await ledger.cron_scope(task, end - 2 * SECOND, end)
    statement = """
        INSERT INTO execution (definition_id, schedule_id, due_at, next_attempt_at, origin, state, claimed_by)
        VALUES (%s, %s, %s, %s, 'scheduled', 'running', 1)
    """
    earlier = end - 50 * SECOND
    await ledger.rows(statement, task, scope.shard.schedule_id, earlier, earlier)
    async with ledger.database.transaction() as connection:
        await scope.arm(LedgerRepository(connection), system_clock())
    assert [state for state, _ in await ledger.states(task)] == ["running", "pending", "pending"]


@pytest.mark.usefixtures("last_window")
class TestLongOutage:
    async def test_older_instants_are_one_row_with_their_number(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scopes, "LISTED_INSTANTS", 3)
        monkeypatch.setattr(scopes, "LISTED_ALWAYS", 3)
        (task,) = await ledger.add("a")
        end = soon(-20)
        summary = await ledger.fire(await ledger.cron_scope(task, end - 7200 * SECOND, end))
        assert summary.attempts == 1
        rows = await ledger.rows(
            "SELECT state, covers_count, due_at, covers_since FROM execution ORDER BY due_at"
        )
        assert [(row["state"], row["covers_count"]) for row in rows] == [
            ("missed", 7197),
            ("skipped", 1),
            ("skipped", 1),
            ("succeeded", 1),
        ]
        assert (rows[0]["due_at"], rows[0]["covers_since"]) == (end - 3 * SECOND, end - 7200 * SECOND)


class TestOverlap:
    async def fire_two(self, ledger: Ledger, overlap: str) -> int:
        (task,) = await ledger.add("a", overlap=overlap)
        ledger.caller.takes[task] = 1.6
        end = soon() + SECOND
        await ledger.fire(await ledger.cron_scope(task, end - 2 * SECOND, end))
        return task

    async def test_allow(self, ledger: Ledger) -> None:
        task = await self.fire_two(ledger, "allow")
        first, second = ledger.caller.sent
        assert second.at - first.at < 1.2 * SECOND
        assert await ledger.states(task) == 2 * [("succeeded", None)]

    async def test_skip(self, ledger: Ledger) -> None:
        task = await self.fire_two(ledger, "skip")
        assert await ledger.states(task) == [("succeeded", None), ("skipped", "overlap")]

    async def test_queue(self, ledger: Ledger) -> None:
        task = await self.fire_two(ledger, "queue")
        first, second = ledger.caller.sent
        assert second.at - first.at >= 1.6 * SECOND
        assert await ledger.states(task) == 2 * [("succeeded", None)]


class TestOneShots:
    async def add_once(self, ledger: Ledger, name: str, in_seconds: float, **fields: Any) -> int:
        due_at = system_clock().timestamp() + in_seconds
        (task,) = await ledger.add(name, type=1, start_time=f"{due_at:.3f}", since=system_clock(), **fields)
        return task

    async def test_fires_once_and_is_spent(self, ledger: Ledger) -> None:
        task = await self.add_once(ledger, "a", 1)
        until = system_clock() + 3 * SECOND
        assert (await ledger.fire(await ledger.once_scope(until))).succeeded == 1
        assert (await ledger.fire(await ledger.once_scope(until))).attempts == 0
        (sent,) = ledger.caller.sent
        assert sent.at >= sent.due_at
        assert (await ledger.rows("SELECT spent FROM definition WHERE id = %s", task)) == [{"spent": True}]

    async def test_a_moment_just_past_fires_at_once(self, ledger: Ledger) -> None:
        await self.add_once(ledger, "a", -50)
        assert (await ledger.fire(await ledger.once_scope(system_clock()))).succeeded == 1

    async def test_one_two_seconds_ahead_reaches_the_armed_minute(self, ledger: Ledger) -> None:
        await self.add_once(ledger, "first", 600)
        run = asyncio.create_task(ledger.fire(await ledger.once_scope(system_clock() + 4 * SECOND)))
        await asyncio.sleep(0.6)
        await self.add_once(ledger, "second", 2)
        await run
        (sent,) = ledger.caller.sent
        assert timedelta(0) <= sent.at - sent.due_at < 0.5 * SECOND

    async def test_run_again_goes_through_the_armed_minute(self, ledger: Ledger) -> None:
        (task,) = await ledger.add("a", start_time="0 0 0 1 1 *", enable=False)
        await self.add_once(ledger, "keeps it armed", 600)
        run = asyncio.create_task(ledger.fire(await ledger.once_scope(system_clock() + 3 * SECOND)))
        await asyncio.sleep(0.6)
        async with ledger.database.transaction() as connection:
            await CallbackService(connection).run_again([TaskKey(name="a")])
        await run
        assert [sent.definition_id for sent in ledger.caller.sent] == [task]
        assert (await ledger.rows("SELECT run_type FROM attempt")) == [{"run_type": 2}]

    async def test_ten_thousand_make_one_schedule(self, ledger: Ledger) -> None:
        due_at = system_clock().timestamp() + 3600
        for batch in range(10):
            names = [f"t{batch}-{n}" for n in range(1000)]
            await ledger.add(*names, type=1, start_time=f"{due_at:.0f}", since=system_clock())
        rows = await ledger.rows("SELECT dag_id, active, shards FROM schedule")
        assert rows == [{"dag_id": "callback.once", "active": True, "shards": 8}]


class TestScheduleLife:
    async def schedule(self, ledger: Ledger) -> dict[str, Any]:
        (row,) = await ledger.rows("SELECT active, announced, shards FROM schedule")
        return row

    async def change(self, ledger: Ledger, task: int, sql: str) -> None:
        async with ledger.database.transaction() as connection:
            cursor = await connection.execute(sql, [task])  # type: ignore[arg-type]
            schedule_ids = [row["schedule_id"] for row in await cursor.fetchall()]
            await ScheduleService(ScheduleRepository(connection)).changed(schedule_ids, system_clock())

    async def test_comes_with_its_first_definition_and_leaves_with_its_last(self, ledger: Ledger) -> None:
        first, second = await ledger.add("a", "b")
        assert await self.schedule(ledger) == {"active": True, "announced": False, "shards": 1}
        await ledger.rows("UPDATE schedule SET announced = true")
        disable = "UPDATE definition SET enabled = false WHERE id = %s RETURNING schedule_id"
        await self.change(ledger, first, disable)
        assert await self.schedule(ledger) == {"active": True, "announced": True, "shards": 1}
        await self.change(ledger, second, disable)
        assert await self.schedule(ledger) == {"active": False, "announced": False, "shards": 1}

    async def test_shards_grow_by_powers_of_two(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CARILLON_DEFINITIONS_PER_SHARD", "2")
        scopes.get_settings.cache_clear()
        await ledger.add(*[f"t{n}" for n in range(5)])
        assert (await self.schedule(ledger))["shards"] == 4
        await ledger.add(*[f"u{n}" for n in range(3)])
        assert (await self.schedule(ledger))["shards"] == 4
        await ledger.add("one more")
        assert (await self.schedule(ledger))["shards"] == 8

    async def test_an_idle_one_shot_schedule_leaves_after_a_while(self, ledger: Ledger) -> None:
        now = system_clock()
        await ledger.add("a", type=1, start_time=f"{now.timestamp():.0f}", since=now)
        await ledger.fire(await ledger.once_scope(now + SECOND))
        for later, active in ((timedelta(minutes=1), True), (ONCE_LINGER + timedelta(minutes=1), False)):
            async with ledger.database.transaction() as connection:
                await ScheduleService(ScheduleRepository(connection)).retire_idle_once(now + later)
            assert (await self.schedule(ledger))["active"] is active


async def test_a_window_in_the_far_past_does_not_hold_up_the_loop(ledger: Ledger) -> None:
    """A month of seconds is listed beside the event loop, not on it."""
    (task,) = await ledger.add("a")
    end = soon(-20)
    scope = await ledger.cron_scope(task, end - timedelta(days=3), end)
    assert scope.window == Window(end - timedelta(days=3), end)
    pauses: list[float] = []

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.01)
            pauses.append(loop.time() - before)

    watcher = asyncio.create_task(watch())
    await ledger.run(scope).arm()
    watcher.cancel()
    assert len(pauses) > 3
    (row,) = await ledger.rows("SELECT count(*), sum(covers_count) AS covered FROM execution")
    # The definition became active two days ago: what is condensed counts all instants of the window.
    assert row == {"count": 1441, "covered": 3 * 86_400}
