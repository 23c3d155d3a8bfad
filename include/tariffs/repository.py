"""The statements on tariffs: the only caller of this domain's `queries.sql`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from psycopg.errors import ExclusionViolation

from include.billing.model import FixedCharge, TariffVersion, TaxRule, Tier, TouWindow
from include.kit.db import Connection, Repository
from include.kit.sql import load_queries
from include.settings import get_settings
from include.tariffs.model import Applied, Assignment, Span, Tariff, TariffFields, in_order

queries = load_queries(__file__)

Row = Mapping[str, Any]


async def load_versions(connection: Connection, tariff_ids: Sequence[int]) -> dict[int, TariffVersion]:
    """Return all versions of these tariffs by the version's id, those of a tariff by date."""
    cursor = await connection.execute(queries.load_versions, {"tariff_ids": list(tariff_ids)})
    return {row["id"]: _version(row) for row in await cursor.fetchall()}


class TariffRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits."""

    def __init__(self, connection: Connection, project_id: str) -> None:
        super().__init__(connection, {"project_id": project_id})
        self.project_id = project_id

    async def project_timezone(self) -> str:
        rows = await self._rows(queries.project_timezone)
        return rows[0]["timezone"] if rows else get_settings().timezone

    async def list_tariffs(self, *, key: str | None = None, after: str = "", limit: int = 1) -> list[Tariff]:
        return [
            Tariff(**row) for row in await self._rows(queries.list_tariffs, key=key, after=after, limit=limit)
        ]

    async def put_tariff(self, key: str, fields: TariffFields) -> bool | None:
        """Return whether it is new, None where it must stay as it is."""
        rows = await self._rows(queries.put_tariff, key=key, **fields.model_dump())
        return rows[0]["created"] if rows else None

    async def insert_version(self, version: TariffVersion) -> int | None:
        """Return the id of the version, None where the tariff has one of that date."""
        rows = await self._rows(queries.insert_version, **_columns(version))
        return rows[0]["id"] if rows else None

    async def find_service_point(self, key: str) -> Row | None:
        """Return its id, commodity and subtype."""
        rows = await self._rows(queries.find_service_point, key=key)
        return rows[0] if rows else None

    async def insert_assignment(
        self,
        *,
        tariff_id: int,
        service_point_id: int | None,
        commodity: str,
        subtype: str | None,
        valid_from: datetime,
        valid_to: datetime | None,
    ) -> int | None:
        """Return its id, None where another one holds within its span."""
        try:
            rows = await self._rows(
                queries.insert_assignment,
                tariff_id=tariff_id,
                service_point_id=service_point_id,
                commodity=commodity,
                subtype=subtype,
                valid_from=valid_from,
                valid_to=valid_to,
            )
        except ExclusionViolation:
            return None
        assignment_id: int = rows[0]["id"]
        return assignment_id

    async def list_assignments(
        self,
        *,
        id: int | None = None,
        tariff: str | None = None,
        service_point: str | None = None,
        after: int = 0,
        limit: int = 1,
    ) -> list[Assignment]:
        rows = await self._rows(
            queries.list_assignments,
            id=id,
            tariff=tariff,
            service_point=service_point,
            after=after,
            limit=limit,
        )
        return [Assignment(**row) for row in rows]

    async def end_assignment(self, assignment_id: int, valid_to: datetime | None) -> bool:
        """Return False where another one holds in what would be added to it."""
        try:
            await self.connection.execute(
                queries.end_assignment,
                {"id": assignment_id, "project_id": self.project_id, "valid_to": valid_to},
            )
        except ExclusionViolation:
            return False
        return True

    async def delete_assignment(self, assignment_id: int) -> bool:
        """Return False where bills may have been made by it."""
        cursor = await self.connection.execute(
            queries.delete_assignment, {"id": assignment_id, "project_id": self.project_id}
        )
        return cursor.rowcount == 1

    async def spans_of_version(self, version_id: int) -> list[Span]:
        return [Span(**row) for row in await self._rows(queries.spans_of_version, version_id=version_id)]

    async def request_rerates(
        self, spans: Sequence[Span], commodity: str, *, force: bool
    ) -> tuple[int, datetime | None]:
        """Return how many service points have bills within the spans, and since when.

        :param force: ask for a look at those bills, too, not only at those that may be being made
        """
        [row] = await self._rows(
            queries.request_rerates,
            service_point_ids=[span.service_point_id for span in spans],
            subtypes=[span.subtype for span in spans],
            firsts=[span.first for span in spans],
            ends=[span.until for span in spans],
            commodity=commodity,
            force=force,
        )
        return row["points"], row["since"]

    async def find_applied(self, service_point_id: int, at: datetime) -> tuple[Applied, int] | None:
        """Return what holds at a moment, and the id of its tariff."""
        rows = await self._rows(queries.find_applied, service_point_id=service_point_id, at=at)
        if not rows:
            return None
        row = dict(rows[0])
        tariff_id: int = row.pop("tariff_id")
        return Applied(**row), tariff_id


def _version(row: Row) -> TariffVersion:
    return TariffVersion(
        id=row["id"],
        tariff_id=row["tariff_id"],
        effective_from=row["effective_from"],
        frame=row["frame"],
        mode=row["mode"],
        on_occupant_change=row["on_occupant_change"],
        energy_price=row["energy_price"],
        persons_base=row["persons_base"],
        minimum_charge=row["minimum_charge"],
        tiers=tuple(
            Tier(ordinal, limit and Decimal(limit), Decimal(price), Decimal(step), _prices(kind_prices))
            for ordinal, limit, price, step, kind_prices in row["tiers"]
        ),
        tou_prices=_prices(row["tou_prices"]),
        tou_windows=tuple(TouWindow(*window) for window in row["tou_windows"]),
        holidays=frozenset(row["holidays"]),
        weekend_is_holiday=row["weekend_is_holiday"],
        fixed_charges=tuple(
            FixedCharge(name, basis, Decimal(amount)) for name, basis, amount in row["fixed_charges"]
        ),
        tax_rules=tuple(
            TaxRule(category, Decimal(rate), inclusive) for category, rate, inclusive in row["tax_rules"]
        ),
    )


def _prices(prices: Mapping[str, str]) -> dict[Any, Decimal]:
    return in_order({kind: Decimal(price) for kind, price in prices.items()})


def _columns(version: TariffVersion) -> dict[str, Any]:
    return {
        "tariff_id": version.tariff_id,
        "effective_from": version.effective_from,
        "frame": version.frame,
        "mode": version.mode,
        "on_occupant_change": version.on_occupant_change,
        "energy_price": version.energy_price,
        "persons_base": version.persons_base,
        "minimum_charge": version.minimum_charge,
        "holidays": sorted(version.holidays),
        "weekend_is_holiday": version.weekend_is_holiday,
        "tiers": _json(version.tiers),
        "tou_prices": _json([{"kind": kind, "price": price} for kind, price in version.tou_prices.items()]),
        "tou_windows": _json(_numbered(version.tou_windows)),
        "fixed_charges": _json(_numbered(version.fixed_charges)),
        "tax_rules": _json(version.tax_rules),
    }


def _numbered(parts: Sequence[TouWindow | FixedCharge]) -> list[Row]:
    names = parts[0].__slots__ if parts else ()
    return [
        {"ordinal": ordinal, **{name: getattr(part, name) for name in names}}
        for ordinal, part in enumerate(parts, 1)
    ]


def _json(items: Sequence[Any]) -> str:
    return orjson.dumps(list(items), default=str).decode()
