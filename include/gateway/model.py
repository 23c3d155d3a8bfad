"""What is asked of a device gateway, and what came of it. No I/O.

A device gateway is whatever speaks with devices: an IoTDA platform over HTTP, an MQTT broker, or the local
simulator. Source of the protocol: research `iot.md` A12.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

Outcome = Literal["acknowledged", "refused", "offline", "timeout", "unreachable", "garbage"]
SendStrategy = Literal["immediately", "delay"]


@dataclass(frozen=True, slots=True)
class Command:
    """A command for one device.

    :ivar request_id: the same on every try, so that a device can tell a repeat; at most 64 characters
    :ivar paras: a JSON object
    :ivar timeout: seconds to wait for the device's own answer
    """

    device_id: str
    request_id: str
    service_id: str
    command_name: str
    paras: Mapping[str, Any]
    timeout: float = 20.0


@dataclass(frozen=True, slots=True)
class Message:
    """A message for one device; the fields are those of IoTDA's call, and what is None is not sent.

    :ivar message_id: unique for the device, the same on every try; at most 64 characters
    :ivar message: a text or a JSON object
    :ivar topic: a suffix under `$oc/devices/{id}/user/`; `topic_full_name` is the other way to name a topic
    :ivar ttl: minutes that the gateway keeps it for a device that is away
    """

    device_id: str
    message_id: str
    message: str | Mapping[str, Any]
    name: str | None = None
    properties: Mapping[str, Any] | None = None
    encoding: Literal["none", "base64"] | None = None
    payload_format: Literal["standard", "raw"] | None = None
    topic: str | None = None
    topic_full_name: str | None = None
    ttl: int | None = None
    timeout: float = 20.0


@dataclass(frozen=True, slots=True)
class DeviceEvent:
    """An event for one device, on `$oc/devices/{device_id}/sys/events/down` (research `iot.md` A10).

    :ivar device_id: who is connected: the device itself, or the gateway that it hangs on
    :ivar message_id: unique for the device, the same on every try; at most 64 characters
    :ivar event_time: aware
    :ivar object_device_id: whom it is about; None: `device_id`
    """

    device_id: str
    message_id: str
    event_type: str
    paras: Mapping[str, Any]
    event_time: datetime
    object_device_id: str | None = None
    service_id: str = "$ota"
    timeout: float = 20.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a command.

    :ivar outcome: `acknowledged` only on the device's own answer with result code 0 (of a desired property, a
        message, an event and an asynchronous command: the gateway's, that it has it); `refused` is the
        device's answer with another code, or the gateway's that this cannot be done (no such device);
        `offline` that the gateway knows it to be away; `timeout` that it did not answer; `unreachable` and
        `garbage` are faults of the gateway
    :ivar response: what the device answered, as text
    :ivar error_code: the platform's, such as `IOTDA.014000`; None where it gave none
    """

    outcome: Outcome
    begin_at: datetime
    end_at: datetime
    status: int | None = None
    response: str | None = None
    error: str | None = None
    error_code: str | None = None

    @property
    def ok(self) -> bool:
        return self.outcome == "acknowledged"

    @property
    def retryable(self) -> bool:
        """Whether the same may succeed when it is sent again under the same request id."""
        return self.outcome not in ("acknowledged", "refused")


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Where the gateway is: the Airflow connection `device_gateway`.

    :ivar kind: `http` for the IoTDA calls (the simulator speaks them, too), `mqtt` for a broker
    :ivar url: `http(s)://host:port` or `mqtt(s)://host:port`
    :ivar headers: of each HTTP call, such as `X-Auth-Token`
    :ivar presence_topic: where an MQTT broker has `online` or `offline` of each device, such as
        `presence/{device_id}`; None: nothing says so
    :ivar mqtt_version: 5 lets the broker drop a command that a device would get too late
    """

    kind: Literal["http", "mqtt"]
    url: str
    project_id: str = "default"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    presence_topic: str | None = None
    mqtt_version: Literal["5", "3.1.1"] = "5"


class PreparedCommand(Protocol):
    """A command with everything in memory; at the instant only bytes are left to send."""

    async def send(self) -> Reply:
        """Send it and wait for the device's answer. Never raises but for cancellation."""


class EventListener(Protocol):
    """Who wants to hear what devices say by themselves. Called from the event loop; must not wait."""

    def heard_event(self, device_id: str, payload: bytes) -> None:
        """A device published on `$oc/devices/{device_id}/sys/events/up`."""

    def heard_status(self, device_id: str, online: bool) -> None:
        """A device came online or went away."""


class DeviceGateway(Protocol):
    """How devices are reached."""

    async def open(self) -> None:
        """Get ready; a gateway that is away now is tried again with each command."""

    async def close(self) -> None:
        """Let go of everything."""

    def prepare(self, command: Command) -> PreparedCommand:
        """Build a command ahead of its instant."""

    async def resolve(self, commands: list[PreparedCommand]) -> None:
        """Look up and vet what the commands go to."""

    async def warm(self, commands: list[PreparedCommand]) -> None:
        """Open connections ahead of an instant."""

    async def set_desired(self, device_id: str, service_id: str, desired: Mapping[str, Any]) -> Reply:
        """Write desired properties into the device's shadow; it gets them when it comes online."""

    async def send_async_command(
        self, command: Command, *, strategy: SendStrategy = "immediately", expire_time: int = 0
    ) -> Reply:
        """Leave a command with the gateway, which does not wait for the device.

        :param expire_time: seconds that it may wait for the device under `delay`; 0 is the gateway's default
        """

    async def send_message(self, message: Message) -> Reply:
        """Leave a message for the device with the gateway."""

    async def send_event(self, event: DeviceEvent) -> Reply:
        """Hand an event to a device that is there; nobody keeps it for one that is not."""

    def listen(self, listener: EventListener) -> None:
        """Have what devices say by themselves handed on, where the gateway hears it (MQTT). Before `open`."""
