"""Use cases on shadows: what the services of a device should be, and what they said they are.

Rules are those of research `iot.md` A12: a key with null goes, `{}` clears, other keys stay, one level deep;
a version that is told must be the stored one, 0 for a service that has none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from include.devices.model import SERVICES_MOST, ShadowService
from include.devices.rows import ShadowRow
from include.devices.scope import DeviceScope
from include.errors import NotFoundError
from include.metering.problems import Problems, refuse_twice


class ShadowsService(DeviceScope):
    """Shadows by device_id. Errors: NotFoundError, where there is no such device."""

    async def find_shadow(self, device_id: str) -> list[ShadowService]:
        """Return the services of a device's shadow by service_id."""
        device = await self.find(device_id)
        return await self.traffic.find_shadow(device.id)

    async def put_desired(self, device_id: str, rows: Sequence[ShadowRow]) -> list[ShadowService]:
        """Change what services should be, all or none; returns the whole shadow.

        A change that changes nothing keeps the version.

        :raises InvalidRowsError: a service stands twice, or there would be more than `SERVICES_MOST`
        :raises ConflictingRowsError: a version is not the stored one
        """
        device = await self.find(device_id)
        await self.repository.lock_devices([device_id])
        stored = {one.service_id: one.version for one in await self.traffic.find_shadow(device.id)}
        problems = Problems()
        refuse_twice(problems, "service_id", (row.service_id for row in rows))
        for index, row in enumerate(rows):
            version = stored.get(row.service_id, 0)
            if row.version is not None and row.version != version:
                problems.contradict(index, "version", f"is {version} by now")
        new = [index for index, row in enumerate(rows) if row.service_id not in stored]
        for index in new[max(0, SERVICES_MOST - len(stored)) :]:
            problems.refuse(index, "service_id", f"a shadow has at most {SERVICES_MOST} services")
        problems.check()
        now = self.clock()
        for write, of_stored in ((self.traffic.put_desired, False), (self.traffic.change_desired, True)):
            items = [
                row.model_dump(exclude={"version"}) for row in rows if (row.service_id in stored) is of_stored
            ]
            if items:
                await write(device.id, items, now)
        return await self.traffic.find_shadow(device.id)

    async def spread_desired(self, device_ids: Collection[str], rows: Sequence[ShadowRow]) -> set[str]:
        """Change what services of many devices should be, all in the same way; versions are not compared.

        :returns: the devices that are there and have room for these services
        """
        await self.repository.lock_devices(device_ids)
        items = [row.model_dump(exclude={"version"}) for row in rows]
        return await self.traffic.spread_desired(device_ids, items, SERVICES_MOST, self.clock())

    async def put_reported(
        self, device_id: str, service_id: str, reported: Mapping[str, Any], at: datetime
    ) -> bool:
        """Keep what a device said; returns False where something later is known. Raises NotFoundError."""
        locked = await self.repository.lock_devices([device_id])
        if not locked:
            raise NotFoundError(f"there is no device {device_id!r}")
        return await self.traffic.put_reported(device_id, service_id, reported, at)
