"""What the tests of fan-out share: engines as processes have them, and a simulator behind the gateway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from include.batch.actions import BatchActions
from include.batch.engine import BatchEngine
from include.batch.model import Task
from include.batch.runs import BatchRun
from include.batch.shard import Summary
from include.kit.clock import system_clock
from include.kit.db import Database
from include.ledger.engine import Engine
from include.settings import get_settings
from tests import batch_rows
from tests.integration.gateway.simulated import SimulatorProcess, simulator_process

MakeEngine = Callable[[], Awaitable[BatchEngine]]


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatorProcess]:
    """A simulator of this test's own; the settings name it as the gateway."""
    with simulator_process() as process:
        monkeypatch.setenv("AIRFLOW_CONN_DEVICE_GATEWAY", process.url)
        get_settings.cache_clear()
        yield process


@pytest.fixture
async def make_engine(database_url: str, simulator: SimulatorProcess) -> AsyncIterator[MakeEngine]:
    """Make engines that are to each other as those of several processes."""
    made: list[tuple[Engine, BatchEngine]] = []

    async def make() -> BatchEngine:
        engine = await Engine(Database(database_url, max_size=4)).open()
        made.append((engine, BatchEngine(engine)))
        return made[-1][1]

    yield make
    for engine, batch_engine in made:
        await batch_engine.close()
        await engine.close()


@dataclass
class Bench:
    """Batch tasks in a database, and the simulator to whose devices they go."""

    database: Database
    connection: psycopg.Connection
    engine: BatchEngine
    simulator: SimulatorProcess
    lines: list[str] = field(default_factory=list)

    async def add(self, count: int = 1, **changes: Any) -> Task:
        """Make a task for so many lamps, which are made, too; it is due now."""
        known = self.connection.execute("SELECT count(*) AS n FROM device").fetchone()
        assert known is not None
        if known["n"] < count:
            batch_rows.insert_lamps(self.connection, count - known["n"], start=known["n"])
        return await batch_rows.add_task(
            self.database, **{"now": system_clock(), "targets": batch_rows.lamps(count), **changes}
        )

    def run(self, task: Task, engine: BatchEngine | None = None) -> BatchRun:
        return BatchRun(engine or self.engine, task.task_id, self.lines.append)

    async def fan_out(self, task: Task, shard: int = 0, seconds: float = 60.0, **options: Any) -> Summary:
        async with asyncio.timeout(seconds):
            return await self.run(task, options.pop("engine", None)).fan_out(shard, **options)

    async def stop(self, task: Task) -> float:
        """Stop a task as its REST API does; returns when that was answered, Unix seconds."""
        async with self.database.transaction() as connection:
            await BatchActions(connection, batch_rows.PROJECT).stop(task.task_id)
        return time.time()

    def status(self, task: Task) -> str:
        return str(batch_rows.task_row(self.connection, task)["status"])

    def progress(self, task: Task) -> dict[str, int]:
        return batch_rows.progress(self.connection, task)

    def counters(self) -> dict[str, int]:
        found: dict[str, int] = self.simulator.admin("GET", "counters")
        return found

    async def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.02)


@pytest.fixture
async def bench(
    database: Database,
    connection: psycopg.Connection,
    make_engine: MakeEngine,
    simulator: SimulatorProcess,
) -> Bench:
    return Bench(database, connection, await make_engine(), simulator)
