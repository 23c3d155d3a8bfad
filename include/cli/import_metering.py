"""What can be imported about meters, in English and Chinese, and what its rows become."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from include.cli.import_rows import ADDRESSES, ImportKind
from include.kit.db import Connection
from include.metering.flat import FlatRowService
from include.metering.installations import InstallationService
from include.metering.meters import MeterService
from include.metering.model import Tally
from include.metering.people import PeopleService
from include.metering.places import PlaceService
from include.metering.rows import (
    InstallRow,
    MeterRow,
    OccupancyRow,
    PartyRow,
    PremiseRow,
    Row,
    ServicePointRow,
    UsageClassRow,
)

HEADINGS: Mapping[str, Sequence[str]] = {
    "key": ("编号", "编码", "用户号", "户号"),
    "premise": ("房屋", "房屋编号", "房产编号"),
    **{name: (f"address_{part}", f"地址{part}") for part, name in enumerate(ADDRESSES, 1)},
    "area": ("面积", "建筑面积"),
    "commodity": ("device_type", "类型", "表类型", "设备类型"),
    "subtype": ("wm_type", "水表类型", "子类型"),
    "usage_class": ("用水性质", "用电性质", "用量类别"),
    "device_id": ("meter", "meter_id", "表号", "设备号", "设备id"),
    "register": ("kind", "计数器", "费率", "时段"),
    "unit": ("单位",),
    "multiplier": ("倍率", "变比"),
    "modulus": ("量程",),
    "digits": ("位数", "表位数"),
    "installed_at": ("装表时间", "安装时间", "安装日期"),
    "initial_reading": ("起码", "表底", "初始读数", "起始读数"),
    "service_point": ("用户编号", "计量点", "用水点", "用电点"),
    "party": ("住户", "住户编号", "客户编号"),
    "name": ("姓名", "户名", "户主"),
    "cellphone": ("phone", "mobile", "手机号", "手机", "电话"),
    "moved_in_at": ("入住时间", "入住日期"),
    "moved_out_at": ("搬出时间", "迁出时间", "退房日期"),
    "persons": ("人数", "人口", "人口数"),
    "weight": ("权重", "分摊比例"),
    "daily_quantity": ("日用量", "日均用量"),
    "value": ("reading", "读数", "示数"),
    "read_at": ("time", "抄表时间", "抄表日期", "读数时间"),
    "quality": ("质量", "读数状态"),
    "source": ("来源",),
    "top_up": ("充值", "充值量", "购量"),
    "note": ("备注",),
}

WORDS: Mapping[str, Mapping[str, str]] = {
    "commodity": {"水": "water", "水表": "water", "电": "electricity", "电表": "electricity"},
    "register": {"总": "TOTAL", "尖": "TIP", "峰": "PEAK", "平": "FLAT", "谷": "VALLEY", "深谷": "DEEP"},
}


def _single(model: type[Row]) -> Callable[[Sequence[Mapping[str, Any]]], Row]:
    def build(rows: Sequence[Mapping[str, Any]]) -> Row:
        [cells] = rows
        return model.model_validate(_with_address(cells))

    return build


def _with_address(cells: Mapping[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in cells.items() if name not in ADDRESSES and value is not None}
    parts = [cells.get(name, "") for name in ADDRESSES]
    return {**rest, "address": parts} if any(parts) else rest


def _build_meter(rows: Sequence[Mapping[str, Any]]) -> MeterRow:
    meter = {name: rows[0][name] for name in ("device_id", "commodity") if name in rows[0]}
    registers = [
        {"kind" if name == "register" else name: value for name, value in row.items() if name not in meter}
        for row in rows
    ]
    return MeterRow.model_validate({**meter, "registers": registers})


def _build_installation(rows: Sequence[Mapping[str, Any]]) -> InstallRow:
    names = ("service_point", "device_id", "installed_at")
    stay = {name: rows[0][name] for name in names if rows[0].get(name) is not None}
    readings = {row.get("register", "TOTAL"): row.get("initial_reading") for row in rows}
    return InstallRow.model_validate({**stay, "readings": readings})


def _build_reading(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return dict(rows[0])


async def _store_flat(connection: Connection, project: str, rows: Sequence[ServicePointRow]) -> Tally:
    return await FlatRowService(connection, project).put(rows)


async def _store_premises(connection: Connection, project: str, rows: Sequence[PremiseRow]) -> Tally:
    return await PlaceService(connection, project).put_premises(rows)


async def _store_classes(connection: Connection, project: str, rows: Sequence[UsageClassRow]) -> Tally:
    return await PlaceService(connection, project).put_usage_classes(rows)


async def _store_meters(connection: Connection, project: str, rows: Sequence[MeterRow]) -> Tally:
    return await MeterService(connection, project).put_meters(rows)


async def _store_installations(connection: Connection, project: str, rows: Sequence[InstallRow]) -> Tally:
    new = await InstallationService(connection, project).install(rows)
    return Tally(new, 0, len(rows) - new)


async def _store_parties(connection: Connection, project: str, rows: Sequence[PartyRow]) -> Tally:
    return await PeopleService(connection, project).put_parties(rows)


async def _store_occupancies(connection: Connection, project: str, rows: Sequence[OccupancyRow]) -> Tally:
    return await PeopleService(connection, project).put_occupancies(rows)


async def _store_readings(connection: Connection, project: str, rows: Sequence[Mapping[str, Any]]) -> Tally:
    from include.readings.service import ReadingService

    report = await ReadingService(connection).add_bulk(project, rows, on_duplicate="skip", source="import")
    return Tally(created=report.accepted, unchanged=report.duplicates)


_kind = partial(ImportKind, headings=HEADINGS, words=WORDS)

_REGISTER = ("register", "unit", "multiplier", "modulus", "digits")

KINDS: Mapping[str, ImportKind] = {
    "service-points": _kind(
        columns=(
            "key", "commodity", "subtype", "usage_class", "premise", *ADDRESSES, "area", "device_id",
            *_REGISTER, "installed_at", "initial_reading", "party", "name", "cellphone", "moved_in_at",
            "persons", "weight",
        ),
        required=("key", "commodity"),
        build=_single(ServicePointRow),
        store=_store_flat,
    ),
    "premises": _kind(
        columns=("key", *ADDRESSES, "area"),
        required=("key", "address1"),
        build=_single(PremiseRow),
        store=_store_premises,
    ),
    "usage-classes": _kind(
        columns=("key", "daily_quantity"),
        required=("key", "daily_quantity"),
        build=_single(UsageClassRow),
        store=_store_classes,
    ),
    "meters": _kind(
        columns=("device_id", "commodity", *_REGISTER),
        required=("device_id", "commodity"),
        build=_build_meter,
        store=_store_meters,
        key=("device_id",),
        group=("device_id",),
    ),
    "installations": _kind(
        columns=("service_point", "device_id", "installed_at", "register", "initial_reading"),
        required=("service_point", "device_id", "installed_at", "initial_reading"),
        build=_build_installation,
        store=_store_installations,
        key=("device_id",),
        group=("service_point", "device_id", "installed_at"),
    ),
    "parties": _kind(
        columns=("key", "name", "cellphone"),
        required=("key", "name"),
        build=_single(PartyRow),
        store=_store_parties,
    ),
    "occupancies": _kind(
        columns=("service_point", "party", "moved_in_at", "moved_out_at", "persons", "weight"),
        required=("service_point", "party", "moved_in_at"),
        build=_single(OccupancyRow),
        store=_store_occupancies,
        key=("service_point", "party", "moved_in_at"),
    ),
    "readings": _kind(
        columns=("device_id", "register", "read_at", "value", "quality", "source", "top_up", "note"),
        required=("device_id", "read_at", "value"),
        build=_build_reading,
        store=_store_readings,
        key=(),
    ),
}  # fmt: skip
