"""The statements by which a rollout acts on a task; whoever calls one that writes has locked the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from include.batch.model import Task
from include.batch.rollout import Slot
from include.kit.db import Repository
from include.kit.sql import load_queries

queries = load_queries(__file__, "rollout_queries.sql")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A sub-task that is due and has no time of its own.

    :ivar timezone: of its device, None: it says none
    :ivar after: from when on it may begin
    """

    id: int
    target: str
    timezone: str | None
    after: datetime


@dataclass(frozen=True, slots=True)
class OpenWave:
    """The last wave that is open, when it has ended."""

    size: int
    approved: bool
    succeeded: int


@dataclass(frozen=True, slots=True)
class WaveRecord:
    """A wave as it stands.

    :ivar open: how many of its sub-tasks have not ended
    """

    wave: int
    size: int
    opened_at: datetime | None
    approved_at: datetime | None
    approved_by: str | None
    open: int
    succeeded: int
    failed: int


class RolloutRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits."""

    async def unplaced_subtasks(self, task: Task, *, limit: int, now: datetime) -> list[Unplaced]:
        rows = await self._rows(
            queries.unplaced_subtasks,
            id=task.id,
            project_id=task.asked.project_id,
            open_wave=task.open_wave,
            limit=limit,
            now=now,
        )
        return [Unplaced(**row) for row in rows]

    async def place_subtasks(self, slots: Sequence[tuple[int, Slot]], now: datetime) -> None:
        await self._run(
            queries.place_subtasks,
            ids=[id for id, _ in slots],
            wakes=[slot.wake_at for _, slot in slots],
            ends=[slot.window_ends_at for _, slot in slots],
            now=now,
        )

    async def insert_waves(self, id: int, sizes: Sequence[int], now: datetime) -> None:
        await self._run(queries.insert_waves, id=id, sizes=list(sizes), now=now)

    async def leave_out_of_sample(self, id: int) -> None:
        """Judge by what succeeds and fails from here on."""
        await self._run(queries.leave_out_of_sample, id=id)

    async def find_open_wave(self, task: Task) -> OpenWave | None:
        """Return the last wave that is open, None while something in it or before it waits."""
        rows = await self._rows(queries.find_open_wave, id=task.id, open_wave=task.open_wave)
        return OpenWave(**rows[0]) if rows else None

    async def open_wave(self, id: int, wave: int, now: datetime) -> None:
        await self._run(queries.open_wave, id=id, wave=wave, now=now)

    async def describe_task(self, id: int, status_desc: str, now: datetime) -> None:
        await self._run(queries.describe_task, id=id, status_desc=status_desc, now=now)

    async def pause_task(self, id: int, reason: str | None, now: datetime) -> None:
        await self._run(queries.pause_task, id=id, reason=reason, now=now)

    async def resume_task(self, id: int, now: datetime) -> None:
        await self._run(queries.resume_task, id=id, now=now)

    async def approve_wave(self, id: int, wave: int, by: str | None, now: datetime) -> None:
        await self._run(queries.approve_wave, id=id, wave=wave, by=by, now=now)

    async def list_waves(self, id: int) -> list[WaveRecord]:
        return [WaveRecord(**row) for row in await self._rows(queries.list_waves, id=id)]
