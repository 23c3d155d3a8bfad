"""The device gateway that the parts of a process share: opened by the first that needs it."""

from __future__ import annotations

import asyncio

from include.errors import InvalidInputError
from include.gateway.model import DeviceGateway, EventListener


class SharedGateway:
    """The gateway that the settings name, of one event loop.

    :param listener: who is told what devices say, if anybody
    """

    def __init__(self, listener: EventListener | None = None) -> None:
        self.listener = listener
        self.lock = asyncio.Lock()
        self.opened: DeviceGateway | None = None

    async def get(self) -> DeviceGateway:
        """Return the gateway, open.

        :raises InvalidInputError: none is set, or what is set cannot be used
        """
        from include.gateway.connect import create_gateway, read_gateway_settings

        async with self.lock:
            if self.opened is None:
                settings = read_gateway_settings()
                if settings is None:
                    raise InvalidInputError("there is no such connection", field="device_gateway")
                gateway = create_gateway(settings)
                if self.listener:
                    gateway.listen(self.listener)
                await gateway.open()
                self.opened = gateway
        return self.opened

    async def close(self) -> None:
        """Close it if it was opened; the next one that asks opens it anew."""
        async with self.lock:
            if self.opened is not None:
                await self.opened.close()
                self.opened = None
