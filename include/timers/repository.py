"""The statements on device timers: the only caller of this domain's `queries.sql`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, LiteralString

import orjson

from include.kit.db import Repository
from include.kit.sql import load_queries
from include.timers.model import GroupPage, LoadedTimer, Timer, TimerGroup

queries = load_queries(__file__)

Row = Mapping[str, Any]

_GROUP = [field.name for field in fields(TimerGroup) if field.name != "timers"]
_TIMER = [field.name for field in fields(Timer)]


@dataclass(frozen=True)
class TimedDevice:
    """What timers must know of a device.

    :ivar timezone: of its timers, None: the default
    :ivar paused: whether all of them rest
    :ivar bound: whether the user may set timers on it
    """

    id: int
    device_id: str
    project_id: str
    timezone: str | None
    paused: bool
    bound: bool


class TimerRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits."""

    async def lock_device(self, device_id: str, user: str) -> TimedDevice | None:
        rows = await self._rows(queries.lock_device, device_id=device_id, user=user)
        return TimedDevice(**rows[0]) if rows else None

    async def find_device(self, device_id: str, user: str) -> TimedDevice | None:
        rows = await self._rows(queries.find_device, device_id=device_id, user=user)
        return TimedDevice(**rows[0]) if rows else None

    async def lock_device_of_projects(
        self, device_id: str, projects: Sequence[str] | None
    ) -> TimedDevice | None:
        rows = await self._rows(
            queries.lock_device_of_projects, device_id=device_id, projects=_list(projects)
        )
        return TimedDevice(**rows[0]) if rows else None

    async def count_groups(self, device: int) -> int:
        [row] = await self._rows(queries.count_groups, device=device)
        return int(row["count"])

    async def insert_group(self, values: Row, now: datetime) -> int:
        [row] = await self._rows(queries.insert_group, **values, now=now)
        return int(row["id"])

    async def update_group(self, group: int, values: Row, now: datetime) -> None:
        await self._run(queries.update_group, **values, id=group, now=now)

    async def groups_of_devices(self, devices: Sequence[int]) -> list[int]:
        return [row["id"] for row in await self._rows(queries.groups_of_devices, devices=list(devices))]

    async def delete_groups(self, groups: Sequence[int], now: datetime) -> list[int]:
        """Return the schedules on which their timers hung."""
        return await self._schedules(queries.delete_groups, ids=list(groups), now=now)

    async def insert_timers(
        self, group: int, items: Sequence[Row], *, project_id: str, misfire_grace: timedelta, now: datetime
    ) -> None:
        await self._run(
            queries.insert_timers,
            group=group,
            items=_json(items),
            project_id=project_id,
            misfire_grace=misfire_grace,
            now=now,
        )

    async def update_timers(self, items: Sequence[Row], now: datetime) -> None:
        await self._run(queries.update_timers, items=_json(items), now=now)

    async def delete_timers(self, ids: Sequence[int], now: datetime) -> None:
        await self._run(queries.delete_timers, ids=list(ids), now=now)

    async def lock_group(self, group_id: str, user: str) -> bool:
        return bool(await self._rows(queries.lock_group, group_id=group_id, user=user))

    async def find_group(
        self, group_id: str, *, user: str | None, projects: Sequence[str] | None
    ) -> TimerGroup | None:
        rows = await self._rows(queries.find_group, group_id=group_id, user=user, projects=_list(projects))
        return next(_groups(rows), None)

    async def list_groups(self, device: int, *, limit: int, offset: int = 0) -> GroupPage:
        rows = await self._rows(queries.list_groups, device=device, limit=limit, offset=offset)
        return GroupPage(list(_groups(rows)), int(rows[0]["count"]))

    async def load_timers(self, ids: Sequence[int]) -> list[LoadedTimer]:
        return [LoadedTimer(**row) for row in await self._rows(queries.load_timers, ids=list(ids))]

    async def pause_device(self, device: int, *, paused: bool, now: datetime) -> list[int]:
        """Return the schedules on which something changed."""
        return await self._schedules(queries.pause_device, device=device, paused=paused, now=now)

    async def list_manual_runs(self, ids: Sequence[int], due_at: datetime) -> list[int]:
        rows = await self._rows(queries.list_manual_runs, ids=list(ids), due_at=due_at)
        return [row["id"] for row in rows]

    async def _schedules(self, statement: LiteralString, **parameters: Any) -> list[int]:
        return sorted({row["schedule_id"] for row in await self._rows(statement, **parameters)})


def _groups(rows: Iterable[Row]) -> Iterator[TimerGroup]:
    """Yield the groups of rows that have a timer each, in their order."""
    for group, members in groupby(rows, key=lambda row: row["id"]):
        if group is None:
            continue
        together = list(members)
        timers = [_timer(row) for row in together if row["definition_id"] is not None]
        yield TimerGroup(**{name: together[0][name] for name in _GROUP}, timers=timers)


def _timer(row: Row) -> Timer:
    return Timer(**{name: row[name] for name in _TIMER})


def _list(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else list(names)


def _json(items: Sequence[Row]) -> str:
    return orjson.dumps(list(items)).decode()
