"""Lists as the device platform has them: the newest first, by marker and offset, with a count (research A1).

A marker is an id as 24 hexadecimal digits: rows older than it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from include.devices.model import CommandRecord, CommandStatus, Device, DeviceGroup, MessageRecord
from include.devices.repository import Item, device_of
from include.devices.scope import DeviceScope
from include.devices.traffic_repository import NEWEST
from include.errors import NotFoundError
from include.kit.sql import load_queries

queries = load_queries(__file__, "page_queries.sql")


@dataclass(frozen=True, slots=True)
class Span:
    """Which part of a list is a page."""

    marker: str
    offset: int
    limit: int

    @property
    def values(self) -> dict[str, Any]:
        before = min(int(self.marker, 16), NEWEST)
        return {"before": before, "offset": self.offset, "limit": self.limit}


@dataclass(frozen=True, slots=True)
class DevicePageFilter:
    """What a list of devices is about; None does not limit it.

    :ivar since: of the registration, as `until`
    """

    product_id: str | None = None
    gateway_id: str | None = None
    node_id: str | None = None
    name: str | None = None
    app_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class CommandPageFilter:
    """What a list of commands is about; None does not limit it."""

    statuses: Sequence[CommandStatus]
    command_name: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def marker_of(row: Device | DeviceGroup | CommandRecord) -> str:
    """Return the marker of the page that follows a row."""
    return f"{row.id:024x}"


class PageService(DeviceScope):
    """Pages of one project, each with how many rows match on all of them."""

    async def list_devices(
        self, project_id: str, wanted: DevicePageFilter, span: Span
    ) -> tuple[list[Device], int]:
        """Return devices of a project."""
        values = {**asdict(wanted), "project_id": project_id}
        rows = await self._page(queries.page_devices, span, values)
        return [device_of(row) for row in rows], await self._count(queries.count_devices, values)

    async def list_members(self, group: DeviceGroup, span: Span) -> tuple[list[Device], int]:
        """Return devices of a group."""
        values = {"group": group.id}
        rows = await self._page(queries.page_members, span, values)
        return [device_of(row) for row in rows], await self._count(queries.count_members, values)

    async def list_groups(
        self, project_id: str, name: str | None, span: Span
    ) -> tuple[list[DeviceGroup], int]:
        """Return groups of a project, all or the one of this name."""
        values = {"project_id": project_id, "name": name}
        rows = await self._page(queries.page_groups, span, values)
        return [DeviceGroup(**row) for row in rows], await self._count(queries.count_groups, values)

    async def list_commands(
        self, device: Device, wanted: CommandPageFilter, span: Span
    ) -> tuple[list[CommandRecord], int]:
        """Return commands of a device."""
        values = {**asdict(wanted), "statuses": list(wanted.statuses), "device": device.id}
        rows = await self._page(queries.page_commands, span, values)
        return [CommandRecord(**row) for row in rows], await self._count(queries.count_commands, values)

    async def count_commands(self, device: Device, wanted: CommandPageFilter) -> int:
        """Return how many commands of a device there are."""
        values = {**asdict(wanted), "statuses": list(wanted.statuses), "device": device.id}
        return await self._count(queries.count_commands, values)

    async def find_message(self, device: Device, message_id: str) -> MessageRecord:
        """Return a message to a device. Raises NotFoundError."""
        row = await self.traffic.one(queries.find_message, device=device.id, message_id=message_id)
        if row is None:
            raise NotFoundError(f"there is no message {message_id!r}")
        return MessageRecord(**row)

    async def _page(self, statement: str, span: Span, values: Item) -> list[Item]:
        # Never a generic plan: the conditions that do not apply must fall away before it is made.
        return await self.traffic.all(statement, prepare=False, **{**values, **span.values})

    async def _count(self, statement: str, values: Item) -> int:
        [row] = await self.traffic.all(statement, prepare=False, **values)
        count: int = row["count"]
        return count
