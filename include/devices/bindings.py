"""Use cases on bindings: which users may set timers on which devices (document 001, code 10350)."""

from __future__ import annotations

from include.devices.model import Binding
from include.devices.scope import DeviceScope


class BindingService(DeviceScope):
    """Users of devices. Errors: NotFoundError, where there is no such device."""

    async def bind(self, user: str, device_id: str) -> bool:
        """Bind a user to a device; returns whether that is new."""
        device = await self.find(device_id)
        return await self.repository.bind_user(user, device.id, self.clock())

    async def unbind(self, user: str, device_id: str) -> bool:
        """Take a binding away; returns whether there was one."""
        device = await self.find(device_id)
        return await self.repository.unbind_user(user, device.id)

    async def is_bound(self, user: str, device_id: str) -> bool:
        """Return whether a user is bound to a device; to one that is not there nobody is."""
        return await self.repository.is_bound(user, device_id)

    async def list_bindings(self, device_id: str, *, after: str, limit: int) -> list[Binding]:
        """Return the users of a device by name."""
        device = await self.find(device_id)
        return await self.repository.list_bindings(device.id, after, limit)
