"""A gateway that speaks IoTDA's calls over HTTP: a platform, or the local simulator.

    POST {url}/v5/iot/{project_id}/devices/{device_id}/commands

Every byte of a command is made ahead; at most `CARILLON_PER_HOST_LIMIT` are under way at a time.
A fault of the gateway is an outcome, never an exception.
"""

from __future__ import annotations

import asyncio
import uuid
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Any
from urllib.parse import quote

from include.errors import (
    CarillonError,
    EgressDeniedError,
    InvalidInputError,
    OutboundProtocolError,
    OutboundTimeoutError,
)
from include.gateway.model import (
    Command,
    DeviceEvent,
    EventListener,
    GatewaySettings,
    Message,
    Outcome,
    PreparedCommand,
    Reply,
    SendStrategy,
)
from include.gateway.topics import events_topic
from include.gateway.unusable import UnusableCommand
from include.gateway.wire import (
    Judge,
    Verdict,
    check_ids,
    command_body,
    encode,
    event_body,
    judge_accepted,
    judge_answer,
    judge_command,
    judge_event,
    message_body,
)
from include.kit.calls import CallPlan, OutboundResponse, PreparedCall
from include.kit.clock import system_clock
from include.kit.egress import EgressGuard, Resolver, system_resolver
from include.kit.http import OutboundClient
from include.kit.http_wire import HttpConnection, encode_request
from include.kit.pools import ConnectTimeoutError
from include.kit.targets import HttpTarget, parse_url

#: Longest wait for a turn at the gateway, on top of the command's own timeout once more.
TURN_SECONDS = 30.0
#: Commands made ready before others get the event loop.
SLICE = 100
#: How long a device has to answer; the properties of a shadow are the platform's.
PROPERTY_SECONDS = 20.0
SHADOW_SECONDS = 20.0
JSON = "application/json"


class GatewayGuard(EgressGuard):
    """Lets one host through, wherever it is, and no other.

    The operator names the gateway, so it may stand in a network that the callbacks of clients never reach.
    """

    def __init__(self, host: str, resolver: Resolver = system_resolver) -> None:
        super().__init__((ip_network("0.0.0.0/0"), ip_network("::/0")), resolver=resolver)
        self.host = host

    async def resolve(self, host: str, port: int) -> tuple[str, ...]:
        if host != self.host:
            raise EgressDeniedError(f"{host!r} is not the device gateway")
        return await super().resolve(host, port)


def gateway_client(url: str, *, per_host_limit: int, response_limit_bytes: int) -> OutboundClient:
    """Return a client that can call this gateway and nothing else."""
    guard = GatewayGuard(parse_url(url).endpoint.host)
    return OutboundClient(guard, per_host_limit=per_host_limit, response_limit_bytes=response_limit_bytes)


@dataclass(frozen=True, slots=True)
class GatewayRequest:
    """One call of the gateway, of whose URL all but the device is known to be good."""

    method: str
    target: HttpTarget
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    timeout: float

    def plan(self) -> CallPlan:
        """Encode the request. Raises InvalidInputError naming `headers`."""
        payload = encode_request(self.method, self.target, self.headers, self.body)
        return CallPlan(self.target.endpoint, payload, HttpConnection)


class HttpGateway:
    """Reaches devices through IoTDA's HTTP calls.

    :param client: is closed with the gateway
    """

    def __init__(self, settings: GatewaySettings, client: OutboundClient) -> None:
        self.client = client
        url = f"{settings.url.rstrip('/')}/v5/iot/{quote(settings.project_id, safe='')}/devices"
        self.base = parse_url(url)
        self.headers = dict(_headers(settings))

    async def open(self) -> None:
        """Nothing to do: connections are opened by `warm`, or by the first commands."""

    async def close(self) -> None:
        await self.client.aclose()

    def prepare(self, command: Command) -> PreparedCommand:
        return self._prepare(
            ("POST", command.device_id, "commands"),
            command.request_id,
            command_body(command),
            command.timeout,
            judge_command,
        )

    async def resolve(self, commands: Sequence[PreparedCommand]) -> None:
        """Look the gateway up, and encode what goes to it."""
        for number, call in enumerate(_calls(commands), start=1):
            try:
                await call.prepare()
            except (
                CarillonError
            ):  # no name server, or a bad header: each tries again and tells at its instant
                return
            if number % SLICE == 0:
                await asyncio.sleep(0)

    async def warm(self, commands: Sequence[PreparedCommand]) -> None:
        await self.client.warm([call.prepared for call in _calls(commands) if call.prepared is not None])

    async def set_desired(self, device_id: str, service_id: str, desired: Mapping[str, Any]) -> Reply:
        body = {"shadow": [{"service_id": service_id, "desired": desired}]}
        what = ("PUT", device_id, "shadow")
        return await self._prepare(
            what, uuid.uuid4().hex, body, SHADOW_SECONDS, judge_accepted("shadow")
        ).send()

    async def query_properties(self, device_id: str, service_id: str | None) -> Reply:
        call = "properties" if service_id is None else f"properties?service_id={quote(service_id, safe='')}"
        what = ("GET", device_id, call)
        return await self._prepare(what, uuid.uuid4().hex, None, PROPERTY_SECONDS, judge_command).send()

    async def set_properties(self, device_id: str, services: Sequence[Mapping[str, Any]]) -> Reply:
        what = ("PUT", device_id, "properties")
        body = {"services": services}
        return await self._prepare(what, uuid.uuid4().hex, body, PROPERTY_SECONDS, judge_command).send()

    async def send_async_command(
        self, command: Command, *, strategy: SendStrategy = "immediately", expire_time: int = 0
    ) -> Reply:
        body = {**command_body(command), "send_strategy": strategy}
        if strategy == "delay":
            body["expire_time"] = expire_time
        what = ("POST", command.device_id, "async-commands")
        judge = judge_accepted("command_id")
        return await self._prepare(what, command.request_id, body, command.timeout, judge).send()

    async def send_message(self, message: Message) -> Reply:
        what = ("POST", message.device_id, "messages")
        judge = judge_accepted("message_id")
        return await self._prepare(
            what, message.message_id, message_body(message), message.timeout, judge
        ).send()

    async def send_event(self, event: DeviceEvent) -> Reply:
        """Send it as a message to the topic of events, the only call that reaches any topic."""
        try:
            text = encode(event_body(event)).decode()
        except InvalidInputError as error:
            return await UnusableCommand(error).send()
        message = Message(
            event.device_id,
            event.message_id,
            text,
            payload_format="raw",
            topic_full_name=events_topic(event.device_id),
            ttl=0,
        )
        what = ("POST", event.device_id, "messages")
        return await self._prepare(
            what, event.message_id, message_body(message), event.timeout, judge_event
        ).send()

    def listen(self, listener: EventListener) -> None:
        """Nothing to do: a platform pushes what devices say to `POST /carillon/v1/device-events`."""

    def _prepare(
        self,
        what: tuple[str, str, str],
        request_id: str,
        body: Mapping[str, Any] | None,
        timeout: float,
        judge: Judge,
    ) -> PreparedCommand:
        method, device_id, call = what
        try:
            check_ids(device_id, request_id)
            payload = None if body is None else encode(body)
        except InvalidInputError as error:
            return UnusableCommand(error)
        headers = {**self.headers, "X-Request-Id": request_id}
        # Ids are checked above: nothing in them could change where this goes.
        target = self.base._replace(request_target=f"{self.base.request_target}/{device_id}/{call}")
        request = GatewayRequest(method, target, tuple(headers.items()), payload, timeout)
        return HttpCommand(self.client, request, judge)


class HttpCommand:
    """One call of the gateway; `send` may be called again for a retry."""

    def __init__(self, client: OutboundClient, request: GatewayRequest, judge: Judge) -> None:
        self.client = client
        self.request = request
        self.judge = judge
        self.prepared: PreparedCall | None = None

    async def prepare(self) -> None:
        """Raises what OutboundClient.prepare raises."""
        self.prepared = await self.client.prepare(self.request)

    async def send(self) -> Reply:
        begin_at = system_clock()
        sending = False
        try:
            # As with callbacks: the client's timeout does not count the wait for a turn, so that has a bound.
            async with asyncio.timeout(2 * self.request.timeout + TURN_SECONDS):
                prepared = self.prepared or await self.client.prepare(self.request)
                sending = True
                response = await self.client.send(prepared)
        except TimeoutError:
            return Verdict("unreachable", error="no turn at the gateway in time").reply(begin_at)
        except CarillonError as error:
            outcome = _fault(error) if sending else "unreachable"
            return Verdict(outcome, error=error.message).reply(begin_at)
        return self._read(response, begin_at)

    def _read(self, response: OutboundResponse, begin_at: datetime) -> Reply:
        status = response.status or 0
        content_type = next((value for name, value in response.headers if name == "content-type"), None)
        verdict = judge_answer(status, content_type, response.body, self.judge)
        # Without the wait for a turn: it begins when its bytes begin to leave.
        sent_at = max(begin_at, system_clock() - timedelta(seconds=response.elapsed))
        return verdict.reply(sent_at, status)


def _fault(error: CarillonError) -> Outcome:
    if isinstance(error, OutboundTimeoutError) and not isinstance(error, ConnectTimeoutError):
        return "timeout"
    return "garbage" if isinstance(error, OutboundProtocolError) else "unreachable"


def _headers(settings: GatewaySettings) -> Iterator[tuple[str, str]]:
    yield "Content-Type", JSON
    yield "Accept", JSON
    if settings.username:
        pair = f"{settings.username}:{settings.password or ''}"
        yield "Authorization", f"Basic {b64encode(pair.encode()).decode()}"
    elif settings.password:
        yield "X-Auth-Token", settings.password
    yield from settings.headers.items()


def _calls(commands: Sequence[PreparedCommand]) -> list[HttpCommand]:
    return [command for command in commands if isinstance(command, HttpCommand)]
