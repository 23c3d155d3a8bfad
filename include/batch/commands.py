"""Performers of what is sent to a device and answered once: commands, messages, desired properties.

Documents and outcomes are those of research `iot.md` A4 and A12. A command waits for the device; whatever
else succeeds when the gateway has it, and what becomes of it then stands with the device's commands, messages
and shadow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import orjson

from include.batch import codes
from include.batch.model import Step, Subtask, Task
from include.batch.outcomes import failed, step_of
from include.batch.performing import Performer
from include.devices.model import (
    COMMAND_LIFE,
    COMMAND_LIFE_MOST,
    FROZEN_DEVICE,
    MESSAGE_TWICE,
    UNKNOWN_DEVICE,
    NewCommand,
    NewMessage,
    Refusal,
)
from include.devices.rows import ShadowRow
from include.devices.shadows import ShadowsService
from include.devices.traffic import TrafficService
from include.gateway.model import Command, DeviceGateway, Message, Reply, SendStrategy
from include.kit.clock import system_clock
from include.kit.db import Database
from include.ledger.batches import Batches
from include.settings import get_settings

#: How long what is stored waits for others, and how many go together.
DELAY_SECONDS, MOST = 0.02, 500

Document = Mapping[str, Any]

#: Of what is not stored for a device; of the rest too many wait.
REFUSAL_CODES: Mapping[Refusal, str] = {
    UNKNOWN_DEVICE: codes.DEVICE_MISSING,
    FROZEN_DEVICE: codes.DEVICE_FROZEN,
}


class CommandPerformer(Performer):
    """createCommands: the device's own answer decides (A12, 20 s)."""

    def __init__(self, gateway: DeviceGateway) -> None:
        self.gateway = gateway
        self.timeout = get_settings().batch_command_timeout_seconds

    async def perform(self, task: Task, subtask: Subtask) -> Step:
        command = _command(task, subtask, self.timeout)
        return step_of(subtask.id, await self.gateway.prepare(command).send())


class AsyncCommandPerformer(Performer):
    """createAsyncCommands: stored with the device's commands, then left with the gateway."""

    def __init__(self, database: Database, gateway: DeviceGateway) -> None:
        self.database = database
        self.gateway = gateway
        self.timeout = get_settings().batch_command_timeout_seconds
        self.entries: Batches[NewCommand, Refusal | None] = Batches(
            self._store, delay=DELAY_SECONDS, limit=MOST
        )
        self.ends: Batches[tuple[str, Reply], None] = Batches(self._move, delay=DELAY_SECONDS, limit=MOST)

    async def perform(self, task: Task, subtask: Subtask) -> Step:
        document = _document(task)
        command = _command(task, subtask, self.timeout)
        strategy: SendStrategy = document.get("send_strategy") or "immediately"
        seconds = int(document.get("expire_time") or 0)
        entry = NewCommand(
            command.device_id,
            command.paras,
            command.service_id,
            command.command_name,
            strategy,
            system_clock() + min(timedelta(seconds=seconds) or COMMAND_LIFE, COMMAND_LIFE_MOST),
            command.request_id,
        )
        if refusal := await self.entries.add(entry):
            return _refused(subtask, refusal)
        reply = await self.gateway.send_async_command(command, strategy=strategy, expire_time=seconds)
        await self.ends.add((command.request_id, reply))
        return step_of(subtask.id, reply)

    async def close(self) -> None:
        await self.entries.close()
        await self.ends.close()

    async def _store(self, entries: Sequence[NewCommand]) -> list[Refusal | None]:
        async with self.database.transaction() as connection:
            traffic = TrafficService(connection)
            outcomes = await traffic.add_commands(entries)
            pairs = [(entry.command_id, _refusal(one)) for entry, one in zip(entries, outcomes, strict=True)]
            # What is there already is from before a process was killed.
            lacking = [str(id) for id, refusal in pairs if refusal]
            known = (await traffic.find_commands(lacking)).keys() if lacking else ()
        return [None if id in known else refusal for id, refusal in pairs]

    async def _move(self, ends: Sequence[tuple[str, Reply]]) -> list[None]:
        sent = [id for id, reply in ends if reply.ok and _answer(reply).get("status") != "PENDING"]
        refused = [id for id, reply in ends if not reply.ok]
        async with self.database.transaction() as connection:
            traffic = TrafficService(connection)
            await traffic.move_commands(sent, "SENT", system_clock())
            await traffic.move_commands(refused, "FAILED", system_clock())
        return [None] * len(ends)


class MessagePerformer(Performer):
    """createMessages: stored with the device's messages, then left with the gateway."""

    def __init__(self, database: Database, gateway: DeviceGateway) -> None:
        self.database = database
        self.gateway = gateway
        self.entries: Batches[NewMessage, Refusal | None] = Batches(
            self._store, delay=DELAY_SECONDS, limit=MOST
        )
        self.ends: Batches[tuple[Message, Reply], None] = Batches(self._move, delay=DELAY_SECONDS, limit=MOST)

    async def perform(self, task: Task, subtask: Subtask) -> Step:
        message = _message(task, subtask)
        ttl = message.ttl
        entry = NewMessage(
            message.device_id,
            message.message,
            message.message_id,
            message.name,
            message.encoding or "none",
            message.payload_format or "standard",
            message.topic_full_name or message.topic,
            message.properties,
            system_clock() + (COMMAND_LIFE if ttl is None else timedelta(minutes=ttl)),
        )
        if refusal := await self.entries.add(entry):
            return _refused(subtask, refusal)
        reply = await self.gateway.send_message(message)
        await self.ends.add((message, reply))
        return step_of(subtask.id, reply)

    async def close(self) -> None:
        await self.entries.close()
        await self.ends.close()

    async def _store(self, entries: Sequence[NewMessage]) -> list[Refusal | None]:
        async with self.database.transaction() as connection:
            traffic = TrafficService(connection)
            outcomes = await traffic.add_messages(entries)
        # A message that is there already is from before a process was killed.
        return [None if one is MESSAGE_TWICE else _refusal(one) for one in outcomes]

    async def _move(self, ends: Sequence[tuple[Message, Reply]]) -> list[None]:
        keys = [((one.device_id, one.message_id), reply) for one, reply in ends]
        delivered = [key for key, reply in keys if reply.ok and _delivered(reply)]
        refused = [key for key, reply in keys if not reply.ok]
        async with self.database.transaction() as connection:
            traffic = TrafficService(connection)
            await traffic.move_messages(delivered, "DELIVERED", system_clock())
            await traffic.move_messages(refused, "FAILED", system_clock())
        return [None] * len(ends)


class ShadowPerformer(Performer):
    """updateDeviceShadows: desired properties into our shadow of the device and into the gateway's."""

    def __init__(self, database: Database, gateway: DeviceGateway) -> None:
        self.database = database
        self.gateway = gateway
        self.entries: Batches[tuple[Task, str], bool] = Batches(self._store, delay=DELAY_SECONDS, limit=MOST)

    async def perform(self, task: Task, subtask: Subtask) -> Step:
        if not await self.entries.add((task, subtask.target)):
            return failed(subtask.id, codes.INVALID, "the shadow of the device has too many services")
        for item in _document(task)["shadow"]:
            reply = await self.gateway.set_desired(subtask.target, item["service_id"], item["desired"])
            if not reply.ok:
                break
        return step_of(subtask.id, reply)

    async def close(self) -> None:
        await self.entries.close()

    async def _store(self, entries: Sequence[tuple[Task, str]]) -> list[bool]:
        by_task: dict[int, tuple[Task, list[str]]] = {}
        for task, device_id in entries:
            by_task.setdefault(task.id, (task, []))[1].append(device_id)
        stored: set[tuple[int, str]] = set()
        async with self.database.transaction() as connection:
            shadows = ShadowsService(connection)
            for task, device_ids in by_task.values():
                rows = [ShadowRow(**item) for item in _document(task)["shadow"]]
                stored |= {(task.id, one) for one in await shadows.spread_desired(device_ids, rows)}
        return [(task.id, device_id) in stored for task, device_id in entries]


class NoGateway(Performer):
    """Where no gateway can be used: everything fails and says why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    async def perform(self, task: Task, subtask: Subtask) -> Step:
        return failed(subtask.id, codes.GATEWAY_UNREACHABLE, f"not sent: {self.reason}", retryable=True)


def _refusal(outcome: str | Refusal) -> Refusal | None:
    return outcome if isinstance(outcome, Refusal) else None


def _refused(subtask: Subtask, refusal: Refusal) -> Step:
    return failed(subtask.id, REFUSAL_CODES.get(refusal, codes.TOO_MANY_WAITING), refusal.message)


def _document(task: Task) -> Document:
    return task.asked.document or {}


def _command(task: Task, subtask: Subtask, timeout: float) -> Command:
    document = _document(task)
    return Command(
        subtask.target,
        subtask.request_id(task.task_id),
        document.get("service_id") or "",
        document.get("command_name") or "",
        document.get("paras") or {},
        timeout,
    )


def _message(task: Task, subtask: Subtask) -> Message:
    document = _document(task)
    id = document.get("message_id")
    if id is None:
        id = subtask.request_id(task.task_id)
    elif subtask.attempt > 1:
        # Ids are unique for a device (A12): a message that failed keeps its own.
        id = f"{id}-{subtask.attempt}"
    return Message(
        subtask.target,
        id,
        document.get("message") or "",
        document.get("name"),
        document.get("properties"),
        document.get("encoding"),
        document.get("payload_format"),
        document.get("topic"),
        document.get("topic_full_name"),
        document.get("ttl"),
    )


def _answer(reply: Reply) -> Document:
    document = orjson.loads(reply.response or "{}")
    return document if isinstance(document, dict) else {}


def _delivered(reply: Reply) -> bool:
    result = _answer(reply).get("result")
    return isinstance(result, dict) and result.get("status") == "DELIVERED"
