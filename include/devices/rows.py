"""What a client says about devices: the rows that REST bodies and import files share.

They check what can be seen in the row itself. `…Fields` is a body whose key is in the path; `…Row` is the
same with its key, one of many. Limits are those of research `iot.md` A12.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from include.cron.zones import check_zone
from include.devices.model import SERVICES_MOST, AuthType, NodeType
from include.errors import InvalidInputError
from include.metering.rows import Row, check_key, check_project

DEPTH_MOST = 16
TAGS_MOST, TAG_KEY_LONGEST, TAG_VALUE_LONGEST = 64, 64, 128
EXTENSION_MOST, DESIRED_MOST = 1024, 65_536
SHADOW_KEY_LONGEST = 128

_DEVICE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_FINGERPRINT = re.compile(r"[0-9a-fA-F]{40}|[0-9a-fA-F]{64}")

#: What a client may say; only freezing makes a device FROZEN.
SettableStatus = Literal["ONLINE", "OFFLINE", "ABNORMAL", "INACTIVE"]


def check_device_id(text: str) -> str:
    """Return a device id. Raises ValueError."""
    if not _DEVICE_ID.fullmatch(text):
        raise ValueError("must have 1 to 128 characters of A-Z a-z 0-9 _ -")
    return text


def check_json(value: Any, *, depth: int = DEPTH_MOST) -> Any:
    """Return a JSON value that the database can hold. Raises ValueError."""
    if depth == 0:
        raise ValueError(f"must not be nested deeper than {DEPTH_MOST}")
    if isinstance(value, str):
        check_characters(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must have finite numbers only")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("must have integers of at most 64 bits")
    elif isinstance(value, list):
        for item in value:
            check_json(item, depth=depth - 1)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            check_characters(key)
            check_json(item, depth=depth - 1)
    return value


def check_characters(text: str) -> str:
    """Return a text without what Postgres cannot store. Raises ValueError."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must contain neither NUL nor half a surrogate pair")
    return text


def weight(value: Any) -> int:
    """Return how many bytes a JSON value takes."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _plain_text(longest: int) -> AfterValidator:
    def check(text: str) -> str:
        text = text.strip()
        if not 1 <= len(text) <= longest:
            raise ValueError(f"must have 1 to {longest} characters")
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
            raise ValueError("must not contain control characters")
        return text

    return AfterValidator(check)


def _description(text: str) -> str:
    if len(text) > 2048:
        raise ValueError("must have at most 2048 characters")
    return check_characters(text)


def _secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not 8 <= len(text) <= 32 or not text.isascii() or not text.isprintable():
        raise ValueError("must have 8 to 32 printable ASCII characters")
    return value


def _fingerprint(text: str) -> str:
    if not _FINGERPRINT.fullmatch(text):
        raise ValueError("must have 40 or 64 hexadecimal digits")
    return text.lower()


def _tags(tags: dict[str, str]) -> dict[str, str]:
    if len(tags) > TAGS_MOST:
        raise ValueError(f"must have at most {TAGS_MOST} tags")
    for key, value in tags.items():
        if not 1 <= len(key) <= TAG_KEY_LONGEST or not key.isprintable():
            raise ValueError(f"a key must have 1 to {TAG_KEY_LONGEST} printable characters")
        if len(value) > TAG_VALUE_LONGEST or not value.isprintable():
            raise ValueError(f"a value must have at most {TAG_VALUE_LONGEST} printable characters")
    return tags


def _extension(value: dict[str, Any]) -> dict[str, Any]:
    check_json(value)
    if weight(value) > EXTENSION_MOST:
        raise ValueError(f"must have at most {EXTENSION_MOST} bytes")
    return value


def _zone(name: str) -> str:
    try:
        check_zone(name, field="timezone")
    except InvalidInputError as error:
        raise ValueError(error.message) from None
    return name


def _desired(value: dict[str, Any]) -> dict[str, Any]:
    check_json(value)
    for key in value:
        if not 1 <= len(key) <= SHADOW_KEY_LONGEST or "." in key or "$" in key:
            raise ValueError(f"a key must have 1 to {SHADOW_KEY_LONGEST} characters, none of them . or $")
    if weight(value) > DESIRED_MOST:
        raise ValueError(f"must have at most {DESIRED_MOST} bytes")
    return value


DeviceId = Annotated[str, AfterValidator(check_device_id)]
GroupId = Annotated[str, AfterValidator(check_device_id)]
ProjectKey = Annotated[str, AfterValidator(check_project)]
UserName = Annotated[str, AfterValidator(check_key)]
ProductId = Annotated[str, _plain_text(36)]
NodeId = Annotated[str, _plain_text(64)]
ServiceId = Annotated[str, _plain_text(64)]
Name = Annotated[str, _plain_text(256)]
Version = Annotated[str, _plain_text(256)]
Description = Annotated[str, AfterValidator(_description)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
Fingerprint = Annotated[str, AfterValidator(_fingerprint)]
Tags = Annotated[dict[str, str], AfterValidator(_tags)]
Extension = Annotated[dict[str, Any], AfterValidator(_extension)]
Zone = Annotated[str, AfterValidator(_zone)]
Desired = Annotated[dict[str, Any], AfterValidator(_desired)]


class DeviceFields(Row):
    """A device. What is left out has its default; a secret and a status that are left out stay."""

    node_id: NodeId = Field(description="what it calls itself: IMEI, MAC, serial number")
    project_id: ProjectKey
    product_id: ProductId
    name: Name
    product_name: Name | None = None
    app_id: ProductId | None = Field(None, description="resource space")
    app_name: Name | None = None
    gateway_id: DeviceId | None = Field(
        None, description="of its gateway; its own or null: directly connected"
    )
    node_type: NodeType | None = Field(
        None, description="by default GATEWAY where directly connected, else ENDPOINT"
    )
    auth_type: AuthType = "SECRET"
    secret: Secret | None = Field(None, description="8 to 32 characters; never answered")
    fingerprint: Fingerprint | None = Field(
        None, description="of its certificate: 40 or 64 hexadecimal digits"
    )
    secure_access: bool = Field(True, description="whether it connects by a protocol that is secured")
    fw_version: Version | None = None
    sw_version: Version | None = None
    tags: Tags = Field({}, description=f"at most {TAGS_MOST}, texts by texts")
    description: Description | None = None
    extension_info: Extension | None = Field(None, description="any JSON object of at most 1 KiB")
    timezone: Zone | None = Field(None, description="of its timers: IANA name; null: the default")
    status: SettableStatus | None = Field(None, description="by default INACTIVE")

    @model_validator(mode="after")
    def _credential(self) -> Self:
        if self.auth_type == "CERTIFICATES" and self.secret is not None:
            raise ValueError("secret is for auth_type SECRET")
        if self.auth_type == "SECRET" and self.fingerprint is not None:
            raise ValueError("fingerprint is for auth_type CERTIFICATES")
        return self


class DeviceRow(DeviceFields):
    """A device with its id."""

    device_id: DeviceId | None = Field(None, description="by default {product_id}_{node_id}")

    @model_validator(mode="after")
    def _default_id(self) -> Self:
        if self.device_id is None and not _DEVICE_ID.fullmatch(self.key):
            raise ValueError(
                "device_id is needed: {product_id}_{node_id} is too long or has more than A-Z a-z 0-9 _ -"
            )
        return self

    @property
    def key(self) -> str:
        """The device id."""
        return self.device_id or f"{self.product_id}_{self.node_id}"

    @property
    def gateway(self) -> str | None:
        """The device id of its gateway, None: directly connected."""
        return None if self.gateway_id == self.key else self.gateway_id


def read_tags(cell: object) -> object:
    """Return the tags of a cell: `city=上海; floor=3`, or a JSON object. Raises ValueError."""
    if not isinstance(cell, str):
        return cell
    if cell.startswith("{"):
        return json.loads(cell)
    tags: dict[str, str] = {}
    for part in filter(None, map(str.strip, re.split("[;；]", cell))):
        key, mark, value = part.partition("=")
        if not mark or key.strip() in tags:
            raise ValueError("must be like city=Berlin; floor=3, each key once")
        tags[key.strip()] = value.strip()
    return tags


class DeviceFileRow(DeviceRow):
    """A device as a file has it; the project is told by the file or beside it."""

    project_id: ProjectKey = "-"
    tags: Annotated[Tags, BeforeValidator(read_tags)] = Field({})


#: What no device is without.
REQUIRED = (
    "node_id", "product_id", "name", "node_type", "auth_type", "secret", "secure_access", "tags", "status",
)  # fmt: skip


class DeviceChanges(Row):
    """What is to change of a device. What is left out stays; null takes away what may be missing."""

    node_id: NodeId | None = None
    product_id: ProductId | None = None
    name: Name | None = None
    product_name: Name | None = None
    app_id: ProductId | None = None
    app_name: Name | None = None
    gateway_id: DeviceId | None = None
    node_type: NodeType | None = None
    auth_type: AuthType | None = None
    secret: Secret | None = None
    fingerprint: Fingerprint | None = None
    secure_access: bool | None = None
    fw_version: Version | None = None
    sw_version: Version | None = None
    tags: Tags | None = Field(None, description="all of them")
    description: Description | None = None
    extension_info: Extension | None = None
    timezone: Zone | None = None
    status: SettableStatus | None = None

    @model_validator(mode="after")
    def _needed(self) -> Self:
        for name in REQUIRED:
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"{name} must not be null")
        return self


class GroupFields(Row):
    """Devices of a project under a name."""

    name: Annotated[str, _plain_text(64)]
    description: Description | None = None


class GroupRow(GroupFields):
    """A group with its id."""

    project_id: ProjectKey
    group_id: GroupId | None = Field(None, description="by default drawn")


class ShadowRow(Row):
    """What a service of a device should be: a key with null goes, `{}` clears, other keys stay."""

    service_id: ServiceId
    desired: Desired
    version: Annotated[int, Field(strict=True, ge=0, le=2**62)] | None = Field(
        None, description="of the shadow that this is a change of; 409 if it is another by now"
    )


class ShadowFields(Row):
    """The services of a device that change, all or none."""

    shadow: list[ShadowRow] = Field(min_length=1, max_length=SERVICES_MOST)
