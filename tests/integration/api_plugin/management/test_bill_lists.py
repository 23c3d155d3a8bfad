"""/carillon/v1: bills of a project, their export, billing runs and adjustments."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest

from api_plugin.common import exports
from include.bills import export, record_repository
from include.bills.export import COLUMNS, PIECE, export_bills
from include.bills.model import bill_key
from include.bills.records import RecordFilter
from include.errors import NotFoundError
from tests.billing_rows import (
    PROJECT,
    _insert,
    at,
    copy_bill,
    insert_bill,
    insert_place,
    insert_project,
)
from tests.builders import make_token
from tests.integration.bills.metered import insert_task

LIST = f"/projects/{PROJECT}/bills"
EXPORT = f"{LIST}/export"


@pytest.fixture
async def client(client_of, database):
    return await client_of("management", await make_token(database))


@pytest.fixture
async def foreign(client_of, database):
    return await client_of("management", await make_token(database, projects=["other"]))


@pytest.fixture
def bills(connection):
    """Ids of bills by name, in the order of their periods' ends."""
    power = insert_place(connection, device_id="D1")
    water = insert_place(connection, device_id="W1", commodity="water", subtype="自来水表")
    other = insert_place(connection, project_id="other", device_id="D1")
    run_id = insert_run(connection)
    november = {"period_from": at("2019-11-01T00:00:00"), "period_to": at("2019-12-01T00:00:00")}
    insert_bill(connection, other)
    return {
        "october": insert_bill(connection, power, run_id=run_id),
        "water": insert_bill(connection, water, flags=["estimated", "first"]),
        "november": insert_bill(connection, power, **november, state="void", flags=["estimated"]),
        "draft": insert_bill(connection, power, **november, state="draft"),
    }


def insert_run(connection, due_at="2019-11-01T00:00:00", **changes):
    definition = connection.execute("SELECT definition_id AS id FROM billing_task").fetchone()
    values = {
        "definition_id": definition["id"] if definition else insert_task(connection),
        "project_id": PROJECT,
        "commodity": "electricity",
        "due_at": at(due_at),
        "period_to": at(due_at),
        "cutoff": at(due_at),
        "origin": "scheduled",
        "state": "partial",
        "airflow_run": "scheduled__1",
        "billed": 3,
        "adjusted": 2,
        "parked": 1,
        "total": "63.79",
        "started_at": at(due_at),
        "finished_at": at(due_at) + timedelta(minutes=1),
        **changes,
    }
    return _insert(connection, "billing_run", values, "id")


async def ids(client, **params):
    answer = await client.get(LIST, params=params)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


class TestList:
    async def test_200(self, client, bills, connection):
        body = (await client.get(LIST)).json()
        names = ["draft", "november", "water", "october"]
        assert [item["id"] for item in body["items"]] == [bills[name] for name in names]
        assert body["next"] is None
        row = connection.execute("SELECT * FROM bill WHERE id = %s", [bills["water"]]).fetchone()
        assert body["items"][2] == {
            "key": bill_key(row["created_at"], row["id"]),
            "id": row["id"],
            "project_id": PROJECT,
            "service_point": body["items"][2]["service_point"],
            "run_id": None,
            "device_id": "W1",
            "commodity": "water",
            "subtype": "自来水表",
            "address": ["安心e家", "", "", "", "空调房"],
            "state": "final",
            "period_from": "2019-09-30T16:00:00Z",
            "period_to": "2019-10-31T16:00:00Z",
            "months": "1",
            "coverage": "1",
            "previous_quantity": "0",
            "quantity": "100",
            "unit": "m3",
            "opening": "0",
            "closing": "100",
            "charge": "60.00",
            "energy": "0.00",
            "fixed": "0.00",
            "minimum": "0.00",
            "tax": "0.00",
            "corrections": "0.00",
            "flags": ["estimated", "first"],
            "original_bill_id": None,
            "replaced_by_id": None,
            "created_at": "2019-10-31T16:00:00Z",
        }

    @pytest.mark.parametrize(
        ("conditions", "found"),
        [
            ({"commodity": "water"}, ["water"]),
            ({"state": "final"}, ["water", "october"]),
            ({"device_id": "D1"}, ["draft", "november", "october"]),
            ({"device_id": "W1"}, ["water"]),
            ({"device_id": "nobody"}, []),
            ({"device_id": "D1", "commodity": "water"}, []),
            ({"flags": "estimated", "from": "2019-01-01T00:00:00Z"}, ["november", "water"]),
            ({"flags": ["estimated", "first"], "from": "2019-01-01T00:00:00Z"}, ["water"]),
            ({"flags": "estimated", "device_id": "D1"}, ["november"]),
            ({"flags": "estimated", "run": 1}, []),
            ({"from": "2019-11-01T00:00:00+08:00", "to": "2019-12-01T00:00:00+08:00"}, ["water", "october"]),
            ({"from": "2019-11-01T00:00:00.1+08:00"}, ["draft", "november"]),
            ({"to": "2019-11-01T00:00:00+08:00"}, []),
            ({"device_id": "D1", "to": "2019-11-02T00:00:00+08:00"}, ["october"]),
        ],
    )
    async def test_200_filters(self, client, bills, conditions, found):
        assert await ids(client, **conditions) == [bills[name] for name in found]

    async def test_200_service_point(self, client, bills, connection):
        key = connection.execute("SELECT key FROM service_point WHERE commodity = 'water'").fetchone()["key"]
        assert await ids(client, service_point=key) == [bills["water"]]
        assert await ids(client, service_point=key, device_id="D1") == []
        assert await ids(client, service_point="nowhere") == []

    async def test_200_run(self, client, bills):
        run = (await client.get(f"/projects/{PROJECT}/billing-runs")).json()["items"][0]["id"]
        assert await ids(client, run=run) == [bills["october"]]
        assert await ids(client, run=run, device_id="D1") == [bills["october"]]
        assert await ids(client, run=run, commodity="water") == []
        assert await ids(client, run=run, to="2019-10-01T00:00:00Z") == []
        assert await ids(client, run=run + 1) == []

    async def test_200_run_reads_no_other_bills(self, client, bills, connection, monkeypatch):
        """Bills of a run end where it ends: the index leads to them past all others."""
        asked = []
        listed = record_repository._list_of
        monkeypatch.setattr(
            record_repository, "_list_of", lambda *given: asked.append(listed(*given)) or asked[-1]
        )
        [run] = (await client.get(f"/projects/{PROJECT}/billing-runs")).json()["items"]
        assert await ids(client, run=run["id"]) == [bills["october"]]
        [(_, parameters)] = asked
        assert parameters["commodities"] == ["electricity"]
        end = datetime.fromisoformat(run["period_to"])
        assert (parameters["ends_from"], parameters["before_at"]) == (end, end + timedelta(microseconds=1))

    @pytest.mark.parametrize("condition", [{}, {"device_id": "D1"}, {"to": "2020-01-01T00:00:00Z"}])
    async def test_200_pages(self, client, bills, condition):
        whole, paged, cursor = await ids(client, **condition), [], {}
        while True:
            body = (await client.get(LIST, params={**condition, "limit": 1, **cursor})).json()
            paged += [item["id"] for item in body["items"]]
            if body["next"] is None:
                break
            cursor = {"cursor": body["next"]}
        assert paged == whole
        assert len(whole) >= 3

    @pytest.mark.parametrize(
        "path", [LIST, EXPORT, *(f"/projects/{PROJECT}/{name}" for name in ("billing-runs", "adjustments"))]
    )
    async def test_404_of_a_foreign_project(self, foreign, bills, path):
        assert (await foreign.get(path)).status_code == 404

    @pytest.mark.parametrize(
        "query",
        ["state=open", "commodity=gas", "flags=nice", "run=0", "from=2019-11-01", "cursor=x", "limit=0"],
    )
    async def test_422(self, client, query):
        answer = await client.get(f"{LIST}?{query}")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"].split(".")[0] == query.split("=")[0]

    @pytest.mark.parametrize("path", [LIST, EXPORT])
    async def test_422_flags_alone(self, client, bills, path):
        answer = await client.get(path, params={"flags": "estimated", "to": "2020-01-01T00:00:00Z"})
        assert answer.status_code == 422
        assert answer.json()["errors"] == [
            {"field": "flags", "message": "needs one of from, run, service_point and device_id beside it"}
        ]


def table(text):
    return list(csv.reader(io.StringIO(text, newline="")))


class TestExport:
    async def test_200(self, client, connection, bills):
        answer = await client.get(EXPORT, params={"commodity": "water"})
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["content-disposition"] == 'attachment; filename="bills.csv"'
        head, row = table(answer.text)
        assert head == list(COLUMNS)
        bill = connection.execute(
            "SELECT b.*, s.key FROM bill b JOIN service_point s ON s.id = b.service_point_id WHERE b.id = %s",
            [bills["water"]],
        ).fetchone()
        assert dict(zip(head, row, strict=True)) == {
            "key": bill_key(bill["created_at"], bill["id"]),
            "number": str(bill["id"]),
            "service_point": bill["key"],
            "device_id": "W1",
            "commodity": "water",
            "subtype": "自来水表",
            "address_1": "安心e家",
            "address_2": "",
            "address_3": "",
            "address_4": "",
            "address_5": "空调房",
            "state": "final",
            "period_from": "2019-10-01 00:00:00",
            "period_to": "2019-11-01 00:00:00",
            "timezone": "Asia/Shanghai",
            "previous_quantity": "0.00",
            "quantity": "100.00",
            "unit": "m3",
            "opening": "0.00",
            "closing": "100.00",
            "energy": "0.00",
            "fixed": "0.00",
            "minimum": "0.00",
            "tax": "0.00",
            "corrections": "0.00",
            "charge": "60.00",
            "flags": "estimated first",
            "run": "",
            "stands_for": "",
            "created_at": "2019-11-01 00:00:00",
        }

    async def test_200_what_lines_come_to(self, client, connection):
        insert_project(connection, timezone="Europe/Berlin")
        lines = [
            {"kind": "ENERGY", "amount": "1"},
            {"kind": "TIER", "amount": "2"},
            {"kind": "FIXED", "amount": "4"},
            {"kind": "MINIMUM", "amount": "8"},
            {"kind": "TAX", "amount": "16"},
            {"kind": "TAX", "amount": "32", "included": True},
            {"kind": "TRUE_UP", "amount": "-3"},
            {"kind": "ADJUSTMENT", "amount": "-2"},
        ]
        insert_bill(connection, insert_place(connection), charge="26", lines=lines, opening=None)
        head, row = table((await client.get(EXPORT)).text)
        cells = dict(zip(head, row, strict=True))
        amounts = ("energy", "fixed", "minimum", "tax", "corrections", "charge", "opening", "period_to")
        assert [cells[name] for name in amounts] == [
            "3.00", "4.00", "8.00", "16.00", "-5.00", "26.00", "", "2019-10-31 17:00:00"
        ]  # fmt: skip

    async def test_200_for_spreadsheets(self, client, bills):
        plain, marked = await client.get(EXPORT), await client.get(EXPORT, params={"bom": True})
        assert not plain.content.startswith(b"\xef\xbb\xbf")
        assert marked.content == b"\xef\xbb\xbf" + plain.content
        assert plain.content.endswith(b"\r\n")

    @pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
    async def test_200_cells_are_no_formulas(self, client, connection, start):
        text = f'{start}HYPERLINK("http://evil","x")'
        insert_bill(
            connection, insert_place(connection, device_id=text), address=[text, "", "a,b", 'c"d', ""]
        )
        _, row = table((await client.get(EXPORT)).text)
        assert row[3] == row[6] == f"'{text}"
        assert row[8:10] == ["a,b", 'c"d']

    async def test_200_filters(self, client, bills):
        rows = table((await client.get(EXPORT, params={"state": "final"})).text)
        assert [int(row[1]) for row in rows[1:]] == [bills["water"], bills["october"]]
        assert len(table((await client.get(EXPORT, params={"run": 999})).text)) == 1

    async def test_200_of_one_moment(self, database, connection):
        bill_id = insert_bill(connection, insert_place(connection))
        copy_bill(connection, bill_id, PIECE * 2, timedelta(days=31))
        pieces = export_bills(database, PROJECT, RecordFilter(state="final"))
        await anext(pieces)
        await anext(pieces)
        connection.execute("UPDATE bill SET state = 'void'")
        rest = [row async for piece in pieces for row in table(piece)]
        assert len(rest) == PIECE + 1
        assert {row[11] for row in rest} == {"final"}

    async def test_50_000_bills_a_piece_at_a_time(self, database, connection, monkeypatch):
        places = [insert_place(connection) for _ in range(10)]
        for place in places:
            copy_bill(connection, insert_bill(connection, place), 4_999, timedelta(days=31))
        alive, most = 0, 0
        row = export.row

        class Cells(list):
            """A row that says when it is gone."""

            def __init__(self, cells):
                nonlocal alive, most
                super().__init__(cells)
                alive += 1
                most = max(most, alive)

            def __del__(self):
                nonlocal alive
                alive -= 1

        monkeypatch.setattr(export, "row", lambda bill: Cells(row(bill)))
        sizes = [
            len(table(piece)) async for piece in export_bills(database, PROJECT, RecordFilter(state="final"))
        ]
        assert sum(sizes) == 1 + 50_000
        assert sizes[0] == 1
        assert max(sizes) == PIECE
        assert most <= PIECE + 1

    async def test_a_reader_that_goes_away_leaves_no_connection(self, database, connection):
        bill_id = insert_bill(connection, insert_place(connection))
        copy_bill(connection, bill_id, PIECE * 3, timedelta(days=31))
        pieces = export_bills(database, PROJECT, RecordFilter())
        await anext(pieces)
        await anext(pieces)
        assert len(in_transaction(connection)) == 1
        await pieces.aclose()
        assert in_transaction(connection) == []

    async def test_404_before_the_first_piece(self, database):
        with pytest.raises(NotFoundError):
            await anext(export_bills(database, PROJECT, RecordFilter(), projects=["other"]))

    async def test_429_too_many_at_once(self, client, bills, monkeypatch):
        monkeypatch.setattr(exports, "EXPORTS_MOST", 0)
        answer = await client.get(EXPORT)
        assert answer.status_code == 429
        assert answer.headers["content-type"] == "application/problem+json"
        monkeypatch.undo()
        for _ in range(exports.EXPORTS_MOST + 1):
            assert (await client.get(EXPORT)).status_code == 200


def in_transaction(connection):
    return connection.execute(
        """
        SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'carillon' AND xact_start IS NOT NULL
        """
    ).fetchall()


class TestRuns:
    async def test_200(self, client, connection):
        first = insert_run(connection)
        second = insert_run(
            connection, "2019-12-01T00:00:00", state="running", finished_at=None, commodity="water"
        )
        path = f"/projects/{PROJECT}/billing-runs"
        body = (await client.get(path)).json()
        assert [item["id"] for item in body["items"]] == [second, first]
        one = {
            "id": first,
            "definition_id": body["items"][0]["definition_id"],
            "natrual_key": "a" * 32,
            "task": "monthly",
            "project_id": PROJECT,
            "commodity": "electricity",
            "due_at": "2019-10-31T16:00:00Z",
            "period_to": "2019-10-31T16:00:00Z",
            "cutoff": "2019-10-31T16:00:00Z",
            "origin": "scheduled",
            "state": "partial",
            "airflow_run": "scheduled__1",
            "billed": 3,
            "adjusted": 2,
            "parked": 1,
            "total": "63.79",
            "reason": None,
            "started_at": "2019-10-31T16:00:00Z",
            "finished_at": "2019-10-31T16:01:00Z",
        }
        assert body["items"][1] == one
        assert (await client.get(f"/billing-runs/{first}")).json() == one
        for query, found in (("state=running", second), ("commodity=electricity", first)):
            items = (await client.get(f"{path}?{query}")).json()["items"]
            assert [item["id"] for item in items] == [found]
        page = (await client.get(f"{path}?limit=1")).json()
        following = (await client.get(f"{path}?limit=1&cursor={page['next']}")).json()
        assert [page["items"][0]["id"], following["items"][0]["id"]] == [second, first]
        assert following["next"] is None

    async def test_404(self, client, foreign, connection):
        run_id = insert_run(connection)
        assert (await client.get(f"/billing-runs/{run_id + 1}")).status_code == 404
        assert (await foreign.get(f"/billing-runs/{run_id}")).status_code == 404


class TestAdjustments:
    async def test_200(self, client, connection):
        found = []
        for kind, amount, open_amount in (("CREDIT", -5, -2), ("DEBIT", 3, 0), ("TRUE_UP", 1, 1)):
            place = insert_place(connection)
            bill_id = insert_bill(connection, place)
            values = {
                "project_id": PROJECT,
                "service_point_id": place.service_point_id,
                "corrects_bill_id": bill_id,
                "kind": kind,
                "quantity": 1,
                "amount": amount,
                "open_amount": open_amount,
                "reason": "found",
                "detail": "{}",
                "cutoff": datetime.now(UTC),
                "created_at": datetime.now(UTC),
            }
            found.insert(0, _insert(connection, "adjustment", values, "id"))
        path = f"/projects/{PROJECT}/adjustments"
        items = (await client.get(path)).json()["items"]
        assert [item["id"] for item in items] == found
        assert [item["open_amount"] for item in items] == ["1.00", "0.00", "-2.00"]
        assert {item["manual"] for item in items} == {False}
        for params, some in (
            ({"kind": "DEBIT"}, found[1:2]),
            ({"open": True}, [found[0], found[2]]),
            ({"open": False}, found[1:2]),
            ({"service_point": items[2]["service_point"]}, found[2:]),
            ({"service_point": "nowhere"}, []),
        ):
            chosen = (await client.get(path, params=params)).json()["items"]
            assert [item["id"] for item in chosen] == some
        page = (await client.get(path, params={"limit": 2})).json()
        rest = (await client.get(path, params={"limit": 2, "cursor": page["next"]})).json()
        assert [item["id"] for item in (*page["items"], *rest["items"])] == found

    async def test_422(self, client):
        answer = await client.get(f"/projects/{PROJECT}/adjustments?kind=GIFT")
        assert answer.status_code == 422
