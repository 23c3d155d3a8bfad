"""What the calls on devices share: the parameters of paths and lists, and services of the project."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, TypeVar

from fastapi import Depends, Path, Query
from pydantic import AfterValidator

from api_plugin.common.gateway import GatewayDep
from api_plugin.iot_batch.device_errors import TimeOrderError
from api_plugin.iot_batch.paging import FIRST, Limit, Marker, Offset
from api_plugin.iot_batch.scope import Scope, ScopeDep
from include.batch.requests import read_moment
from include.devices.calling import DeviceCalls
from include.devices.pages import Span
from include.devices.rows import check_characters, check_device_id
from include.devices.scope import DeviceScope
from include.kit.db import Connection
from include.settings import get_settings

S = TypeVar("S", bound=DeviceScope)
T = TypeVar("T")

DevicePath = Annotated[str, Path(), AfterValidator(check_device_id)]
Words = Annotated[
    str | None,
    Query(min_length=1, max_length=256),
    AfterValidator(lambda text: text if text is None else check_characters(text)),
]


@dataclass(frozen=True)
class Devices:
    """The devices of the project that a request is about."""

    scope: Scope

    @property
    def project_id(self) -> str:
        return self.scope.project_id

    async def run(self, service: type[S], work: Callable[[S], Awaitable[T]]) -> T:
        """Do work with a service in one transaction."""

        async def in_transaction(connection: Connection) -> T:
            return await work(service(connection, projects=[self.scope.project_id]))

        return await self.scope.run(in_transaction)


def get_devices(scope: ScopeDep) -> Devices:
    """Return the devices of this request."""
    return Devices(scope)


def get_calls(scope: ScopeDep, gateway: GatewayDep) -> DeviceCalls:
    """Return the calls of this request."""
    timeout = get_settings().batch_command_timeout_seconds
    return DeviceCalls(scope.database, gateway, scope.project_id, timeout)


def get_span(limit: Limit = 10, marker: Marker = FIRST, offset: Offset = 0) -> Span:
    """Return which part of a list is asked for."""
    return Span(marker, offset, limit)


@dataclass(frozen=True)
class Times:
    """Of when a list is."""

    since: datetime | None
    until: datetime | None


def get_times(
    start_time: Annotated[str | None, Query(examples=["20151212T121212Z"])] = None,
    end_time: str | None = None,
) -> Times:
    """Return of when a list is. Raises TimeFormatError, TimeOrderError."""
    since = read_moment(start_time, "start_time") if start_time is not None else None
    until = read_moment(end_time, "end_time") if end_time is not None else None
    if since and until and since >= until:
        raise TimeOrderError("must lie before end_time", field="start_time")
    return Times(since, until)


DevicesDep = Annotated[Devices, Depends(get_devices)]
CallsDep = Annotated[DeviceCalls, Depends(get_calls)]
SpanDep = Annotated[Span, Depends(get_span)]
TimesDep = Annotated[Times, Depends(get_times)]
