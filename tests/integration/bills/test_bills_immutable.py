"""What the tables refuse, whoever asks: final bills never change, and periods do not overlap."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import ExclusionViolation, RestrictViolation

from tests.billing_rows import insert_bill, insert_place
from tests.integration.bills.metered import Metered, insert_tariff, midnight

PARTS = ("bill_line", "bill_quantity", "bill_share")


@pytest.fixture
async def bill_id(database, connection):
    """A final bill with a quantity, a line and a share."""
    insert_tariff(connection)
    home = Metered(connection)
    home.reads("2026-01-01", 0)
    home.reads("2026-02-01", 100)
    party = connection.execute(
        "INSERT INTO party (project_id, key, name) VALUES ('42', 'R', 'resident') RETURNING id"
    ).fetchone()["id"]
    connection.execute(
        "INSERT INTO occupancy (service_point_id, party_id, valid_from) VALUES (%s, %s, %s)",
        [home.id, party, midnight("2026-01-01")],
    )
    bill_id = await home.bill(database, "2026-01-01", "2026-02-01")
    for table in PARTS:
        assert count(connection, table) == 1
    return bill_id


def count(connection: psycopg.Connection, table: str) -> int:
    statement = sql.SQL("SELECT count(*) AS n FROM {}").format(sql.Identifier(table))
    return connection.execute(statement).fetchone()["n"]


class TestFinal:
    @pytest.mark.parametrize(
        "change",
        [
            "charge = 0",
            "quantity = quantity + 1",
            "state = 'draft'",
            "state = 'void', charge = 0",
            "flags = '{estimated}'",
        ],
    )
    async def test_update_is_refused(self, connection, bill_id, change):
        with pytest.raises(RestrictViolation, match=f"bill {bill_id} is final"):
            connection.execute(sql.SQL("UPDATE bill SET {}").format(sql.SQL(change)))

    async def test_delete_is_refused(self, connection, bill_id):
        with pytest.raises(RestrictViolation, match=f"bill {bill_id} is final"):
            connection.execute("DELETE FROM bill")

    @pytest.mark.parametrize("table", PARTS)
    @pytest.mark.parametrize("statement", ["UPDATE {} SET bill_id = bill_id", "DELETE FROM {}"])
    async def test_parts_are_refused(self, connection, bill_id, table, statement):
        with pytest.raises(RestrictViolation, match=f"bill {bill_id} cannot be changed"):
            connection.execute(sql.SQL(statement).format(sql.Identifier(table)))
        assert count(connection, table) == 1

    async def test_it_can_be_made_void_and_no_more(self, connection, bill_id):
        connection.execute("UPDATE bill SET state = 'void'")
        for state in ("final", "draft"):
            with pytest.raises(RestrictViolation, match="is void"):
                connection.execute("UPDATE bill SET state = %s", [state])
        with pytest.raises(RestrictViolation, match="is void"):
            connection.execute("DELETE FROM bill")
        with pytest.raises(RestrictViolation):
            connection.execute("DELETE FROM bill_line")


class TestDraft:
    async def test_it_can_be_changed(self, connection):
        insert_bill(connection, insert_place(connection), state="draft", lines=[{}])
        connection.execute("UPDATE bill_line SET amount = 1")
        connection.execute("UPDATE bill SET charge = 1")
        connection.execute("DELETE FROM bill_line")
        connection.execute("DELETE FROM bill")


class TestPeriods:
    @pytest.mark.parametrize("state", ["draft", "final"])
    async def test_overlap_is_refused(self, connection, bill_id, state):
        home = connection.execute("SELECT * FROM bill").fetchone()
        with pytest.raises(ExclusionViolation) as refused:
            copy(connection, home["id"], "2026-01-31", "2026-03-01", state)
        assert refused.value.diag.constraint_name == "bill_no_overlap"

    async def test_void_ones_do_not_count_and_touching_is_no_overlap(self, connection, bill_id):
        copy(connection, bill_id, "2026-01-01", "2026-02-01", "void")
        copy(connection, bill_id, "2026-02-01", "2026-03-01", "final")
        assert count(connection, "bill") == 3


def copy(connection: psycopg.Connection, bill_id: int, start: str, end: str, state: str) -> None:
    connection.execute(
        """
        INSERT INTO bill
        SELECT (jsonb_populate_record(bill, jsonb_build_object(
            'id', nextval('bill_id'), 'state', %(state)s::text, 'period_from', %(start)s::timestamptz,
            'period_to', %(end)s::timestamptz))).*
        FROM bill WHERE id = %(id)s
        """,
        {"id": bill_id, "state": state, "start": midnight(start), "end": midnight(end)},
    )
