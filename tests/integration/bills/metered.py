"""A metered service point whose bills are made by the real statement, in a few words.

    home = Metered(connection)
    home.reads("2026-01-01", 0); home.reads("2026-02-01", 100)
    bill_id = await home.bill(database, "2026-01-01", "2026-02-01")

Dates are local midnights in Shanghai.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from include.billing.chunks import correct
from include.billing.exact import ten
from include.billing.periods import months_between
from include.billing.repository import BillingRepository
from include.billing.stored import Chunk, ChunkResult, Factor
from include.kit.db import Database
from tests.billing_rows import PROJECT, Place, _insert, at, insert_place
from tests.builders import insert_definition, insert_schedule

ZONE = ZoneInfo("Asia/Shanghai")

_numbers = count(1)


def midnight(day: str) -> datetime:
    return at(f"{day}T00:00:00")


def insert_tariff(
    connection: psycopg.Connection, *tiers: tuple[str | None, str], frame: str = "MONTH", price: str = "0.5"
) -> int:
    """Insert a default tariff: energy at a price, tiers of (limit, addition); returns its version."""
    tariff_id = _insert(
        connection,
        "tariff",
        {"project_id": PROJECT, "key": f"T{next(_numbers)}", "name": "home", "commodity": "electricity"},
        "id",
    )
    version_id = insert_version(connection, tariff_id, "2020-01-01", *tiers, frame=frame, price=price)
    assignment = {"project_id": PROJECT, "tariff_id": tariff_id, "commodity": "electricity"}
    _insert(connection, "tariff_assignment", {**assignment, "valid_from": midnight("2020-01-01")})
    return version_id


def insert_version(
    connection: psycopg.Connection,
    tariff_id: int,
    day: str,
    *tiers: tuple[str | None, str],
    frame: str = "MONTH",
    price: str = "0.5",
) -> int:
    values = {
        "tariff_id": tariff_id,
        "effective_from": midnight(day),
        "frame": frame,
        "mode": "ADDER",
        "energy_price": price,
        "recorded_at": midnight("2020-01-01"),
    }
    version_id = _insert(connection, "tariff_version", values, "id")
    for ordinal, (limit, addition) in enumerate(tiers, 1):
        tier = {"version_id": version_id, "ordinal": ordinal, "upper_limit": limit, "price": addition}
        _insert(connection, "tier", tier)
    return version_id


def insert_task(connection: psycopg.Connection, key: str = "a" * 32, expression: str = "0 0 0 1 * *") -> int:
    """Insert a billing task of electricity, by default monthly; returns the id of its definition."""
    schedule_id = insert_schedule(connection, kind="billing", expression=expression)
    definition_id = insert_definition(
        connection, schedule_id, kind="billing", project_id=PROJECT, name="monthly"
    )
    task = {"definition_id": definition_id, "natrual_key": key, "commodity": "electricity", "crontab": "{}"}
    _insert(connection, "billing_task", task)
    return definition_id


class Metered:
    """A service point with a meter that was installed on 1 January 2026."""

    def __init__(self, connection: psycopg.Connection, device_id: str | None = None) -> None:
        self.connection = connection
        self.place: Place = insert_place(connection, device_id=device_id)
        connection.execute(
            "UPDATE meter_installation SET valid_from = %s WHERE service_point_id = %s",
            [midnight("2026-01-01"), self.place.service_point_id],
        )
        row = connection.execute(
            """
            SELECT s.key, i.id AS installation_id, r.id AS register_id
            FROM service_point s
            JOIN meter_installation i ON i.service_point_id = s.id
            JOIN register r ON r.meter_id = i.meter_id
            WHERE s.id = %s
            """,
            [self.place.service_point_id],
        ).fetchone()
        self.key: str = row["key"]
        self.installation_id: int = row["installation_id"]
        self.register_id: int = row["register_id"]

    @property
    def id(self) -> int:
        return self.place.service_point_id

    def reads(self, day: str, total: object) -> int:
        """Insert a reading at a midnight and return its id."""
        values = {
            "register_id": self.register_id,
            "installation_id": self.installation_id,
            "read_at": midnight(day),
            "value": total,
            "total": total,
            "source": "meter",
            "quality": "ok",
        }
        return _insert(self.connection, "reading", values, "id")

    def corrects(self, reading_id: int, total: object) -> int:
        """Insert a correction of a reading and return its id."""
        return self.connection.execute(
            """
            INSERT INTO reading (register_id, installation_id, read_at, value, total, source, quality,
                                 supersedes_id)
            SELECT register_id, installation_id, read_at, %(total)s, %(total)s, 'correction', 'edited', id
            FROM reading WHERE id = %(id)s RETURNING id
            """,
            {"id": reading_id, "total": total},
        ).fetchone()["id"]

    def chunk(self, start: str, end: str, **changes: Any) -> Chunk:
        """What the statement bills: this service point alone, up to a date."""
        begin, until = midnight(start), midnight(end)
        values: dict[str, Any] = {
            "project_id": PROJECT,
            "commodity": "electricity",
            "low": self.id,
            "high": self.id,
            "period_to": until,
            "cutoff": datetime.now(UTC),
            "rules": None,
            "factors": [Factor(begin, months_between(begin, until, ZONE), ten(Decimal(1)))],
            "now": datetime.now(UTC),
            "only_ids": [self.id],
            **changes,
        }
        return Chunk(**values)

    async def run(self, database: Database, start: str, end: str, **changes: Any) -> ChunkResult:
        """Correct and bill as a run does; returns what the statement said."""
        async with database.transaction() as connection:
            repository = BillingRepository(connection)
            rules = await repository.load_rules(PROJECT)
            chunk = self.chunk(start, end, rules=rules, **changes)
            await correct(repository, chunk)
            return await repository.price_chunk(chunk)

    async def bill(self, database: Database, start: str, end: str, **changes: Any) -> int:
        """Bill from the end of the last bill, `start`, up to `end`; returns the id of the bill."""
        result = await self.run(database, start, end, **changes)
        assert result.billed == 1, result
        return self.bills()[-1]["id"]

    def bills(self, state: str | None = None) -> list[dict[str, Any]]:
        """Its bills in the order in which they were made."""
        return self.connection.execute(
            "SELECT * FROM bill WHERE service_point_id = %s AND coalesce(%s, state) = state ORDER BY id",
            [self.id, state],
        ).fetchall()

    def adjustments(self) -> list[dict[str, Any]]:
        return self.connection.execute(
            "SELECT * FROM adjustment WHERE service_point_id = %s ORDER BY id", [self.id]
        ).fetchall()

    def lines(self, bill_id: int) -> list[tuple[str, str, str]]:
        """The lines of a bill as (kind, label, amount)."""
        rows = self.connection.execute(
            "SELECT kind, label, amount FROM bill_line WHERE bill_id = %s ORDER BY ordinal", [bill_id]
        )
        return [(row["kind"], row["label"], str(row["amount"])) for row in rows.fetchall()]

    def audit(self, bill_id: int) -> list[dict[str, Any]]:
        return self.connection.execute(
            "SELECT * FROM billing_audit WHERE entity = 'bill' AND entity_id = %s ORDER BY id", [bill_id]
        ).fetchall()


def tally(connection: psycopg.Connection) -> int:
    """How many final bills the tally counts."""
    return connection.execute("SELECT coalesce(sum(bills), 0)::int AS n FROM bill_tally").fetchone()["n"]
