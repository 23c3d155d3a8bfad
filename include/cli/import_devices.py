"""How devices are imported: columns in English and Chinese, and what their rows become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from include.cli.import_rows import ImportKind
from include.devices.registry import RegistryService
from include.devices.rows import DeviceFileRow, DeviceRow
from include.kit.db import Connection
from include.metering.model import Tally

HEADINGS: Mapping[str, Sequence[str]] = {
    "device_id": ("设备id", "设备号", "设备编号"),
    "node_id": ("设备标识码", "标识码", "imei"),
    "product_id": ("产品id", "产品"),
    "product_name": ("产品名称",),
    "name": ("设备名称", "device_name", "名称"),
    "gateway_id": ("gateway", "网关id", "网关设备id", "网关"),
    "node_type": ("节点类型",),
    "auth_type": ("认证方式", "认证类型"),
    "secret": ("密钥", "设备密钥"),
    "fingerprint": ("指纹", "证书指纹"),
    "fw_version": ("固件版本",),
    "sw_version": ("软件版本",),
    "tags": ("标签",),
    "description": ("描述", "设备描述"),
    "timezone": ("时区",),
    "status": ("状态", "设备状态"),
}

WORDS: Mapping[str, Mapping[str, str]] = {
    "node_type": {"网关": "GATEWAY", "直连设备": "GATEWAY", "子设备": "ENDPOINT"},
    "auth_type": {"密钥": "SECRET", "证书": "CERTIFICATES"},
    "status": {"在线": "ONLINE", "离线": "OFFLINE", "异常": "ABNORMAL", "未激活": "INACTIVE"},
}


def _build(rows: Sequence[Mapping[str, Any]]) -> DeviceRow:
    [cells] = rows
    row = DeviceFileRow.model_validate(cells)
    return row.model_copy(update={"device_id": row.key})


async def _store(connection: Connection, project: str, rows: Sequence[DeviceRow]) -> Tally:
    told = [row.model_copy(update={"project_id": project}) for row in rows]
    return await RegistryService(connection).put(told)


KINDS: Mapping[str, ImportKind] = {
    "devices": ImportKind(
        columns=(
            "device_id", "node_id", "product_id", "name", "product_name", "gateway_id", "node_type",
            "auth_type", "secret", "fingerprint", "fw_version", "sw_version", "tags",
            "description", "timezone", "status",
        ),
        required=("node_id", "product_id", "name"),
        build=_build,
        store=_store,
        headings=HEADINGS,
        words=WORDS,
        key=("device_id",),
    ),
}  # fmt: skip
