"""Upgrades by the runtime itself: engines as triggerers have them, the calls of the API, both gateways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psycopg
import pytest

from include.batch.actions import BatchActions
from include.batch.engine import BatchEngine
from include.batch.model import Task
from include.batch.runs import BatchRun
from include.kit.clock import system_clock
from include.kit.db import Database
from include.ledger.engine import Engine
from include.settings import get_settings
from tests.batch_rows import PROJECT, progress, subtasks, task_row
from tests.integration.gateway.mosquitto import Broker, needs_mosquitto
from tests.integration.gateway.simulated import SimulatorProcess
from tests.integration.ota.paho_pumps import pumps_of
from tests.integration.ota.pushing import Platform
from tests.upgrade_rows import add_package, add_upgrade, insert_pumps, stop

MakeEngine = Callable[[str], Awaitable[BatchEngine]]


@pytest.fixture
async def make_engine(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MakeEngine]:
    """`await make_engine(url)`: what a triggerer has, with that device gateway."""
    made: list[tuple[Engine, BatchEngine]] = []

    async def make(url: str) -> BatchEngine:
        monkeypatch.setenv("AIRFLOW_CONN_DEVICE_GATEWAY", url)
        get_settings.cache_clear()
        engine = await Engine(Database(database_url, max_size=4)).open()
        made.append((engine, BatchEngine(engine)))
        return made[-1][1]

    yield make
    for engine, batch_engine in made:
        await batch_engine.close()
        await engine.close()


async def fan_out(task: Task, *engines: BatchEngine, seconds: float = 90.0) -> None:
    """Work as a shard in each engine, until the task has ended."""
    lines: list[str] = []
    async with asyncio.timeout(seconds):
        runs = [BatchRun(engine, task.task_id, lines.append) for engine in engines]
        await asyncio.gather(*[run.fan_out(0) for run in runs])


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def test_two_triggerers_upgrade_pumps_of_every_kind(
    make_engine: MakeEngine,
    platform: Platform,
    simulator: SimulatorProcess,
    database: Database,
    connection: psycopg.Connection,
) -> None:
    insert_pumps(connection, 300)
    faults = {"keeps_version": 0.1, "results": {"5": 0.1, "10": 0.1}, "twice": 0.3, "away": 0.2}
    simulator.faults(ota={"seconds": 0.5, "away_seconds": 0.5, **faults})
    engines = [await make_engine(simulator.url) for _ in range(2)]
    async with platform.served():
        task = await add_upgrade(database, await add_package(database), 300, now=system_clock())
        await fan_out(task, *engines)
    found = subtasks(connection, task, "target, status, error_code")
    bad = {code: sum(error == code for _, _, error in found) for code in ("OTA.006", "OTA.105", "OTA.110")}
    assert all(15 <= count <= 50 for count in bad.values()), bad
    assert progress(connection, task) == {
        "total": 300,
        "success": 300 - sum(bad.values()),
        "fail": sum(bad.values()),
    }
    upgraded = connection.execute("SELECT count(*) AS n FROM device WHERE fw_version = '2.0.0'").fetchone()
    assert upgraded == {"n": 300 - sum(bad.values())}
    counters = simulator.admin("GET", "counters")
    assert (counters["notices"], counters["upgrades"]) == (300, 300)
    assert connection.execute("SELECT count(*) AS n FROM device_upgrade").fetchone() == {"n": 0}


async def test_a_stop_on_the_way_and_a_retry_of_what_failed(
    make_engine: MakeEngine,
    platform: Platform,
    simulator: SimulatorProcess,
    database: Database,
    connection: psycopg.Connection,
) -> None:
    insert_pumps(connection, 20)
    simulator.faults(ota={"seconds": 0.3, "results": {"4": 0.5}})
    engine = await make_engine(simulator.url)
    package = await add_package(database)
    async with platform.served():
        task = await add_upgrade(database, package, 20, now=system_clock())
        await fan_out(task, engine)
        failed = [target for target, status in subtasks(connection, task) if status == "Fail"]
        assert 0 < len(failed) < 20
        simulator.faults(ota={"seconds": 30})
        async with database.transaction() as retrying:
            await BatchActions(retrying, PROJECT).retry(task.task_id)
        running = asyncio.create_task(fan_out(task, engine))
        await until(lambda: subtasks(connection, task, "phase").count("download") == len(failed))
        await stop(database, task)
        await running
        assert task_row(connection, task)["status"] == "Stopped"
        assert progress(connection, task) == {
            "total": 20,
            "success": 20 - len(failed),
            "stopped": len(failed),
        }
        assert connection.execute("SELECT count(*) AS n FROM device_upgrade").fetchone() == {"n": 0}


@needs_mosquitto
async def test_over_a_broker(
    make_engine: MakeEngine, database: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    broker = Broker(tmp_path)
    try:
        insert_pumps(connection, 6)
        async with pumps_of(broker, *["well"] * 5, 9) as made:
            engines = [await make_engine(broker.url) for _ in range(2)]
            task = await add_upgrade(database, await add_package(database), 6, now=system_clock())
            await fan_out(task, *engines)
        assert progress(connection, task) == {"total": 6, "success": 5, "fail": 1}
        assert [len(pump.heard) for pump in made] == [3, 3, 3, 3, 3, 2]
    finally:
        broker.kill()
