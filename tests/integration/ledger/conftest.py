"""What the ledger tests share: an engine on a database of its own, and a caller that remembers its calls."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.callbacks.model import TaskFields
from include.callbacks.service import CallbackService
from include.callbacks.start_time import TaskType
from include.cron import CronSchedule
from include.kit.clock import system_clock
from include.kit.db import Connection, Database
from include.ledger import firing
from include.ledger.engine import Engine
from include.ledger.firing import WindowRun
from include.ledger.model import CallResult, Due, Summary
from include.ledger.repository import Shard
from include.ledger.scopes import CronScope, ManualScope, OnceScope, Scope
from include.ledger.windows import Window

PAST = timedelta(days=2)


@dataclass
class Sent:
    """A call that was made."""

    definition_id: int
    webhook_id: str
    due_at: datetime
    at: datetime
    attempt: int
    revision: int


@dataclass
class RecordingCaller:
    """A caller whose calls go nowhere; `answers` says, per definition, what comes of them (True: success)."""

    delays: dict[int, list[int]] = field(default_factory=dict)
    answers: dict[int, list[bool]] = field(default_factory=lambda: defaultdict(list))
    takes: dict[int, float] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    revisions: dict[int, int] = field(default_factory=dict)

    async def load(self, connection: Connection, definition_ids: Sequence[int]) -> None:
        cursor = await connection.execute(
            "SELECT id, revision FROM definition WHERE id = ANY(%s)", [list(definition_ids)]
        )
        self.revisions.update({row["id"]: row["revision"] for row in await cursor.fetchall()})

    def prepare(self, due: Due, attempt: int) -> RecordedCall:
        return RecordedCall(self, due, attempt, self.revisions[due.definition_id])

    async def resolve(self, calls: Sequence[Any]) -> None:
        return None

    async def warm(self, calls: Sequence[Any]) -> None:
        return None

    def retry_delays(self, definition_id: int) -> Sequence[int]:
        return self.delays.get(definition_id, [])

    def times(self, definition_id: int) -> list[datetime]:
        return [sent.due_at for sent in self.sent if sent.definition_id == definition_id]


@dataclass
class RecordedCall:
    caller: RecordingCaller
    due: Due
    attempt: int
    revision: int

    async def send(self) -> CallResult:
        due, caller, begin = self.due, self.caller, system_clock()
        sent = Sent(due.definition_id, due.webhook_id, due.due_at, begin, self.attempt, self.revision)
        caller.sent.append(sent)
        await asyncio.sleep(caller.takes.get(due.definition_id, 0))
        answers = caller.answers[due.definition_id]
        ok = answers.pop(0) if answers else True
        return CallResult(
            ok, begin, system_clock(), "http://x/", "{}", 200 if ok else 500, "ok", None if ok else "no"
        )


@dataclass
class Ledger:
    """The database as these tests see it, and runs on it."""

    database: Database
    engine: Engine
    caller: RecordingCaller

    async def add(self, *names: str, since: datetime | None = None, **fields: Any) -> list[int]:
        """Create tasks, active since two days ago unless `since` says otherwise."""
        moment = since or system_clock() - PAST
        values = {
            "enable": True,
            "module": 1,
            "type": TaskType.INTERVAL,
            "start_time": "* * * * * *",
            "url": "http://93.184.215.14/",
            "method": "post",
            **fields,
        }
        async with self.database.transaction() as connection:
            service = CallbackService(connection, clock=lambda: moment)
            results = await service.add_tasks([TaskFields(name=name, **values) for name in names])
        assert [result.err for result in results] == [""] * len(names)
        return [result.task_id for result in results if result.task_id]

    async def rows(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        async with self.database.transaction() as connection:
            cursor = await connection.execute(statement, parameters)  # type: ignore[arg-type]
            return list(await cursor.fetchall()) if cursor.description else []

    async def states(self, definition_id: int) -> list[tuple[str, str | None]]:
        rows = await self.rows(
            "SELECT state, reason FROM execution WHERE definition_id = %s ORDER BY due_at, id", definition_id
        )
        return [(row["state"], row["reason"]) for row in rows]

    async def shard(self, definition_id: int, *, run_id: str = "run", run_try: int = 1) -> Shard:
        rows = await self.rows("SELECT schedule_id FROM definition WHERE id = %s", definition_id)
        return Shard(rows[0]["schedule_id"], 0, 1, run_id, run_try)

    async def cron_scope(self, definition_id: int, start: datetime, end: datetime, **shard: Any) -> CronScope:
        rows = await self.rows(
            "SELECT s.expression, s.timezone FROM schedule s JOIN definition d ON d.schedule_id = s.id"
            " WHERE d.id = %s",
            definition_id,
        )
        cron = CronSchedule.from_canonical(rows[0]["expression"], rows[0]["timezone"])
        return CronScope(await self.shard(definition_id, **shard), Window(start, end), cron)

    async def once_scope(self, until: datetime) -> OnceScope:
        rows = await self.rows("SELECT id FROM schedule WHERE expression = '@once'")
        return OnceScope(Shard(rows[0]["id"], 0, 1, "once", 1), Window(until - timedelta(minutes=1), until))

    async def manual_scope(self, definition_id: int, ids: list[int] | None, **shard: Any) -> ManualScope:
        return ManualScope(await self.shard(definition_id, **shard), system_clock(), ids)

    def run(self, scope: Scope, *, engine: Engine | None = None, lines: list[str] | None = None) -> WindowRun:
        write = (lines if lines is not None else []).append
        return WindowRun(engine or self.engine, scope, "callback", self.caller, write)

    async def arm(self, scope: Scope) -> None:
        """Arm as a process would that is gone a moment later."""
        run = self.run(scope)
        await run.arm()
        run._stop()

    async def fire(self, scope: Scope, **options: Any) -> Summary:
        async with asyncio.timeout(30):
            return await self.run(scope, **options).run()


MakeEngine = Callable[[], Awaitable[Engine]]


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
async def ledger(database: Database, make_engine: MakeEngine) -> Ledger:
    return Ledger(database, await make_engine(), RecordingCaller())


def soon(seconds: float = 1.5) -> datetime:
    """A whole second a little ahead."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).replace(microsecond=0) + timedelta(seconds=1)
