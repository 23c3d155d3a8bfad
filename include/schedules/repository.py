"""The statements on `schedule`: the only caller of this domain's `queries.sql`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from include.kit.db import Connection
from include.kit.sql import load_queries
from include.schedules.model import Kind

queries = load_queries(__file__)

#: The advisory lock under which new schedules are made.
NEW_SCHEDULES_LOCK = 0x4341525363686564


class ScheduleRepository:
    """One method a statement, on a connection whose transaction somebody else commits."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def ensure_schedule(
        self, *, kind: Kind, expression: str, timezone: str, cycle: str, dag_id: str, description: str
    ) -> int:
        same = {"kind": kind, "expression": expression, "timezone": timezone, "cycle": cycle}
        found = await self._find_same_schedule(same)
        if found is None:
            await self.connection.execute(queries.lock_new_schedules, {"lock": NEW_SCHEDULES_LOCK})
            await self.connection.execute(
                queries.insert_schedule, {**same, "dag_id": dag_id, "description": description}
            )
            found = await self._find_same_schedule(same)
        return found or 0

    async def _find_same_schedule(self, same: dict[str, str]) -> int | None:
        cursor = await self.connection.execute(queries.find_same_schedule, same)
        row = await cursor.fetchone()
        return int(row["id"]) if row else None

    async def lock_schedules(self, ids: Sequence[int]) -> None:
        await self.connection.execute(queries.lock_schedules, {"ids": list(ids)})

    async def refresh_schedules(self, ids: Sequence[int], *, now: datetime, per_shard: int) -> list[int]:
        """Return the ids of the schedules whose DAG must appear, vanish or change."""
        cursor = await self.connection.execute(
            queries.refresh_schedules, {"ids": list(ids), "now": now, "per_shard": per_shard}
        )
        return [row["id"] for row in await cursor.fetchall()]

    async def notify_schedules(self, ids: Sequence[int]) -> None:
        await self.connection.execute(queries.notify_schedules, {"ids": list(ids)})

    async def unannounced_schedules(self) -> dict[int, bool]:
        """Return the ids of what Airflow was not told yet, and whether each is active."""
        cursor = await self.connection.execute(queries.unannounced_schedules)
        return {row["id"]: row["active"] for row in await cursor.fetchall()}

    async def mark_announced(self, ids: Sequence[int]) -> None:
        await self.connection.execute(queries.mark_announced, {"ids": list(ids)})

    async def idle_once_schedules(self, before: datetime) -> list[int]:
        cursor = await self.connection.execute(queries.idle_once_schedules, {"before": before})
        return [row["id"] for row in await cursor.fetchall()]

    async def retire_once(self, ids: Sequence[int]) -> None:
        await self.connection.execute(queries.retire_once, {"ids": list(ids)})

    async def find_orphaned_kinds(self, before: datetime) -> list[Kind]:
        cursor = await self.connection.execute(queries.find_orphaned_kinds, {"before": before})
        return [row["kind"] for row in await cursor.fetchall()]

    async def rehome_orphans(self, kind: Kind, once_id: int, before: datetime) -> None:
        parameters = {"kind": kind, "once_id": once_id, "before": before}
        await self.connection.execute(queries.rehome_orphans, parameters)

    async def ensure_partitions(self, now: datetime) -> None:
        await self.connection.execute(queries.limit_lock_wait)
        await self.connection.execute(queries.ensure_partitions, {"now": now})
