"""What the tests of firing device timers share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from include.cron import CronSchedule
from include.kit.clock import system_clock
from include.kit.db import Database
from include.ledger import firing
from include.ledger.engine import Engine
from include.ledger.firing import WindowRun
from include.ledger.model import Summary
from include.ledger.repository import Shard
from include.ledger.scopes import CronScope, ManualScope, OnceScope, Scope
from include.ledger.windows import Window
from include.timers.caller import TimerCaller
from include.timers.model import GroupFields, TimerFields, TimerGroup
from include.timers.service import TimerService
from tests.timer_rows import LAMP, LOCAL, USER, FakeGateway

MakeEngine = Callable[[], Awaitable[Engine]]


@dataclass
class Bench:
    """Timers in a database, runs on them, and the gateway to which their commands go."""

    database: Database
    connection: psycopg.Connection
    engine: Engine
    gateway: FakeGateway = field(default_factory=FakeGateway)

    async def add(
        self,
        due: datetime,
        *,
        period: str = "1111111",
        device_id: str = LAMP,
        since: datetime | None = None,
        commands: str = '{"switch":1}',
        **options: Any,
    ) -> TimerGroup:
        """Create a group of one timer at the local time of `due`, active since two days ago."""
        moment = since or system_clock() - timedelta(days=2)
        local = due.astimezone(LOCAL)
        timer = TimerFields(str(local.hour), str(local.minute), commands)
        async with self.database.transaction() as connection:
            service = TimerService(connection, user=USER, clock=lambda: moment)
            group = await service.create(device_id, GroupFields(period, [timer], **options))
        if period == "0000000":
            self.connection.execute("UPDATE definition SET due_at = %s", [due])
        return group

    def retime(self, due: datetime) -> CronScope:
        """Return the window of the only weekly schedule as if its time of day were `due`, to the second."""
        [row] = self.connection.execute("SELECT id FROM schedule WHERE expression <> '@once'").fetchall()
        local = due.astimezone(LOCAL)
        expression = f"{local.second} {local.minute} {local.hour} * * *"
        cron = CronSchedule.from_canonical(expression, "Asia/Shanghai")
        return CronScope(Shard(row["id"], 0, 1, "run", 1), Window(due - timedelta(minutes=1), due), cron)

    def once(self, until: datetime) -> OnceScope:
        [row] = self.connection.execute("SELECT id FROM schedule WHERE expression = '@once'").fetchall()
        return OnceScope(Shard(row["id"], 0, 1, "once", 1), Window(until - timedelta(minutes=1), until))

    def manual(self, ids: list[int]) -> ManualScope:
        [row] = self.connection.execute("SELECT id FROM schedule WHERE expression <> '@once'").fetchall()
        return ManualScope(Shard(row["id"], 0, 1, "manual", 1), system_clock(), ids)

    def run(self, scope: Scope, engine: Engine | None = None) -> WindowRun:
        lines: list[str] = []
        return WindowRun(engine or self.engine, scope, "timer", TimerCaller(self.gateway), lines.append)

    async def fire(self, scope: Scope, engine: Engine | None = None) -> Summary:
        async with asyncio.timeout(60):
            return await self.run(scope, engine).run()

    def states(self) -> list[tuple[str, str | None]]:
        rows = self.connection.execute("SELECT state, reason FROM execution ORDER BY due_at, id").fetchall()
        return [(row["state"], row["reason"]) for row in rows]


@pytest.fixture
async def make_engine(database_url: str) -> AsyncIterator[MakeEngine]:
    engines: list[Engine] = []

    async def make() -> Engine:
        engines.append(await Engine(Database(database_url, max_size=4)).open())
        return engines[-1]

    yield make
    for engine in engines:
        await engine.close()


@pytest.fixture(autouse=True)
def _short_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firing, "SWEEP_AFTER", timedelta(seconds=0.3))


@pytest.fixture
async def bench(database: Database, connection: psycopg.Connection, make_engine: MakeEngine) -> Bench:
    return Bench(database, connection, await make_engine())


def soon(seconds: float = 1.5) -> datetime:
    """A whole second a little ahead."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).replace(microsecond=0) + timedelta(seconds=1)
