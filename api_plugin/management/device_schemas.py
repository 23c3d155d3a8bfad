"""Devices on the wire. What is sent is in `include/devices/rows.py`, as files have it, too."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from api_plugin.management.schemas import Answer
from include.devices.model import (
    AuthType,
    CommandStatus,
    Device,
    MessageStatus,
    NodeType,
    SendStrategy,
    ShadowService,
    Status,
)
from include.devices.rows import DeviceId, check_characters
from include.errors import InvalidInputError
from include.metering.model import ROWS_MOST


class DeviceResponse(Answer):
    """A device. Its secret is never shown."""

    device_id: str
    project_id: str
    product_id: str
    product_name: str | None
    app_id: str | None
    app_name: str | None
    node_id: str
    node_type: NodeType
    gateway_id: str | None = Field(description="null: directly connected")
    name: str | None
    description: str | None
    auth_type: AuthType
    fingerprint: str | None
    secure_access: bool
    has_secret: bool
    status: Status
    status_at: AwareDatetime | None = Field(description="of the last word on its connection")
    active_at: AwareDatetime | None = Field(description="when it was online first")
    fw_version: str | None
    sw_version: str | None
    tags: dict[str, str]
    extension_info: dict[str, Any] | None
    timezone: str | None
    created_at: AwareDatetime
    updated_at: AwareDatetime


class NewDeviceResponse(DeviceResponse):
    """A device that was made or replaced."""

    secret: str | None = Field(description="where one was drawn because none was told: it is not shown again")

    @classmethod
    def of(cls, device: Device, secret: str | None) -> NewDeviceResponse:
        """Return what is shown of it."""
        shown = {name: getattr(device, name) for name in DeviceResponse.model_fields}
        return cls(**shown, secret=secret)


class GroupResponse(Answer):
    """Devices of a project under a name."""

    group_id: str
    project_id: str
    name: str
    description: str | None
    created_at: AwareDatetime


def _not_too_many(items: Any) -> Any:
    if isinstance(items, list) and len(items) > ROWS_MOST:
        raise ValueError(f"must have at most {ROWS_MOST:,} items, not {len(items):,}")
    return items


class MembersBody(BaseModel):
    """Devices that come into a group or leave it, all or none."""

    model_config = ConfigDict(extra="forbid")

    device_ids: Annotated[list[DeviceId], BeforeValidator(_not_too_many)] = Field(
        description=f"at most {ROWS_MOST:,}"
    )


class MembersResponse(Answer):
    """How many came or left, and how many were there or away already."""

    changed: int
    unchanged: int


class BindingResponse(Answer):
    """A user who may set timers on a device."""

    user: str
    created_at: AwareDatetime


class DesiredResponse(Answer):
    """What a service should be."""

    properties: dict[str, Any]
    event_time: AwareDatetime | None


class ShadowServiceResponse(Answer):
    """A service of a shadow."""

    service_id: str
    desired: DesiredResponse
    reported: DesiredResponse
    version: int = Field(description="grows with every change of `desired`")


class ShadowResponse(Answer):
    """The shadow of a device."""

    device_id: str
    shadow: list[ShadowServiceResponse]

    @classmethod
    def of(cls, device_id: str, services: list[ShadowService]) -> ShadowResponse:
        """Return what is shown of it."""
        return cls(device_id=device_id, shadow=[_shadow_service(one) for one in services])


def _shadow_service(one: ShadowService) -> ShadowServiceResponse:
    return ShadowServiceResponse(
        service_id=one.service_id,
        desired=DesiredResponse(properties=dict(one.desired), event_time=one.desired_at),
        reported=DesiredResponse(properties=dict(one.reported), event_time=one.reported_at),
        version=one.version,
    )


class CommandResponse(Answer):
    """A command and how far it came."""

    command_id: str
    device_id: str
    service_id: str | None
    command_name: str | None
    paras: dict[str, Any]
    send_strategy: SendStrategy
    status: CommandStatus
    result: Any
    expires_at: AwareDatetime
    created_at: AwareDatetime
    sent_at: AwareDatetime | None
    delivered_at: AwareDatetime | None
    responded_at: AwareDatetime | None


class MessageResponse(Answer):
    """A message and what became of it."""

    message_id: str
    device_id: str
    name: str | None
    message: Any = Field(description="text or JSON")
    encoding: str
    payload_format: str
    topic: str | None
    properties: dict[str, Any] | None
    status: MessageStatus
    error: str | None
    expires_at: AwareDatetime
    created_at: AwareDatetime
    finished_at: AwareDatetime | None


def device_cursor(device: Device) -> str:
    """Return where the page after this device begins, in a list by age or by name."""
    text = json.dumps([device.name or "", device.id], ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode()


def read_device_cursor(cursor: str | None) -> tuple[str, int]:
    """Return the name and id after which a page begins. Raises InvalidInputError naming `cursor`."""
    if cursor is None:
        return "", 0
    try:
        match json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True)):
            case [str(name), int(last)] if 0 <= last < 2**63:
                return check_characters(name), last
    except (binascii.Error, ValueError):
        pass
    raise InvalidInputError("is not the `next` of a page", field="cursor")
