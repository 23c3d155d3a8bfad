"""The device gateway of an app: opened by the first request that needs it, closed with the app."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from include.errors import InvalidInputError, OutboundError
from include.gateway.model import DeviceGateway
from include.gateway.shared import SharedGateway


async def get_gateway(connection: HTTPConnection) -> DeviceGateway:
    """Return the gateway. Raises OutboundError where none is set, or none that can be used."""
    shared: SharedGateway = connection.app.state.gateway
    try:
        return await shared.get()
    except InvalidInputError as error:
        raise OutboundError(f"there is no device gateway: {error}") from error


GatewayDep = Annotated[DeviceGateway, Depends(get_gateway)]
