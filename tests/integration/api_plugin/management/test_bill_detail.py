"""/carillon/v1/bills/{key}: a bill with its parts, its shares, and its explanation."""

from __future__ import annotations

import pytest

from include.bills.model import bill_key
from include.bills.records import mask_phone
from tests.billing_rows import PROJECT, insert_bill, insert_place
from tests.builders import make_token
from tests.integration.bills.metered import Metered, insert_tariff, midnight

PHONE = "13800000001"


@pytest.fixture
async def client(client_of, database):
    return await client_of("management", await make_token(database))


@pytest.fixture
async def foreign(client_of, database):
    return await client_of("management", await make_token(database, projects=["other"]))


@pytest.fixture
async def ours(client_of, database):
    return await client_of("management", await make_token(database, projects=[PROJECT]))


@pytest.fixture
async def home(connection, database):
    """January 2026: 100 kWh, 60 in tier 1 and 40 in tier 2; one resident."""
    home = Metered(connection, "000090502121")
    home.version_id = insert_tariff(connection, ("60", "0"), (None, "0.1"))
    home.readings = [home.reads("2026-01-01", 0), home.reads("2026-02-01", 100)]
    party = connection.execute(
        "INSERT INTO party (project_id, key, name, cellphone) VALUES ('42', 'R1', 'resident', %s)"
        " RETURNING id",
        [PHONE],
    ).fetchone()["id"]
    connection.execute(
        "INSERT INTO occupancy (service_point_id, party_id, valid_from) VALUES (%s, %s, %s)",
        [home.id, party, midnight("2026-01-01")],
    )
    await home.bill(database, "2026-01-01", "2026-02-01")
    home.row = home.bills()[0]
    home.bill_key = bill_key(home.row["created_at"], home.row["id"])
    return home


def zulu(moment):
    return moment.isoformat().replace("+00:00", "Z")


class TestDetail:
    async def test_200(self, client, home):
        answer = await client.get(f"/bills/{home.bill_key}")
        row, start, end = home.row, "2025-12-31T16:00:00Z", "2026-01-31T16:00:00Z"
        span = {"from_at": start, "to_at": end}
        usual = {
            **span,
            "included": False,
            "method": "exact_read",
            "tariff_version_id": home.version_id,
            "corrects_bill_id": None,
            "adjustment_id": None,
            "label": "TOTAL",
        }
        assert answer.json() == {
            "key": home.bill_key,
            "id": row["id"],
            "project_id": PROJECT,
            "service_point": home.key,
            "run_id": None,
            "device_id": "000090502121",
            "commodity": "electricity",
            "subtype": None,
            "address": ["安心e家", "", "", "", "空调房"],
            "state": "final",
            "period_from": start,
            "period_to": end,
            "months": "1",
            "coverage": "1",
            "previous_quantity": "0",
            "quantity": "100",
            "unit": "kWh",
            "opening": "0",
            "closing": "100",
            "charge": "54.00",
            "energy": "54.00",
            "fixed": "0.00",
            "minimum": "0.00",
            "tax": "0.00",
            "corrections": "0.00",
            "flags": ["first"],
            "original_bill_id": None,
            "replaced_by_id": None,
            "created_at": zulu(row["created_at"]),
            "rounding_delta": "0",
            "year_quantity": None,
            "estimates_in_a_row": 0,
            "cutoff": zulu(row["cutoff"]),
            "input_hash": f"{row['input_hash'] % 2**64:016x}",
            "engine_version": 1,
            "tariff_version_ids": [home.version_id],
            "reading_ids": home.readings,
            "quantities": [
                {
                    **span,
                    "register_id": home.register_id,
                    "kind": "TOTAL",
                    "opening": "0",
                    "closing": "100",
                    "quantity": "100",
                    "opening_method": "exact_read",
                    "closing_method": "exact_read",
                    "opening_reading_id": home.readings[0],
                    "closing_reading_id": home.readings[1],
                }
            ],
            "lines": [
                {
                    **usual,
                    "kind": "ENERGY",
                    "tier": None,
                    "quantity": "100",
                    "rate": "0.5",
                    "amount": "50.00",
                },
                {**usual, "kind": "TIER", "tier": 1, "quantity": "60", "rate": "0", "amount": "0.00"},
                {**usual, "kind": "TIER", "tier": 2, "quantity": "40", "rate": "0.1", "amount": "4.00"},
            ],
            "shares": [
                {
                    "party": "R1",
                    "name": "resident",
                    "cellphone": "138****0001",
                    "weight": "2678400",
                    "amount": "54.00",
                }
            ],
            "adjustments": [],
            "audit": [],
        }

    async def test_200_by_number(self, client, home):
        by_number = await client.get(f"/bills/{home.row['id']}")
        assert by_number.json() == (await client.get(f"/bills/{home.bill_key}")).json()

    async def test_200_with_what_corrects_it_and_what_was_done(self, client, home):
        await client.post(f"/bills/{home.bill_key}/adjustments", json={"amount": "-5", "reason": "sorry"})
        body = (await client.get(f"/bills/{home.bill_key}")).json()
        [adjustment], [entry] = body["adjustments"], body["audit"]
        assert {**adjustment, "id": 0, "cutoff": "", "created_at": ""} == {
            "id": 0,
            "project_id": PROJECT,
            "service_point": home.key,
            "corrects_bill_id": home.row["id"],
            "kind": "CREDIT",
            "quantity": "0",
            "amount": "-5.00",
            "open_amount": "-5.00",
            "first_bill_id": None,
            "manual": True,
            "cancelled": False,
            "reason": "sorry",
            "detail": {},
            "actor": "test (token 1)",
            "cutoff": "",
            "created_at": "",
        }
        assert (entry["action"], entry["actor"], entry["detail"]["reason"]) == (
            "adjust",
            "test (token 1)",
            "sorry",
        )

    @pytest.mark.parametrize("path", ["", "/explain", "/shares", "/rerate"])
    async def test_404_of_a_foreign_project(self, foreign, home, path):
        assert (await foreign.get(f"/bills/{home.bill_key}{path}")).status_code == 404

    async def test_404_unknown(self, client, home):
        other_second = f"{int(home.bill_key[:8], 16) + 1:08x}{home.bill_key[8:]}"
        for key in ("999", other_second):
            answer = await client.get(f"/bills/{key}")
            assert answer.status_code == 404
            assert answer.json()["detail"] == f"there is no bill {key}"

    @pytest.mark.parametrize("key", ["0", "-1", "abc", "1" * 20, "9223372036854775808", "F" * 24, "f" * 24])
    async def test_422_no_key(self, client, key):
        answer = await client.get(f"/bills/{key}")
        assert answer.status_code == 422
        assert answer.json()["errors"] == [
            {
                "field": "key",
                "message": "must be the key of a bill, 24 hexadecimal digits, or its number",
            }
        ]


class TestUnmask:
    async def phone(self, client, home):
        answer = await client.get(f"/bills/{home.bill_key}", params={"unmask": True})
        return answer.status_code, answer.json()["shares"][0]["cellphone"] if answer.is_success else None

    async def test_200_for_a_token_of_all_projects(self, client, home):
        assert await self.phone(client, home) == (200, PHONE)
        shares = await client.get(f"/bills/{home.bill_key}/shares", params={"unmask": True})
        assert shares.json()["items"][0]["cellphone"] == PHONE

    async def test_403_for_a_token_of_some_projects(self, ours, home):
        assert await self.phone(ours, home) == (403, None)
        shares = await ours.get(f"/bills/{home.bill_key}/shares", params={"unmask": True})
        assert shares.status_code == 403

    async def test_403_without_a_token(self, client_of, home, monkeypatch):
        from include.settings import get_settings

        monkeypatch.setenv("CARILLON_OPEN_APIS", "management=127.0.0.0/8")
        get_settings.cache_clear()
        open_client = await client_of("management")
        assert (await open_client.get(f"/bills/{home.bill_key}")).status_code == 200
        assert await self.phone(open_client, home) == (403, None)

    @pytest.mark.parametrize(
        ("phone", "shown"),
        [
            ("13800000001", "138****0001"),
            ("+8613800000001", "+86*******0001"),
            ("12345678", "123*5678"),
            ("1234567", "*****67"),
            ("12", "**"),
            ("", ""),
        ],
    )
    def test_mask(self, phone, shown):
        assert mask_phone(phone) == shown


class TestShares:
    async def test_200(self, client, connection):
        bill_id = insert_bill(
            connection, insert_place(connection), charge="10.01", shares=[("a", PHONE), ("b", "")]
        )
        body = (await client.get(f"/bills/{bill_id}/shares")).json()
        assert body["charge"] == "10.01"
        assert body["items"] == [
            {"party": None, "name": "a", "cellphone": "138****0001", "weight": "1", "amount": "5.01"},
            {"party": None, "name": "b", "cellphone": "", "weight": "1", "amount": "5.00"},
        ]


class TestExplain:
    async def test_200(self, client, home):
        body = (await client.get(f"/bills/{home.bill_key}/explain")).json()
        assert body["sentences"] == [
            "The bill is for 2026-01-01 to 2026-02-01 (Asia/Shanghai).",
            "Meter 000090502121 showed 0 and then 100.",
            "Register TOTAL went from 0 (read) to 100 (read) in 2026-01-01 to 2026-02-01: TOTAL 100 kWh.",
            "Used in the period: 100 kWh.",
            "This is the first bill.",
            "Energy TOTAL: 100 kWh at 0.50 = 50.00 CNY.",
            "Tier 1 (up to 60 a month): 60 kWh at 0.00 = 0.00 CNY.",
            "Tier 2 (above 60 a month): 40 kWh at 0.10 = 4.00 CNY.",
            "Together: 54.00 CNY.",
        ]
        assert body["text"] == "\n".join(body["sentences"])
        assert (body["key"], body["id"]) == (home.bill_key, home.row["id"])

    async def test_200_what_became_of_it(self, client, home, connection):
        connection.execute("UPDATE tariff SET currency = 'EUR'")
        await client.post(f"/bills/{home.bill_key}/adjustments", json={"amount": "-5", "reason": "sorry"})
        made = await client.post(f"/bills/{home.bill_key}/regenerate", json={"reason": "again"})
        old = (await client.get(f"/bills/{home.bill_key}/explain")).json()["sentences"]
        new = (await client.get(f"/bills/{made.json()['key']}/explain")).json()["sentences"]
        assert old[-2:] == ["Together: 54.00 EUR.", f"It is void; bill {made.json()['id']} stands for it."]
        assert new[-4:] == [
            "CREDIT, correction of an earlier bill: -5.00 EUR.",
            "Together: 49.00 EUR.",
            f"It stands for bill {home.row['id']}, which is void.",
            "Corrected by -5.00 EUR (sorry).",
        ]
        await client.post(f"/bills/{made.json()['key']}/adjustments", json={"amount": 1, "reason": "fee"})
        newer = (await client.get(f"/bills/{made.json()['key']}/explain")).json()["sentences"]
        assert newer[-1] == "Corrected by 1.00 EUR (fee), of which 1.00 EUR wait for a bill."

    async def test_200_shared_draft_without_a_tariff(self, client, connection):
        bill_id = insert_bill(
            connection,
            insert_place(connection),
            state="draft",
            charge="10.01",
            shares=[("a", PHONE), ("b", "")],
        )
        sentences = (await client.get(f"/bills/{bill_id}/explain")).json()["sentences"]
        assert sentences[-3:] == [
            "Together: 10.01 CNY.",
            "It is shared: a 5.01 CNY, b 5.00 CNY.",
            "It is a draft: not final yet.",
        ]
