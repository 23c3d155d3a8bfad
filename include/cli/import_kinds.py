"""What can be imported: the columns of each kind, in English and Chinese, and what its rows become."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from include.devices.registry import RegistryService
from include.devices.rows import DeviceFileRow, DeviceRow
from include.errors import RowProblem
from include.kit.db import Connection
from include.kit.headings import match_headings
from include.kit.validation import message_of
from include.metering.flat import FlatRowService
from include.metering.installations import InstallationService
from include.metering.meters import MeterService
from include.metering.model import Tally
from include.metering.people import PeopleService
from include.metering.places import PlaceService
from include.metering.rows import (
    ADDRESS_PARTS,
    InstallRow,
    MeterRow,
    OccupancyRow,
    PartyRow,
    PremiseRow,
    Row,
    ServicePointRow,
    UsageClassRow,
)

ADDRESSES = tuple(f"address{part}" for part in range(1, ADDRESS_PARTS + 1))

#: What a column may be called besides its name.
HEADINGS: Mapping[str, Sequence[str]] = {
    "project_id": ("project", "项目", "项目id", "项目编号"),
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
    "node_id": ("设备标识码", "标识码", "imei"),
    "product_id": ("产品id", "产品"),
    "product_name": ("产品名称",),
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

#: The same of devices, where a word means something else for the other kinds.
DEVICE_HEADINGS: Mapping[str, Sequence[str]] = {
    "device_id": ("设备id", "设备号", "设备编号"),
    "name": ("设备名称", "device_name", "名称"),
}

#: Words in cells of some columns.
WORDS: Mapping[str, Mapping[str, str]] = {
    "commodity": {"水": "water", "水表": "water", "电": "electricity", "电表": "electricity"},
    "node_type": {"网关": "GATEWAY", "直连设备": "GATEWAY", "子设备": "ENDPOINT"},
    "auth_type": {"密钥": "SECRET", "证书": "CERTIFICATES"},
    "status": {"在线": "ONLINE", "离线": "OFFLINE", "异常": "ABNORMAL", "未激活": "INACTIVE"},
    "register": {"总": "TOTAL", "尖": "TIP", "峰": "PEAK", "平": "FLAT", "谷": "VALLEY", "深谷": "DEEP"},
}

MOMENTS = frozenset(("installed_at", "moved_in_at", "moved_out_at", "read_at"))

_MOMENT = re.compile(
    r"(?P<year>\d{4})[-/.年](?P<month>\d{1,2})[-/.月](?P<day>\d{1,2})日?"
    r"(?:[T\s]\s*(?P<hour>\d{1,2})[:时](?P<minute>\d{1,2})分?(?::?(?P<second>\d{1,2})(?P<fraction>\.\d{1,6})?秒?)?)?"
    r"\s*(?P<offset>Z|[+-]\d{2}:?\d{2})?"
)

Cells = Mapping[str, str]
Store = Callable[[Connection, str, Sequence[Any]], Awaitable[Tally]]


@dataclass(frozen=True, slots=True)
class Entry:
    """What one or several rows became, with the number of the first in the file."""

    number: int
    value: Any


@dataclass(frozen=True)
class ImportKind:
    """Something that can be imported.

    :ivar required: columns without which a file cannot be this
    :ivar group: columns that are the same in the rows that belong together; they make one thing
    :ivar key: columns of which no two things are the same
    :ivar headings: what its columns may be called, where that is not as in HEADINGS
    :ivar build: makes a thing of the cells of its rows, moments already in UTC. Raises ValidationError
    """

    columns: tuple[str, ...]
    required: tuple[str, ...]
    build: Callable[[Sequence[Mapping[str, Any]]], Any]
    store: Store
    key: tuple[str, ...] = ("key",)
    group: tuple[str, ...] = ()
    headings: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def called(self, name: str) -> Sequence[str]:
        """Return what a column may be called besides its name."""
        return self.headings.get(name) or HEADINGS[name]

    def read_headings(self, cells: Sequence[str]) -> list[str | None]:
        """Return what each column is, None for one without heading.

        :raises InvalidInputError: names `file`: columns are missing, unknown or there twice
        """
        called = {name: self.called(name) for name in ("project_id", *self.columns)}
        return match_headings(cells, called, self.required, _described(self))


def _described(kind: ImportKind) -> str:
    names = (f"{name} ({kind.called(name)[-1 if name in ADDRESSES else 0]})" for name in kind.columns)
    return f"{', '.join(names)}; needed are {', '.join(kind.required)}"


def parse_moment(text: str, zone: ZoneInfo) -> datetime:
    """Return the moment (UTC) that a cell means: local time without an offset; a bare date is its midnight.

    :raises ValueError: it means none
    """
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError("must be a moment such as 2026-11-22 09:30, 2026/11/22 or 2026-11-22T09:30:00+08:00")
    parts = [int(found[name] or 0) for name in ("year", "month", "day", "hour", "minute", "second")]
    micro = int(((found["fraction"] or ".")[1:]).ljust(6, "0"))
    offset = found["offset"]
    try:
        moment = datetime(*parts[:6], micro, tzinfo=zone)  # type: ignore[misc, arg-type]
        if offset:
            moment = datetime.fromisoformat(f"{moment.replace(tzinfo=None).isoformat()}{offset}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"is not a moment: {error}") from None


@dataclass
class RowReader:
    """Makes things of the rows of a file; what is wrong gathers in `problems`, by the headings of the file.

    :ivar names: of each column, None where it has none
    :ivar headings: as they stand in the file
    """

    kind: ImportKind
    names: Sequence[str | None]
    headings: Sequence[str]
    project_id: str
    zone: ZoneInfo
    problems: list[RowProblem] = field(default_factory=list)

    def entries(self, rows: Iterable[tuple[int, list[str]]]) -> Iterator[Entry]:
        """Return the things that can be made."""
        numbered = ((number, self._cells(number, cells)) for number, cells in rows)
        if not self.kind.group:
            groups: Iterable[list[tuple[int, dict[str, Any]]]] = ([row] for row in numbered)
        else:
            groups = (list(rows) for _, rows in groupby(numbered, key=self._group_of))
        for group in groups:
            made = self._build(group)
            if made is not None:
                yield made

    def heading(self, name: str) -> str:
        """Return what the file calls a field."""
        if name == "address":
            name = ADDRESSES[0]
        return self.headings[self.names.index(name)] if name in self.names else name

    def _group_of(self, row: tuple[int, dict[str, Any]]) -> tuple[Any, ...]:
        return tuple(row[1].get(name) for name in self.kind.group)

    def _cells(self, number: int, cells: Sequence[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for place, cell in enumerate(cells):
            name = self.names[place] if place < len(self.names) else None
            if not cell:
                continue
            if name is None:
                self.problems.append(RowProblem("", f"{cell!r} stands in a column without heading", number))
            elif name in MOMENTS:
                found[name] = self._moment(number, name, cell)
            else:
                found[name] = WORDS.get(name, {}).get(cell, cell)
        if found.pop("project_id", self.project_id) != self.project_id:
            self._complain(number, "project_id", f"is not {self.project_id!r}: import one project at a time")
        return found

    def _moment(self, number: int, name: str, cell: str) -> datetime | None:
        try:
            return parse_moment(cell, self.zone)
        except ValueError as error:
            self._complain(number, name, str(error))
            return None

    def _build(self, group: Sequence[tuple[int, dict[str, Any]]]) -> Entry | None:
        before = len(self.problems)
        numbers = [number for number, _ in group]
        try:
            value = self.kind.build([cells for _, cells in group])
        except ValidationError as error:
            for item in error.errors(include_url=False, include_input=False):
                self._tell(item, numbers)
            return None
        return Entry(numbers[0], value) if len(self.problems) == before else None

    def _tell(self, item: Mapping[str, Any], numbers: Sequence[int]) -> None:
        """Tell what a model found wrong, in the words and at the place of the file."""
        place = list(item["loc"])
        number = numbers[0]
        match place:
            case ["address", int(part), *_]:
                name = ADDRESSES[part]
            case ["registers", int(row), *rest]:
                number, name = numbers[row], str(rest[0]) if rest else "register"
            case ["readings", kind, *rest]:
                name = "register" if rest else "initial_reading"
                number = next((n for n in numbers if kind), number)
            case [first, *_]:
                name = str(first)
            case _:
                name = ""
        name = "register" if name == "kind" else name
        told = {one.field for one in self.problems if one.row == number}
        if self.heading(name) in told or (told and not name):
            return  # a moment that cannot be read is missing, too, and what hangs together lacks a part
        self._complain(number, name, message_of(item))

    def _complain(self, number: int, name: str, message: str) -> None:
        self.problems.append(RowProblem(self.heading(name), message, number))


# --- kinds


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


def _build_device(rows: Sequence[Mapping[str, Any]]) -> DeviceRow:
    [cells] = rows
    row = DeviceFileRow.model_validate(cells)
    return row.model_copy(update={"device_id": row.key})


async def _store_devices(connection: Connection, project: str, rows: Sequence[DeviceRow]) -> Tally:
    told = [row.model_copy(update={"project_id": project}) for row in rows]
    return await RegistryService(connection).put(told)


async def _store_readings(connection: Connection, project: str, rows: Sequence[Mapping[str, Any]]) -> Tally:
    from include.readings.service import ReadingService

    report = await ReadingService(connection).add_bulk(project, rows, on_duplicate="skip", source="import")
    return Tally(created=report.accepted, unchanged=report.duplicates)


_REGISTER = ("register", "unit", "multiplier", "modulus", "digits")

KINDS: Mapping[str, ImportKind] = {
    "service-points": ImportKind(
        columns=(
            "key", "commodity", "subtype", "usage_class", "premise", *ADDRESSES, "area", "device_id",
            *_REGISTER, "installed_at", "initial_reading", "party", "name", "cellphone", "moved_in_at",
            "persons", "weight",
        ),
        required=("key", "commodity"),
        build=_single(ServicePointRow),
        store=_store_flat,
    ),
    "premises": ImportKind(
        columns=("key", *ADDRESSES, "area"),
        required=("key", "address1"),
        build=_single(PremiseRow),
        store=_store_premises,
    ),
    "usage-classes": ImportKind(
        columns=("key", "daily_quantity"),
        required=("key", "daily_quantity"),
        build=_single(UsageClassRow),
        store=_store_classes,
    ),
    "meters": ImportKind(
        columns=("device_id", "commodity", *_REGISTER),
        required=("device_id", "commodity"),
        build=_build_meter,
        store=_store_meters,
        key=("device_id",),
        group=("device_id",),
    ),
    "installations": ImportKind(
        columns=("service_point", "device_id", "installed_at", "register", "initial_reading"),
        required=("service_point", "device_id", "installed_at", "initial_reading"),
        build=_build_installation,
        store=_store_installations,
        key=("device_id",),
        group=("service_point", "device_id", "installed_at"),
    ),
    "parties": ImportKind(
        columns=("key", "name", "cellphone"),
        required=("key", "name"),
        build=_single(PartyRow),
        store=_store_parties,
    ),
    "occupancies": ImportKind(
        columns=("service_point", "party", "moved_in_at", "moved_out_at", "persons", "weight"),
        required=("service_point", "party", "moved_in_at"),
        build=_single(OccupancyRow),
        store=_store_occupancies,
        key=("service_point", "party", "moved_in_at"),
    ),
    "readings": ImportKind(
        columns=("device_id", "register", "read_at", "value", "quality", "source", "top_up", "note"),
        required=("device_id", "read_at", "value"),
        build=_build_reading,
        store=_store_readings,
        key=(),
    ),
    "devices": ImportKind(
        columns=(
            "device_id", "node_id", "product_id", "name", "product_name", "gateway_id", "node_type",
            "auth_type", "secret", "fingerprint", "fw_version", "sw_version", "tags",
            "description", "timezone", "status",
        ),
        required=("node_id", "product_id", "name"),
        build=_build_device,
        store=_store_devices,
        key=("device_id",),
        headings=DEVICE_HEADINGS,
    ),
}  # fmt: skip
