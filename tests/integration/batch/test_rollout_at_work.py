"""Rollouts over the simulator: rate, in flight, abort, waves, pause and resume, on several engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from include.batch import runs
from include.batch.actions import BatchActions
from include.batch.control import BatchControl, TaskRecord
from include.batch.engine import BatchEngine
from include.batch.model import Task, TaskPolicy
from include.batch.rollout.rate import Bucket
from include.errors import NotFoundError
from tests.batch_rows import lamps, subtasks, task_row
from tests.integration.batch.conftest import Bench, MakeEngine

#: Notes each attempt when it is begun, and how many were in flight after each change.
WATCH = """
CREATE TABLE begun (target text, wave smallint, at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE FUNCTION note_begun() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO begun (target, wave) VALUES (NEW.target, NEW.wave);
    RETURN NULL;
END $$;
CREATE TRIGGER note_begun AFTER UPDATE ON batch_subtask FOR EACH ROW
    WHEN (NEW.attempt > OLD.attempt) EXECUTE FUNCTION note_begun();
CREATE TABLE in_flight (processing integer);
CREATE FUNCTION note_in_flight() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO in_flight VALUES (NEW.processing);
    RETURN NULL;
END $$;
CREATE TRIGGER note_in_flight AFTER UPDATE ON batch_task FOR EACH ROW EXECUTE FUNCTION note_in_flight();
"""


LIMIT = {"failed_percent": 50, "min_executed": 10}
WAVES = [{"count": 3, "success_percent": 100}, {"percent": 40, "approval": True}, {"rest": True}]


@pytest.fixture(autouse=True)
def watched(connection, monkeypatch: pytest.MonkeyPatch) -> None:
    connection.execute(WATCH)
    monkeypatch.setattr(runs, "SUBTASKS_PER_SHARD", 1)  # all shards are needed


def begun(bench: Bench) -> list[datetime]:
    return [row["at"] for row in bench.connection.execute("SELECT at FROM begun ORDER BY at").fetchall()]


def waiting(bench: Bench, task: Task) -> int:
    return bench.progress(task).get("waitting", 0)


@asynccontextmanager
async def at_work(bench: Bench, task: Task, engines: Sequence[BatchEngine]) -> AsyncIterator[None]:
    """Have a shard in each engine work on a task; in the end they must have done so to its end."""
    shards = [
        asyncio.create_task(bench.fan_out(task, shard, seconds=120, engine=engine))
        for shard, engine in enumerate(engines)
    ]
    try:
        yield
        await asyncio.gather(*shards)
    finally:
        for shard in shards:
            shard.cancel()
        await asyncio.gather(*shards, return_exceptions=True)


async def control(bench: Bench, call: str, *args: Any) -> TaskRecord:
    async with bench.database.transaction() as connection:
        return await getattr(BatchControl(connection, by="ann"), call)(*args)


class TestRate:
    async def test_two_shards_share_it_exactly(self, bench: Bench, make_engine: MakeEngine) -> None:
        task = await bench.add(100, rollout={"rate": {"per_minute": 600}})
        async with at_work(bench, task, [bench.engine, await make_engine()]):
            pass
        assert bench.progress(task) == {"total": 100, "success": 100}
        moments, bucket = begun(bench), Bucket.of_rate(600)
        for place, first in enumerate(moments):
            for number, last in enumerate(moments[place:], 1):
                # The claim's own moment is a little before that of its row.
                span = last - first + timedelta(seconds=0.2)
                assert number <= bucket.size + bucket.tokens(span) + 1
        assert moments[-1] - moments[0] >= timedelta(seconds=9)
        assert task_row(bench.connection, task)["dispatched"] == 100

    async def test_a_ramp_grows_with_what_succeeded(self, bench: Bench) -> None:
        every = {"base_per_minute": 60, "factor": 5.0, "every": {"succeeded": 4}, "per_minute": 6000}
        task = await bench.add(60, rollout={"rate": every})
        async with at_work(bench, task, [bench.engine]):
            pass
        moments = begun(bench)
        gaps = [(after - before).total_seconds() for before, after in pairwise(moments)]
        assert min(gaps[:3]) > 0.8, "one a second to begin with"
        assert moments[-1] - moments[8] < timedelta(seconds=30), "at one a second it were 51"

    async def test_a_pause_is_not_made_up_for(self, bench: Bench) -> None:
        task = await bench.add(60, rollout={"rate": {"per_minute": 600}})
        async with at_work(bench, task, [bench.engine]):
            await bench.until(lambda: len(begun(bench)) >= 10)
            paused = await control(bench, "pause", task.task_id)
            so_far = len(begun(bench))
            assert paused.task.dispatched == so_far
            assert (paused.task.status, paused.task.pause_reason) == ("Processing", "paused by ann")
            await asyncio.sleep(3)
            assert len(begun(bench)) == so_far, "30 were allowed meanwhile"
            resumed = await control(bench, "resume", task.task_id)
            assert resumed.task.paused_at is None
            again = task_row(bench.connection, task)["updated_at"]
        after = begun(bench)[so_far:]
        early = sum(at < again + timedelta(seconds=1) for at in after)
        assert early <= Bucket.of_rate(600).size + 11
        assert bench.progress(task) == {"total": 60, "success": 60}


class TestInFlight:
    async def test_never_more_over_two_shards(self, bench: Bench, make_engine: MakeEngine) -> None:
        bench.simulator.faults(latency={"seconds": 0.15})
        task = await bench.add(60, rollout={"max_in_flight": 7})
        async with at_work(bench, task, [bench.engine, await make_engine()]):
            pass
        assert bench.progress(task) == {"total": 60, "success": 60}
        rows = bench.connection.execute("SELECT max(processing) AS most FROM in_flight").fetchall()
        assert rows[0]["most"] == 7

    async def test_one_at_a_time(self, bench: Bench, make_engine: MakeEngine) -> None:
        task = await bench.add(10, rollout={"max_in_flight": 1})
        async with at_work(bench, task, [bench.engine, await make_engine()]):
            pass
        assert bench.progress(task) == {"total": 10, "success": 10}
        rows = bench.connection.execute("SELECT max(processing) AS most FROM in_flight").fetchall()
        assert rows[0]["most"] == 1


class TestAbort:
    async def test_a_pause_and_a_new_sample_after_the_resume(self, bench: Bench) -> None:
        bench.simulator.faults(offline=lamps(20))
        task = await bench.add(40, rollout={"max_in_flight": 2, "abort": LIMIT})
        async with at_work(bench, task, [bench.engine]):
            await bench.until(lambda: task_row(bench.connection, task)["paused_at"] is not None)
            row = task_row(bench.connection, task)
            assert row["status"] == "Processing"
            assert row["pause_reason"] == "100 % of 10 failed, the limit is 50 %"
            await bench.until(lambda: not bench.progress(task).get("processing"))
            assert 28 <= waiting(bench, task) <= 30, "what was on its way was let go"
            await control(bench, "resume", task.task_id)
            await bench.until(lambda: task_row(bench.connection, task)["paused_at"] is not None)
            assert 17 <= waiting(bench, task) <= 20, "ten more failed"
            bench.simulator.faults()
            await control(bench, "resume", task.task_id)
        assert bench.status(task) == "PartialSuccess"
        assert bench.progress(task)["success"] >= 17

    async def test_a_stop(self, bench: Bench) -> None:
        bench.simulator.faults(offline=lamps(40))
        task = await bench.add(40, rollout={"max_in_flight": 2, "abort": {**LIMIT, "action": "stop"}})
        async with at_work(bench, task, [bench.engine]):
            pass
        row = task_row(bench.connection, task)
        assert (row["status"], row["status_desc"]) == ("Stopped", "100 % of 10 failed, the limit is 50 %")
        assert 28 <= row["stopped"] <= 30
        assert row["stopped"] + row["fail"] == 40

    async def test_unknown_targets_are_not_held_against_it(self, bench: Bench) -> None:
        limit = {"failed_percent": 10, "min_executed": 1, "action": "stop"}
        task = await bench.add(5, targets=lamps(10), rollout={"abort": limit})
        async with at_work(bench, task, [bench.engine]):
            pass
        assert bench.progress(task) == {"total": 10, "success": 5, "fail": 5}
        assert bench.status(task) == "PartialSuccess"


class TestWaves:
    def waves(self, bench: Bench, task: Task) -> list[int]:
        return [wave for _, wave in subtasks(bench.connection, task, "target, wave")]

    async def test_one_after_the_other(self, bench: Bench) -> None:
        task = await bench.add(10, rollout={"waves": WAVES})
        assert self.waves(bench, task) == [1] * 3 + [2] * 4 + [3] * 3
        async with at_work(bench, task, [bench.engine]):
            reason = "wave 2 waits for an approval"
            await bench.until(lambda: task_row(bench.connection, task)["status_desc"] == reason)
            assert bench.progress(task) == {"total": 10, "success": 7, "waitting": 3}
            rows = bench.connection.execute("SELECT wave FROM begun ORDER BY at").fetchall()
            assert [row["wave"] for row in rows] == [1] * 3 + [2] * 4
            shown = await control(bench, "approve", task.task_id, 2)
            assert [wave.approved_by for wave in shown.waves] == [None, "ann", None]
            assert [wave.opened_at is not None for wave in shown.waves] == [True] * 3
        assert bench.status(task) == "Success"
        assert task_row(bench.connection, task)["status_desc"] is None

    async def test_what_is_below_its_gate_waits_for_somebody_who_has_seen_it(self, bench: Bench) -> None:
        bench.simulator.faults(offline=["lamp-1"])
        task = await bench.add(10, rollout={"waves": [WAVES[0], {"rest": True}]})
        async with at_work(bench, task, [bench.engine]):
            reason = "wave 1 ended with 2 of 3 successful, 100 % are asked for"
            await bench.until(lambda: task_row(bench.connection, task)["status_desc"] == reason)
            assert waiting(bench, task) == 7
            await control(bench, "approve", task.task_id, 1)
        assert bench.progress(task) == {"total": 10, "success": 9, "fail": 1}

    async def test_an_approval_ahead_does_not_pass_the_gate(self, bench: Bench) -> None:
        bench.simulator.faults(offline=["lamp-1"])
        gate = {"count": 3, "success_percent": 100, "approval": True}
        task = await bench.add(5, rollout={"waves": [gate, {"rest": True}]})
        await control(bench, "approve", task.task_id, 1)
        async with at_work(bench, task, [bench.engine]):
            await bench.until(lambda: bool(task_row(bench.connection, task)["status_desc"]))
            assert waiting(bench, task) == 2
            await control(bench, "approve", task.task_id, 1)
        assert bench.progress(task) == {"total": 5, "success": 4, "fail": 1}

    async def test_a_wave_has_ended_only_after_its_retries(self, bench: Bench) -> None:
        bench.simulator.faults(offline=["lamp-1"])
        policy = TaskPolicy(retry_count=1, retry_interval=timedelta(seconds=2))
        task = await bench.add(5, rollout={"waves": [WAVES[0], {"rest": True}]}, policy=policy)
        async with at_work(bench, task, [bench.engine]):
            await bench.until(lambda: bool(bench.progress(task).get("fail_wait_retry")))
            assert waiting(bench, task) == 2
            bench.simulator.faults()
        assert bench.status(task) == "Success"
        last = bench.connection.execute("SELECT target FROM begun ORDER BY at").fetchall()[3]
        assert last["target"] == "lamp-1"

    async def test_unknown_targets_are_in_no_wave(self, bench: Bench) -> None:
        task = await bench.add(4, targets=["ghost", *lamps(4)], rollout={"waves": WAVES})
        rows = bench.connection.execute("SELECT wave, size FROM batch_wave ORDER BY wave").fetchall()
        assert [row["size"] for row in rows] == [3, 1, 0]
        assert self.waves(bench, task) == [1, 1, 1, 1, 2]

    async def test_a_named_stop_can_end_a_wave(self, bench: Bench) -> None:
        bench.simulator.faults(latency={"seconds": 0.3})
        task = await bench.add(4, rollout={"waves": [{"count": 2}, {"rest": True}], "max_in_flight": 1})
        async with at_work(bench, task, [bench.engine]):
            await bench.until(lambda: bench.progress(task).get("processing") == 1)
            async with bench.database.transaction() as connection:
                await BatchActions(connection, "p1").stop(task.task_id, ["lamp-1"])
        assert bench.progress(task) == {"total": 4, "success": 3, "stopped": 1}


async def test_what_is_retried_of_a_closed_wave_opens_it(bench: Bench) -> None:
    bench.simulator.faults(offline=["lamp-0"])
    task = await bench.add(4, rollout={"waves": [{"count": 2}, {"rest": True}], "max_in_flight": 1})
    async with bench.database.transaction() as connection:
        await BatchActions(connection, "p1").stop(task.task_id, ["lamp-2", "lamp-3"])
    async with at_work(bench, task, [bench.engine]):
        pass
    assert bench.progress(task) == {"total": 4, "success": 1, "fail": 1, "stopped": 2}
    assert task_row(bench.connection, task)["open_wave"] == 1
    async with bench.database.transaction() as connection:
        await BatchActions(connection, "p1").retry(task.task_id, ["lamp-2", "lamp-3"])
    assert task_row(bench.connection, task)["open_wave"] == 2
    async with at_work(bench, task, [bench.engine]):
        pass
    assert bench.progress(task) == {"total": 4, "success": 3, "fail": 1}


async def test_nothing_of_another_project_is_found(bench: Bench) -> None:
    task = await bench.add(1)
    async with bench.database.transaction() as connection:
        stranger = BatchControl(connection, projects=["p2"])
        for call in (stranger.pause, stranger.resume, stranger.show):
            with pytest.raises(NotFoundError):
                await call(task.task_id)
