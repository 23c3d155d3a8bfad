"""The statements on open upgrades of devices, and on the sub-tasks that they belong to.

Whoever calls one of those that change something has locked the tasks (`lock_tasks`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import orjson

from include.batch.model import Phase
from include.kit.db import Repository
from include.ota.model import Kind, Stage, Upgrade
from include.ota.repository import queries


@dataclass(frozen=True, slots=True)
class Opening:
    """What is to be upgraded. `device_upgrade` has the same columns."""

    device_id: str
    subtask_id: int
    attempt: int
    kind: Kind
    module_name: str | None
    target: str


class UpgradeRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits."""

    async def open_upgrades(self, items: Sequence[Opening], now: datetime) -> None:
        await self._run(queries.open_upgrades, items=_json(items), now=now)

    async def look_at_upgrades(self, subtasks: Sequence[int]) -> dict[int, Upgrade]:
        """Return the open upgrades by sub-task; those of devices in another upgrade are not among them."""
        rows = await self._rows(queries.look_at_upgrades, subtasks=list(subtasks))
        return {row["subtask_id"]: _upgrade(row) for row in rows}

    async def enter_stages(self, items: Mapping[int, Stage], now: datetime) -> dict[int, Upgrade]:
        """Return the upgrades by sub-task; those that were let go meanwhile are not among them."""
        values = [{"subtask_id": subtask, "stage": stage} for subtask, stage in items.items()]
        rows = await self._rows(queries.enter_stages, items=_json(values), now=now)
        return {row["subtask_id"]: _upgrade(row) for row in rows}

    async def tasks_of_devices(self, device_ids: Collection[str]) -> list[int]:
        rows = await self._rows(queries.tasks_of_devices, device_ids=list(device_ids))
        return [row["batch_id"] for row in rows]

    async def lock_tasks(self, ids: Collection[int]) -> None:
        await self._run(queries.lock_tasks, ids=sorted(ids))

    async def upgrades_of_devices(
        self, device_ids: Collection[str], tasks: Sequence[int]
    ) -> dict[str, tuple[Upgrade, Phase | None]]:
        """Return the open upgrades of these tasks by device, and the phase that the sub-task shows."""
        rows = await self._rows(queries.upgrades_of_devices, device_ids=list(device_ids), tasks=list(tasks))
        return {row["device_id"]: (_upgrade(row), row["phase"]) for row in rows}

    async def keep_words(self, items: Sequence[Mapping[str, Any]], now: datetime) -> None:
        await self._run(queries.keep_words, items=_json(items), now=now)

    async def move_subtasks(self, items: Sequence[Mapping[str, Any]], now: datetime) -> None:
        await self._run(queries.move_subtasks, items=_json(items), now=now)

    async def put_versions(self, items: Sequence[Mapping[str, Any]], now: datetime) -> None:
        await self._run(queries.put_versions, items=_json(items), now=now)

    async def count_siblings(self, batch_id: int) -> dict[str, int]:
        """Return how many sub-devices of a task each gateway has."""
        rows = await self._rows(queries.count_siblings, batch_id=batch_id)
        return {row["gateway_id"]: row["count"] for row in rows}


_COLUMNS = [field.name for field in fields(Upgrade)]


def _upgrade(row: Mapping[str, Any]) -> Upgrade:
    return Upgrade(**{name: row[name] for name in _COLUMNS})


def _json(items: Sequence[Any]) -> str:
    """Return rows for jsonb_to_recordset."""
    return orjson.dumps(list(items)).decode()
