"""The statements on metering master data: the only caller of this domain's `queries.sql`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from psycopg import AsyncCursor
from psycopg.errors import ExclusionViolation, ForeignKeyViolation, IntegrityError, UniqueViolation
from psycopg.rows import DictRow

from include.billing.model import ProjectRules
from include.errors import ConflictError
from include.kit.db import Connection
from include.kit.sql import load_queries
from include.metering.model import (
    CurrentStay,
    HouseholdRecord,
    Installation,
    LastReading,
    LockedMeter,
    LockedPoint,
    Meter,
    OccupancyRecord,
    Party,
    Premise,
    Register,
    ServicePoint,
    Stay,
    UsageClass,
)

queries = load_queries(__file__)

Item = Mapping[str, Any]

#: What the tables refuse although it was looked up before: somebody else was quicker. (field, message)
CONSTRAINTS = {
    "installation_one_place": ("device_id", "is at another service point in that time"),
    "installation_one_meter": ("installed_at", "another meter is at the service point in that time"),
    "reading_unique": ("installed_at", "the meter came or went at that very moment already"),
    "occupancy_once": ("moved_in_at", "the party lives there in that time already"),
}

#: What may hang on a thing that is to be deleted, by the table that says so.
REFERENCES = {
    "service_point": "service points",
    "meter_installation": "installations",
    "occupancy": "occupancies",
    "tariff_assignment": "tariff assignments",
}


class MeteringRepository:
    """One method a statement, on a connection whose transaction somebody else commits.

    :param project_id: all statements are about this project
    """

    def __init__(self, connection: Connection, project_id: str) -> None:
        self.connection = connection
        self.project_id = project_id

    # --- rules

    async def find_rules(self) -> ProjectRules | None:
        row = await self._one(queries.find_rules)
        return ProjectRules(**row) if row else None

    async def put_rules(self, rules: Item, now: datetime) -> None:
        await self._run(queries.put_rules, **rules, now=now)

    async def request_rerates_of_project(self) -> None:
        await self._run(queries.request_rerates_of_project)

    # --- premises and usage classes

    async def put_premises(self, items: Sequence[Item]) -> list[bool]:
        """Return for each that changed whether it is new."""
        return await self._created(queries.put_premises, items)

    async def find_premise(self, key: str) -> Premise | None:
        row = await self._one(queries.find_premise, key=key)
        return Premise(**row) if row else None

    async def list_premises(self, after: str, limit: int) -> list[Premise]:
        rows = await self._all(queries.list_premises, after=after, limit=limit)
        return [Premise(**row) for row in rows]

    async def delete_premise(self, key: str) -> bool:
        return await self._one(queries.delete_premise, key=key) is not None

    async def known_premises(self, keys: Collection[str]) -> set[str]:
        return {row["key"] for row in await self._all(queries.known_premises, keys=list(keys))}

    async def put_usage_classes(self, items: Sequence[Item]) -> list[bool]:
        """Return for each that changed whether it is new."""
        return await self._created(queries.put_usage_classes, items)

    async def find_usage_class(self, key: str) -> UsageClass | None:
        row = await self._one(queries.find_usage_class, key=key)
        return UsageClass(**row) if row else None

    async def list_usage_classes(self, after: str, limit: int) -> list[UsageClass]:
        rows = await self._all(queries.list_usage_classes, after=after, limit=limit)
        return [UsageClass(**row) for row in rows]

    async def delete_usage_class(self, key: str) -> bool:
        return await self._one(queries.delete_usage_class, key=key) is not None

    async def known_usage_classes(self, keys: Collection[str]) -> set[str]:
        return {row["key"] for row in await self._all(queries.known_usage_classes, keys=list(keys))}

    # --- service points

    async def put_service_points(self, items: Sequence[Item]) -> list[bool]:
        """Return for each that changed whether it is new."""
        return await self._created(queries.put_service_points, items)

    async def lock_service_points(self, keys: Collection[str]) -> dict[str, LockedPoint]:
        rows = await self._all(queries.lock_service_points, keys=list(keys))
        return {row["key"]: LockedPoint(**row) for row in rows}

    async def find_service_point(self, key: str) -> ServicePoint | None:
        row = await self._one(queries.find_service_point, key=key)
        return ServicePoint(**row) if row else None

    async def list_service_points(
        self, after: str, limit: int, *, premise: str | None, commodity: str | None
    ) -> list[ServicePoint]:
        rows = await self._all(
            queries.list_service_points, after=after, limit=limit, premise=premise, commodity=commodity
        )
        return [ServicePoint(**row) for row in rows]

    async def delete_service_point(self, key: str) -> bool:
        return await self._one(queries.delete_service_point, key=key) is not None

    # --- meters

    async def lock_meters(self, device_ids: Collection[str]) -> dict[str, LockedMeter]:
        rows = await self._all(queries.lock_meters, device_ids=list(device_ids))
        return {row["device_id"]: _locked_meter(row) for row in rows}

    async def put_meters(self, items: Sequence[Item]) -> dict[str, bool]:
        """Return for each that changed whether it is new."""
        rows = await self._all(queries.put_meters, items=_json(items))
        return {row["device_id"]: row["created"] for row in rows}

    async def put_registers(self, items: Sequence[Item]) -> set[str]:
        """Return the meters of which a register is new or changed."""
        return {row["device_id"] for row in await self._all(queries.put_registers, items=_json(items))}

    async def drop_registers(self, items: Sequence[Item]) -> set[str]:
        """Return the meters of which a register went."""
        return {row["device_id"] for row in await self._all(queries.drop_registers, items=_json(items))}

    async def find_meter(self, device_id: str) -> Meter | None:
        row = await self._one(queries.find_meter, key=device_id)
        return _meter(row) if row else None

    async def list_meters(self, after: str, limit: int, *, commodity: str | None) -> list[Meter]:
        rows = await self._all(queries.list_meters, after=after, limit=limit, commodity=commodity)
        return [_meter(row) for row in rows]

    async def delete_registers(self, device_id: str) -> None:
        await self._run(queries.delete_registers, key=device_id)

    async def delete_meter(self, device_id: str) -> bool:
        return await self._one(queries.delete_meter, key=device_id) is not None

    # --- installations

    async def stays_in_the_way(self, items: Sequence[Item]) -> list[Stay]:
        rows = await self._all(queries.stays_in_the_way, items=_json(items))
        return [Stay(**{**row, "initial_readings": _readings(row["initial_readings"])}) for row in rows]

    async def insert_installations(self, items: Sequence[Item]) -> dict[int, int]:
        """Return the id of each by its meter."""
        rows = await self._all(queries.insert_installations, items=_json(items))
        return {row["meter_id"]: row["id"] for row in rows}

    async def insert_initial_readings(self, items: Sequence[Item]) -> None:
        await self._run(queries.insert_initial_readings, items=_json(items))

    async def last_stay(self, service_point_id: int) -> CurrentStay | None:
        row = await self._one(queries.last_stay, service_point_id=service_point_id)
        return CurrentStay(**row) if row else None

    async def lock_registers(self, meter_id: int) -> None:
        await self._run(queries.lock_registers, meter_id=meter_id)

    async def last_readings(self, stay: CurrentStay, at: datetime) -> list[LastReading]:
        rows = await self._all(queries.last_readings, id=stay.id, meter_id=stay.meter_id, at=at)
        return [LastReading(**row) for row in rows]

    async def end_installation(self, installation_id: int, at: datetime) -> None:
        await self._run(queries.end_installation, id=installation_id, at=at)

    async def insert_final_readings(self, installation_id: int, at: datetime, items: Sequence[Item]) -> None:
        await self._run(queries.insert_final_readings, id=installation_id, at=at, items=_json(items))

    async def list_installations(
        self,
        after: int,
        limit: int | None,
        *,
        service_point: str | None = None,
        device_id: str | None = None,
    ) -> list[Installation]:
        rows = await self._all(
            queries.list_installations,
            after=after,
            limit=limit,
            service_point=service_point,
            device_id=device_id,
        )
        return [_installation(row) for row in rows]

    # --- parties, occupancies, households

    async def put_parties(self, items: Sequence[Item]) -> list[bool]:
        """Return for each that changed whether it is new."""
        return await self._created(queries.put_parties, items)

    async def find_party(self, key: str) -> Party | None:
        row = await self._one(queries.find_party, key=key)
        return Party(**row) if row else None

    async def list_parties(self, after: str, limit: int) -> list[Party]:
        rows = await self._all(queries.list_parties, after=after, limit=limit)
        return [Party(**row) for row in rows]

    async def delete_party(self, key: str) -> bool:
        return await self._one(queries.delete_party, key=key) is not None

    async def party_ids(self, keys: Collection[str]) -> dict[str, int]:
        return {row["key"]: row["id"] for row in await self._all(queries.party_ids, keys=list(keys))}

    async def occupancies_in_the_way(self, items: Sequence[Item]) -> list[Item]:
        """Return each with the row of the one whose time it shares."""
        return await self._all(queries.occupancies_in_the_way, items=_json(items))

    async def change_occupancies(self, items: Sequence[Item], *, ends: bool) -> dict[int, datetime | None]:
        """Return for the row of each that was there since when it differs, None where it does not."""
        rows = await self._all(queries.change_occupancies, items=_json(items), ends=ends)
        return {row["row"]: row["changed_since"] for row in rows}

    async def insert_occupancies(self, items: Sequence[Item]) -> None:
        await self._run(queries.insert_occupancies, items=_json(items))

    async def end_occupancy(self, occupancy_id: int, at: datetime) -> None:
        await self._run(queries.end_occupancy, id=occupancy_id, at=at)

    async def delete_occupancy(self, occupancy_id: int, service_point_id: int) -> datetime | None:
        """Return since when it was, None where there is none."""
        found = await self._one(queries.delete_occupancy, id=occupancy_id, service_point_id=service_point_id)
        return found["moved_in_at"] if found else None

    async def list_occupancies(
        self, service_point: str, after: int, limit: int | None, *, party: str | None = None
    ) -> list[OccupancyRecord]:
        rows = await self._all(
            queries.list_occupancies, service_point=service_point, after=after, limit=limit, party=party
        )
        return [OccupancyRecord(**row) for row in rows]

    async def occupancies_of(self, service_point_ids: Collection[int]) -> list[Item]:
        return await self._all(queries.occupancies_of, ids=list(service_point_ids))

    async def delete_households(self, service_point_ids: Collection[int]) -> None:
        await self._run(queries.delete_households, ids=list(service_point_ids))

    async def insert_households(self, items: Sequence[Item]) -> None:
        await self._run(queries.insert_households, items=_json(items))

    async def list_households(self, service_point: str) -> list[HouseholdRecord]:
        rows = await self._all(queries.list_households, service_point=service_point)
        return [HouseholdRecord(**row) for row in rows]

    # ---

    async def _run(self, statement: str, **values: Any) -> AsyncCursor[DictRow]:
        try:
            return await self.connection.execute(statement, {"project": self.project_id, **values})
        except (ExclusionViolation, ForeignKeyViolation, UniqueViolation) as error:
            raise _conflict(error) from error

    async def _all(self, statement: str, **values: Any) -> list[Item]:
        return list(await (await self._run(statement, **values)).fetchall())

    async def _one(self, statement: str, **values: Any) -> Item | None:
        return await (await self._run(statement, **values)).fetchone()

    async def _created(self, statement: str, items: Sequence[Item]) -> list[bool]:
        return [row["created"] for row in await self._all(statement, items=_json(items))]


def _conflict(error: IntegrityError) -> ConflictError:
    if isinstance(error, ForeignKeyViolation):
        table = error.diag.table_name or ""
        return ConflictError(f"{REFERENCES.get(table, table)} hang on it")
    field, message = CONSTRAINTS.get(error.diag.constraint_name or "", (None, None))
    return ConflictError(message, field=field)


def _json(items: Sequence[Item]) -> str:
    return orjson.dumps(list(items), default=str).decode()


def _register(text: str) -> Register:
    # Through text: JSON of psycopg would make numbers floats.
    row = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    return Register(row["kind"], row["unit"], row["multiplier"], row["modulus"])


def _meter(row: Item) -> Meter:
    return Meter(
        row["device_id"],
        row["commodity"],
        row["service_point"],
        [_register(text) for text in row["registers"]],
    )


def _locked_meter(row: Item) -> LockedMeter:
    registers = [_register(text) for text in row["registers"]]
    return LockedMeter(
        id=row["id"],
        device_id=row["device_id"],
        commodity=row["commodity"],
        installed=row["installed"],
        registers={register.kind: register for register in registers},
        used=frozenset(row["used"]),
    )


def _readings(found: Mapping[Any, str]) -> dict[Any, Decimal]:
    return {kind: Decimal(value) for kind, value in found.items()}


def _installation(row: Item) -> Installation:
    ends = {name: _readings(row[name]) for name in ("initial_readings", "final_readings")}
    return Installation(**{**row, **ends})
