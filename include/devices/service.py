"""What other domains ask of devices, inside their own transactions."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from include.devices.bindings import BindingService
from include.devices.model import Device
from include.devices.repository import DeviceRepository
from include.errors import NotFoundError
from include.kit.db import Connection
from include.kit.secrets import decrypt


async def find_devices(connection: Connection, device_ids: Collection[str]) -> dict[str, Device]:
    """Return devices by device_id, of whatever project; those that are not there are left out."""
    return await DeviceRepository(connection).find_devices(device_ids, None)


async def is_bound(connection: Connection, user: str, device_id: str) -> bool:
    """Return whether a user may set timers on a device; on one that is not there nobody may."""
    return await BindingService(connection).is_bound(user, device_id)


async def bind(connection: Connection, user: str, device_id: str) -> bool:
    """Let a user set timers on a device; returns whether that is new. Raises NotFoundError."""
    return await BindingService(connection).bind(user, device_id)


async def unbind(connection: Connection, user: str, device_id: str) -> bool:
    """Take that away; returns whether there was something to take away. Raises NotFoundError."""
    return await BindingService(connection).unbind(user, device_id)


async def mark_online(connection: Connection, device_ids: Collection[str], at: datetime) -> list[str]:
    """Devices came online at a moment; returns those whose status changed.

    What is known of a later moment stays. A frozen device stays frozen and is online once it is unfrozen.
    """
    return await DeviceRepository(connection).mark_devices(device_ids, "ONLINE", at)


async def mark_offline(connection: Connection, device_ids: Collection[str], at: datetime) -> list[str]:
    """Devices went offline, as `mark_online`."""
    return await DeviceRepository(connection).mark_devices(device_ids, "OFFLINE", at)


async def read_secret(connection: Connection, device_id: str) -> str | None:
    """Return a device's secret for whoever checks its credential, None where it has none.

    :raises NotFoundError: no such device
    :raises SecretUnreadableError: it was encrypted with another key
    """
    repository = DeviceRepository(connection)
    if not await repository.find_devices([device_id], None):
        raise NotFoundError(f"there is no device {device_id!r}")
    sealed = await repository.device_secret(device_id)
    return None if sealed is None else decrypt(sealed)
