"""A gateway that is a plain MQTT broker: topics of `$oc/devices/{id}/`, answers found by their request id.

A broker does not say who is online: a device that does not answer is a `timeout`, unless a presence topic
is set.
Commands under way when the broker is lost end as `unreachable`; the same request id may be sent again.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from include.errors import InvalidInputError, OutboundError
from include.gateway.broker import CONNECT_SECONDS, BrokerLink
from include.gateway.model import (
    Command,
    DeviceEvent,
    EventListener,
    GatewaySettings,
    Message,
    PreparedCommand,
    Reply,
    SendStrategy,
)
from include.gateway.topics import (
    COMMAND_REPLIES,
    EVENTS,
    PROPERTY_REPLIES,
    SHARED_EVENTS,
    Presence,
    Question,
    answered,
    command_topic,
    events_topic,
    message_topic,
    properties_topic,
    said_by,
)
from include.gateway.unusable import UnusableCommand
from include.gateway.wire import Verdict, check_ids, command_body, encode, event_body, judge_payload
from include.kit.clock import system_clock

SHADOW_SECONDS = 20.0
CONFIRM_SECONDS = 10.0
DAY_SECONDS = 86_400


class MqttGateway:
    """Reaches devices through a broker.

    :param turns: publications at a time that the broker has not confirmed
    """

    def __init__(self, settings: GatewaySettings, *, turns: int = 128) -> None:
        self.presence = Presence(settings.presence_topic) if settings.presence_topic else None
        topics = [COMMAND_REPLIES, PROPERTY_REPLIES, *([self.presence.filter] if self.presence else [])]
        self.events = SHARED_EVENTS if settings.mqtt_version == "5" else EVENTS
        self.link = BrokerLink(settings, topics, heard=self._heard, lost=self._lost, turns=turns)
        self.waiting: dict[Question, list[asyncio.Future[Verdict]]] = {}
        self.listener: EventListener | None = None
        #: Answers that nobody waits for: late, repeated, or for another process.
        self.ignored = 0

    def listen(self, listener: EventListener) -> None:
        self.listener = listener
        self.link.subscriptions = [*self.link.subscriptions, self.events]

    async def open(self) -> None:
        self.link.open()

    async def close(self) -> None:
        await self.link.close()
        self._settle_all(Verdict("unreachable", error="the gateway is closed"))

    def prepare(self, command: Command) -> PreparedCommand:
        try:
            check_ids(command.device_id, command.request_id)
            payload = encode({"object_device_id": command.device_id, **command_body(command)})
        except InvalidInputError as error:
            return UnusableCommand(error)
        question = Question("commands", command.device_id, command.request_id)
        topic = command_topic(command.device_id, command.request_id)
        return MqttCommand(self, question, topic, payload, command.timeout)

    async def resolve(self, commands: Sequence[PreparedCommand]) -> None:
        """Nothing to do: all of them go to the broker."""

    async def warm(self, commands: Sequence[PreparedCommand]) -> None:
        try:
            await self.link.ready(CONNECT_SECONDS)
        except OutboundError:
            return  # each command tries again, and tells

    async def set_desired(self, device_id: str, service_id: str, desired: Mapping[str, Any]) -> Reply:
        """Set properties and wait for the device's answer: a broker has no shadow that would keep them."""
        request_id = uuid.uuid4().hex
        body = {
            "object_device_id": device_id,
            "services": [{"service_id": service_id, "properties": desired}],
        }
        try:
            check_ids(device_id, request_id)
            payload = encode(body)
        except InvalidInputError as error:
            return await UnusableCommand(error).send()
        question = Question("properties/set", device_id, request_id)
        topic = properties_topic(device_id, request_id)
        return await MqttCommand(self, question, topic, payload, SHADOW_SECONDS).send()

    async def send_async_command(
        self, command: Command, *, strategy: SendStrategy = "immediately", expire_time: int = 0
    ) -> Reply:
        """Publish a command; `acknowledged` is the broker's word, the device's answer is not waited for.

        Under `delay` the broker keeps it for a device with a persistent session, else it is lost.
        """
        body = {"object_device_id": command.device_id, **command_body(command)}
        keep = math.ceil(command.timeout) if strategy == "immediately" else expire_time or DAY_SECONDS
        answer = {"command_id": command.request_id, "status": "SENT"}
        topic = command_topic(command.device_id, command.request_id)
        return await self._leave(command.device_id, command.request_id, topic, body, answer, keep)

    async def send_message(self, message: Message) -> Reply:
        """Publish a message; `acknowledged` is the broker's word."""
        body: Mapping[str, Any] | bytes = {
            "object_device_id": message.device_id,
            "name": message.name,
            "id": message.message_id,
            "content": message.message,
        }
        if message.payload_format == "raw":
            body = _raw(message.message)
        answer = {"message_id": message.message_id, "result": {"status": "DELIVERED"}}
        topic = message.topic_full_name or message_topic(message.device_id, message.topic)
        keep = 60 * (1440 if message.ttl is None else message.ttl) or math.ceil(message.timeout)
        return await self._leave(message.device_id, message.message_id, topic, body, answer, keep)

    async def send_event(self, event: DeviceEvent) -> Reply:
        """Publish an event; `acknowledged` is the broker's word, so a device that is away counts as reached.

        Where a presence topic says that it is away, it is `offline`.
        """
        if self.presence is not None and event.device_id in self.presence.away:
            return Verdict("offline", error="the presence topic says offline").reply(system_clock())
        answer = {"message_id": event.message_id}
        keep = math.ceil(event.timeout)
        topic = events_topic(event.device_id)
        return await self._leave(event.device_id, event.message_id, topic, event_body(event), answer, keep)

    async def _leave(
        self,
        device_id: str,
        request_id: str,
        topic: str,
        body: Mapping[str, Any] | bytes,
        answer: Mapping[str, Any],
        keep: int,
    ) -> Reply:
        """Publish without waiting for the device: what the broker confirms counts."""
        try:
            check_ids(device_id, request_id)
            check_topic(topic)
            payload = body if isinstance(body, bytes) else encode(body)
        except InvalidInputError as error:
            return await UnusableCommand(error).send()
        verdict = Verdict("acknowledged", orjson.dumps(answer).decode())
        question = Question("left", device_id, uuid.uuid4().hex)
        call = MqttCommand(self, question, topic, payload, CONFIRM_SECONDS, keep=keep, published=verdict)
        return await call.send()

    # --- for the calls

    def ask(self, question: Question) -> asyncio.Future[Verdict]:
        """Return a future that gets the answer, or the loss of the broker."""
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self.waiting.setdefault(question, []).append(future)
        return future

    def forget(self, question: Question, future: asyncio.Future[Verdict]) -> None:
        others = self.waiting.get(question, [])
        if future in others:
            others.remove(future)
            if not others:
                del self.waiting[question]

    # --- called by the link

    def _heard(self, topic: str, payload: bytes) -> None:
        question = answered(topic)
        if question is None:
            self._heard_by_itself(topic, payload)
            return
        futures = self.waiting.pop(question, None)
        if futures is None:
            self.ignored += 1
            return
        _settle(futures, judge_payload(payload))

    def _heard_by_itself(self, topic: str, payload: bytes) -> None:
        """Hand on what a device said unasked."""
        device_id = said_by(topic)
        said = self.presence.heard(topic, payload) if self.presence is not None else None
        if self.listener is not None and device_id is not None:
            self.listener.heard_event(device_id, payload)
        elif self.listener is not None and said is not None:
            self.listener.heard_status(*said)

    def _lost(self) -> None:
        if self.presence is not None:
            self.presence.forget()
        error = f"the connection to the broker was lost: {self.link.problem}"
        self._settle_all(Verdict("unreachable", error=error))

    def _settle_all(self, verdict: Verdict) -> None:
        waiting, self.waiting = self.waiting, {}
        for futures in waiting.values():
            _settle(futures, verdict)


class MqttCommand:
    """One publication and the answer to it.

    :param keep: seconds that the broker may keep it for the device; by default those of the timeout
    :param published: what the broker's confirmation means; None: the device's answer is waited for
    """

    def __init__(
        self,
        gateway: MqttGateway,
        question: Question,
        topic: str,
        payload: bytes,
        timeout: float,
        *,
        keep: int | None = None,
        published: Verdict | None = None,
    ) -> None:
        self.gateway = gateway
        self.question = question
        self.topic = topic
        self.payload = payload
        self.timeout = timeout
        self.keep = math.ceil(timeout) if keep is None else keep
        self.published = published
        self.confirmed = False

    async def send(self) -> Reply:
        begin_at = system_clock()
        presence = self.gateway.presence
        if presence is not None and self.published is None and self.question.device_id in presence.away:
            return Verdict("offline", error="the presence topic says offline").reply(begin_at)
        self.confirmed = False
        future = self.gateway.ask(self.question)
        publication: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(self.timeout):
                await self.gateway.link.ready(self.timeout)
                begin_at = system_clock()
                # Beside the wait for the answer: the confirmation may come after it, or never.
                publication = asyncio.create_task(self._publish(future))
                verdict = await future
        except TimeoutError:
            verdict = self._overdue()
        except OutboundError as error:
            verdict = Verdict("unreachable", error=error.message)
        finally:
            self.gateway.forget(self.question, future)
            if publication is not None:
                publication.cancel()
        return verdict.reply(begin_at)

    async def _publish(self, future: asyncio.Future[Verdict]) -> None:
        try:
            await self.gateway.link.publish(self.topic, self.payload, self.keep)
        except OutboundError as error:
            _settle([future], Verdict("unreachable", error=error.message))
            return
        self.confirmed = True
        if self.published is not None:
            _settle([future], self.published)

    def _overdue(self) -> Verdict:
        if self.confirmed:
            return Verdict("timeout", error=f"no answer of the device within {self.timeout:g} s")
        return Verdict("unreachable", error=f"no confirmation of the broker within {self.timeout:g} s")


def check_topic(topic: str) -> None:
    """Raises InvalidInputError for what no message can be published to."""
    if not topic or len(topic.encode()) > 65_535 or set("+#\x00") & set(topic):
        raise InvalidInputError(f"{topic!r:.200} is not a topic", field="topic")


def _settle(futures: list[asyncio.Future[Verdict]], verdict: Verdict) -> None:
    for future in futures:
        if not future.done():
            future.set_result(verdict)


def _raw(message: str | Mapping[str, Any]) -> bytes:
    return message.encode() if isinstance(message, str) else encode(message)
