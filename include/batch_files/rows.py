"""What a row of an uploaded file may say of a device, and what its columns may be called.

A file is read before it is known what it is for, so a row needs no more than what tells the device:
`device_id`, or `product_id` and `node_id`. What a task needs besides is checked when that is performed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, model_validator

from include.devices.model import AuthType
from include.devices.rows import (
    Description,
    DeviceId,
    Extension,
    Fingerprint,
    Name,
    NodeId,
    ProductId,
    Secret,
    Tags,
    check_device_id,
    read_tags,
)
from include.kit.secrets import encrypt
from include.metering.rows import Row

#: What a column may be called besides its name: as the vendor's calls, and as its templates (as far as can be
#: reasoned) and people in general have it.
HEADINGS: Mapping[str, Sequence[str]] = {
    "device_id": ("设备id", "设备编号", "设备号"),
    "node_id": ("设备标识码", "标识码", "imei"),
    "product_id": ("产品id", "所属产品id", "所属产品", "产品"),
    "name": ("device_name", "设备名称", "名称"),
    "description": ("device_description", "描述", "设备描述", "备注"),
    "gateway_id": ("gateway", "网关id", "网关设备id", "父设备id", "网关"),
    "app_id": ("资源空间id", "所属资源空间", "资源空间", "应用id"),
    "auth_type": ("认证方式", "认证类型", "设备认证类型", "鉴权类型"),
    "secret": ("密钥", "设备密钥"),
    "fingerprint": ("指纹", "证书指纹", "设备指纹"),
    "tags": ("标签", "设备标签"),
    "extension_info": ("扩展信息",),
}
_AUTH_TYPES = {"密钥": "SECRET", "证书": "CERTIFICATES"}


def _auth_type(cell: str) -> str:
    return _AUTH_TYPES.get(cell, cell.upper())


def _object(cell: str) -> object:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        raise ValueError("must be a JSON object") from None


class TargetRow(Row):
    """A row of a file. All of its cells are text."""

    device_id: DeviceId | None = None
    node_id: NodeId | None = None
    product_id: ProductId | None = None
    name: Name | None = None
    description: Description | None = None
    gateway_id: DeviceId | None = None
    app_id: ProductId | None = None
    auth_type: Annotated[AuthType, BeforeValidator(_auth_type)] | None = None
    secret: Secret | None = None
    fingerprint: Fingerprint | None = None
    tags: Annotated[Tags, BeforeValidator(read_tags)] | None = None
    extension_info: Annotated[Extension, BeforeValidator(_object)] | None = None

    @model_validator(mode="after")
    def _tells_a_device(self) -> Self:
        if self.device_id is None and (self.node_id is None or self.product_id is None):
            raise ValueError("device_id is needed, or product_id and node_id")
        if self.device_id is None:
            try:
                check_device_id(self.key)
            except ValueError:
                raise ValueError(
                    "device_id is needed: {product_id}_{node_id} is too long or has more than A-Z a-z 0-9 _ -"
                ) from None
        return self

    @property
    def key(self) -> str:
        """The device id."""
        return self.device_id or f"{self.product_id}_{self.node_id}"

    def cells(self) -> dict[str, Any]:
        """Return what is stored: what was told, the device id in any case, the secret encrypted."""
        told = self.model_dump(exclude_none=True, exclude={"secret"}) | {"device_id": self.key}
        if self.secret is not None:
            told["secret"] = encrypt(self.secret.get_secret_value())
        return told
