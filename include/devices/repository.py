"""The statements on devices, groups and bindings; `traffic_repository.py` has those on their traffic."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import orjson
from psycopg import AsyncCursor
from psycopg.errors import ForeignKeyViolation, IntegrityError, UniqueViolation
from psycopg.rows import DictRow

from include.devices.model import Binding, Device, DeviceFilter, DeviceGroup, LockedDevice
from include.errors import ConflictError
from include.kit.db import Connection
from include.kit.sql import load_queries

queries = load_queries(__file__)

Item = Mapping[str, Any]

#: What the tables refuse although it was looked up before: somebody else was quicker. (field, message)
CONSTRAINTS = {
    "device_id_unique": ("device_id", "is taken"),
    "device_node_unique": ("node_id", "another device of the product has it"),
    "device_group_id_unique": ("group_id", "is taken"),
    "device_group_name_unique": ("name", "another group of the project has it"),
}

#: What may hang on a device that is to be deleted, by the table that says so.
REFERENCES = {"device": "devices"}

_DEVICE_COLUMNS = [one.name for one in fields(Device) if one.name != "has_secret"]

#: Behind every text that begins alike.
_LAST_CHARACTER = "\U0010ffff"


class Statements:
    """Runs statements on a connection whose transaction somebody else commits."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def run(
        self, statement: str, *, prepare: bool | None = None, **values: Any
    ) -> AsyncCursor[DictRow]:
        """Run a statement. Raises ConflictError where a constraint refuses."""
        try:
            return await self.connection.execute(statement, values, prepare=prepare)
        except (ForeignKeyViolation, UniqueViolation) as error:
            raise _conflict(error) from error

    async def all(self, statement: str, **values: Any) -> list[Item]:
        return list(await (await self.run(statement, **values)).fetchall())

    async def one(self, statement: str, **values: Any) -> Item | None:
        return await (await self.run(statement, **values)).fetchone()

    async def changed(self, statement: str, **values: Any) -> bool:
        """Run a statement and return whether it changed a row."""
        return (await self.run(statement, **values)).rowcount > 0


class DeviceRepository(Statements):
    """One method a statement."""

    # --- devices

    async def lock_devices(self, device_ids: Collection[str]) -> dict[str, LockedDevice]:
        rows = await self.all(queries.lock_devices, device_ids=list(device_ids))
        return {row["device_id"]: LockedDevice(**row) for row in rows}

    async def devices_at_nodes(self, items: Sequence[Item]) -> dict[int, str]:
        """Return by row the device that has that node already."""
        rows = await self.all(queries.devices_at_nodes, items=as_json(items))
        return {row["row"]: row["device_id"] for row in rows}

    async def insert_devices(self, items: Sequence[Item], now: datetime) -> None:
        await self.run(queries.insert_devices, items=as_json(items), now=now)

    async def update_devices(self, items: Sequence[Item], now: datetime) -> int:
        """Return how many changed."""
        return (await self.run(queries.update_devices, items=as_json(items), now=now)).rowcount

    async def find_devices(
        self, device_ids: Collection[str], projects: Sequence[str] | None
    ) -> dict[str, Device]:
        rows = await self.all(queries.find_devices, device_ids=list(device_ids), projects=listed(projects))
        return {row["device_id"]: device_of(row) for row in rows}

    async def device_projects(self) -> list[str]:
        return [row["project_id"] for row in await self.all(queries.device_projects)]

    async def list_devices(
        self, wanted: DeviceFilter, projects: Sequence[str], after: tuple[str, int], limit: int
    ) -> list[Device]:
        """Return devices after a name (of lists by name) and an id."""
        # Never a generic plan: the conditions that do not apply must fall away before it is made.
        rows = await self.all(
            list_statement(wanted), prepare=False, **list_values(wanted, projects, after, limit)
        )
        return [device_of(row) for row in rows]

    async def delete_devices(self, ids: Sequence[int]) -> None:
        await self.run(queries.delete_devices, ids=list(ids))

    async def freeze_devices(self, ids: Sequence[int], now: datetime) -> None:
        await self.run(queries.freeze_devices, ids=list(ids), now=now)

    async def unfreeze_devices(self, ids: Sequence[int], now: datetime) -> None:
        await self.run(queries.unfreeze_devices, ids=list(ids), now=now)

    async def mark_devices(self, device_ids: Collection[str], status: str, at: datetime) -> list[str]:
        """Return the devices of which the status is another now."""
        rows = await self.all(queries.mark_devices, device_ids=list(device_ids), status=status, at=at)
        return [row["device_id"] for row in rows if row["changed"]]

    async def device_secret(self, device_id: str) -> str | None:
        row = await self.one(queries.device_secret, device_id=device_id)
        return row["secret"] if row else None

    # --- groups

    async def insert_group(self, values: Item, now: datetime) -> DeviceGroup:
        rows = await self.all(queries.insert_group, **values, now=now)
        return DeviceGroup(**rows[0])

    async def find_group(self, group_id: str, projects: Sequence[str] | None) -> DeviceGroup | None:
        row = await self.one(queries.find_group, group_id=group_id, projects=listed(projects))
        return DeviceGroup(**row) if row else None

    async def update_group(self, group: int, values: Item) -> DeviceGroup:
        rows = await self.all(queries.update_group, id=group, **values)
        return DeviceGroup(**rows[0])

    async def delete_group(self, group: int) -> None:
        await self.run(queries.delete_group, id=group)

    async def delete_empty_group(self, group: int) -> bool:
        return await self.changed(queries.delete_empty_group, id=group)

    async def list_groups(
        self, projects: Sequence[str] | None, device_id: str | None, after: int, limit: int
    ) -> list[DeviceGroup]:
        rows = await self.all(
            queries.list_groups,
            prepare=False,
            projects=listed(projects),
            device_id=device_id,
            after=after,
            limit=limit,
        )
        return [DeviceGroup(**row) for row in rows]

    async def devices_in_project(self, project_id: str, device_ids: Collection[str]) -> dict[str, int]:
        rows = await self.all(queries.devices_in_project, project_id=project_id, device_ids=list(device_ids))
        return {row["device_id"]: row["id"] for row in rows}

    async def add_members(self, group: int, ids: Collection[int]) -> int:
        """Return how many were not there."""
        return (await self.run(queries.add_members, group=group, ids=list(ids))).rowcount

    async def remove_members(self, group: int, ids: Collection[int]) -> int:
        """Return how many were there."""
        return (await self.run(queries.remove_members, group=group, ids=list(ids))).rowcount

    # --- bindings

    async def bind_user(self, user: str, device: int, now: datetime) -> bool:
        """Return whether that is new."""
        return await self.one(queries.bind_user, user=user, id=device, now=now) is not None

    async def unbind_user(self, user: str, device: int) -> bool:
        return await self.one(queries.unbind_user, user=user, id=device) is not None

    async def is_bound(self, user: str, device_id: str) -> bool:
        row = await self.one(queries.is_bound, user=user, device_id=device_id)
        return bool(row and row["bound"])

    async def list_bindings(self, device: int, after: str, limit: int) -> list[Binding]:
        rows = await self.all(queries.list_bindings, id=device, after=after, limit=limit)
        return [Binding(**row) for row in rows]


def list_values(
    wanted: DeviceFilter, projects: Sequence[str], after: tuple[str, int], limit: int
) -> dict[str, Any]:
    """Return the parameters of every statement that lists devices."""
    key, value = wanted.tag or (None, None)
    prefix = wanted.name_prefix or ""
    return {
        "projects": list(projects),
        "product": wanted.product,
        "status": wanted.status,
        "gateway": wanted.gateway,
        "group": wanted.group,
        "node_id": wanted.node_id,
        "tag_key": key,
        "tag_value": value,
        "after_name": max(after[0], prefix),
        "before_name": prefix + _LAST_CHARACTER,
        "after": after[1],
        "limit": limit,
    }


def list_statement(wanted: DeviceFilter) -> str:
    """Return the statement whose index gives the order of the page."""
    if wanted.name_prefix is not None:
        statement = queries.list_devices_by_name
    elif wanted.group is not None:
        statement = queries.list_devices_of_group
    elif wanted.tag is not None:
        statement = queries.list_devices_by_tag
    elif wanted.gateway is not None:
        statement = queries.list_devices_of_gateway
    else:
        statement = queries.list_devices
    return str(statement)


def _conflict(error: IntegrityError) -> ConflictError:
    if isinstance(error, ForeignKeyViolation):
        if error.diag.constraint_name == "device_gateway" and "is not present" in str(error):
            return ConflictError("has just been deleted", field="gateway_id")
        table = error.diag.table_name or ""
        return ConflictError(f"{REFERENCES.get(table, table)} hang on it")
    field, message = CONSTRAINTS.get(error.diag.constraint_name or "", (None, None))
    return ConflictError(message, field=field)


def as_json(items: Sequence[Item]) -> str:
    """Return rows for jsonb_to_recordset."""
    return orjson.dumps(list(items), default=str).decode()


def listed(projects: Sequence[str] | None) -> list[str] | None:
    """Return projects as psycopg makes an array of them."""
    return None if projects is None else list(projects)


def device_of(row: Item) -> Device:
    """Return the device of a row."""
    # The table has columns of other domains, too.
    values = {name: row[name] for name in _DEVICE_COLUMNS}
    return Device(**values, has_secret=row["secret"] is not None)
