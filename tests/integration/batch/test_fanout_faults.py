"""What breaks under a fan-out and how it mends: shards in processes that are killed; a server restarted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from include.batch import fanout
from include.batch.engine import BatchEngine
from include.batch.model import Task, TaskPolicy
from include.batch.runs import BatchRun
from include.cli.home import ROOT
from include.cli.postgres import LocalPostgres
from include.kit.clock import system_clock
from include.kit.db import Database
from include.ledger.engine import Engine
from include.migrations import upgrade
from include.settings import get_settings
from tests import batch_rows
from tests.batch_rows import lamps, subtasks
from tests.integration.batch.conftest import Bench
from tests.integration.gateway.simulated import SimulatorProcess

SHARD = Path(__file__).with_name("shard_process.py")


@contextmanager
def shard_process(bench: Bench, task: Task, shard: int = 0) -> Iterator[subprocess.Popen[str]]:
    """Run a shard as a triggerer of its own would."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CARILLON_DATABASE_URL": bench.database.url}
    process = subprocess.Popen(
        [sys.executable, str(SHARD), task.task_id, str(shard)],
        env=env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


@contextmanager
def deaf_listener() -> Iterator[int]:
    """Lend the port of a listener whose queue is full: a connection to it is neither made nor refused."""
    with socket.socket() as deaf, socket.socket() as filler, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for one in (filler, second):
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
        yield deaf.getsockname()[1]


async def ended(process: subprocess.Popen[str]) -> dict[str, object]:
    """Return the summary of a shard that ends by itself."""
    output, _ = await asyncio.to_thread(process.communicate, timeout=120)
    assert process.returncode == 0
    summary: dict[str, object] = json.loads(output.splitlines()[-1])
    return summary


def executions(bench: Bench, task: Task) -> Counter[int]:
    """How often attempts came to their device, each of them one of ours, by how many attempts there were."""
    received = bench.simulator.admin("GET", "received")
    rows = subtasks(bench.connection, task, "target, id, attempt")
    known = {
        target: {f"{task.task_id}-{id}-{n}" for n in range(1, attempt + 1)} for target, id, attempt in rows
    }
    assert all(ids.keys() <= known[target] for target, ids in received.items())
    return Counter(times for ids in received.values() for times in ids.values())


def check_sums(bench: Bench, task: Task) -> None:
    """The counters say what the rows say, and nothing is open."""
    names = {"Success": "success", "Fail": "fail", "Stopped": "stopped", "Removed": "removed"}
    counted = Counter(names[status] for status in subtasks(bench.connection, task, "status"))
    assert bench.progress(task) == {"total": counted.total(), **counted}


async def test_three_thousand_devices_of_which_some_are_away_or_do_not_answer(bench: Bench) -> None:
    bench.simulator.faults(
        offline_share=0.1,
        loss=0.02,
        patience=0.3,
        refuse=0.03,
        unavailable=0.02,
        reset=0.01,
        garbage=0.01,
        duplicate=0.02,
        latency={"distribution": "exponential", "seconds": 0.01},
        seed=7,
    )
    policy = TaskPolicy(retry_count=2, retry_interval=timedelta(seconds=1))
    task = await bench.add(3000, policy=policy)
    await asyncio.gather(*(bench.fan_out(task, shard) for shard in (0, 1)))
    check_sums(bench, task)
    assert bench.status(task) == "PartialSuccess"
    rows = subtasks(bench.connection, task, "status, error_code, attempt, retries_left")
    failures = Counter(code for status, code, _, _ in rows if status == "Fail")
    # Who is offline is so on every try; what else goes wrong seldom goes wrong three times.
    assert 200 < failures["IOTDA.014016"] < 400
    assert all(attempt == 3 and left == 0 for status, _, attempt, left in rows if status == "Fail")
    assert all(attempt + left == 3 for _, _, attempt, left in rows)
    assert Counter(code for status, code, _, _ in rows if status == "Success") == {
        None: 3000 - failures.total()
    }
    executions(bench, task)


async def test_two_processes_share_the_work(bench: Bench) -> None:
    bench.simulator.faults(latency={"seconds": 0.05})
    task = await bench.add(4000)
    with shard_process(bench, task, 0) as one, shard_process(bench, task, 1) as two:
        summaries = [await ended(one), await ended(two)]
    performed = [int(str(summary["performed"])) for summary in summaries]
    assert sum(performed) == 4000
    assert min(performed) > 400
    assert executions(bench, task) == {1: 4000}
    check_sums(bench, task)


async def test_a_process_that_is_killed_in_the_middle_is_relieved(bench: Bench) -> None:
    bench.simulator.faults(latency={"distribution": "uniform", "seconds": 0.2})
    task = await bench.add(3000)
    with shard_process(bench, task) as victim:
        await bench.until(lambda: bench.counters()["received"] > 800, 60)
        os.kill(victim.pid, signal.SIGKILL)
        await asyncio.to_thread(victim.wait, 10)
        in_hand = bench.progress(task)["processing"]
        assert in_hand > 0
        await bench.fan_out(task, seconds=120)
    assert bench.progress(task) == {"total": 3000, "success": 3000}
    times = executions(bench, task)
    # What was on its way is sent once more under the same id, by which a device tells it; so it acts once.
    assert times.keys() <= {1, 2}
    assert 0 < times[2] <= in_hand
    assert bench.counters()["executed"] == 3000
    assert set(subtasks(bench.connection, task, "attempt")) == {1}
    assert any("in the hands of a process that is gone" in line for line in bench.lines)


async def test_a_stopped_task_whose_process_is_killed_ends(bench: Bench) -> None:
    bench.simulator.faults(latency={"seconds": 3})
    task = await bench.add(600)
    with shard_process(bench, task) as victim:
        await bench.until(lambda: bench.counters()["received"] > 100, 60)
        answered_at = await bench.stop(task)
        os.kill(victim.pid, signal.SIGKILL)
        await asyncio.to_thread(victim.wait, 10)
    received = bench.counters()["received"]
    await bench.fan_out(task)
    assert bench.status(task) == "Stopped"
    assert bench.counters()["received"] == received
    codes = Counter(subtasks(bench.connection, task, "status, error_code"))
    assert codes["Stopped", "CARILLON.0201"] > 0
    assert codes.total() == codes["Stopped", "CARILLON.0201"] + codes["Stopped", None] == 600
    assert answered_at


async def test_a_shard_that_is_cancelled_leaves_nothing_behind(bench: Bench) -> None:
    bench.simulator.faults(latency={"seconds": 0.5})
    task = await bench.add(2000)
    running = asyncio.create_task(bench.fan_out(task))
    await bench.until(lambda: bench.counters()["received"] > 100)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await bench.until(lambda: "processing" not in bench.progress(task))
    await bench.until(lambda: not bench.engine.held)
    assert (bench.engine.slots.total, bench.engine.slots.hungry) == (0, set())
    assert bench.progress(task)["success"] == bench.counters()["executed"]
    await bench.fan_out(task)
    assert executions(bench, task) == {1: 2000}


async def test_a_gateway_that_is_away_for_a_while(bench: Bench) -> None:
    policy = TaskPolicy(retry_count=5, retry_interval=timedelta(seconds=1))
    task = await bench.add(50, policy=policy)
    bench.simulator.stop()
    running = asyncio.create_task(bench.fan_out(task))
    await bench.until(lambda: "fail_wait_retry" in bench.progress(task))
    assert set(subtasks(bench.connection, task, "error_code")) == {"CARILLON.0001"}
    bench.simulator.start()
    await running
    assert bench.progress(task) == {"total": 50, "success": 50}


async def test_a_gateway_that_takes_no_connection_keeps_no_stop_waiting(bench: Bench, monkeypatch) -> None:
    with deaf_listener() as port:
        monkeypatch.setenv("AIRFLOW_CONN_DEVICE_GATEWAY", f"http://127.0.0.1:{port}")
        get_settings.cache_clear()
        task = await bench.add(20)
        running = asyncio.create_task(bench.fan_out(task))
        await bench.until(lambda: "processing" in bench.progress(task))
        await bench.stop(task)
        await running
    assert bench.status(task) == "Stopped"
    assert set(subtasks(bench.connection, task, "status, error_code")) == {("Stopped", "CARILLON.0201")}


async def test_a_gateway_that_never_takes_a_connection_is_given_up(bench: Bench, monkeypatch) -> None:
    monkeypatch.setattr(fanout, "DEPART_SECONDS", 0.3)
    with deaf_listener() as port:
        monkeypatch.setenv("AIRFLOW_CONN_DEVICE_GATEWAY", f"http://127.0.0.1:{port}")
        get_settings.cache_clear()
        task = await bench.add(20)
        await bench.fan_out(task)
    assert bench.status(task) == "Fail"
    assert set(subtasks(bench.connection, task, "error_code, attempt")) == {("CARILLON.0001", 1)}


@pytest.mark.timeout(180)
async def test_the_database_is_restarted_in_the_middle(
    simulator: SimulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.faults(latency={"distribution": "uniform", "seconds": 0.1})
    with LocalPostgres(tmp_path / "own", durable=False) as server:
        server.ensure_database("carillon")
        url = server.url("carillon")
        upgrade(url)
        with server.connect("carillon") as connection:
            batch_rows.insert_lamps(connection, 3000)
        engine = await Engine(await Database(url, max_size=4).open()).open()
        batch = BatchEngine(engine)
        task = await batch_rows.add_task(engine.database, now=system_clock(), targets=lamps(3000))
        run = BatchRun(batch, task.task_id, lambda line: None)
        shards = [asyncio.create_task(run.fan_out(shard)) for shard in (0, 1)]
        async with asyncio.timeout(60):
            while simulator.admin("GET", "counters")["received"] < 700:
                await asyncio.sleep(0.02)
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(1)
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(90):
            await asyncio.gather(*shards)
        async with engine.database.transaction() as connection:
            row = await (await connection.execute("SELECT status, success FROM batch_task")).fetchone()
            attempts = await (
                await connection.execute("SELECT DISTINCT attempt FROM batch_subtask")
            ).fetchall()
        assert row == {"status": "Success", "success": 3000}
        assert attempts == [{"attempt": 1}]
        assert simulator.admin("GET", "counters")["executed"] == 3000
        await batch.close()
        await engine.close()
