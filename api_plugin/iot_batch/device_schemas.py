"""Devices and device groups on the wire (research `iot.md` A12), texts in the forms of the vendor's SDK."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from api_plugin.iot_batch.paging import PageInfo, iot_time
from include.devices.model import SERVICES_MOST, Device, DeviceGroup
from include.devices.rows import (
    Description,
    Desired,
    Extension,
    Fingerprint,
    Name,
    Secret,
    check_characters,
)

TAGS_MOST = 10

#: The vendor's forms are narrower than those of our own API.
DeviceKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
NodeKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
ProductKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,36}$")]
AppKey = ProductKey
GroupName = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(check_characters)]
GroupText = Annotated[str, Field(max_length=64), AfterValidator(check_characters)]


class AuthInfo(BaseModel):
    """How a device shows who it is."""

    model_config = ConfigDict(extra="forbid")

    auth_type: Literal["SECRET", "CERTIFICATES"] = "SECRET"
    secret: Secret | None = Field(None, description="drawn where it is needed and not told")
    fingerprint: Fingerprint | None = None
    secure_access: bool = True
    timeout: Literal[0] = Field(0, description="a registration that nobody uses stays")


class AuthChanges(BaseModel):
    """What may change of it."""

    model_config = ConfigDict(extra="forbid")

    auth_type: Literal["SECRET", "CERTIFICATES"] | None = None
    secret: Secret | None = None
    fingerprint: Fingerprint | None = None
    secure_access: bool | None = None
    timeout: Literal[0] | None = None


class InitialDesired(BaseModel):
    """What a service of a new device should be."""

    model_config = ConfigDict(extra="forbid")

    service_id: Annotated[str, Field(min_length=1, max_length=32), AfterValidator(check_characters)]
    desired: Desired


class DeviceBody(BaseModel):
    """A device to be created."""

    model_config = ConfigDict(extra="forbid")

    device_id: DeviceKey | None = Field(None, description="by default {product_id}_{node_id}")
    node_id: NodeKey
    device_name: Name | None = Field(None, description="by default the node_id")
    product_id: ProductKey
    auth_info: AuthInfo = AuthInfo()
    description: Description | None = None
    gateway_id: DeviceKey | None = None
    app_id: AppKey | None = None
    extension_info: Extension | None = None
    shadow: list[InitialDesired] = Field([], max_length=SERVICES_MOST)

    def values(self, project_id: str) -> dict[str, Any]:
        """Return the values of a `DeviceRow`."""
        told = self.model_dump(exclude={"auth_info", "shadow", "device_name"})
        credential = self.auth_info.model_dump(exclude={"timeout"})
        name = self.device_name or self.node_id
        return {**told, **credential, "name": name, "project_id": project_id}


class DeviceChangesBody(BaseModel):
    """What is to change of a device; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    device_name: Name | None = None
    description: Description | None = None
    extension_info: Extension | None = None
    auth_info: AuthChanges | None = None

    def changes(self) -> dict[str, Any]:
        """Return the values of `DeviceChanges`."""
        told = self.model_dump(exclude_none=True, exclude={"auth_info", "device_name"})
        if self.device_name is not None:
            told["name"] = self.device_name
        credential = (self.auth_info or AuthChanges()).model_dump(exclude_none=True, exclude={"timeout"})
        return {**told, **credential}


class Tag(BaseModel):
    """One tag of a device."""

    model_config = ConfigDict(extra="forbid")

    tag_key: str
    tag_value: str


class TagBody(BaseModel):
    """Tags that a device gets."""

    model_config = ConfigDict(extra="forbid")

    resource_type: Literal["device"]
    resource_id: DeviceKey
    tags: list[Tag] = Field(min_length=1, max_length=TAGS_MOST)


class UntagBody(BaseModel):
    """Tags that a device loses."""

    model_config = ConfigDict(extra="forbid")

    resource_type: Literal["device"]
    resource_id: DeviceKey
    tag_keys: list[str] = Field(min_length=1, max_length=TAGS_MOST)


class AuthResponse(BaseModel):
    """How a device shows who it is; the secret only as it was created."""

    auth_type: str
    secret: str | None = None
    fingerprint: str | None
    secure_access: bool
    timeout: int


class SimpleDevice(BaseModel):
    """A device in the list of a group."""

    device_id: str
    node_id: str
    device_name: str | None
    product_id: str


class DeviceItem(SimpleDevice):
    """A device in a list."""

    app_id: str | None
    app_name: str | None
    gateway_id: str = Field(description="its own id: directly connected")
    node_type: str
    description: str | None
    fw_version: str | None
    sw_version: str | None
    product_name: str | None
    status: str
    tags: list[Tag]


class DeviceResponse(DeviceItem):
    """A device."""

    auth_info: AuthResponse
    create_time: str
    connection_status_update_time: str | None
    active_time: str | None
    extension_info: dict[str, Any] | None


class DeviceList(BaseModel):
    """A page of devices, the newest first."""

    devices: list[DeviceItem]
    page: PageInfo


class GroupBody(BaseModel):
    """A device group to be created."""

    model_config = ConfigDict(extra="forbid")

    name: GroupName
    description: GroupText | None = None
    app_id: AppKey | None = Field(None, description="accepted, and without a meaning here")
    group_type: Literal["STATIC"] = "STATIC"


class GroupChangesBody(BaseModel):
    """What is to change of a group; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    name: GroupName | None = None
    description: GroupText | None = None


class GroupResponse(BaseModel):
    """A device group."""

    group_id: str
    name: str
    description: str | None
    super_group_id: None = Field(description="there are no groups in groups")
    group_type: Literal["STATIC"] = "STATIC"


class GroupList(BaseModel):
    """A page of groups, the newest first."""

    device_groups: list[GroupResponse]
    page: PageInfo


class MemberList(BaseModel):
    """A page of a group's devices, the newest first."""

    devices: list[SimpleDevice]
    page: PageInfo


def simple_device(device: Device) -> SimpleDevice:
    """Return a device as lists of groups show it."""
    return SimpleDevice.model_validate(_simple(device))


def device_item(device: Device) -> DeviceItem:
    """Return a device as lists show it."""
    return DeviceItem.model_validate(_item(device))


def device_response(device: Device, secret: SecretStr | str | None = None) -> DeviceResponse:
    """Return a device as it is shown alone.

    :param secret: of one that was just created
    """
    told = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
    auth = AuthResponse(
        auth_type=device.auth_type,
        secret=told,
        fingerprint=device.fingerprint,
        secure_access=device.secure_access,
        timeout=0,
    )
    return DeviceResponse.model_validate(
        {
            **_item(device),
            "auth_info": auth,
            "create_time": iot_time(device.created_at),
            "connection_status_update_time": _milliseconds(device.status_at),
            "active_time": _milliseconds(device.active_at),
            "extension_info": device.extension_info,
        }
    )


def group_response(group: DeviceGroup) -> GroupResponse:
    """Return a group as clients see it."""
    return GroupResponse(
        group_id=group.group_id, name=group.name, description=group.description, super_group_id=None
    )


def _simple(device: Device) -> dict[str, Any]:
    return {
        "device_id": device.device_id,
        "node_id": device.node_id,
        "device_name": device.name,
        "product_id": device.product_id,
    }


def _item(device: Device) -> dict[str, Any]:
    return {
        **_simple(device),
        "app_id": device.app_id,
        "app_name": device.app_name,
        "gateway_id": device.gateway_id or device.device_id,
        "node_type": device.node_type,
        "description": device.description,
        "fw_version": device.fw_version,
        "sw_version": device.sw_version,
        "product_name": device.product_name,
        "status": device.status,
        "tags": [{"tag_key": key, "tag_value": value} for key, value in device.tags.items()],
    }


def _milliseconds(moment: datetime | None) -> str | None:
    """Return a moment as `2015-12-12T12:12:12.122Z`."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z" if moment else None
