"""/carillon/v1: void, regenerate, finalize and adjust bills; dry runs and re-rating.

What they do to the tables is in tests/integration/bills.
"""

from __future__ import annotations

import pytest

from tests.billing_rows import PROJECT
from tests.builders import make_token
from tests.integration.bills.metered import Metered, insert_tariff, insert_task, insert_version, midnight

PREVIEW = f"/projects/{PROJECT}/billing-preview"
RERATE = f"/projects/{PROJECT}/rerate"

JANUARY, FEBRUARY = ("2026-01-01", "2026-02-01"), ("2026-02-01", "2026-03-01")


@pytest.fixture
async def client(client_of, database):
    return await client_of("management", await make_token(database, name="clerk"))


@pytest.fixture
async def foreign(client_of, database):
    return await client_of("management", await make_token(database, projects=["other"]))


@pytest.fixture
def home(connection):
    """Reads 100 a month from January on; a unit is 0.50."""
    insert_tariff(connection)
    return metered(connection, "D1")


def metered(connection, device_id):
    home = Metered(connection, device_id)
    for month in range(1, 5):
        home.reads(f"2026-{month:02}-01", (month - 1) * 100)
    return home


async def post(client, path, status=200, **body):
    answer = await client.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def field(body):
    return body["errors"][0]["field"]


class TestVoid:
    async def test_200(self, client, database, home):
        bill_id = await home.bill(database, *JANUARY)
        body = await post(client, f"/bills/{bill_id}/void", reason="wrong meter")
        assert (body["id"], body["state"]) == (bill_id, "void")
        [entry] = (await client.get(f"/bills/{bill_id}")).json()["audit"]
        assert (entry["action"], entry["actor"]) == ("void", "clerk (token 1)")
        assert entry["detail"]["reason"] == "wrong meter"

    async def test_409_not_the_latest(self, client, database, home):
        bill_id = await home.bill(database, *JANUARY)
        later = await home.bill(database, *FEBRUARY)
        body = await post(client, f"/bills/{bill_id}/void", 409, reason="wrong")
        assert body["type"] == "urn:carillon:problem:conflict"
        assert body["detail"] == (
            f"bill {later} follows it: void that one first, or regenerate this one in its place"
        )


class TestRegenerate:
    async def test_201(self, client, database, home):
        bill_id = await home.bill(database, *JANUARY)
        body = await post(client, f"/bills/{bill_id}/regenerate", 201, reason="corrected")
        assert body["original_bill_id"] == bill_id
        assert (body["state"], body["charge"]) == ("final", "50.00")
        old = (await client.get(f"/bills/{bill_id}")).json()
        assert (old["state"], old["replaced_by_id"]) == ("void", body["id"])

    async def test_409_cannot_be_billed(self, client, connection, database, home):
        bill_id = await home.bill(database, *JANUARY)
        row = connection.execute(
            "SELECT id FROM reading WHERE read_at = %s", [midnight("2026-02-01")]
        ).fetchone()
        home.corrects(row["id"], 10**11)
        connection.execute("UPDATE register SET multiplier = 100")
        body = await post(client, f"/bills/{bill_id}/regenerate", 409, reason="corrected")
        assert body["detail"] == "its period cannot be billed now: numeric field overflow"

    async def test_409_void(self, client, database, home):
        bill_id = await home.bill(database, *JANUARY)
        await post(client, f"/bills/{bill_id}/void", reason="wrong")
        await post(client, f"/bills/{bill_id}/regenerate", 409, reason="wrong")


class TestFinalize:
    async def test_200(self, client, database, home):
        bill_id = await home.bill(database, *JANUARY, state="draft")
        assert (await post(client, f"/bills/{bill_id}/finalize"))["state"] == "final"
        await post(client, f"/bills/{bill_id}/finalize", 409)


class TestAdjust:
    async def test_201(self, client, database, home):
        bill_id = await home.bill(database, *JANUARY)
        made = await post(
            client, f"/bills/{bill_id}/adjustments", 201, amount="-12.5", quantity=-3, reason="leak"
        )
        [item] = (await client.get(f"/projects/{PROJECT}/adjustments")).json()["items"]
        assert item["id"] == made["id"]
        assert (item["kind"], item["amount"], item["quantity"]) == ("CREDIT", "-12.50", "-3")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("amount", 0),
            ("amount", "0.001"),
            ("amount", "1e12"),
            ("amount", "NaN"),
            ("amount", True),
            ("amount", None),
            ("quantity", "0.0000001"),
            ("reason", " "),
            ("reason", ""),
            ("reason", "x" * 501),
            ("reason", "a\x00b"),
            ("colour", "red"),
        ],
    )
    async def test_422(self, client, database, home, name, value):
        bill_id = await home.bill(database, *JANUARY)
        good = {"amount": "1", "reason": "leak"}
        body = await post(client, f"/bills/{bill_id}/adjustments", 422, **{**good, name: value})
        assert field(body) == name
        assert home.adjustments() == []


class TestForeign:
    @pytest.mark.parametrize("action", ["void", "regenerate", "finalize", "adjustments"])
    async def test_404(self, foreign, database, home, action):
        bill_id = await home.bill(database, *JANUARY, state="draft")
        body = {} if action == "finalize" else {"reason": "mine"}
        if action == "adjustments":
            body["amount"] = 1
        await post(foreign, f"/bills/{bill_id}/{action}", 404, **body)
        assert [row["state"] for row in home.bills()] == ["draft"]
        assert home.audit(bill_id) == []

    async def test_404_project(self, foreign, home):
        span = {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
        await post(foreign, PREVIEW, 404, commodity="electricity", at="2026-02-01T00:00:00+08:00")
        await post(foreign, RERATE, 404, **span)

    @pytest.mark.parametrize("action", ["void", "regenerate"])
    async def test_422_reason(self, client, database, home, action):
        bill_id = await home.bill(database, *JANUARY)
        assert field(await post(client, f"/bills/{bill_id}/{action}", 422)) == "reason"


class TestPreview:
    WANTED = {"commodity": "electricity", "at": "2026-02-01T00:00:00+08:00"}  # noqa: RUF012

    async def test_200(self, client, connection, home):
        insert_task(connection)
        unread = Metered(connection, "D2")
        body = await post(client, PREVIEW, **self.WANTED)
        assert body == {
            "period_to": "2026-01-31T16:00:00Z",
            "billed": 1,
            "adjusted": 0,
            "parked": 1,
            "parked_by_kind": {"no_reading": 1},
            "total": "50.00",
            "bills": [
                {
                    "service_point": home.key,
                    "device_id": "D1",
                    "period_from": "2025-12-31T16:00:00Z",
                    "period_to": "2026-01-31T16:00:00Z",
                    "quantity": "100",
                    "unit": "kWh",
                    "opening": "0",
                    "closing": "100",
                    "charge": "50.00",
                    "flags": ["first"],
                    "lines": [
                        {
                            "kind": "ENERGY",
                            "label": "TOTAL",
                            "tier": None,
                            "quantity": "100",
                            "rate": "0.5",
                            "amount": "50.00",
                            "included": False,
                            "from_at": "2025-12-31T16:00:00Z",
                            "to_at": "2026-01-31T16:00:00Z",
                            "method": "exact_read",
                            "tariff_version_id": body["bills"][0]["lines"][0]["tariff_version_id"],
                        }
                    ],
                }
            ],
        }
        assert home.bills() == unread.bills() == []
        assert connection.execute("SELECT * FROM billing_exception").fetchall() == []
        assert connection.execute("SELECT * FROM bill_tally").fetchall() == []

    async def test_200_corrections(self, client, connection, database, home):
        insert_task(connection)
        await home.bill(database, *JANUARY)
        connection.execute("INSERT INTO rerate_request VALUES (%s, '2026-01-01', now())", [home.id])
        insert_version(connection, tariff_id(connection), "2026-01-01", price="0.6")
        body = await post(client, PREVIEW, **{**self.WANTED, "at": "2026-03-01T00:00:00+08:00"})
        assert (body["billed"], body["adjusted"], body["total"]) == (1, 1, "70.00")
        assert [line["amount"] for line in body["bills"][0]["lines"]] == ["60.00", "10.00"]
        assert home.adjustments() == []
        assert len(connection.execute("SELECT * FROM rerate_request").fetchall()) == 1

    async def test_200_some_of_many(self, client, connection, home):
        insert_task(connection)
        others = [metered(connection, f"E{n}") for n in range(3)]
        keys = [others[2].key, others[0].key]
        body = await post(client, PREVIEW, **self.WANTED, service_points=keys, limit=1)
        assert (body["billed"], body["total"]) == (2, "100.00")
        assert [bill["service_point"] for bill in body["bills"]] == [others[0].key]
        body = await post(client, PREVIEW, **self.WANTED, limit=0)
        assert (body["billed"], body["bills"]) == (4, [])

    async def test_200_billed_already(self, client, connection, database, home):
        insert_task(connection)
        await home.bill(database, *JANUARY)
        body = await post(client, PREVIEW, **self.WANTED)
        assert (body["billed"], body["parked"], body["parked_by_kind"]) == (0, 0, {})

    async def test_409_no_task(self, client, home):
        body = await post(client, PREVIEW, 409, **self.WANTED)
        assert body["detail"] == "no billing task of the project is for electricity"

    async def test_422_which_task(self, client, connection, home):
        insert_task(connection)
        insert_task(connection, "b" * 32, "0 0 0 * * *")
        assert field(await post(client, PREVIEW, 422, **self.WANTED)) == "task"
        assert field(await post(client, PREVIEW, 422, **self.WANTED, task="c" * 32)) == "task"
        body = await post(client, PREVIEW, **self.WANTED, task="a" * 32)
        assert body["bills"][0]["flags"] == ["first"]
        # 31 periods of a day
        body = await post(client, PREVIEW, **self.WANTED, task="b" * 32)
        assert body["bills"][0]["flags"] == ["first", "long_period"]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("commodity", "gas"),
            ("at", "2026-02-01T00:00:00"),
            ("service_points", []),
            ("service_points", ["nowhere"]),
            ("limit", 101),
            ("task", "x"),
        ],
    )
    async def test_422(self, client, connection, home, name, value):
        insert_task(connection)
        body = await post(client, PREVIEW, 422, **{**self.WANTED, name: value})
        assert field(body).split(".")[0] == name

    async def test_422_of_another_commodity(self, client, connection, home):
        insert_task(connection)
        connection.execute("UPDATE billing_task SET commodity = 'water'")
        wanted = {**self.WANTED, "commodity": "water"}
        body = await post(client, PREVIEW, 422, **wanted, service_points=[home.key])
        assert body["errors"] == [
            {"field": "service_points.0", "message": f"service point '{home.key}' is of electricity"}
        ]


def tariff_id(connection):
    return connection.execute("SELECT id FROM tariff").fetchone()["id"]


class TestRerateOne:
    async def test_200_nothing_differs(self, client, database, home):
        bill_id = await home.bill(database, *JANUARY)
        body = (await client.get(f"/bills/{bill_id}/rerate")).json()
        assert body["lines_billed"] == body["lines_now"]
        assert (body["quantity_difference"], body["amount_difference"]) == ("0", "0.00")

    async def test_200_a_new_price(self, client, connection, database, home):
        first = await home.bill(database, *JANUARY)
        await post(client, f"/bills/{first}/adjustments", 201, amount="-1", reason="leak")
        bill_id = await home.bill(database, *FEBRUARY)
        insert_version(connection, tariff_id(connection), "2026-02-01", price="0.6")
        body = (await client.get(f"/bills/{bill_id}/rerate")).json()
        shown = {
            name: value for name, value in body.items() if not name.startswith("lines") and name != "cutoff"
        }
        assert shown == {
            "key": shown["key"],
            "id": bill_id,
            "quantity_billed": "100",
            "quantity_now": "100",
            "charge_billed": "50.00",
            "charge_now": "60.00",
            "quantity_adjusted": "0",
            "amount_adjusted": "0.00",
            "quantity_difference": "0",
            "amount_difference": "10.00",
        }
        assert [line["amount"] for line in body["lines_billed"]] == ["50.00"]
        assert [line["amount"] for line in body["lines_now"]] == ["60.00"]
        assert len(home.adjustments()) == 1

    async def test_409_void_or_without_a_price(self, client, connection, database, home):
        bill_id = await home.bill(database, *JANUARY)
        connection.execute("DELETE FROM tariff_assignment")
        answer = await client.get(f"/bills/{bill_id}/rerate")
        assert answer.status_code == 409
        assert "cannot be priced" in answer.json()["detail"]
        await post(client, f"/bills/{bill_id}/void", reason="wrong")
        answer = await client.get(f"/bills/{bill_id}/rerate")
        assert answer.json()["detail"] == f"bill {bill_id} is void"


class TestRerateRange:
    SPAN = {"from": "2026-01-01T00:00:00+08:00", "to": "2026-03-01T00:00:00+08:00"}  # noqa: RUF012

    @pytest.fixture
    async def bills(self, connection, database, home):
        """January and February at 0.50, of which February would be 0.60 now."""
        found = [await home.bill(database, *JANUARY), await home.bill(database, *FEBRUARY)]
        insert_version(connection, tariff_id(connection), "2026-02-01", price="0.6")
        return found

    async def test_200_without_writing(self, client, connection, home, bills):
        body = await post(client, RERATE, **self.SPAN)
        [item] = body.pop("items")
        assert body == {
            "cutoff": body["cutoff"],
            "service_points": 1,
            "bills": 2,
            "unpriced": 0,
            "changed": 1,
            "quantity_difference": "0",
            "amount_difference": "10.00",
            "committed": False,
            "next": None,
        }
        assert item == {
            "key": item["key"],
            "id": bills[1],
            "service_point": home.key,
            "period_from": "2026-01-31T16:00:00Z",
            "period_to": "2026-02-28T16:00:00Z",
            "quantity_billed": "100",
            "quantity_now": "100",
            "charge_billed": "50.00",
            "charge_now": "60.00",
            "quantity_difference": "0",
            "amount_difference": "10.00",
        }
        assert home.adjustments() == []
        assert home.audit(bills[1]) == []

    async def test_200_commit(self, client, database, home, bills):
        body = await post(client, RERATE, **self.SPAN, commit=True, reason="the city's new prices")
        assert (body["changed"], body["committed"]) == (1, True)
        [adjustment] = home.adjustments()
        assert (adjustment["kind"], str(adjustment["amount"]), adjustment["manual"]) == (
            "DEBIT",
            "10.00",
            False,
        )
        [entry] = home.audit(bills[1])
        assert (entry["action"], entry["actor"]) == ("rerate", "clerk (token 1)")
        assert entry["detail"]["reason"] == "the city's new prices"
        assert (await post(client, RERATE, **self.SPAN, commit=True))["changed"] == 0
        march = await home.bill(database, "2026-03-01", "2026-04-01")
        assert home.lines(march) == [("ENERGY", "TOTAL", "60.00"), ("ADJUSTMENT", "DEBIT", "10.00")]
        assert len(home.adjustments()) == 1

    async def test_200_the_span_is_about_ends(self, client, home, bills):
        body = await post(client, RERATE, **{**self.SPAN, "to": "2026-02-28T23:59:59+08:00"})
        assert (body["bills"], body["changed"]) == (1, 0)
        body = await post(client, RERATE, **{**self.SPAN, "from": "2026-02-01T00:00:00+08:00"})
        assert (body["bills"], body["changed"]) == (1, 1)

    async def test_200_what_cannot_be_priced(self, client, connection, home, bills):
        connection.execute("DELETE FROM tariff_assignment")
        body = await post(client, RERATE, **self.SPAN, commit=True)
        assert (body["bills"], body["unpriced"], body["changed"]) == (2, 2, 0)

    async def test_200_some_and_a_few_at_a_time(self, client, connection, database, home, bills, monkeypatch):
        other = metered(connection, "D2")
        await other.bill(database, *JANUARY)
        monkeypatch.setattr("include.bills.rerates.POINTS_MOST", 1)
        first = await post(client, RERATE, **self.SPAN)
        second = await post(client, RERATE, **self.SPAN, cursor=first["next"])
        assert [first["bills"], second["bills"], second["next"]] == [2, 1, None]
        some = await post(client, RERATE, **self.SPAN, service_points=[other.key], limit=0)
        assert (some["service_points"], some["bills"], some["items"]) == (1, 1, [])
        none = await post(client, RERATE, **self.SPAN, commodity="water", commit=True)
        assert (none["service_points"], none["bills"]) == (0, 0)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("from", "2026-01-01"),
            ("to", "2026-01-01T00:00:00+08:00"),
            ("service_points", ["nowhere"]),
            ("commodity", "gas"),
            ("cursor", "x"),
            ("limit", 1001),
        ],
    )
    async def test_422(self, client, home, name, value):
        body = await post(client, RERATE, 422, **{**self.SPAN, name: value})
        assert field(body).split(".")[0] == name
