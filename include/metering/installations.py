"""Use cases on installations: a meter comes to a service point, goes, is replaced.

Its displays at both ends are readings. The one of the installation begins a new life of the counter; the one
of the removal goes on from the last good reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from include.billing.model import Kind
from include.errors import ConflictError, InvalidInputError
from include.metering.model import (
    FUTURE_TOLERANCE,
    CurrentStay,
    Installation,
    LastReading,
    LockedMeter,
    LockedPoint,
    Stay,
)
from include.metering.problems import Problems, alone, refuse_twice
from include.metering.rows import InstallFields, InstallRow, RemoveFields, ReplaceFields
from include.metering.rules import RulesService
from include.metering.scope import ProjectService, require
from include.readings.rerates import request_rerates
from include.readings.turns import Counted, following_total, is_spike, plausible_step


class InstallationService(ProjectService):
    """Which meter is where. Errors name the field."""

    async def install(self, rows: Sequence[InstallRow]) -> int:
        """Install meters from their moments on; returns how many there were not yet.

        :raises InvalidRowsError: unknown service points or meters, moments in the future, displays that the
            registers cannot show
        :raises ConflictingRowsError: the meter or another one is somewhere in that time
        """
        problems = Problems()
        refuse_twice(problems, "service_point", (row.service_point for row in rows))
        refuse_twice(problems, "device_id", (row.device_id for row in rows))
        await self.share_readings()
        points = await self.repository.lock_service_points({row.service_point for row in rows})
        meters = await self.repository.lock_meters({row.device_id for row in rows})
        for index, row in enumerate(rows):
            _check_install(
                problems, index, row, points.get(row.service_point), meters.get(row.device_id), self.clock()
            )
        problems.check()
        items = [
            {
                "row": index,
                "service_point_id": points[row.service_point].id,
                "meter_id": meters[row.device_id].id,
                "installed_at": row.installed_at,
                "readings": row.readings,
            }
            for index, row in enumerate(rows)
        ]
        there = _check_stays(problems, rows, await self.repository.stays_in_the_way(items))
        problems.check()
        new = [item for item in items if item["row"] not in there]
        await self._install(new)
        return len(new)

    async def install_at(self, service_point: str, fields: InstallFields) -> tuple[bool, Installation]:
        """Install one meter; returns whether it is new, and the installation.

        :raises NotFoundError: no such service point
        :raises InvalidInputError: as `install`
        :raises ConflictError: as `install`
        """
        await self.lock_point(service_point)
        with alone():
            new = await self.install([InstallRow(service_point=service_point, **vars(fields))])
        stays = await self._stays(service_point)
        return bool(new), next(stay for stay in stays if stay.installed_at == fields.installed_at)

    async def remove(self, service_point: str, fields: RemoveFields) -> Installation:
        """Take the meter away from a service point; doing it again changes nothing.

        :raises NotFoundError: no such service point
        :raises InvalidInputError: a moment in the future, displays that the registers cannot show
        :raises ConflictError: no meter is there, or readings contradict it
        """
        point = await self.lock_point(service_point)
        await self._remove(point, fields.removed_at, fields.readings, "removed_at", "readings")
        stays = await self._stays(service_point)
        return next(stay for stay in stays if stay.removed_at == fields.removed_at)

    async def replace(self, service_point: str, fields: ReplaceFields) -> tuple[Installation, Installation]:
        """Have another meter take the place of the one that is there; doing it again changes nothing.

        Returns the installation that ended and the one that began. Errors are those of `remove` and
        `install_at`.
        """
        point = await self.lock_point(service_point)
        stay = await self.repository.last_stay(point.id)
        if stay is None or (stay.device_id, stay.installed_at) != (fields.device_id, fields.replaced_at):
            if stay and stay.removed_at is None and stay.device_id == fields.device_id:
                raise ConflictError("is the meter that is there", field="device_id")
            await self._remove(
                point, fields.replaced_at, fields.final_readings, "replaced_at", "final_readings"
            )
        row = InstallRow(
            service_point=service_point,
            device_id=fields.device_id,
            installed_at=fields.replaced_at,
            readings=fields.initial_readings,
        )
        with alone(installed_at="replaced_at", readings="initial_readings"):
            await self.install([row])
        stays = await self._stays(service_point)
        removed = next((stay for stay in stays if stay.removed_at == fields.replaced_at), None)
        if removed is None:
            raise ConflictError(
                "the meter came at that moment, but took no other's place", field="replaced_at"
            )
        return removed, next(stay for stay in stays if stay.installed_at == fields.replaced_at)

    async def list_of_service_point(self, key: str, *, after: int, limit: int) -> list[Installation]:
        """Return the installations of a service point. Raises NotFoundError."""
        require(await self.repository.find_service_point(key), "service point", key)
        return await self.repository.list_installations(after, limit, service_point=key)

    async def list_of_meter(self, device_id: str, *, after: int, limit: int) -> list[Installation]:
        """Return the installations of a meter. Raises NotFoundError."""
        require(await self.repository.find_meter(device_id), "meter", device_id)
        return await self.repository.list_installations(after, limit, device_id=device_id)

    async def _stays(self, service_point: str) -> list[Installation]:
        return await self.repository.list_installations(0, None, service_point=service_point)

    async def _install(self, items: Sequence[Mapping[str, Any]]) -> None:
        if not items:
            return
        ids = await self.repository.insert_installations(items)
        await self.repository.insert_initial_readings(
            [
                {
                    "installation_id": ids[item["meter_id"]],
                    "meter_id": item["meter_id"],
                    "installed_at": item["installed_at"],
                    "kind": kind,
                    "value": value,
                }
                for item in items
                for kind, value in item["readings"].items()
            ]
        )
        since = {item["service_point_id"]: item["installed_at"] for item in items}
        await request_rerates(self.connection, self.project_id, since)

    async def _remove(
        self, point: LockedPoint, at: datetime, shown: Mapping[Kind, Decimal], at_field: str, field: str
    ) -> None:
        if at > self.clock() + FUTURE_TOLERANCE:
            raise InvalidInputError("lies in the future", field=at_field)
        stay = await self.repository.last_stay(point.id)
        if stay is None or (stay.removed_at is not None and stay.removed_at != at):
            raise ConflictError(f"no meter is at service point {point.key!r}")
        meter = (await self.repository.lock_meters([stay.device_id]))[stay.device_id]
        problem = _wrong_display(meter, shown)
        if problem:
            raise InvalidInputError(problem, field=field)
        if stay.removed_at is not None:
            await self._check_removed(stay, at, shown, field)
            return
        if at <= stay.installed_at:
            raise ConflictError(
                f"must be after {stay.installed_at.isoformat()}, when meter {stay.device_id!r} came",
                field=at_field,
            )
        await self.repository.lock_registers(stay.meter_id)
        last = await self.repository.last_readings(stay, at)
        totals = await self._totals(last, shown, at, at_field, field)
        await self.repository.end_installation(stay.id, at)
        await self.repository.insert_final_readings(stay.id, at, totals)
        await request_rerates(self.connection, self.project_id, {point.id: at})

    async def _totals(
        self,
        last: Sequence[LastReading],
        shown: Mapping[Kind, Decimal],
        at: datetime,
        at_field: str,
        field: str,
    ) -> list[dict[str, Any]]:
        """Return the rows of the final readings."""
        rules = await RulesService(self.connection, self.project_id, clock=self.clock).find()
        down = rules.reading_mode == "remaining"
        if {one.kind for one in last} != set(shown):
            raise ConflictError("not every register has a good reading to go on from", field=field)
        items = []
        for one in last:
            if one.later:
                raise ConflictError(f"{one.kind} has readings after this moment", field=at_field)
            total, spike = _final_total(one, shown[one.kind], at, rules.plausibility_factor, counts_down=down)
            if total is None:
                raise ConflictError(
                    f"{one.kind} shows {shown[one.kind]:f}, which cannot follow {one.value.normalize():f}"
                    f" of {one.read_at.isoformat()}",
                    field=field,
                )
            if spike:
                raise ConflictError(
                    f"{one.kind} shows {shown[one.kind]:f}, a spike: record it as a reading with"
                    " `on_spike: accept` before",
                    field=field,
                )
            items.append({"register_id": one.register_id, "value": shown[one.kind], "total": total})
        return items

    async def _check_removed(
        self, stay: CurrentStay, at: datetime, shown: Mapping[Kind, Decimal], field: str
    ) -> None:
        """Let the same removal pass again."""
        final = {one.kind: one.value for one in await self.repository.last_readings(stay, at)}
        if final != dict(shown):
            raise ConflictError(
                f"meter {stay.device_id!r} was removed at that moment with other displays", field=field
            )


def _final_total(
    last: LastReading, value: Decimal, at: datetime, factor: Decimal, *, counts_down: bool
) -> tuple[Decimal | None, bool]:
    """Return the total of a final reading, None where it cannot follow; and whether it is a spike."""
    previous = Counted(last.read_at, last.value, last.total)
    history = [Counted(last.history_at, last.history_value, last.history_total)]
    plausible = plausible_step(history, previous, at, factor)
    top_up = Decimal(0) if counts_down else None
    total = following_total(last.total, last.value, value, last.modulus, top_up, plausible)
    if total is None:
        return None, False
    return total, is_spike(previous, None, total, at, None if counts_down else plausible)


def _check_install(
    problems: Problems,
    index: int,
    row: InstallRow,
    point: LockedPoint | None,
    meter: LockedMeter | None,
    now: datetime,
) -> None:
    if row.installed_at > now + FUTURE_TOLERANCE:
        problems.refuse(index, "installed_at", "lies in the future")
    if point is None:
        problems.refuse(index, "service_point", f"there is no service point {row.service_point!r}")
    if meter is None:
        problems.refuse(index, "device_id", f"there is no meter {row.device_id!r}")
        return
    if point and point.commodity != meter.commodity:
        problems.contradict(
            index, "device_id", f"is a meter of {meter.commodity}, the service point is of {point.commodity}"
        )
    wrong = _wrong_display(meter, row.readings)
    if wrong:
        problems.refuse(index, "readings", wrong)


def _wrong_display(meter: LockedMeter, shown: Mapping[Kind, Decimal]) -> str | None:
    """Return what is wrong with what the registers of a meter are said to show."""
    missing = [kind for kind in meter.registers if kind not in shown]
    unknown = [kind for kind in shown if kind not in meter.registers]
    if missing or unknown:
        return f"must be those of the registers of meter {meter.device_id!r}: {', '.join(meter.registers)}"
    for kind, value in shown.items():
        modulus = meter.registers[kind].modulus
        if modulus is not None and value >= modulus:
            return f"{kind} shows 0 again at {modulus.normalize():f}, so it cannot show {value:f}"
    return None


def _check_stays(problems: Problems, rows: Sequence[InstallRow], stays: Sequence[Stay]) -> set[int]:
    """Find what is in the way; returns the rows that say what is stored already."""
    there = set()
    for stay in stays:
        row = rows[stay.row]
        same_place = stay.service_point == row.service_point
        same_meter = stay.device_id == row.device_id
        if same_place and same_meter and stay.installed_at == row.installed_at:
            there.add(stay.row)
            if stay.initial_readings != dict(row.readings):
                problems.contradict(stay.row, "readings", "is stored already with other displays")
        elif same_meter:
            problems.contradict(
                stay.row, "device_id", f"is at service point {stay.service_point!r} {_span(stay)}"
            )
        else:
            problems.contradict(stay.row, "service_point", f"has meter {stay.device_id!r} {_span(stay)}")
    return there


def _span(stay: Stay) -> str:
    end = f" to {stay.removed_at.isoformat()}" if stay.removed_at else ""
    return f"from {stay.installed_at.isoformat()}{end}"
