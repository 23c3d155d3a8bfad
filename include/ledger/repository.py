"""The statements by which windows are armed, claimed and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString

import orjson

from include.kit.db import Connection
from include.kit.sql import load_queries
from include.ledger.model import Due, Record

queries = load_queries(__file__)

#: The first key of the advisory locks by which processes show that they live.
CLAIMER_LOCK_CLASS = 0x43415249


@dataclass(frozen=True)
class Shard:
    """The part of a schedule's definitions that one trigger serves, and the run it serves them in."""

    schedule_id: int
    shard: int
    shards: int
    run_id: str
    run_try: int

    def parameters(self, **more: object) -> dict[str, Any]:
        return {**self.__dict__, **more}


@dataclass(frozen=True)
class Older:
    """The instants of a long outage on one weekday that are not listed singly.

    :ivar day: bit of the weekday
    """

    day: int
    count: int
    latest: datetime


@dataclass(frozen=True)
class Verdict:
    """What `claim` decided on one execution: `go`, `wait`, or why it must not fire."""

    execution_id: int
    verdict: str
    revision: int
    attempt: int | None


class LedgerRepository:
    """One method a statement, on a connection whose transaction somebody else commits."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def count_live(self, shard: Shard) -> int:
        return await self._number(queries.count_live, shard.parameters())

    async def adopt_moved(self, shard: Shard, instants: Sequence[datetime], days: Sequence[int]) -> int:
        parameters = shard.parameters(instants=list(instants), days=list(days))
        return await self._count(queries.adopt_moved, parameters)

    async def arm_scheduled(self, shard: Shard, instants: Sequence[datetime], days: Sequence[int]) -> int:
        """Arm instants; `days` are the bits of their weekdays (`include.cron.weekdays`)."""
        parameters = shard.parameters(instants=list(instants), days=list(days))
        return await self._count(queries.arm_scheduled, parameters)

    async def arm_condensed(
        self, shard: Shard, older: Sequence[Older], *, since: datetime, now: datetime
    ) -> int:
        parameters = shard.parameters(
            latests=[one.latest for one in older],
            counts=[one.count for one in older],
            days=[one.day for one in older],
            since=since,
            now=now,
        )
        return await self._count(queries.arm_condensed, parameters)

    async def arm_once(self, shard: Shard, until: datetime) -> int:
        return await self._count(queries.arm_once, shard.parameters(until=until))

    async def arm_manual(self, shard: Shard, due_at: datetime, definition_ids: Sequence[int] | None) -> int:
        ids = None if definition_ids is None else list(definition_ids)
        return await self._count(queries.arm_manual, shard.parameters(due_at=due_at, definition_ids=ids))

    async def arm_rerun(self, *, once_id: int, due_at: datetime, definition_ids: Sequence[int]) -> int:
        parameters = {"once_id": once_id, "due_at": due_at, "definition_ids": list(definition_ids)}
        return await self._count(queries.arm_rerun, parameters)

    async def settle_misfires(
        self,
        shard: Shard,
        *,
        start: datetime,
        until: datetime,
        now: datetime,
        threshold: timedelta,
        later: bool = False,
    ) -> int:
        parameters = shard.parameters(
            start=start, until=until, now=now, threshold=threshold, later=int(later)
        )
        return await self._count(queries.settle_misfires, parameters)

    async def reopen(self, shard: Shard, now: datetime) -> int:
        return await self._count(queries.reopen, shard.parameters(now=now))

    async def release_dead_claims(
        self, shard: Shard, *, claimer: int, held: Sequence[int], now: datetime
    ) -> int:
        parameters = shard.parameters(
            claimer=claimer, held=list(held), now=now, lock_class=CLAIMER_LOCK_CLASS
        )
        return await self._count(queries.release_dead_claims, parameters)

    async def load_window(
        self, shard: Shard, known: Sequence[int], start: datetime, until: datetime, orphaned_before: datetime
    ) -> list[Due]:
        parameters = shard.parameters(
            known=list(known), start=start, until=until, orphaned_before=orphaned_before
        )
        return await self._load(queries.load_window, parameters)

    async def load_once(self, shard: Shard, known: Sequence[int], until: datetime) -> list[Due]:
        parameters = shard.parameters(known=list(known), until=until)
        return await self._load(queries.load_once, parameters)

    async def load_manual(self, shard: Shard, known: Sequence[int]) -> list[Due]:
        return await self._load(queries.load_manual, shard.parameters(known=list(known)))

    async def count_open(
        self,
        shard: Shard,
        *,
        start: datetime | None = None,
        until: datetime | None = None,
        once: bool = False,
        manual: bool = False,
    ) -> int:
        parameters = shard.parameters(start=start, until=until, once=once, manual=manual)
        return await self._number(queries.count_open, parameters)

    async def claim(self, dues: Sequence[Due], *, claimer: int, now: datetime) -> list[Verdict]:
        cursor = await self.connection.execute(
            queries.claim,
            {
                "ids": [due.id for due in dues],
                "dues": [due.due_at for due in dues],
                "attempts": [due.attempts for due in dues],
                "days": [due.day for due in dues],
                "claimer": claimer,
                "now": now,
            },
        )
        rows = await cursor.fetchall()
        return [Verdict(row["id"], row["verdict"], row["revision"], row["attempt"]) for row in rows]

    async def record(self, records: Sequence[Record], *, claimer: int, lanes: Sequence[int | None]) -> None:
        """Write the ends of attempts; `lanes` are schedules that long retries are handed over to."""
        # JSON and not an array for each column: to write those takes psycopg 50 µs a record, in which
        # nothing else is sent.
        results = [_result(record, lane) for record, lane in zip(records, lanes, strict=True)]
        parameters = {"results": orjson.dumps(results).decode(), "claimer": claimer}
        await self.connection.execute(queries.record, parameters)

    async def next_claimer_id(self) -> int:
        cursor = await self.connection.execute(queries.next_claimer_id)
        row = await cursor.fetchone()
        return int(row["id"]) if row else 0

    async def hold_claimer_lock(self, claimer: int) -> bool:
        cursor = await self.connection.execute(
            queries.hold_claimer_lock, {"lock_class": CLAIMER_LOCK_CLASS, "claimer": claimer}
        )
        row = await cursor.fetchone()
        return bool(row and row["held"])

    async def _number(self, statement: LiteralString, parameters: dict[str, Any]) -> int:
        cursor = await self.connection.execute(statement, parameters)
        row = await cursor.fetchone()
        return int(next(iter(row.values()))) if row else 0

    async def _count(self, statement: LiteralString, parameters: dict[str, Any]) -> int:
        return (await self.connection.execute(statement, parameters)).rowcount

    async def _load(self, statement: LiteralString, parameters: dict[str, Any]) -> list[Due]:
        cursor = await self.connection.execute(statement, parameters)
        return [Due(**row) for row in await cursor.fetchall()]


def _result(record: Record, lane: int | None) -> dict[str, Any]:
    """Return a record as `record` takes it."""
    due, result = record.due, record.result
    return {
        "id": due.id,
        "due_at": due.due_at,
        "number": record.number,
        "attempt_state": "succeeded" if result.ok else "failed",
        "begin_at": result.begin_at,
        "end_at": result.end_at,
        "url": result.url,
        "body": result.body,
        "status": result.status,
        "response": result.response,
        "error": result.error,
        "state": record.state,
        "next_attempt_at": record.next_attempt_at,
        "reason": record.reason,
        "lane": lane,
    }
