"""The statements on callback tasks: the only caller of this domain's `queries.sql`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from include.callbacks.model import CallbackTask, LogEntry, TaskKey
from include.kit.db import Connection
from include.kit.sql import load_queries

queries = load_queries(__file__)

Row = Mapping[str, Any]


class CallbackRepository:
    """One method a statement, on a connection whose transaction somebody else commits."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def insert_tasks(self, items: Sequence[Row], now: datetime) -> list[Row]:
        """Return id, name and schedule_id of what was inserted; a taken name is not among them."""
        cursor = await self.connection.execute(queries.insert_tasks, {"items": _json(items), "now": now})
        return list(await cursor.fetchall())

    async def lock_tasks(self, keys: Sequence[TaskKey], projects: Sequence[str] | None) -> list[Row]:
        cursor = await self.connection.execute(queries.lock_tasks, _keys(keys, projects))
        return list(await cursor.fetchall())

    async def update_tasks(self, items: Sequence[Row], now: datetime) -> None:
        await self.connection.execute(queries.update_tasks, {"items": _json(items), "now": now})

    async def load_tasks(self, ids: Sequence[int]) -> list[CallbackTask]:
        cursor = await self.connection.execute(queries.load_tasks, {"ids": list(ids)})
        return [CallbackTask(**row) for row in await cursor.fetchall()]

    async def find_task_ids(self, keys: Sequence[TaskKey], projects: Sequence[str] | None) -> list[Row]:
        cursor = await self.connection.execute(queries.find_task_ids, _keys(keys, projects))
        return list(await cursor.fetchall())

    async def task_log(self, ids: Sequence[int], limit: int) -> list[LogEntry]:
        cursor = await self.connection.execute(queries.task_log, {"ids": list(ids), "limit": limit})
        return [LogEntry(**row) for row in await cursor.fetchall()]


def _keys(keys: Sequence[TaskKey], projects: Sequence[str] | None) -> dict[str, Any]:
    return {
        "ids": [key.task_id for key in keys if key.task_id is not None],
        "names": [key.name for key in keys if key.name],
        "projects": None if projects is None else list(projects),
    }


def _json(items: Sequence[Row]) -> str:
    return orjson.dumps(list(items)).decode()
