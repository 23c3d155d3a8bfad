"""Devices that somebody else makes at the same time."""

from __future__ import annotations

import pytest

from include.devices.registry import RegistryService
from include.devices.repository import DeviceRepository
from include.devices.rows import DeviceFields, DeviceRow
from include.errors import ConflictError

FIELDS = {"node_id": "1", "project_id": "42", "product_id": "p", "name": "mine"}


@pytest.fixture
def rival(database, monkeypatch):
    """Somebody who makes the device as soon as it has been looked for."""
    look, waiting = DeviceRepository.lock_devices, [DeviceRow(**{**FIELDS, "name": "theirs"}, device_id="d")]

    async def lock_devices(self, device_ids):
        found = await look(self, device_ids)
        if waiting:
            row = waiting.pop()
            async with database.transaction() as connection:
                await RegistryService(connection).put([row])
        return found

    monkeypatch.setattr(DeviceRepository, "lock_devices", lock_devices)


@pytest.mark.usefixtures("rival")
async def test_a_device_that_came_meanwhile_is_not_made_again(database, connection):
    with pytest.raises(ConflictError, match="device_id: is taken"):
        async with database.transaction() as own:
            await RegistryService(own).create(DeviceRow(**FIELDS, device_id="d"))
    assert connection.execute("SELECT name, secret FROM device").fetchall() == [
        {"name": "theirs", "secret": None}
    ]


@pytest.mark.usefixtures("rival")
async def test_a_put_that_would_draw_a_secret_leaves_a_device_that_came_meanwhile(database, connection):
    with pytest.raises(ConflictError):
        async with database.transaction() as own:
            await RegistryService(own).put_one("d", DeviceFields(**FIELDS))
    assert connection.execute("SELECT name, secret FROM device").fetchall() == [
        {"name": "theirs", "secret": None}
    ]
