"""The statements by which billing is planned and entered in the ledger: the only caller of `queries.sql`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from include.billing_plan.model import Claim, DagRun, Item, LiveTask, Origin
from include.kit.db import Repository
from include.kit.sql import load_queries
from include.settings import get_settings

queries = load_queries(__file__)

#: The first key of the advisory locks by which a worker is alone with a billing task.
TURN_LOCK_CLASS = 0x42494C4C


class PlanRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits."""

    async def lock_schedule(self, schedule_id: int) -> None:
        await self._rows(queries.lock_schedule, schedule_id=schedule_id)

    async def list_live(self, schedule_id: int) -> list[LiveTask]:
        rows = await self._rows(queries.list_live, schedule_id=schedule_id)
        return [LiveTask(**row) for row in rows]

    async def list_named(self, schedule_id: int, definition_ids: Sequence[int]) -> list[int]:
        rows = await self._rows(
            queries.list_named, schedule_id=schedule_id, definition_ids=list(definition_ids)
        )
        return [row["id"] for row in rows]

    async def arm_scheduled(self, run: DagRun, pairs: Sequence[tuple[int, datetime]]) -> int:
        ids, dues = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        return await self._run(queries.arm_scheduled, **run.__dict__, definition_ids=ids, dues=dues)

    async def arm_condensed(
        self, run: DagRun, rows: Sequence[tuple[int, datetime, datetime, int]], now: datetime
    ) -> int:
        """Write rows of (definition, latest instant, exclusive beginning, how many instants)."""
        return await self._run(
            queries.arm_condensed,
            **run.__dict__,
            definition_ids=[row[0] for row in rows],
            dues=[row[1] for row in rows],
            sinces=[row[2] for row in rows],
            counts=[row[3] for row in rows],
            now=now,
        )

    async def arm_manual(self, run: DagRun, due_at: datetime, definition_ids: Sequence[int]) -> int:
        return await self._run(
            queries.arm_manual, **run.__dict__, due_at=due_at, definition_ids=list(definition_ids)
        )

    async def skip_refused(self, schedule_id: int, *, until: datetime, now: datetime) -> int:
        return await self._run(queries.skip_refused, schedule_id=schedule_id, until=until, now=now)

    async def take_scheduled(
        self, run: DagRun, *, start: datetime, until: datetime, most: int, now: datetime
    ) -> list[Item]:
        rows = await self._rows(
            queries.take_scheduled, **run.__dict__, start=start, until=until, most=most, now=now
        )
        return _items(rows, "scheduled")

    async def take_manual(self, run: DagRun, due_at: datetime, definition_ids: Sequence[int]) -> list[Item]:
        rows = await self._rows(
            queries.take_manual,
            schedule_id=run.schedule_id,
            due_at=due_at,
            definition_ids=list(definition_ids),
        )
        return _items(rows, "manual")

    async def take_turn(self, definition_id: int) -> bool:
        """Whether this session is alone with the task from now on, as long as it lives."""
        [row] = await self._rows(queries.take_turn, lock_class=TURN_LOCK_CLASS, definition_id=definition_id)
        return bool(row["held"])

    async def claim(
        self, run: DagRun, run_try: int, item: Item, due_at: datetime, now: datetime
    ) -> Claim | None:
        """Open an attempt, or say why not; None where the ledger has no such execution."""
        rows = await self._rows(
            queries.claim,
            definition_id=item.definition_id,
            due_at=due_at,
            origin=item.origin,
            run_id=run.run_id,
            run_try=run_try,
            timezone=get_settings().timezone,
            now=now,
        )
        return Claim(**rows[0]) if rows else None

    async def record(
        self,
        claim: Claim,
        due_at: datetime,
        state: str,
        now: datetime,
        *,
        reason: str | None = None,
        response: str | None = None,
        error: str | None = None,
        next_attempt_at: datetime | None = None,
    ) -> None:
        await self._run(
            queries.record,
            execution_id=claim.execution_id,
            due_at=due_at,
            attempt=claim.attempt,
            state=state,
            now=now,
            reason=reason,
            response=response,
            error=error,
            next_attempt_at=next_attempt_at,
        )

    async def end_left_open(self, run: DagRun, reason: str, now: datetime) -> None:
        await self._run(
            queries.end_left_open, **run.__dict__, reason=reason, now=now, lock_class=TURN_LOCK_CLASS
        )

    async def end_orphans(self, *, planned_before: datetime, begun_before: datetime, now: datetime) -> None:
        await self._run(
            queries.end_orphans,
            planned_before=planned_before,
            begun_before=begun_before,
            now=now,
            lock_class=TURN_LOCK_CLASS,
        )


def _items(rows: Sequence[Mapping[str, Any]], origin: Origin) -> list[Item]:
    return [Item(row["definition_id"], row["name"], row["due_at"], origin) for row in rows]
