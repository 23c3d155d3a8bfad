"""What all use cases on devices share: a connection, what the caller may see, the clock."""

from __future__ import annotations

from collections.abc import Sequence

from include.devices.errors import DeviceMissingError
from include.devices.model import Device
from include.devices.repository import DeviceRepository
from include.devices.traffic_repository import TrafficRepository
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection


class DeviceScope:
    """Use cases inside the caller's transaction.

    :param projects: the project ids that the caller's token may see, None for all; what is of another one is
        not found
    """

    def __init__(
        self,
        connection: Connection,
        *,
        projects: Sequence[str] | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self.connection = connection
        self.projects = projects
        self.clock = clock
        self.repository = DeviceRepository(connection)
        self.traffic = TrafficRepository(connection)

    def sees(self, project_id: str) -> bool:
        """Return whether the caller may see a project."""
        return self.projects is None or project_id in self.projects

    async def find(self, device_id: str) -> Device:
        """Return a device. Raises DeviceMissingError."""
        found = await self.repository.find_devices([device_id], self.projects)
        if not found:
            raise DeviceMissingError(f"there is no device {device_id!r}")
        return found[device_id]
