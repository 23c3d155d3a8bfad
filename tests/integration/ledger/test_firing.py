"""Firing against a real ledger: on time, once, as last edited, retried, and nothing left over."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest

from include.callbacks.model import TaskFields, TaskKey
from include.callbacks.service import CallbackService
from include.kit.clock import system_clock
from include.ledger.repository import CLAIMER_LOCK_CLASS
from include.schedules.repository import ScheduleRepository
from include.schedules.service import ScheduleService
from tests.integration.ledger.conftest import Ledger, MakeEngine, soon

SECOND = timedelta(seconds=1)


async def update(ledger: Ledger, task_id: int, **fields: object) -> None:
    async with ledger.database.transaction() as connection:
        results = await CallbackService(connection).update_tasks(
            [(TaskKey(task_id), TaskFields(**fields))]  # type: ignore[arg-type]
        )
    assert results[0].err == ""


class TestInstant:
    async def test_every_definition_once_an_instant_never_early(self, ledger: Ledger) -> None:
        ids = await ledger.add("a", "b")
        end = soon()
        lines: list[str] = []
        summary = await ledger.fire(await ledger.cron_scope(ids[0], end - SECOND, end), lines=lines)
        assert (summary.succeeded, summary.failed, summary.attempts) == (2, 0, 2)
        assert sorted(sent.definition_id for sent in ledger.caller.sent) == ids
        assert all(sent.at >= sent.due_at == end for sent in ledger.caller.sent)
        assert await ledger.states(ids[0]) == [("succeeded", None)]
        attempts = await ledger.rows("SELECT number, run_type, state, status, response FROM attempt")
        assert attempts == 2 * [
            {"number": 1, "run_type": 1, "state": "succeeded", "status": 200, "response": "ok"}
        ]
        assert sum(f"definition {ids[0]} " in line for line in lines) == 1

    async def test_several_instants_of_one_window(self, ledger: Ledger) -> None:
        (task,) = await ledger.add("a")
        end = soon() + SECOND
        await ledger.fire(await ledger.cron_scope(task, end - 2 * SECOND, end))
        assert ledger.caller.times(task) == [end - SECOND, end]

    async def test_a_second_run_of_the_window_does_nothing(self, ledger: Ledger) -> None:
        (task,) = await ledger.add("a")
        end = soon()
        await ledger.fire(await ledger.cron_scope(task, end - SECOND, end))
        summary = await ledger.fire(await ledger.cron_scope(task, end - SECOND, end))
        assert summary.attempts == 0
        assert len(ledger.caller.sent) == 1

    async def test_two_processes_with_the_same_window_fire_once(
        self, ledger: Ledger, make_engine: MakeEngine
    ) -> None:
        ids = await ledger.add(*[f"t{n}" for n in range(40)])
        end, other = soon(), await make_engine()
        scopes = [await ledger.cron_scope(ids[0], end - SECOND, end) for _ in range(2)]
        await asyncio.gather(ledger.fire(scopes[0]), ledger.fire(scopes[1], engine=other))
        assert sorted(sent.definition_id for sent in ledger.caller.sent) == ids

    async def test_shards_share_the_definitions(self, ledger: Ledger) -> None:
        ids = await ledger.add(*[f"t{n}" for n in range(12)])
        end = soon()
        scope = await ledger.cron_scope(ids[0], end - SECOND, end)
        scope.shard = type(scope.shard)(scope.shard.schedule_id, 1, 4, "run", 1)
        await ledger.fire(scope)
        assert {sent.definition_id % 4 for sent in ledger.caller.sent} == {1}
        assert len(ledger.caller.sent) == 3


class TestChangesInsideAnArmedWindow:
    async def test_created_fires(self, ledger: Ledger) -> None:
        (first,) = await ledger.add("first")
        end = soon(2.5)
        run = asyncio.create_task(ledger.fire(await ledger.cron_scope(first, end - SECOND, end)))
        await asyncio.sleep(0.7)
        (second,) = await ledger.add("second", since=system_clock())
        await run
        assert ledger.caller.times(second) == [end]

    @pytest.mark.parametrize(
        ("change", "reason"),
        [({"enable": False}, "disabled"), ({"start_time": "0 0 0 1 1 *"}, "rescheduled")],
    )
    async def test_disabled_or_moved_does_not_fire(
        self, ledger: Ledger, change: dict[str, object], reason: str
    ) -> None:
        (task,) = await ledger.add("a")
        end = soon(2.5)
        run = asyncio.create_task(ledger.fire(await ledger.cron_scope(task, end - SECOND, end)))
        await asyncio.sleep(0.7)
        await update(ledger, task, **change)
        assert (await run).refused == 1
        assert ledger.caller.sent == []
        assert await ledger.states(task) == [("skipped", reason)]

    async def test_deleted_does_not_fire(self, ledger: Ledger) -> None:
        (task,) = await ledger.add("a")
        end = soon(2.5)
        run = asyncio.create_task(ledger.fire(await ledger.cron_scope(task, end - SECOND, end)))
        await asyncio.sleep(0.7)
        await ledger.rows("UPDATE definition SET deleted_at = now(), enabled = false WHERE id = %s", task)
        await run
        assert ledger.caller.sent == []
        assert await ledger.states(task) == [("skipped", "deleted")]

    async def test_edited_fires_as_edited(self, ledger: Ledger) -> None:
        (task,) = await ledger.add("a")
        end = soon(2.5)
        run = asyncio.create_task(ledger.fire(await ledger.cron_scope(task, end - SECOND, end)))
        await asyncio.sleep(0.7)
        await update(ledger, task, url="http://93.184.215.14/new")
        await run
        assert [sent.revision for sent in ledger.caller.sent] == [2]

    async def test_expired_does_not_fire(self, ledger: Ledger) -> None:
        (task,) = await ledger.add("a")
        end = soon()
        scope = await ledger.cron_scope(task, end - SECOND, end)
        await ledger.rows("UPDATE definition SET expires_at = %s WHERE id = %s", end - SECOND, task)
        await ledger.fire(scope)
        assert ledger.caller.sent == []
        assert await ledger.states(task) == []


class TestRetries:
    async def test_retries_wait_their_delays_and_keep_the_webhook_id(self, ledger: Ledger) -> None:
        (task,) = await ledger.add("a", redo_param="1 1")
        ledger.caller.delays[task], ledger.caller.answers[task] = [1, 1], [False, False, True]
        end = soon()
        summary = await ledger.fire(await ledger.cron_scope(task, end - SECOND, end))
        assert (summary.succeeded, summary.failed, summary.attempts) == (1, 0, 3)
        sent = ledger.caller.sent
        assert [s.attempt for s in sent] == [1, 2, 3]
        assert len({s.webhook_id for s in sent}) == 1
        assert all(later.at - earlier.at >= SECOND for earlier, later in pairwise(sent))
        numbers = await ledger.rows("SELECT number, run_type, state FROM attempt ORDER BY number")
        assert [tuple(row.values()) for row in numbers] == [
            (1, 1, "failed"),
            (2, 2, "failed"),
            (3, 2, "succeeded"),
        ]

    async def test_exhausted_retries_fail_the_run(self, ledger: Ledger) -> None:
        (task,) = await ledger.add("a")
        ledger.caller.delays[task], ledger.caller.answers[task] = [0], [False, False, True]
        end = soon()
        summary = await ledger.fire(await ledger.cron_scope(task, end - SECOND, end))
        assert (summary.failed, summary.attempts) == (1, 2)
        assert await ledger.states(task) == [("failed", "no")]

    async def test_a_long_retry_is_handed_over_to_the_one_shots(self, ledger: Ledger) -> None:
        (task,) = await ledger.add("a")
        ledger.caller.delays[task], ledger.caller.answers[task] = [3600], [False, True]
        end = soon()
        summary = await ledger.fire(await ledger.cron_scope(task, end - SECOND, end))
        assert summary.handed_over == 1
        (row,) = await ledger.rows(
            "SELECT e.state, s.expression, s.active, e.next_attempt_at FROM execution e"
            " JOIN schedule s ON s.id = e.schedule_id"
        )
        assert (row["state"], row["expression"], row["active"]) == ("retrying", "@once", True)
        assert timedelta(minutes=59) < row["next_attempt_at"] - end < timedelta(minutes=61)
        await ledger.rows("UPDATE execution SET next_attempt_at = now() - interval '1 minute'")
        summary = await ledger.fire(await ledger.once_scope(system_clock()))
        assert summary.succeeded == 1
        assert await ledger.states(task) == [("succeeded", None)]


class TestAfterADeath:
    async def claimed_by(self, ledger: Ledger, task: int, claimer: int) -> None:
        await ledger.rows(
            "UPDATE execution SET state = 'running', claimed_by = %s, claimed_at = now(), attempts = 1",
            claimer,
        )
        await ledger.rows(
            "INSERT INTO attempt (execution_id, due_at, number, definition_id, run_type, state, begin_at)"
            " SELECT id, due_at, 1, definition_id, 1, 'started', now() FROM execution"
        )

    async def test_what_a_dead_process_claimed_is_done_again_with_the_same_id(self, ledger: Ledger) -> None:
        (task,) = await ledger.add("a")
        end = soon(-2)
        scope = await ledger.cron_scope(task, end - SECOND, end)
        await ledger.arm(scope)
        await self.claimed_by(ledger, task, 999_999)
        (row,) = await ledger.rows("SELECT id FROM execution")
        summary = await ledger.fire(scope)
        assert summary.succeeded == 1
        assert [(s.webhook_id, s.attempt) for s in ledger.caller.sent] == [(f"exec_{row['id']}", 2)]
        attempts = await ledger.rows("SELECT number, state, error FROM attempt ORDER BY number")
        assert attempts[0]["state"] == "failed"
        assert attempts[0]["error"].startswith("interrupted")
        assert attempts[1]["state"] == "succeeded"

    async def test_what_a_living_process_claimed_is_left_to_it(self, ledger: Ledger) -> None:
        (task,) = await ledger.add("a")
        end = soon(-2)
        scope = await ledger.cron_scope(task, end - SECOND, end)
        await ledger.arm(scope)
        await self.claimed_by(ledger, task, 777_777)
        living = await ledger.database.connect()
        await living.execute("SELECT pg_advisory_lock(%s, %s)", [CLAIMER_LOCK_CLASS, 777_777])
        run = asyncio.create_task(ledger.fire(scope))
        await asyncio.sleep(4)
        assert await ledger.states(task) == [("running", None)]
        assert not run.done()  # it does not end while something of its window is open
        await living.close()
        assert (await run).succeeded == 1

    async def test_a_cancelled_run_leaves_its_work_to_the_next(self, ledger: Ledger) -> None:
        (task,) = await ledger.add("a")
        end = soon(3)
        scope = await ledger.cron_scope(task, end - SECOND, end)
        run = asyncio.create_task(ledger.fire(scope))
        await asyncio.sleep(max(0.0, (end - system_clock()).total_seconds() - 0.2))
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        assert (await ledger.fire(scope)).succeeded == 1
        assert len(ledger.caller.sent) == 1


#: As a run leaves an execution that is stopped between two attempts.
LEFT_BEHIND = (
    "UPDATE execution SET state = 'retrying', attempts = 1, finished_at = NULL, reason = NULL,"
    " next_attempt_at = due_at"
)


class TestTwoThatHoldTheSame:
    async def test_a_retry_over_the_minutes_edge_is_sent_once(self, ledger: Ledger) -> None:
        """The next minute's run is armed while this one still has the retry in memory."""
        due_at = system_clock().timestamp() + 1
        (task,) = await ledger.add("a", type=1, start_time=f"{due_at:.0f}", since=system_clock())
        ledger.caller.delays[task], ledger.caller.answers[task] = [4], [False, True]
        until = system_clock() + 3 * SECOND
        first = asyncio.create_task(ledger.fire(await ledger.once_scope(until)))
        await asyncio.sleep(3)
        await asyncio.gather(first, ledger.fire(await ledger.once_scope(until + 6 * SECOND)))
        assert [sent.attempt for sent in ledger.caller.sent] == [1, 2]

    async def test_a_result_counts_though_the_claim_was_taken_back(
        self, ledger: Ledger, make_engine: MakeEngine
    ) -> None:
        (task,) = await ledger.add("a")
        ledger.caller.takes[task] = 1.5
        end = soon()
        run = asyncio.create_task(ledger.fire(await ledger.cron_scope(task, end - SECOND, end)))
        await asyncio.sleep((end - system_clock()).total_seconds() + 0.5)
        await ledger.rows("UPDATE execution SET state = 'retrying', claimed_by = NULL, claimed_at = NULL")
        await run
        assert await ledger.states(task) == [("succeeded", None)]
        assert len(ledger.caller.sent) == 1

    async def test_a_target_that_swallows_connections_makes_no_other_late(self, ledger: Ledger) -> None:
        (task,) = await ledger.add("a")
        end = soon(2.5)

        async def hang(calls: object) -> None:
            await asyncio.sleep(5)

        ledger.caller.warm = hang  # type: ignore[method-assign,assignment]
        await ledger.fire(await ledger.cron_scope(task, end - SECOND, end))
        (sent,) = ledger.caller.sent
        assert sent.at - sent.due_at < 0.5 * SECOND

    async def test_moved_to_another_schedule_with_the_same_instant_fires_there(self, ledger: Ledger) -> None:
        (task,) = await ledger.add("a")
        end = soon(3)
        old = asyncio.create_task(ledger.fire(await ledger.cron_scope(task, end - SECOND, end)))
        await asyncio.sleep(0.7)
        await update(ledger, task, start_time="@every 1s")
        await asyncio.gather(old, ledger.fire(await ledger.cron_scope(task, end - SECOND, end)))
        assert ledger.caller.times(task) == [end]
        assert ("succeeded", None) in await ledger.states(task)

    async def test_what_an_earlier_window_left_is_taken_up(self, ledger: Ledger) -> None:
        (task,) = await ledger.add("a")
        end = soon()
        left = end - 60 * SECOND
        await ledger.arm(await ledger.cron_scope(task, left - SECOND, left))
        await ledger.rows(LEFT_BEHIND)
        await ledger.fire(await ledger.cron_scope(task, end - SECOND, end))
        assert sorted(ledger.caller.times(task)) == [left, end]

    async def test_orphans_of_a_schedule_that_left_go_to_the_one_shots(self, ledger: Ledger) -> None:
        (task,) = await ledger.add("a")
        end = soon(-200)
        await ledger.arm(await ledger.cron_scope(task, end - SECOND, end))
        await ledger.rows(LEFT_BEHIND)
        await ledger.rows("UPDATE schedule SET active = false")
        async with ledger.database.transaction() as connection:
            await ScheduleService(ScheduleRepository(connection)).adopt_orphans(system_clock())
        assert (await ledger.fire(await ledger.once_scope(system_clock()))).succeeded == 1


async def test_concurrent_requests_on_one_schedule_do_not_deadlock(ledger: Ledger) -> None:
    first = await ledger.add("first")
    batches = [ledger.add(*[f"t{batch}-{n}" for n in range(20)]) for batch in range(4)]
    edits = [update(ledger, first[0], body=str(n)) for n in range(4)]
    assert all(len(ids) == 20 for ids in (await asyncio.gather(*batches, *edits))[:4] if ids)


class TestClearAndTrigger:
    async def test_clearing_executes_only_what_did_not_succeed(self, ledger: Ledger) -> None:
        good, bad = await ledger.add("good", "bad")
        ledger.caller.answers[bad] = [False, True]
        end = soon()
        first = await ledger.fire(await ledger.cron_scope(good, end - SECOND, end))
        assert first.failed == 1
        again = await ledger.fire(await ledger.cron_scope(good, end - SECOND, end, run_try=2))
        assert (again.succeeded, again.failed) == (1, 0)
        assert [s.definition_id for s in ledger.caller.sent].count(good) == 1
        assert await ledger.states(bad) == [("succeeded", None)]

    async def test_a_restarted_trigger_is_no_clearing(self, ledger: Ledger) -> None:
        (bad,) = await ledger.add("bad")
        ledger.caller.answers[bad] = [False, True]
        end = soon()
        scope = await ledger.cron_scope(bad, end - SECOND, end)
        await ledger.fire(scope)
        assert (await ledger.fire(scope)).attempts == 0

    async def test_trigger_dag_runs_every_enabled_definition_once(self, ledger: Ledger) -> None:
        first, off = await ledger.add("first", "off")
        await update(ledger, off, enable=False)
        scope = await ledger.manual_scope(first, None, run_id="manual__1")
        assert (await ledger.fire(scope)).succeeded == 1
        assert [s.definition_id for s in ledger.caller.sent] == [first]
        assert (await ledger.rows("SELECT origin FROM execution")) == [{"origin": "manual"}]
        assert (await ledger.rows("SELECT run_type FROM attempt")) == [{"run_type": 2}]

    async def test_trigger_dag_with_definition_ids(self, ledger: Ledger) -> None:
        ids = await ledger.add("a", "b", "c")
        await ledger.fire(await ledger.manual_scope(ids[0], ids[1:], run_id="manual__1"))
        assert sorted(s.definition_id for s in ledger.caller.sent) == ids[1:]
