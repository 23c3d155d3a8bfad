"""Devices as they are stored and shown. Moments are aware and in UTC.

The words are those of the device platform that Carillon stands beside: research `iot.md` A12.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

NodeType = Literal["ENDPOINT", "GATEWAY", "UNKNOWN"]
AuthType = Literal["SECRET", "CERTIFICATES"]
Status = Literal["ONLINE", "OFFLINE", "ABNORMAL", "INACTIVE", "FROZEN"]
CommandStatus = Literal["PENDING", "EXPIRED", "SENT", "DELIVERED", "SUCCESSFUL", "FAILED", "TIMEOUT"]
MessageStatus = Literal["PENDING", "DELIVERED", "FAILED", "TIMEOUT"]
SendStrategy = Literal["immediately", "delay"]

#: How many commands, and how many messages, may wait for one device (A9).
PENDING_MOST = 20
#: Services in the shadow of one device.
SERVICES_MOST = 64

COMMAND_LIFE, COMMAND_LIFE_MOST = timedelta(hours=24), timedelta(days=2)

#: What a command may come from to get a status. An answer may overtake the word that the command arrived.
COMMAND_SOURCES: Mapping[CommandStatus, tuple[CommandStatus, ...]] = {
    "SENT": ("PENDING",),
    "DELIVERED": ("PENDING", "SENT"),
    "SUCCESSFUL": ("SENT", "DELIVERED"),
    "FAILED": ("PENDING", "SENT", "DELIVERED"),
    "TIMEOUT": ("SENT", "DELIVERED"),
    "EXPIRED": ("PENDING",),
}
MESSAGE_SOURCES: Mapping[MessageStatus, tuple[MessageStatus, ...]] = {
    "DELIVERED": ("PENDING",),
    "FAILED": ("PENDING",),
    "TIMEOUT": ("PENDING",),
}


@dataclass(frozen=True, slots=True)
class Device:
    """A device as everybody may see it; its secret is not among it.

    :ivar id: ours, for lists and references; clients know `device_id`
    :ivar gateway_id: device_id of its gateway, None: directly connected
    :ivar status_before_freeze: what it is again once it is unfrozen; None unless frozen
    :ivar status_at: of the last word on its connection
    :ivar has_secret: whether one is stored
    :ivar timezone: of its timers, None for the default
    """

    id: int
    device_id: str
    project_id: str
    product_id: str
    product_name: str | None
    app_id: str | None
    app_name: str | None
    node_id: str
    node_type: NodeType
    gateway_id: str | None
    name: str | None
    description: str | None
    auth_type: AuthType
    fingerprint: str | None
    has_secret: bool
    status: Status
    status_before_freeze: Status | None
    status_at: datetime | None
    active_at: datetime | None
    fw_version: str | None
    sw_version: str | None
    tags: Mapping[str, str]
    extension_info: Mapping[str, Any] | None
    timezone: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class LockedDevice:
    """What must be known of a device to change it.

    :ivar secret: encrypted
    :ivar parent: whether it is the gateway of others
    """

    id: int
    device_id: str
    project_id: str
    product_id: str
    node_id: str
    gateway_id: str | None
    auth_type: AuthType
    secret: str | None
    status: Status
    parent: bool


@dataclass(frozen=True, slots=True)
class DeviceFilter:
    """What a list of devices is about; None does not limit it.

    :ivar tag: key and value
    :ivar name_prefix: such a list is ordered by name, every other one by age
    """

    project: str | None = None
    product: str | None = None
    status: Status | None = None
    gateway: str | None = None
    group: str | None = None
    tag: tuple[str, str] | None = None
    name_prefix: str | None = None
    node_id: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceGroup:
    """Devices of a project under a name."""

    id: int
    group_id: str
    project_id: str
    name: str
    description: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Binding:
    """A user who may set timers on a device."""

    user: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ShadowService:
    """What a service of a device should be and what it said it is.

    :ivar version: grows with every change of `desired`; 0 before the first
    """

    service_id: str
    desired: Mapping[str, Any]
    desired_at: datetime | None
    reported: Mapping[str, Any]
    reported_at: datetime | None
    version: int


@dataclass(frozen=True, slots=True)
class NewCommand:
    """A command to be stored as PENDING.

    :ivar expires_at: until when it may wait for the device
    :ivar command_id: None: drawn
    """

    device_id: str
    paras: Mapping[str, Any]
    service_id: str | None = None
    command_name: str | None = None
    send_strategy: SendStrategy = "immediately"
    expires_at: datetime | None = None
    command_id: str | None = None


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """A stored command and how far it came."""

    id: int
    command_id: str
    device_id: str
    service_id: str | None
    command_name: str | None
    paras: Mapping[str, Any]
    send_strategy: SendStrategy
    status: CommandStatus
    result: Any
    expires_at: datetime
    created_at: datetime
    sent_at: datetime | None
    delivered_at: datetime | None
    responded_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be stored as PENDING.

    :ivar message_id: unique for the device; None: drawn
    :ivar message: text or JSON
    """

    device_id: str
    message: Any
    message_id: str | None = None
    name: str | None = None
    encoding: Literal["none", "base64"] = "none"
    payload_format: Literal["standard", "raw"] = "standard"
    topic: str | None = None
    properties: Mapping[str, Any] | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """A stored message and what became of it."""

    id: int
    message_id: str
    device_id: str
    name: str | None
    message: Any
    encoding: str
    payload_format: str
    topic: str | None
    properties: Mapping[str, Any] | None
    status: MessageStatus
    error: str | None
    expires_at: datetime
    created_at: datetime
    finished_at: datetime | None
