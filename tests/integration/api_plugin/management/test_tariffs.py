"""/carillon/v1: tariffs, versions, assignments, and which version holds."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import psycopg
import pytest

from include.billing.model import TariffVersion, Tier, TouWindow
from include.tariffs.repository import load_versions
from tests.billing_rows import (
    PROJECT,
    at,
    insert_bill,
    insert_place,
    insert_premise,
    insert_project,
    insert_service_point,
)
from tests.builders import make_token

ROOT = f"/projects/{PROJECT}"

#: In the form in which it is read back.
VERSION = {
    "effective_from": "2026-01-01",
    "frame": "YEAR",
    "mode": "ADDER",
    "on_occupant_change": "CONTINUE",
    "energy_price": "0",
    "persons_base": 5,
    "minimum_charge": "3.5",
    "tiers": [
        {"upper_limit": "2880", "price": "0", "persons_step": "100", "kind_prices": {}},
        {"upper_limit": "4800.5", "price": "0.05", "persons_step": "100", "kind_prices": {}},
        {"upper_limit": None, "price": "0.300001", "persons_step": "0", "kind_prices": {}},
    ],
    "tou_prices": {"PEAK": "0.5583", "VALLEY": "0.3583"},
    "tou_windows": [
        {
            "season_from": "01-01",
            "season_to": "12-31",
            "day_type": "any",
            "start": start,
            "end": end,
            "kind": kind,
        }
        for start, end, kind in (
            ("08:00", "22:00", "PEAK"),
            ("22:00", "24:00", "VALLEY"),
            ("00:00", "08:00", "VALLEY"),
        )
    ],
    "holidays": ["2026-01-01", "2026-10-01"],
    "weekend_is_holiday": True,
    "fixed_charges": [
        {"name": "基本费", "basis": "DAY", "amount": "0.1"},
        {"name": "service", "basis": "PERIOD", "amount": "12"},
    ],
    "tax_rules": [
        {"category": "ENERGY", "rate": "0.13", "inclusive": True},
        {"category": "FIXED", "rate": "0.06", "inclusive": False},
    ],
}
FLAT = {"effective_from": "2026-01-01", "frame": "MONTH", "mode": "ADDER", "energy_price": 1}


@pytest.fixture
async def client(client_of, database):
    return await client_of("management", await make_token(database))


async def put(client, key="home", commodity="electricity", **changes):
    body = {"name": "居民", "commodity": commodity, **changes}
    answer = await client.put(f"{ROOT}/tariffs/{key}", json=body)
    assert answer.status_code in (200, 201), answer.text
    return answer


async def post(client, path, body, status=201):
    answer = await client.post(f"{ROOT}/{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def make(client, key="home", commodity="electricity", *dates):
    await put(client, key, commodity)
    for date in dates or ("2026-01-01",):
        await post(client, f"tariffs/{key}/versions", {**FLAT, "effective_from": date})


class TestTariffs:
    async def test_201_then_200(self, client):
        first, second = await put(client), await put(client, name="居民生活")
        assert (first.status_code, second.status_code) == (201, 200)
        expected = {
            "key": "home",
            "name": "居民生活",
            "commodity": "electricity",
            "currency": "CNY",
            "versions": 0,
        }
        assert second.json() == expected
        assert (await client.get(f"{ROOT}/tariffs/home")).json() == expected

    async def test_200_pages(self, client):
        for key in ("c", "a", "b"):
            await put(client, key)
        page = (await client.get(f"{ROOT}/tariffs", params={"limit": 2})).json()
        assert [item["key"] for item in page["items"]] == ["a", "b"]
        page = (await client.get(f"{ROOT}/tariffs", params={"cursor": page["next"]})).json()
        assert ([item["key"] for item in page["items"]], page["next"]) == (["c"], None)

    async def test_409_commodity_of_one_that_has_versions(self, client):
        assert (await put(client, commodity="water")).status_code == 201
        assert (await put(client)).json()["commodity"] == "electricity"
        await post(client, "tariffs/home/versions", FLAT)
        assert (await put(client, name="other")).status_code == 200
        answer = await client.put(f"{ROOT}/tariffs/home", json={"name": "x", "commodity": "water"})
        assert answer.status_code == 409

    async def test_404(self, client, client_of, database):
        assert (await client.get(f"{ROOT}/tariffs/none")).status_code == 404
        assert (await client.get(f"{ROOT}/tariffs/none/versions")).status_code == 404
        await put(client)
        narrow = await client_of("management", await make_token(database, projects=["49"]))
        for path in ("tariffs", "tariffs/home", "tariff-assignments", "service-points/a/tariff"):
            assert (await narrow.get(f"{ROOT}/{path}")).status_code == 404

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"commodity": "water"}, "name"),
            ({"name": "", "commodity": "water"}, "name"),
            ({"name": "a", "commodity": "gas"}, "commodity"),
            ({"name": "a", "commodity": "water", "currency": "yuan"}, "currency"),
            ({"name": "a\u0000", "commodity": "water"}, "name"),
        ],
    )
    async def test_422(self, client, body, field):
        answer = await client.put(f"{ROOT}/tariffs/home", json=body)
        assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, [field])


class TestVersions:
    async def test_201_a_version_is_read_back_as_it_was_posted(self, client):
        await put(client)
        posted = await post(client, "tariffs/home/versions", VERSION)
        assert posted == {"id": posted["id"], **VERSION}
        read = (await client.get(f"{ROOT}/tariffs/home/versions")).json()
        assert read == {"items": [posted]}

    async def test_201_what_is_left_out_has_its_default(self, client):
        await put(client)
        posted = await post(client, "tariffs/home/versions", FLAT)
        assert posted == {
            "id": posted["id"],
            **FLAT,
            "on_occupant_change": "RESET",
            "energy_price": "1",
            "persons_base": 0,
            "minimum_charge": "0",
            "tiers": [],
            "tou_prices": {},
            "tou_windows": [],
            "holidays": [],
            "weekend_is_holiday": False,
            "fixed_charges": [],
            "tax_rules": [],
        }

    async def test_201_kind_prices(self, client):
        await put(client)
        tiers = [
            {"upper_limit": "200", "price": "0.5", "persons_step": "0", "kind_prices": {"VALLEY": "0.3"}},
            {"upper_limit": None, "price": "0.8", "persons_step": "0", "kind_prices": {}},
        ]
        body = {**VERSION, "mode": "ABSOLUTE", "tiers": tiers}
        assert (await post(client, "tariffs/home/versions", body))["tiers"] == tiers

    async def test_201_the_date_is_its_local_midnight(self, client, connection: psycopg.Connection):
        insert_project(connection, timezone="America/New_York")
        await put(client)
        posted = await post(client, "tariffs/home/versions", {**FLAT, "effective_from": "2026-07-01"})
        assert posted["effective_from"] == "2026-07-01"
        stored = connection.execute("SELECT effective_from FROM tariff_version").fetchone()
        assert stored["effective_from"].isoformat() == "2026-07-01T04:00:00+00:00"

    async def test_201_earlier_and_later_ones_in_any_order(self, client):
        await make(client, "home", "electricity", "2026-01-01", "2030-01-01", "2020-01-01")
        versions = (await client.get(f"{ROOT}/tariffs/home/versions")).json()["items"]
        assert [v["effective_from"] for v in versions] == ["2020-01-01", "2026-01-01", "2030-01-01"]

    async def test_409_a_date_twice(self, client):
        await make(client)
        await post(client, "tariffs/home/versions", {**FLAT, "energy_price": 2}, 409)
        answers = await asyncio.gather(
            *(
                client.post(f"{ROOT}/tariffs/home/versions", json={**FLAT, "effective_from": "2027-01-01"})
                for _ in range(4)
            )
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]

    async def test_a_version_never_changes(self, client, connection):
        await put(client)
        await post(client, "tariffs/home/versions", VERSION)
        for table in ("tariff_version", "tier", "tou_price", "tou_window", "fixed_charge", "tax_rule"):
            with pytest.raises(psycopg.errors.RestrictViolation):
                connection.execute(f"DELETE FROM {table}")

    async def test_422_every_contradiction_is_named_and_nothing_is_stored(self, client, connection):
        await put(client)
        body = {
            **VERSION,
            "tiers": [
                {"upper_limit": 5, "price": 1},
                {"upper_limit": 5, "price": 1},
                {"upper_limit": 9, "price": 1},
            ],
            "tou_windows": VERSION["tou_windows"][:2],
        }
        answer = await post(client, "tariffs/home/versions", body, 422)
        assert [(e["field"], e["message"]) for e in answer["errors"]] == [
            ("tiers.1.upper_limit", "must be above that of the tier before, 5"),
            ("tiers.2.upper_limit", "must be null: the last tier is open, so that all is billed"),
            ("tou_windows", "from 01-01 to 12-31, weekday: 00:00-08:00 is in no window"),
            ("tou_windows", "from 01-01 to 12-31, holiday: 00:00-08:00 is in no window"),
        ]
        assert connection.execute("SELECT count(*) AS n FROM tariff_version").fetchone()["n"] == 0

    async def test_422_a_field(self, client):
        await put(client)
        body = {**FLAT, "tiers": [{"price": 1}, {"price": 1}, {"upper_limit": "many", "price": 1}]}
        answer = await post(client, "tariffs/home/versions", body, 422)
        assert [e["field"] for e in answer["errors"]] == ["tiers.2.upper_limit"]

    async def test_load_versions(self, client, database):
        await put(client)
        posted = await post(client, "tariffs/home/versions", VERSION)
        async with database.transaction() as connection:
            loaded = await load_versions(connection, [1])
            assert await load_versions(connection, []) == {}
        version = loaded[posted["id"]]
        assert isinstance(version, TariffVersion)
        assert version.effective_from == at("2026-01-01T00:00:00")
        assert version.tiers[1] == Tier(2, Decimal("4800.5"), Decimal("0.05"), Decimal(100), {})
        assert version.tou_windows[0] == TouWindow(101, 1231, "any", 480, 1320, "PEAK")
        assert list(version.tou_prices) == ["PEAK", "VALLEY"]
        assert version.counts_persons


class TestAssignments:
    @pytest.fixture
    def points(self, connection):
        premise = insert_premise(connection)
        for key, subtype in (("tap", "自来水表"), ("pure", "纯净水表"), ("plain", None)):
            insert_service_point(connection, premise, key=key, commodity="water", subtype=subtype)
        insert_service_point(connection, premise, key="power")

    async def test_201(self, client, points):
        await make(client, "tap-water", "water")
        posted = await post(
            client,
            "tariff-assignments",
            {"tariff": "tap-water", "service_point": "tap", "from": "2026-01-01"},
        )
        expected = {
            "id": posted["id"],
            "tariff": "tap-water",
            "service_point": "tap",
            "commodity": "water",
            "subtype": None,
            "from": "2026-01-01",
            "to": None,
        }
        assert posted == expected
        assert (await client.get(f"{ROOT}/tariff-assignments")).json() == {"items": [expected], "next": None}

    async def test_409_overlaps(self, client, points):
        await make(client, "a", "water")
        span = {"tariff": "a", "from": "2026-01-01", "to": "2026-07-01"}
        for place in ({"service_point": "tap"}, {"service_point": "pure"}, {}, {"subtype": "自来水表"}):
            await post(client, "tariff-assignments", {**span, **place})
            for first, end in (
                ("2026-06-30", None),
                ("2025-01-01", "2026-01-02"),
                ("2026-02-01", "2026-03-01"),
            ):
                body = {**span, **place, "from": first, "to": end}
                await post(client, "tariff-assignments", body, 409)
            await post(client, "tariff-assignments", {**span, **place, "from": "2026-07-01", "to": None})

    async def test_409_at_once(self, client, points):
        await make(client, "a", "water")
        body = {"tariff": "a", "service_point": "tap", "from": "2026-01-01"}
        answers = await asyncio.gather(
            *(client.post(f"{ROOT}/tariff-assignments", json=body) for _ in range(5))
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"tariff": "none"}, "tariff"),
            ({"service_point": "none"}, "service_point"),
            ({"service_point": "power"}, "tariff"),
            ({"subtype": "自来水表"}, "subtype"),
            ({"to": "2026-01-01"}, "to"),
            ({"to": "2025-01-01"}, "to"),
            ({"from": "soon"}, "from"),
            ({"tariff": "\u0000"}, "tariff"),
        ],
    )
    async def test_422(self, client, points, change, field):
        await make(client, "a", "water")
        body = {"tariff": "a", "service_point": "tap", "from": "2026-01-01", **change}
        answer = await post(client, "tariff-assignments", body, 422)
        assert [e["field"] for e in answer["errors"]] == [field]

    async def test_an_assignment_ends_and_another_follows(self, client, points):
        await make(client, "a", "water")
        await make(client, "b", "water")
        first = await post(
            client, "tariff-assignments", {"tariff": "a", "service_point": "tap", "from": "2026-01-01"}
        )
        end = f"tariff-assignments/{first['id']}/end"
        assert (await post(client, end, {"to": "2026-05-01"}, 200))["to"] == "2026-05-01"
        await post(
            client, "tariff-assignments", {"tariff": "b", "service_point": "tap", "from": "2026-05-01"}
        )
        await post(client, end, {"to": None}, 409)
        await post(client, end, {"to": "2026-01-01"}, 422)
        await post(client, "tariff-assignments/99/end", {"to": "2026-05-01"}, 404)
        for at_day, tariff in (("2026-04-30", "a"), ("2026-05-01", "b")):
            answer = await client.get(
                f"{ROOT}/service-points/tap/tariff", params={"at": f"{at_day}T00:00:00+08:00"}
            )
            assert answer.json()["tariff"] == tariff

    async def test_204_and_409_where_there_are_bills(self, client, connection):
        place = insert_place(connection)
        insert_bill(connection, place)
        await make(client, "home", "electricity", "2019-01-01")
        billed = await post(
            client,
            "tariff-assignments",
            {"tariff": "home", "from": "2019-10-31", "to": "2019-12-01", "force": True},
        )
        later = await post(client, "tariff-assignments", {"tariff": "home", "from": "2019-12-01"})
        path = f"{ROOT}/tariff-assignments"
        assert (await client.delete(f"{path}/{billed['id']}")).status_code == 409
        assert (await client.delete(f"{path}/{later['id']}")).status_code == 204
        assert (await client.delete(f"{path}/{later['id']}")).status_code == 404

    async def test_200_filters_and_pages(self, client, points):
        await make(client, "a", "water")
        await make(client, "b", "water")
        for tariff, point in (("a", "tap"), ("b", "pure"), ("a", None)):
            body = {"tariff": tariff, "service_point": point, "from": "2026-01-01"}
            await post(client, "tariff-assignments", body)

        async def ids(**params):
            page = (await client.get(f"{ROOT}/tariff-assignments", params=params)).json()
            return [item["id"] for item in page["items"]], page["next"]

        everything, _ = await ids()
        assert await ids(tariff="a") == ([everything[0], everything[2]], None)
        assert await ids(service_point="pure") == ([everything[1]], None)
        first, cursor = await ids(limit=2)
        assert (first, await ids(cursor=cursor)) == (everything[:2], ([everything[2]], None))


class TestApplied:
    @pytest.fixture(autouse=True)
    def _points(self, connection):
        premise = insert_premise(connection)
        for key, subtype in (("tap", "自来水表"), ("pure", "纯净水表"), ("plain", None)):
            insert_service_point(connection, premise, key=key, commodity="water", subtype=subtype)

    async def applied(self, client, key, at="2026-06-01T00:00:00+08:00"):
        answer = await client.get(f"{ROOT}/service-points/{key}/tariff", params={"at": at})
        if answer.status_code == 404:
            return None
        body = answer.json()
        return body["tariff"], body["source"], body["version"]["effective_from"]

    async def test_200_its_own_else_its_subtypes_else_the_default(self, client):
        for key in ("own", "sub", "all"):
            await make(client, key, "water")
        january = {"from": "2026-01-01"}
        assert await self.applied(client, "tap") is None
        await post(client, "tariff-assignments", {"tariff": "all", **january})
        for key in ("tap", "pure", "plain"):
            assert await self.applied(client, key) == ("all", "default", "2026-01-01")
        await post(client, "tariff-assignments", {"tariff": "sub", "subtype": "自来水表", **january})
        assert await self.applied(client, "tap") == ("sub", "subtype", "2026-01-01")
        assert await self.applied(client, "pure") == ("all", "default", "2026-01-01")
        await post(client, "tariff-assignments", {"tariff": "own", "service_point": "tap", **january})
        assert await self.applied(client, "tap") == ("own", "own", "2026-01-01")

    async def test_200_the_default_between_its_own(self, client):
        await make(client, "own", "water")
        await make(client, "all", "water")
        await post(client, "tariff-assignments", {"tariff": "all", "from": "2026-01-01"})
        body = {"tariff": "own", "service_point": "tap", "from": "2026-01-01", "to": "2026-03-01"}
        await post(client, "tariff-assignments", body)
        assert await self.applied(client, "tap", "2026-02-28T23:59:59+08:00") == ("own", "own", "2026-01-01")
        applied = await self.applied(client, "tap", "2026-03-01T00:00:00+08:00")
        assert applied == ("all", "default", "2026-01-01")

    async def test_200_the_version_of_the_moment(self, client):
        await make(client, "all", "water", "2026-01-01", "2026-07-01")
        await post(client, "tariff-assignments", {"tariff": "all", "from": "2020-01-01"})
        for moment, version in (
            ("2025-12-31T23:59:59+08:00", None),
            ("2026-01-01T00:00:00+08:00", "2026-01-01"),
            ("2026-06-30T15:59:59Z", "2026-01-01"),
            ("2026-06-30T16:00:00Z", "2026-07-01"),
        ):
            found = await self.applied(client, "plain", moment)
            assert found == (version and ("all", "default", version))

    async def test_200_now(self, client):
        await make(client, "all", "water", "2020-01-01")
        await post(client, "tariff-assignments", {"tariff": "all", "from": "2020-01-01"})
        assert (await client.get(f"{ROOT}/service-points/tap/tariff")).json()["tariff"] == "all"

    async def test_404_no_such_service_point(self, client):
        answer = await client.get(f"{ROOT}/service-points/none/tariff")
        assert (answer.status_code, answer.json()["detail"]) == (404, "there is no service point 'none'")

    async def test_422(self, client):
        answer = await client.get(f"{ROOT}/service-points/tap/tariff", params={"at": "2026-06-01"})
        assert [e["field"] for e in answer.json()["errors"]] == ["at"]
