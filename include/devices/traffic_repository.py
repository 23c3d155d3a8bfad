"""The statements on shadows, commands and messages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import orjson

from include.devices.model import CommandRecord, MessageRecord, ShadowService
from include.devices.repository import Item, Statements, as_json, queries

#: Nothing is newer than what stands before this id.
NEWEST = 2**63 - 1


class TrafficRepository(Statements):
    """One method a statement. Devices are named by `id` where they were looked up, else by `device_id`."""

    # --- shadows

    async def find_shadow(self, device: int) -> list[ShadowService]:
        rows = await self.all(queries.find_shadow, id=device)
        return [ShadowService(**row) for row in rows]

    async def put_desired(self, device: int, items: Sequence[Item], now: datetime) -> None:
        await self.run(queries.put_desired, id=device, items=as_json(items), now=now)

    async def change_desired(self, device: int, items: Sequence[Item], now: datetime) -> None:
        await self.run(queries.change_desired, id=device, items=as_json(items), now=now)

    async def spread_desired(
        self, device_ids: Collection[str], items: Sequence[Item], most: int, now: datetime
    ) -> set[str]:
        """Return the devices that had room."""
        rows = await self.all(
            queries.spread_desired, device_ids=list(device_ids), items=as_json(items), most=most, now=now
        )
        return {row["device_id"] for row in rows}

    async def put_reported(self, device_id: str, service_id: str, reported: Item, at: datetime) -> bool:
        return await self.changed(
            queries.put_reported,
            device_id=device_id,
            service_id=service_id,
            reported=orjson.dumps(reported).decode(),
            at=at,
        )

    # --- commands

    async def add_commands(self, items: Sequence[Item], most: int, now: datetime) -> set[str]:
        """Return the ids of those that found room."""
        rows = await self.all(queries.add_commands, items=as_json(items), most=most, now=now)
        return {row["command_id"] for row in rows}

    async def find_commands(self, command_ids: Collection[str]) -> list[CommandRecord]:
        rows = await self.all(queries.find_commands, command_ids=list(command_ids))
        return [CommandRecord(**row) for row in rows]

    async def move_commands(
        self, command_ids: Collection[str], status: str, sources: Sequence[str], at: datetime, result: Any
    ) -> list[str]:
        rows = await self.all(
            queries.move_commands,
            command_ids=list(command_ids),
            status=status,
            sources=list(sources),
            at=at,
            result=None if result is None else orjson.dumps(result).decode(),
        )
        return [row["command_id"] for row in rows]

    async def expire_commands(self, now: datetime, limit: int) -> list[str]:
        rows = await self.all(queries.expire_commands, now=now, limit=limit)
        return [row["command_id"] for row in rows]

    async def list_commands(self, device: int, before: int, limit: int) -> list[CommandRecord]:
        rows = await self.all(queries.list_commands, id=device, before=before, limit=limit)
        return [CommandRecord(**row) for row in rows]

    # --- messages

    async def known_messages(self, items: Sequence[Item]) -> set[tuple[str, str]]:
        rows = await self.all(queries.known_messages, items=as_json(items))
        return {(row["device_id"], row["message_id"]) for row in rows}

    async def add_messages(self, items: Sequence[Item], most: int, now: datetime) -> set[tuple[str, str]]:
        """Return (device_id, message_id) of those that found room."""
        rows = await self.all(queries.add_messages, items=as_json(items), most=most, now=now)
        return {(row["device_id"], row["message_id"]) for row in rows}

    async def move_messages(
        self, items: Sequence[Item], status: str, sources: Sequence[str], at: datetime, error: str | None
    ) -> list[tuple[str, str]]:
        rows = await self.all(
            queries.move_messages,
            items=as_json(items),
            status=status,
            sources=list(sources),
            at=at,
            error=error,
        )
        return [(row["device_id"], row["message_id"]) for row in rows]

    async def expire_messages(self, now: datetime, limit: int) -> list[str]:
        rows = await self.all(queries.expire_messages, now=now, limit=limit)
        return [row["message_id"] for row in rows]

    async def list_messages(self, device: int, before: int, limit: int) -> list[MessageRecord]:
        rows = await self.all(queries.list_messages, id=device, before=before, limit=limit)
        return [MessageRecord(**row) for row in rows]
