"""Use cases on commands and messages to devices: stored, counted, moved from status to status.

Nothing here speaks with a device: who does stores a command, sends it and says how far it came. Which status
may follow which is in `model.py`; the statements hold to it, so a late word cannot undo an end. What is past
its `expires_at` has ended and is shown so from that moment on; `expire_…` writes it down a little later.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import uuid4

from include.devices.model import (
    COMMAND_LIFE,
    COMMAND_SOURCES,
    FROZEN_DEVICE,
    MESSAGE_SOURCES,
    MESSAGE_TWICE,
    PENDING_MOST,
    TOO_MANY_WAIT,
    UNKNOWN_DEVICE,
    CommandRecord,
    CommandStatus,
    MessageRecord,
    MessageStatus,
    NewCommand,
    NewMessage,
    Refusal,
)
from include.devices.scope import DeviceScope
from include.devices.traffic_repository import NEWEST

#: How many of those whose time is over one call ends.
EXPIRE_MOST = 5_000


class TrafficService(DeviceScope):
    """Commands and messages."""

    async def add_commands(self, commands: Sequence[NewCommand]) -> list[str | Refusal]:
        """Store commands as PENDING; returns the id of each in order, or why it was not stored.

        A command is refused where its device is not there or frozen, where `PENDING_MOST` wait for it
        already, or where its id is taken.
        """
        barred = await self._barred({one.device_id for one in commands})
        now = self.clock()
        items = [
            {
                **asdict(one),
                "place": place,
                "command_id": one.command_id or uuid4().hex,
                "expires_at": one.expires_at or now + COMMAND_LIFE,
            }
            for place, one in enumerate(commands)
        ]
        stored = await self.traffic.add_commands(
            [item for item in items if item["device_id"] not in barred], PENDING_MOST, now
        )
        return [
            item["command_id"]
            if item["command_id"] in stored
            else barred.get(item["device_id"], TOO_MANY_WAIT)
            for item in items
        ]

    async def _barred(self, device_ids: Collection[str]) -> dict[str, Refusal]:
        """Lock devices; returns those for which nothing is stored, and why."""
        locked = await self.repository.lock_devices(device_ids)
        seen = {device_id for device_id, device in locked.items() if self.sees(device.project_id)}
        frozen = {device_id for device_id in seen if locked[device_id].status == "FROZEN"}
        return dict.fromkeys(set(device_ids) - seen, UNKNOWN_DEVICE) | dict.fromkeys(frozen, FROZEN_DEVICE)

    async def find_commands(self, command_ids: Collection[str]) -> dict[str, CommandRecord]:
        """Return commands by their ids."""
        return {one.command_id: one for one in await self.traffic.find_commands(command_ids, self.clock())}

    async def move_commands(
        self, command_ids: Collection[str], status: CommandStatus, at: datetime, *, result: Any = None
    ) -> list[str]:
        """Move commands on; returns those that moved. The others were not in a status that allows it.

        :param at: when it happened
        :param result: what the device answered, JSON
        """
        sources = COMMAND_SOURCES.get(status, ())
        return await self.traffic.move_commands(command_ids, status, sources, at, result, self.clock())

    async def expire_commands(self, limit: int = EXPIRE_MOST) -> list[str]:
        """End commands whose time is over: EXPIRED where they were not sent, else TIMEOUT; returns them."""
        return await self.traffic.expire_commands(self.clock(), limit)

    async def list_commands(
        self, device_id: str, *, before: int | None = None, limit: int
    ) -> list[CommandRecord]:
        """Return commands of a device, the newest first, before an id. Raises NotFoundError."""
        device = await self.find(device_id)
        return await self.traffic.list_commands(device.id, before or NEWEST, limit, self.clock())

    async def add_messages(self, messages: Sequence[NewMessage]) -> list[str | Refusal]:
        """Store messages as PENDING; returns the id of each in order, or why it was not stored.

        As commands; a message is also refused where its device ever had one with its id.
        """
        barred = await self._barred({one.device_id for one in messages})
        now = self.clock()
        items = [
            {
                **asdict(one),
                "place": place,
                "message_id": one.message_id or uuid4().hex,
                "expires_at": one.expires_at or now + COMMAND_LIFE,
            }
            for place, one in enumerate(messages)
        ]
        taken = await self.traffic.known_messages(items)
        fresh: dict[tuple[str, str], int] = {}
        for item in items:
            key = (item["device_id"], item["message_id"])
            if key not in taken and item["device_id"] not in barred:
                fresh.setdefault(key, item["place"])
        stored = await self.traffic.add_messages(
            [items[place] for place in fresh.values()], PENDING_MOST, now
        )
        places = {fresh[key] for key in stored}
        full = set(fresh.values()) - places
        return [
            item["message_id"]
            if item["place"] in places
            else barred.get(item["device_id"], TOO_MANY_WAIT if item["place"] in full else MESSAGE_TWICE)
            for item in items
        ]

    async def known_messages(self, keys: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return which messages, by (device_id, message_id), there are."""
        items = [{"device_id": device_id, "message_id": message_id} for device_id, message_id in keys]
        return await self.traffic.known_messages(items)

    async def move_messages(
        self,
        keys: Collection[tuple[str, str]],
        status: MessageStatus,
        at: datetime,
        *,
        error: str | None = None,
    ) -> list[tuple[str, str]]:
        """Move messages, by (device_id, message_id), on; returns those that moved."""
        items = [{"device_id": device_id, "message_id": message_id} for device_id, message_id in keys]
        sources = MESSAGE_SOURCES.get(status, ())
        return await self.traffic.move_messages(items, status, sources, at, error, self.clock())

    async def expire_messages(self, limit: int = EXPIRE_MOST) -> list[str]:
        """Time out messages whose time is over; returns them."""
        return await self.traffic.expire_messages(self.clock(), limit)

    async def list_messages(
        self, device_id: str, *, before: int | None = None, limit: int
    ) -> list[MessageRecord]:
        """Return messages of a device, the newest first, before an id. Raises NotFoundError."""
        device = await self.find(device_id)
        return await self.traffic.list_messages(device.id, before or NEWEST, limit, self.clock())
