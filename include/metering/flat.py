"""Service points with premise, meter and resident in one row: what a spreadsheet looks like.

Doing it again changes nothing. A meter that is there stays as it is and must be what the row says of it; a
resident who has moved out since stays moved out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from include.errors import ConflictingRowsError, InvalidRowsError, RowProblem
from include.metering.installations import InstallationService
from include.metering.meters import MeterService
from include.metering.model import LockedMeter, Tally
from include.metering.people import PeopleService
from include.metering.places import PlaceService
from include.metering.problems import Problems, refuse_twice
from include.metering.rows import (
    UNITS,
    InstallRow,
    MeterRow,
    OccupancyRow,
    PartyRow,
    PointRow,
    PremiseRow,
    RegisterRow,
    ServicePointRow,
)
from include.metering.scope import ProjectService

R = TypeVar("R")

#: What parts of a row are called in it, where the part calls them otherwise.
PREMISE = {"key": "premise"}
METER: dict[str, str] = {}
INSTALLATION = {"service_point": "key", "readings": "initial_reading"}
PARTY = {"key": "party"}
OCCUPANCY = {"service_point": "key"}


class FlatRowService(ProjectService):
    """Stores flat rows, all or none. Errors: `InvalidRowsError`, `ConflictingRowsError`."""

    async def put(self, rows: Sequence[ServicePointRow]) -> Tally:
        """Store service points and what is told with them; the tally is that of the service points."""
        problems = Problems()
        refuse_twice(problems, "key", (row.key for row in rows))
        _refuse_several_meters(problems, rows)
        problems.check()
        await self.share_readings()
        scope: dict[str, Any] = {"projects": self.projects, "clock": self.clock}
        places = PlaceService(self.connection, self.project_id, **scope)
        people = PeopleService(self.connection, self.project_id, **scope)
        await _part(rows, _premise, PREMISE, places.put_premises, "premise")
        tally = await places.put_service_points([_point(row) for row in rows])
        await self._put_meters(rows, MeterService(self.connection, self.project_id, **scope))
        installations = InstallationService(self.connection, self.project_id, **scope)
        await _part(rows, _installation, INSTALLATION, installations.install)
        await _part(rows, _party, PARTY, people.put_parties, "party")
        await _part(rows, _occupancy, OCCUPANCY, lambda some: people.put_occupancies(some, ends=False))
        return tally

    async def _put_meters(self, rows: Sequence[ServicePointRow], meters: MeterService) -> None:
        stored = await self.repository.lock_meters({row.device_id for row in rows if row.device_id})
        problems = Problems()
        for index, row in enumerate(rows):
            if row.device_id in stored:
                _check_meter(problems, index, row, stored[row.device_id])
        problems.check()
        await _part(
            rows, lambda row: None if row.device_id in stored else _meter(row), METER, meters.put_meters
        )


async def _part(
    rows: Sequence[ServicePointRow],
    part: Callable[[ServicePointRow], R | None],
    names: dict[str, str],
    put: Callable[[list[R]], Any],
    shared: str = "",
) -> None:
    """Store one part of the rows that have it; what is wrong is told in the words of the whole row.

    :param shared: the field of parts that several rows may have in common, then equal
    """
    parts = {index: one for index, row in enumerate(rows) if (one := part(row)) is not None}
    if shared:
        parts = _distinct(parts, shared)
    indexes = list(parts)
    if not parts:
        return
    try:
        await put(list(parts.values()))
    except (InvalidRowsError, ConflictingRowsError) as error:
        raise type(error)(
            [
                RowProblem(names.get(one.field, one.field), one.message, indexes[(one.row or 1) - 1] + 1)
                for one in error.problems
            ]
        ) from None


def _distinct(parts: dict[int, Any], field: str) -> dict[int, Any]:
    """Return each part once."""
    problems = Problems()
    first: dict[str, int] = {}
    for index, one in parts.items():
        earlier = first.setdefault(one.key, index)
        if parts[earlier] != one:
            problems.refuse(index, field, f"{one.key!r} is something else in row {earlier + 1}")
    problems.check()
    return {index: parts[index] for index in first.values()}


def _refuse_several_meters(problems: Problems, rows: Sequence[ServicePointRow]) -> None:
    first: dict[str, int] = {}
    for index, row in enumerate(rows):
        if row.device_id and first.setdefault(row.device_id, index) != index:
            problems.refuse(index, "device_id", f"stands in row {first[row.device_id] + 1} already")


def _check_meter(problems: Problems, index: int, row: ServicePointRow, stored: LockedMeter) -> None:
    register = stored.registers.get(row.register_kind)
    if stored.commodity != row.commodity:
        problems.contradict(index, "device_id", f"is a meter of {stored.commodity}")
    elif register is None:
        problems.contradict(index, "register", f"meter {row.device_id!r} has none of that kind")
    else:
        for field, told, known in (
            ("unit", row.unit, register.unit),
            ("multiplier", row.multiplier, register.multiplier),
            ("modulus", row.turns_at, register.modulus),
        ):
            if told is not None and told != known:
                problems.contradict(
                    index, field, f"of meter {row.device_id!r} is {_shown(known)}: change the meter first"
                )


def _shown(value: object) -> str:
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)


# Parts are made without another check: their values come from a row that was checked.


def _premise(row: ServicePointRow) -> PremiseRow | None:
    if row.address is None:
        return None
    return PremiseRow.model_construct(key=row.premise_key, address=row.address, area=row.area)


def _point(row: ServicePointRow) -> PointRow:
    return PointRow.model_construct(
        key=row.key,
        premise=row.premise_key,
        commodity=row.commodity,
        subtype=row.subtype,
        usage_class=row.usage_class,
    )


def _meter(row: ServicePointRow) -> MeterRow | None:
    if row.device_id is None:
        return None
    register = RegisterRow.model_construct(
        kind=row.register_kind,
        unit=row.unit or UNITS[row.commodity],
        multiplier=row.multiplier or Decimal(1),
        modulus=row.turns_at,
    )
    return MeterRow.model_construct(device_id=row.device_id, commodity=row.commodity, registers=[register])


def _installation(row: ServicePointRow) -> InstallRow | None:
    if row.device_id is None or row.installed_at is None or row.initial_reading is None:
        return None
    return InstallRow.model_construct(
        service_point=row.key,
        device_id=row.device_id,
        installed_at=row.installed_at,
        readings={row.register_kind: row.initial_reading},
    )


def _party(row: ServicePointRow) -> PartyRow | None:
    if row.name is None or row.resident is None:
        return None
    return PartyRow.model_construct(key=row.resident, name=row.name, cellphone=row.cellphone or "")


def _occupancy(row: ServicePointRow) -> OccupancyRow | None:
    moved_in_at = row.moved_in_at or row.installed_at
    if row.resident is None or moved_in_at is None:
        return None
    return OccupancyRow.model_construct(
        service_point=row.key,
        party=row.resident,
        moved_in_at=moved_in_at,
        persons=row.persons,
        weight=row.weight,
    )
