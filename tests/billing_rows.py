"""Rows of billing for tests: master data and bills that are there already, with values that do where a test
does not care.

    place = insert_place(connection, device_id="000090502121")     # with premise, service point and meter
    bill_id = insert_bill(connection, place, charge="63.79", shares=[("resident-1", "13800000001")])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import count
from typing import Any

import psycopg
from psycopg import sql

#: Shanghai, where a project without a row of its own is billed.
LOCAL = timezone(timedelta(hours=8))
PROJECT = "42"
ADDRESS = ["安心e家", "", "", "", "空调房"]

_numbers = count(1)


@dataclass(frozen=True)
class Place:
    """What a bill belongs to."""

    project_id: str
    service_point_id: int
    meter_id: int
    device_id: str
    commodity: str
    subtype: str | None


def at(text: str) -> datetime:
    """Return the moment that a naive local text, as the API prints it, means in Shanghai."""
    return datetime.fromisoformat(text).replace(tzinfo=LOCAL).astimezone(UTC)


def insert_project(connection: psycopg.Connection, project_id: str = PROJECT, **changes: Any) -> str:
    """Insert how a project is billed."""
    _insert(connection, "billing_project", {"project_id": project_id, "timezone": "Asia/Shanghai", **changes})
    return project_id


def insert_premise(connection: psycopg.Connection, **changes: Any) -> int:
    values = {"project_id": PROJECT, "key": f"premise {next(_numbers)}", "address": ADDRESS, **changes}
    return _insert(connection, "premise", values, "id")


def insert_service_point(connection: psycopg.Connection, premise_id: int, **changes: Any) -> int:
    values = {
        "project_id": PROJECT,
        "key": f"service point {next(_numbers)}",
        "premise_id": premise_id,
        "commodity": "electricity",
        **changes,
    }
    return _insert(connection, "service_point", values, "id")


def insert_meter(connection: psycopg.Connection, device_id: str, **changes: Any) -> int:
    values = {"project_id": PROJECT, "device_id": device_id, "commodity": "electricity", **changes}
    return _insert(connection, "meter", values, "id")


def insert_register(connection: psycopg.Connection, meter_id: int, **changes: Any) -> int:
    return _insert(
        connection, "register", {"meter_id": meter_id, "kind": "TOTAL", "unit": "kWh", **changes}, "id"
    )


def insert_installation(
    connection: psycopg.Connection, meter_id: int, service_point_id: int, **changes: Any
) -> int:
    values = {
        "meter_id": meter_id,
        "service_point_id": service_point_id,
        "valid_from": at("2019-01-01T00:00:00"),
        **changes,
    }
    return _insert(connection, "meter_installation", values, "id")


def insert_place(
    connection: psycopg.Connection,
    *,
    project_id: str = PROJECT,
    device_id: str | None = None,
    commodity: str = "electricity",
    subtype: str | None = None,
) -> Place:
    """Insert a premise with a service point, and a meter with a register that is installed there."""
    device_id = device_id or f"{next(_numbers):012d}"
    premise_id = insert_premise(connection, project_id=project_id)
    service_point_id = insert_service_point(
        connection, premise_id, project_id=project_id, commodity=commodity, subtype=subtype
    )
    meter_id = insert_meter(connection, device_id, project_id=project_id, commodity=commodity)
    insert_register(connection, meter_id, unit="kWh" if commodity == "electricity" else "m3")
    insert_installation(connection, meter_id, service_point_id)
    return Place(project_id, service_point_id, meter_id, device_id, commodity, subtype)


def insert_bill(
    connection: psycopg.Connection,
    place: Place,
    *,
    shares: Sequence[tuple[str, str]] = (),
    lines: Sequence[dict[str, Any]] = (),
    **changes: Any,
) -> int:
    """Insert a final bill of October 2019 with equal shares, and count it; return its id.

    :param shares: (name, cellphone) of each
    :param lines: columns of `bill_line` that matter to the test
    """
    values = {
        "project_id": place.project_id,
        "service_point_id": place.service_point_id,
        "meter_id": place.meter_id,
        "device_id": place.device_id,
        "commodity": place.commodity,
        "subtype": place.subtype,
        "address": ADDRESS,
        "state": "final",
        "period_from": at("2019-10-01T00:00:00"),
        "period_to": at("2019-11-01T00:00:00"),
        "months": "1",
        "coverage": "1",
        "previous_quantity": "0",
        "quantity": "100",
        "unit": "kWh" if place.commodity == "electricity" else "m3",
        "opening": "0",
        "closing": "100",
        "charge": "60.00",
        "rounding_delta": "0",
        "year_quantity": "100",
        "estimates_in_a_row": 0,
        "flags": [],
        "input_hash": 0,
        "engine_version": 1,
        **changes,
    }
    values.setdefault("created_at", values["period_to"])
    values.setdefault("cutoff", values["created_at"])
    bill_id = _insert(connection, "bill", values, "id")
    insert_lines(connection, bill_id, values, lines)
    insert_shares(connection, bill_id, values["charge"], shares)
    if values["state"] == "final":
        tally_bills(connection, values["project_id"], values["commodity"])
    return bill_id


def copy_bill(connection: psycopg.Connection, bill_id: int, copies: int, step: timedelta) -> None:
    """Insert a bill again and again, each a `step` later, its charge the number of the copy; count them."""
    connection.execute(
        """
        INSERT INTO bill
        SELECT (jsonb_populate_record(bill, jsonb_build_object(
            'id', nextval('bill_id'), 'charge', n,
            'period_from', bill.period_from + n * %(step)s, 'period_to', bill.period_to + n * %(step)s
        ))).*
        FROM bill, generate_series(1, %(copies)s) AS n
        WHERE bill.id = %(id)s
        """,
        {"id": bill_id, "copies": copies, "step": step},
    )
    found = connection.execute("SELECT project_id, commodity FROM bill WHERE id = %s", [bill_id]).fetchone()
    tally_bills(connection, found["project_id"], found["commodity"], copies)


def insert_lines(
    connection: psycopg.Connection, bill_id: int, bill: dict[str, Any], lines: Sequence[dict[str, Any]]
) -> None:
    for ordinal, line in enumerate(lines):
        values = {
            "bill_id": bill_id,
            "ordinal": ordinal,
            "kind": "ENERGY",
            "label": "TOTAL",
            "quantity": bill["quantity"],
            "rate": "0.6",
            "amount": bill["charge"],
            "from_at": bill["period_from"],
            "to_at": bill["period_to"],
            "method": "exact_read",
            **line,
        }
        _insert(connection, "bill_line", values)


def insert_shares(
    connection: psycopg.Connection, bill_id: int, charge: str, shares: Sequence[tuple[str, str]]
) -> None:
    cents = int(Decimal(charge) * 100)
    for number, (name, cellphone) in enumerate(shares):
        amount = Decimal(cents // len(shares) + (number < cents % len(shares))) / 100
        values = {"bill_id": bill_id, "party_id": number + 1, "name": name, "cellphone": cellphone}
        _insert(connection, "bill_share", {**values, "weight": "1", "amount": amount})


def tally_bills(connection: psycopg.Connection, project_id: str, commodity: str, bills: int = 1) -> None:
    """Count bills as the run that makes them does, in one of two slots."""
    connection.execute(
        """
        INSERT INTO bill_tally (project_id, commodity, slot, bills) VALUES (%s, %s, %s, %s)
        ON CONFLICT (project_id, commodity, slot) DO UPDATE SET bills = bill_tally.bills + excluded.bills
        """,
        [project_id, commodity, next(_numbers) % 2, bills],
    )


def _insert(
    connection: psycopg.Connection, table: str, values: dict[str, Any], returning: str | None = None
) -> Any:
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(map(sql.Placeholder, values)),
    )
    if returning is None:
        connection.execute(statement, values)
        return None
    row = connection.execute(statement + sql.SQL(" RETURNING {}").format(sql.Identifier(returning)), values)
    return row.fetchone()[returning]
