"""/carillon/v1/projects/{project_id}/service-points/{key}: what happens there, and flat rows."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import sql

from tests.builders import make_token

PROJECT = "/projects/42"
JAN, FEB, MAR, APR = (f"2026-0{month}-01T00:00:00Z" for month in (1, 2, 3, 4))


@pytest.fixture
async def client(client_of, database):
    client = await client_of("management", await make_token(database, projects=["42", "49"]))
    await client.put(f"{PROJECT}/premises/h1", json={"address": ["North Court", "3"]})
    for key in ("p1", "p2"):
        await put(client, f"service-points/{key}", {"premise": "h1", "commodity": "electricity"})
    for device_id, registers in (
        ("m1", [{"digits": 4}]),
        ("m2", [{}]),
        ("tou", [{"kind": kind} for kind in ("TOTAL", "PEAK", "VALLEY")]),
    ):
        await put(client, f"meters/{device_id}", {"commodity": "electricity", "registers": registers})
    await put(client, "meters/wet", {"commodity": "water"})
    for key in ("ann", "bob", "cy"):
        await put(client, f"parties/{key}", {"name": key.title()})
    return client


async def put(client, path, body):
    answer = await client.put(f"{PROJECT}/{path}", json=body)
    assert answer.status_code in (200, 201), answer.text
    return answer


async def post(client, path, status, **body):
    answer = await client.post(f"{PROJECT}/{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def install(client, point="p1", device_id="m1", at=JAN, status=201, **readings):
    return await post(
        client,
        f"service-points/{point}/install",
        status,
        device_id=device_id,
        installed_at=at,
        readings=readings or {"TOTAL": "9000.5"},
    )


def readings(connection):
    rows = connection.execute(
        "SELECT r.kind, g.read_at, g.value, g.total, g.source, g.quality FROM reading g"
        " JOIN register r ON r.id = g.register_id ORDER BY g.id"
    )
    return [
        (
            row["source"],
            row["quality"],
            row["kind"],
            row["read_at"].month,
            float(row["value"]),
            float(row["total"]),
        )
        for row in rows
    ]


STAY = {
    "id": 1,
    "service_point": "p1",
    "device_id": "m1",
    "installed_at": JAN,
    "removed_at": None,
    "initial_readings": {"TOTAL": "9000.5"},
    "final_readings": {},
}


def problem(answer):
    [found] = answer["errors"]
    return found


class TestInstall:
    async def test_201_and_again_200(self, client, connection):
        assert await install(client) == STAY
        assert await install(client, status=200) == STAY
        assert readings(connection) == [("install", "ok", "TOTAL", 1, 9000.5, 9000.5)]
        assert (await client.get(f"{PROJECT}/service-points/p1")).json()["device_id"] == "m1"
        assert (await client.get(f"{PROJECT}/meters/m1")).json()["service_point"] == "p1"
        for path in ("service-points/p1", "meters/m1"):
            found = (await client.get(f"{PROJECT}/{path}/installations")).json()
            assert found == {"items": [STAY], "next": None}

    async def test_201_every_register_has_its_reading(self, client, connection):
        shown = {"TOTAL": 30, "PEAK": 10, "VALLEY": 20}
        made = await install(client, device_id="tou", **shown)
        assert made["initial_readings"] == {kind: str(value) for kind, value in shown.items()}
        assert [row[2:5] for row in readings(connection)] == [
            ("TOTAL", 1, 30), ("PEAK", 1, 10), ("VALLEY", 1, 20)
        ]  # fmt: skip

    async def test_422(self, client, connection):
        soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        for changes, field, message in (
            ({"device_id": "nix"}, "device_id", "there is no meter 'nix'"),
            ({"at": soon}, "installed_at", "lies in the future"),
            ({"at": "2026-01-01T00:00:00"}, "installed_at", "must have timezone info"),
            ({"at": "1800-01-01T00:00:00Z"}, "installed_at", "must lie between the years 1900 and 9000"),
            ({"TOTAL": 10_000}, "readings", "TOTAL shows 0 again at 10000, so it cannot show 10000"),
            ({"PEAK": 1}, "readings", "must be those of the registers of meter 'm1': TOTAL"),
            (
                {"device_id": "tou", "TOTAL": 1},
                "readings",
                "must be those of the registers of meter 'tou': TOTAL, PEAK, VALLEY",
            ),
            ({"NIGHT": 1}, "readings.NIGHT.[key]", None),
        ):
            found = problem(await install(client, status=422, **changes))
            assert found["field"] == field
            assert message is None or found["message"] == message
        assert readings(connection) == []

    async def test_404(self, client):
        await install(client, point="nix", status=404)
        assert (await client.get(f"{PROJECT}/service-points/nix/installations")).status_code == 404
        assert (await client.get(f"{PROJECT}/meters/nix/installations")).status_code == 404
        body = {"device_id": "m1", "installed_at": JAN, "readings": {"TOTAL": 1}}
        for project in ("49", "50"):  # one that lacks it, one that the token does not see
            answer = await client.post(f"/projects/{project}/service-points/p1/install", json=body)
            assert answer.status_code == 404

    async def test_409(self, client, connection):
        await install(client)
        for changes, field, message in (
            ({"TOTAL": 1}, "readings", "is stored already with other displays"),
            ({"at": FEB}, "device_id", "is at service point 'p1' from 2026-01-01T00:00:00+00:00"),
            ({"point": "p2"}, "device_id", "is at service point 'p1' from 2026-01-01T00:00:00+00:00"),
            ({"device_id": "m2"}, "service_point", "has meter 'm1' from 2026-01-01T00:00:00+00:00"),
            (
                {"point": "p2", "device_id": "wet"},
                "device_id",
                "is a meter of water, the service point is of electricity",
            ),
        ):
            assert problem(await install(client, status=409, **changes)) == {
                "field": field,
                "message": message,
            }
        assert len(readings(connection)) == 1

    async def test_409_before_a_later_stay(self, client):
        await install(client, at=MAR)
        found = problem(await install(client, device_id="m2", at=JAN, status=409))
        assert found["field"] == "service_point"

    async def test_bulk(self, client, connection):
        items = [
            {"service_point": p, "device_id": m, "installed_at": JAN, "readings": {"TOTAL": 1}}
            for p, m in (("p1", "m1"), ("p2", "m2"))
        ]
        made = await post(client, "installations/bulk", 200, items=items)
        assert made == {"created": 2, "updated": 0, "unchanged": 0}
        made = await post(client, "installations/bulk", 200, items=items)
        assert made == {"created": 0, "updated": 0, "unchanged": 2}
        items[1]["installed_at"] = FEB
        found = await post(client, "installations/bulk", 409, items=items)
        assert [one["row"] for one in found["errors"]] == [2]
        items[1] = {**items[0], "service_point": "nix"}
        found = await post(client, "installations/bulk", 422, items=items)
        assert [(one["row"], one["field"]) for one in found["errors"]] == [
            (2, "device_id"),
            (2, "service_point"),
        ]
        assert len(readings(connection)) == 2


async def remove(client, at=MAR, status=200, **readings):
    return await post(
        client, "service-points/p1/remove", status, removed_at=at, readings=readings or {"TOTAL": 9500}
    )


async def test_many_at_once_get_an_answer_each(client, connection):
    """One of those that want the same meter gets it; whatever the order, nobody fails for another reason."""
    body = {"device_id": "m1", "installed_at": JAN, "readings": {"TOTAL": 1}}
    flat = {"items": [row(n, installed_at=FEB) for n in range(20)]}
    answers = await asyncio.gather(
        *(client.post(f"{PROJECT}/service-points/{p}/install", json=body) for p in ("p1", "p2") * 4),
        *(client.post(f"{PROJECT}/service-points/bulk", json=flat) for _ in range(3)),
        *(
            client.post(f"{PROJECT}/service-points/p1/move-in", json={"party": "ann", "moved_in_at": at})
            for at in (JAN, FEB, MAR)
        ),
    )
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {200, 201, 409}
    assert statuses[:8].count(201) == 1
    assert statuses[8:11] == [200, 200, 200]
    assert statuses[11:].count(201) == 1
    assert counts(connection)[1:] == [22, 24, 21, 21, 23, 21, 21]


class TestRemove:
    async def test_200_and_again(self, client, connection):
        await install(client)
        for _ in range(2):
            assert await remove(client) == {**STAY, "removed_at": MAR, "final_readings": {"TOTAL": "9500"}}
        assert readings(connection)[1:] == [("remove", "ok", "TOTAL", 3, 9500, 9500)]
        assert (await client.get(f"{PROJECT}/service-points/p1")).json()["device_id"] is None
        assert problem(await remove(client, status=409, TOTAL=9501))["field"] == "readings"

    async def test_200_over_the_top(self, client, connection):
        """9000.5 and then 12 on a counter of four digits: it turned once."""
        await install(client)
        await remove(client, TOTAL=12)
        assert readings(connection)[1:] == [("remove", "ok", "TOTAL", 3, 12, 10_012)]

    async def test_409_backwards(self, client, connection):
        await install(client, TOTAL=5000)
        assert problem(await remove(client, status=409, TOTAL=4000)) == {
            "field": "readings",
            "message": "TOTAL shows 4000, which cannot follow 5000 of 2026-01-01T00:00:00+00:00",
        }
        assert len(readings(connection)) == 1
        assert (await client.get(f"{PROJECT}/service-points/p1")).json()["device_id"] == "m1"

    async def test_409_readings_after_it(self, client, connection):
        await install(client)
        connection.execute(
            "INSERT INTO reading (register_id, installation_id, read_at, value, total, source, quality)"
            " SELECT register_id, installation_id, %s, 9100, 9100, 'meter', 'ok' FROM reading",
            [APR],
        )
        assert problem(await remove(client, status=409)) == {
            "field": "removed_at",
            "message": "TOTAL has readings after this moment",
        }
        assert (
            problem(await remove(client, at="2026-05-01T00:00:00Z", status=409, TOTAL=9050))["field"]
            == "readings"
        )
        await remove(client, at="2026-05-01T00:00:00Z", TOTAL=9150)

    async def test_200_a_meter_that_counts_down(self, client, connection):
        await put(client, "billing-rules", {"timezone": "UTC", "reading_mode": "remaining"})
        await install(client, device_id="m2", TOTAL=100)
        assert problem(await remove(client, status=409, TOTAL=101))["field"] == "readings"
        await remove(client, TOTAL=40)
        assert readings(connection)[1:] == [("remove", "ok", "TOTAL", 3, 40, 160)]

    async def test_errors(self, client):
        assert (await remove(client, status=409))["detail"] == "no meter is at service point 'p1'"
        await install(client)
        soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        assert problem(await remove(client, status=422, at=soon))["field"] == "removed_at"
        assert problem(await remove(client, status=422, PEAK=1))["field"] == "readings"
        assert problem(await remove(client, status=409, at=JAN)) == {
            "field": "removed_at",
            "message": "must be after 2026-01-01T00:00:00+00:00, when meter 'm1' came",
        }
        await remove(client)
        await remove(client, at=APR, status=409)
        answer = await client.post(
            f"{PROJECT}/service-points/nix/remove", json={"removed_at": MAR, "readings": {"TOTAL": 1}}
        )
        assert answer.status_code == 404

    async def test_200_it_can_be_installed_elsewhere_from_then_on(self, client, connection):
        await install(client)
        await remove(client)
        made = await install(client, point="p2", at=MAR, TOTAL=9500)
        assert (made["id"], made["service_point"]) == (2, "p2")
        assert [row[0] for row in readings(connection)] == ["install", "remove", "install"]


class TestReplace:
    BODY = {  # noqa: RUF012
        "replaced_at": MAR,
        "final_readings": {"TOTAL": 9500},
        "device_id": "m2",
        "initial_readings": {"TOTAL": 7},
    }

    async def test_200_and_again(self, client, connection):
        await install(client)
        for _ in range(2):
            found = await post(client, "service-points/p1/replace", 200, **self.BODY)
            assert found == {
                "removed": {**STAY, "removed_at": MAR, "final_readings": {"TOTAL": "9500"}},
                "installed": {
                    **STAY,
                    "id": 2,
                    "device_id": "m2",
                    "installed_at": MAR,
                    "initial_readings": {"TOTAL": "7"},
                },
            }
        assert readings(connection) == [
            ("install", "ok", "TOTAL", 1, 9000.5, 9000.5),
            ("remove", "ok", "TOTAL", 3, 9500, 9500),
            ("install", "ok", "TOTAL", 3, 7, 7),
        ]
        found = (await client.get(f"{PROJECT}/service-points/p1/installations", params={"limit": 1})).json()
        assert [stay["device_id"] for stay in found["items"]] == ["m1"]
        found = await client.get(
            f"{PROJECT}/service-points/p1/installations", params={"limit": 1, "cursor": found["next"]}
        )
        assert [stay["device_id"] for stay in found.json()["items"]] == ["m2"]
        assert found.json()["next"] is None

    async def test_errors_leave_the_old_one(self, client, connection):
        await install(client)
        await install(client, point="p2", device_id="tou", TOTAL=0, PEAK=0, VALLEY=0)
        for changes, status, field in (
            ({"device_id": "m1"}, 409, "device_id"),
            ({"device_id": "nix"}, 422, "device_id"),
            ({"device_id": "wet"}, 409, "device_id"),
            (
                {"device_id": "tou", "initial_readings": {"TOTAL": 1, "PEAK": 1, "VALLEY": 1}},
                409,
                "device_id",
            ),
            ({"initial_readings": {"PEAK": 7}}, 422, "initial_readings"),
            ({"final_readings": {"TOTAL": 10_000}}, 422, "final_readings"),
            ({"replaced_at": JAN}, 409, "replaced_at"),
            ({"replaced_at": "2999-01-01T00:00:00Z"}, 422, "replaced_at"),
        ):
            found = await post(client, "service-points/p1/replace", status, **{**self.BODY, **changes})
            assert problem(found)["field"] == field
        assert (await client.get(f"{PROJECT}/service-points/p1")).json()["device_id"] == "m1"
        assert len(readings(connection)) == 4

    async def test_409_with_nothing_there(self, client):
        await post(client, "service-points/p1/replace", 409, **self.BODY)
        await install(client, device_id="m2", at=MAR)
        assert problem(await post(client, "service-points/p1/replace", 409, **self.BODY))["field"] in (
            "initial_readings",
            "replaced_at",
        )


def insert_bill(connection, **values):
    """Insert a bill of which only these columns matter; the others have whatever their type allows."""
    blank = {"ARRAY": "{}", "text": "", "boolean": False, "timestamp with time zone": APR}
    for column in connection.execute(
        "SELECT column_name AS name, data_type AS kind FROM information_schema.columns"
        " WHERE table_name = 'bill' AND is_nullable = 'NO' AND column_default IS NULL"
    ).fetchall():
        values.setdefault(column["name"], blank.get(column["kind"], 1))
    statement = sql.SQL("INSERT INTO bill ({}) VALUES ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, values)), sql.SQL(", ").join(map(sql.Placeholder, values))
    )
    connection.execute(statement, values)


async def test_bills_that_a_change_touches_are_looked_at_again(client, connection):
    await install(client)
    point = connection.execute("SELECT id FROM service_point WHERE key = 'p1'").fetchone()["id"]
    insert_bill(
        connection, project_id="42", service_point_id=point, state="final", period_from=JAN, period_to=APR
    )
    await remove(client)
    requests = "SELECT service_point_id, since FROM rerate_request"
    expected = [{"service_point_id": point, "since": datetime(2026, 3, 1, tzinfo=UTC)}]
    assert connection.execute(requests).fetchall() == expected
    await install(client, device_id="m2", at="2026-04-02T00:00:00Z", TOTAL=1)
    await install(client, point="p2", device_id="tou", TOTAL=1, PEAK=1, VALLEY=1)
    assert connection.execute(requests).fetchall() == expected


# --- people


async def move_in(client, party="ann", at=JAN, status=201, point="p1", **changes):
    return await post(
        client, f"service-points/{point}/move-in", status, party=party, moved_in_at=at, **changes
    )


async def move_out(client, party="ann", at=MAR, status=200):
    return await post(client, "service-points/p1/move-out", status, party=party, moved_out_at=at)


async def households(client, point="p1"):
    found = (await client.get(f"{PROJECT}/service-points/{point}/households")).json()["items"]
    return [(h["valid_from"], h["valid_to"], h["persons"], h["since"]) for h in found]


OCCUPANCY = {
    "id": 1,
    "service_point": "p1",
    "party": "ann",
    "name": "Ann",
    "moved_in_at": JAN,
    "moved_out_at": None,
    "persons": 1,
    "weight": "1",
}


class TestOccupancies:
    async def test_201_200_and_households_follow(self, client):
        assert await move_in(client) == OCCUPANCY
        assert await move_in(client, status=200) == OCCUPANCY
        assert await households(client) == [(JAN, None, 1, JAN)]
        await move_in(client, "bob", FEB, persons=3, weight="0.5")
        assert await households(client) == [(JAN, FEB, 1, JAN), (FEB, None, 4, JAN)]
        for _ in range(2):
            assert await move_out(client) == {**OCCUPANCY, "moved_out_at": MAR}
        assert await households(client) == [(JAN, FEB, 1, JAN), (FEB, MAR, 4, JAN), (MAR, None, 3, JAN)]
        await move_out(client, "bob")
        await move_in(client, "cy", APR)
        assert await households(client) == [
            (JAN, FEB, 1, JAN),
            (FEB, MAR, 4, JAN),
            (MAR, APR, 0, JAN),
            (APR, None, 1, APR),
        ]
        found = (await client.get(f"{PROJECT}/service-points/p1/occupancies")).json()
        assert [(one["party"], one["moved_out_at"]) for one in found["items"]] == [
            ("ann", MAR), ("bob", MAR), ("cy", None)
        ]  # fmt: skip

    async def test_200_the_same_beginning_changes_the_occupancy(self, client):
        await move_in(client)
        changed = await move_in(client, status=200, persons=2, moved_out_at=FEB)
        assert changed == {**OCCUPANCY, "persons": 2, "moved_out_at": FEB}
        assert (await households(client))[0] == (JAN, FEB, 2, JAN)

    async def test_204_a_mistake_goes(self, client):
        await move_in(client)
        await move_in(client, "bob", FEB)
        assert (await client.delete(f"{PROJECT}/service-points/p2/occupancies/1")).status_code == 404
        for status in (204, 404):
            answer = await client.delete(f"{PROJECT}/service-points/p1/occupancies/1")
            assert answer.status_code == status
        assert await households(client) == [(FEB, None, 1, FEB)]
        assert (await client.delete(f"{PROJECT}/parties/ann")).status_code == 204
        answer = await client.delete(f"{PROJECT}/parties/bob")
        assert (answer.status_code, answer.json()["detail"]) == (409, "occupancies hang on it")

    async def test_errors(self, client):
        await move_in(client)
        for changes, status, field in (
            ({"party": "nix"}, 422, "party"),
            ({"at": FEB}, 409, "party"),
            ({"moved_out_at": JAN}, 422, ""),
            ({"persons": -1}, 422, "persons"),
            ({"persons": 1.5}, 422, "persons"),
            ({"weight": -1}, 422, "weight"),
            ({"at": "soon"}, 422, "moved_in_at"),
        ):
            assert problem(await move_in(client, status=status, **changes))["field"] == field
        await move_in(client, point="nix", status=404)
        assert problem(await move_out(client, "bob", status=409))["field"] == "party"
        assert problem(await move_out(client, at=JAN, status=409))["field"] == "party"
        await move_out(client)
        assert problem(await move_out(client, at=APR, status=409))["field"] == "party"
        assert (await client.get(f"{PROJECT}/service-points/nix/occupancies")).status_code == 404
        assert (await client.get(f"{PROJECT}/service-points/nix/households")).status_code == 404

    async def test_bulk_writes_every_household(self, client):
        items = [
            {"service_point": point, "party": party, "moved_in_at": at, "persons": n}
            for point, party, at, n in (("p1", "ann", JAN, 1), ("p1", "bob", FEB, 2), ("p2", "cy", MAR, 3))
        ]
        made = await post(client, "occupancies/bulk", 200, items=items)
        assert made == {"created": 3, "updated": 0, "unchanged": 0}
        assert await households(client) == [(JAN, FEB, 1, JAN), (FEB, None, 3, JAN)]
        assert await households(client, "p2") == [(MAR, None, 3, MAR)]
        # Ann goes and comes back in one call: what ends and what begins do not stand in each other's way.
        items[0]["moved_out_at"] = FEB
        again = {**items[0], "moved_in_at": APR, "moved_out_at": None}
        made = await post(client, "occupancies/bulk", 200, items=[*items, again])
        assert made == {"created": 1, "updated": 1, "unchanged": 2}
        found = [row[:3] for row in await households(client)]
        assert found == [(JAN, FEB, 1), (FEB, APR, 2), (APR, None, 3)]

    async def test_bulk_errors_are_named_by_row(self, client, connection):
        await move_in(client)
        good = {"service_point": "p1", "party": "bob", "moved_in_at": JAN}
        items = [
            good,
            {**good, "service_point": "nix"},
            {**good, "party": "nix"},
            {**good, "moved_in_at": FEB},
        ]
        found = await post(client, "occupancies/bulk", 422, items=items)
        assert [(one["row"], one["field"]) for one in found["errors"]] == [
            (2, "service_point"), (3, "party"), (4, "moved_in_at")
        ]  # fmt: skip
        items = [good, {**good, "party": "ann", "moved_in_at": "2025-01-01T00:00:00Z"}]
        found = await post(client, "occupancies/bulk", 409, items=items)
        assert [(one["row"], one["field"]) for one in found["errors"]] == [(2, "party")]
        assert connection.execute("SELECT count(*) AS n FROM occupancy").fetchone() == {"n": 1}


# --- flat rows


def row(number=1, **changes):
    return {
        "key": f"flat-{number}",
        "commodity": "water",
        "subtype": "自来水表",
        "address": ["安心e家", "", "", "", f"{number:03}"],
        "device_id": f"w{number:06}",
        "digits": 5,
        "installed_at": JAN,
        "initial_reading": "0.25",
        "name": "张三",
        "cellphone": "13800000001",
        "persons": 3,
        **changes,
    }


def counts(connection):
    tables = (
        "premise",
        "service_point",
        "meter",
        "meter_installation",
        "reading",
        "party",
        "occupancy",
        "household",
    )
    found = connection.execute(
        "SELECT " + ", ".join(f"(SELECT count(*) FROM {table}) AS {table}" for table in tables)
    ).fetchone()
    return [found[table] for table in tables]


class TestFlatRows:
    @pytest.fixture
    async def empty(self, client_of, database):
        return await client_of("management", await make_token(database))

    async def test_200_a_household_in_one_row_and_again(self, empty, connection):
        client = empty
        items = [
            row(1),
            row(2, device_id="w2", persons=1),
            {"key": "bare", "commodity": "water", "address": ["x"]},
        ]
        made = await post(client, "service-points/bulk", 200, items=items)
        assert made == {"created": 3, "updated": 0, "unchanged": 0}
        assert counts(connection) == [3, 3, 2, 2, 2, 2, 2, 2]
        made = await post(client, "service-points/bulk", 200, items=items)
        assert made == {"created": 0, "updated": 0, "unchanged": 3}
        assert counts(connection) == [3, 3, 2, 2, 2, 2, 2, 2]
        assert (await client.get(f"{PROJECT}/service-points/flat-1")).json() == {
            "key": "flat-1",
            "premise": "flat-1",
            "commodity": "water",
            "subtype": "自来水表",
            "usage_class": None,
            "device_id": "w000001",
        }
        assert (await client.get(f"{PROJECT}/meters/w000001")).json()["registers"] == [
            {"kind": "TOTAL", "unit": "m3", "multiplier": "1", "modulus": "100000"}
        ]
        assert await households(client, "flat-1") == [(JAN, None, 3, JAN)]

    async def test_200_what_moved_out_since_stays_out(self, client):
        await post(client, "service-points/bulk", 200, items=[row()])
        await post(client, "service-points/flat-1/move-out", 200, party="flat-1", moved_out_at=FEB)
        await post(client, "service-points/flat-1/move-in", 201, party="flat-1", moved_in_at=MAR)
        await post(client, "service-points/bulk", 200, items=[row()])
        found = (await client.get(f"{PROJECT}/service-points/flat-1/occupancies")).json()["items"]
        assert [(one["moved_in_at"], one["moved_out_at"]) for one in found] == [(JAN, FEB), (MAR, None)]

    async def test_200_several_in_one_premise_and_of_one_party(self, client):
        shared = {"premise": "h9", "address": ["North"], "party": "zhang"}
        made = await post(
            client,
            "service-points/bulk",
            200,
            items=[row(1, **shared), row(2, **shared), row(3, premise="h1")],
        )
        assert made["created"] == 3
        found = (await client.get(f"{PROJECT}/service-points", params={"premise": "h9"})).json()["items"]
        assert [one["key"] for one in found] == ["flat-1", "flat-2"]

    async def test_errors_name_the_row_and_nothing_is_stored(self, client, connection):
        await install(client)
        before = counts(connection)
        for change, status, field in (
            ({"key": "flat-2"}, 422, "key"),
            ({"device_id": "w000002"}, 422, "device_id"),
            ({"usage_class": "nix"}, 422, "usage_class"),
            ({"address": None}, 422, "premise"),
            ({"premise": "flat-2"}, 422, "premise"),
            ({"party": "flat-2", "name": "x"}, 422, "party"),
            ({"party": "nix", "name": None, "cellphone": None}, 422, "party"),
            ({"device_id": "wet", "multiplier": 2, "digits": None}, 409, "multiplier"),
            ({"device_id": "m1", "commodity": "electricity", "digits": None}, 409, "device_id"),
            ({"device_id": "m1"}, 409, "device_id"),
            ({"register": "PEAK", "device_id": "wet"}, 409, "register"),
            ({"initial_reading": 100_000}, 422, "initial_reading"),
            ({"installed_at": "2999-01-01T00:00:00Z"}, 422, "installed_at"),
            ({"key": "p1"}, 409, "commodity"),
            ({"installed_at": None}, 422, ""),
            ({"device_id": None, "installed_at": None, "initial_reading": None}, 422, ""),
            ({"area": -1}, 422, "area"),
            ({"modulus": 10}, 422, ""),
        ):
            items = [row(2), row(3), row(1, **change)]
            found = await post(client, "service-points/bulk", status, items=items)
            assert {(one["row"], one["field"]) for one in found["errors"]} == {(3, field)}, found
            assert counts(connection) == before

    async def test_200_ten_thousand(self, client, connection):
        before = counts(connection)
        items = [row(number) for number in range(10_000)]
        made = await post(client, "service-points/bulk", 200, items=items)
        assert made == {"created": 10_000, "updated": 0, "unchanged": 0}
        assert [now - was for now, was in zip(counts(connection), before, strict=True)] == [10_000] * 8
