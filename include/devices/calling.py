"""Calls of one device over the gateway, as an application makes them (research `iot.md` A12).

What is stored is committed before it is sent, and no transaction is open while a device is waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import orjson

from include.devices.errors import (
    DeviceFrozenError,
    DeviceMissingError,
    DeviceOfflineError,
    GatewayOfflineError,
    GatewayRefusedError,
    MessageIdTakenError,
    PlatformDeviceMissingError,
    TooManyWaitingError,
)
from include.devices.model import (
    COMMAND_LIFE,
    FROZEN_DEVICE,
    MESSAGE_TWICE,
    TOO_MANY_WAIT,
    UNKNOWN_DEVICE,
    CommandRecord,
    MessageRecord,
    NewCommand,
    NewMessage,
    Refusal,
    SendStrategy,
    ShadowService,
)
from include.devices.pages import PageService
from include.devices.rows import ShadowRow
from include.devices.scope import DeviceScope
from include.devices.shadows import ShadowsService
from include.devices.traffic import TrafficService
from include.errors import CarillonError, OutboundError
from include.gateway.model import Command, DeviceGateway, Message, Reply
from include.kit.clock import system_clock
from include.kit.db import Connection, Database

T = TypeVar("T")

#: What it means to a caller that something was not stored.
REFUSALS: Mapping[Refusal, type[CarillonError]] = {
    UNKNOWN_DEVICE: DeviceMissingError,
    FROZEN_DEVICE: DeviceFrozenError,
    TOO_MANY_WAIT: TooManyWaitingError,
    MESSAGE_TWICE: MessageIdTakenError,
}

#: What the platform says where it is not a plain refusal (A8).
_REFUSALS: Mapping[str, type[CarillonError]] = {
    "IOTDA.014000": PlatformDeviceMissingError,
    "IOTDA.014016": DeviceOfflineError,
    "IOTDA.014028": GatewayOfflineError,
}


class DeviceCalls:
    """Calls of the devices of one project.

    Errors of all of them: DeviceMissingError; DeviceFrozenError; what `check_reply` raises.
    """

    def __init__(self, database: Database, gateway: DeviceGateway, project_id: str, timeout: float) -> None:
        self.database = database
        self.gateway = gateway
        self.projects = [project_id]
        self.timeout = timeout

    async def command(self, device_id: str, document: Mapping[str, Any]) -> tuple[str, Reply]:
        """Send a command and wait for the device; returns the command's id and what came of it."""
        await self._require(device_id)
        command = self._command(device_id, document)
        return command.request_id, await self.gateway.prepare(command).send()

    async def async_command(self, device_id: str, document: Mapping[str, Any]) -> CommandRecord:
        """Store a command and leave it with the gateway. Raises TooManyWaitingError."""
        await self._require(device_id)
        command = self._command(device_id, document)
        strategy: SendStrategy = document["send_strategy"]
        seconds = document.get("expire_time") or 0 if strategy == "delay" else 0
        new = NewCommand(
            device_id,
            command.paras,
            command.service_id,
            command.command_name,
            strategy,
            system_clock() + (timedelta(seconds=seconds) or COMMAND_LIFE),
            command.request_id,
        )

        async def store(connection: Connection) -> None:
            _check_stored(await TrafficService(connection).add_commands([new]))

        await self._transact(store)
        reply = await self.gateway.send_async_command(command, strategy=strategy, expire_time=seconds)

        async def move(connection: Connection) -> CommandRecord:
            traffic = TrafficService(connection)
            if not reply.ok:
                await traffic.move_commands([command.request_id], "FAILED", system_clock())
            elif answer_of(reply).get("status") != "PENDING":
                await traffic.move_commands([command.request_id], "SENT", system_clock())
            return (await traffic.find_commands([command.request_id]))[command.request_id]

        stored = await self._transact(move)
        check_reply(reply)
        return stored

    async def message(self, device_id: str, document: Mapping[str, Any]) -> MessageRecord:
        """Store a message and leave it with the gateway.

        :raises MessageIdTakenError: the device ever had a message of this id
        :raises TooManyWaitingError: too many wait for the device
        """
        await self._require(device_id)
        message = Message(
            device_id,
            document.get("message_id") or uuid4().hex,
            **{name: value for name, value in document.items() if name != "message_id"},
            timeout=self.timeout,
        )
        await self._transact(lambda connection: _store_message(connection, message))
        reply = await self.gateway.send_message(message)
        key = (device_id, message.message_id)

        async def move(connection: Connection) -> MessageRecord:
            traffic, pages = TrafficService(connection), PageService(connection, projects=self.projects)
            if not reply.ok:
                await traffic.move_messages([key], "FAILED", system_clock(), error=reply.error)
            elif (answer_of(reply).get("result") or {}).get("status") == "DELIVERED":
                await traffic.move_messages([key], "DELIVERED", system_clock())
            return await pages.find_message(await pages.find(device_id), message.message_id)

        stored = await self._transact(move)
        check_reply(reply)
        return stored

    async def query_properties(self, device_id: str, service_id: str | None) -> Reply:
        """Ask a device what its properties are."""
        await self._require(device_id)
        return await self.gateway.query_properties(device_id, service_id)

    async def set_properties(self, device_id: str, services: Sequence[Mapping[str, Any]]) -> Reply:
        """Have a device set properties at once."""
        await self._require(device_id)
        return await self.gateway.set_properties(device_id, services)

    async def put_desired(self, device_id: str, rows: Sequence[ShadowRow]) -> list[ShadowService]:
        """Change what services should be, here and at the gateway; a device that is away gets it later.

        :raises InvalidRowsError, ConflictingRowsError: as `ShadowsService.put_desired`
        """

        async def put(connection: Connection) -> list[ShadowService]:
            return await ShadowsService(connection, projects=self.projects).put_desired(device_id, rows)

        services = await self._transact(put)
        replies = await asyncio.gather(
            *(self.gateway.set_desired(device_id, row.service_id, row.desired) for row in rows)
        )
        for reply in replies:
            if reply.outcome not in ("offline", "timeout"):
                check_reply(reply)
        return services

    def _command(self, device_id: str, document: Mapping[str, Any]) -> Command:
        return Command(
            device_id,
            uuid4().hex,
            document.get("service_id") or "",
            document.get("command_name") or "",
            document["paras"],
            self.timeout,
        )

    async def _require(self, device_id: str) -> None:
        async def look(connection: Connection) -> None:
            device = await DeviceScope(connection, projects=self.projects).find(device_id)
            if device.status == "FROZEN":
                raise DeviceFrozenError

        await self._transact(look)

    async def _transact(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async with self.database.transaction() as connection:
            return await work(connection)


def check_reply(reply: Reply) -> None:
    """Raise what a reply says went wrong; the device's own refusal is an answer.

    :raises DeviceOfflineError, GatewayOfflineError: the device, or the gateway that it hangs on, is away
    :raises GatewayRefusedError: the platform refused it
    :raises OutboundError: the platform cannot be reached, or not be understood
    """
    if reply.ok or reply.outcome == "timeout" or (reply.outcome == "refused" and reply.response is not None):
        return
    if reply.outcome == "offline":
        raise _REFUSALS.get(reply.error_code or "", DeviceOfflineError)
    if reply.outcome == "refused":
        raise _REFUSALS.get(reply.error_code or "", GatewayRefusedError)(reply.error)
    raise OutboundError(reply.error)


def answer_of(reply: Reply) -> Mapping[str, Any]:
    """Return the JSON object that a reply holds; an empty one if it holds none."""
    document = orjson.loads(reply.response or "{}")
    return document if isinstance(document, dict) else {}


async def _store_message(connection: Connection, message: Message) -> None:
    traffic = TrafficService(connection)
    minutes = timedelta(minutes=message.ttl) if message.ttl is not None else COMMAND_LIFE
    new = NewMessage(
        message.device_id,
        message.message,
        message.message_id,
        message.name,
        message.encoding or "none",
        message.payload_format or "standard",
        message.topic_full_name or message.topic,
        message.properties,
        system_clock() + minutes,
    )
    _check_stored(await traffic.add_messages([new]))


def _check_stored(outcomes: Sequence[str | Refusal]) -> None:
    """Raise why something was not stored: an error of `REFUSALS`."""
    for outcome in outcomes:
        if isinstance(outcome, Refusal):
            raise REFUSALS[outcome](outcome.message)
