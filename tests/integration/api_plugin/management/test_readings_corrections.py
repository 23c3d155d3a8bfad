"""/carillon/v1: looking at readings, correcting them, and the exceptions queue."""

from __future__ import annotations

import asyncio

import pytest

from tests.billing_rows import (
    PROJECT,
    at,
    insert_bill,
    insert_place,
    insert_project,
    insert_register,
)
from tests.builders import make_token

ROOT = f"/projects/{PROJECT}"
DEVICE = "000090502121"


@pytest.fixture
async def client(client_of, database):
    return await client_of("management", await make_token(database, name="somebody"))


@pytest.fixture
async def foreign(client_of, database):
    return await client_of("management", await make_token(database, projects=["49"]))


@pytest.fixture
def place(connection):
    return insert_place(connection, device_id=DEVICE)


async def record(client, *pairs, on_decrease="quarantine", device_id=DEVICE, **changes):
    """Record (day of January 2026, value) pairs."""
    rows = [
        {"device_id": device_id, "read_at": f"2026-01-{day:02}T00:00:00", "value": value, **changes}
        for day, value in pairs
    ]
    answer = await client.post(f"{ROOT}/readings", json={"rows": rows, "on_decrease": on_decrease})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def shown(client, device_id=DEVICE, **params):
    answer = await client.get(f"{ROOT}/meters/{device_id}/readings", params={"limit": 500, **params})
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def good(client):
    """Return {day: (value, total)} of the readings that count."""
    return {
        int(item["read_at"][8:10]) + 1: (item["value"], item["total"])
        for item in await shown(client)
        if item["quality"] != "suspect"
    }


async def act(client, path, status=201, **body):
    answer = await client.post(path, json={"reason": "misread", **body})
    assert answer.status_code == status, answer.text
    return answer.json()


class TestListReadings:
    async def test_200(self, client, connection, place):
        await record(client, (2, "12.50"), note="by hand", source="manual")
        [item] = await shown(client)
        recorded = connection.execute("SELECT recorded_at FROM reading").fetchone()["recorded_at"]
        assert item == {
            "id": 1,
            "device_id": DEVICE,
            "register": "TOTAL",
            "installation_id": 1,
            "read_at": "2026-01-01T16:00:00Z",
            "recorded_at": recorded.isoformat().replace("+00:00", "Z"),
            "value": "12.5",
            "total": "12.5",
            "top_up": "0",
            "source": "manual",
            "quality": "ok",
            "supersedes_id": None,
            "superseded_by_id": None,
            "note": "by hand",
        }

    async def test_200_pages_the_newest_first_over_registers(self, client, connection, place):
        insert_register(connection, place.meter_id, kind="PEAK")
        for register in ("TOTAL", "PEAK"):
            await record(client, *((day, day) for day in range(2, 7)), register=register)
        seen, params = [], {"limit": "3"}
        while True:
            page = (await client.get(f"{ROOT}/meters/{DEVICE}/readings", params=params)).json()
            seen += [(item["read_at"][8:10], item["register"]) for item in page["items"]]
            if page["next"] is None:
                break
            params["cursor"] = page["next"]
        days = [f"{day:02}" for day in range(5, 0, -1)]
        assert seen == [(day, register) for day in days for register in ("PEAK", "TOTAL")]

    async def test_200_filters(self, client, connection, place):
        insert_register(connection, place.meter_id, kind="PEAK")
        await record(client, (2, 10), (3, 5), (4, 11))
        await record(client, (3, 1), register="PEAK")

        async def values(**params):
            return [item["value"] for item in await shown(client, **params)]

        assert await values() == ["11", "1", "5", "10"]
        assert await values(register="PEAK") == ["1"]
        assert await values(quality="suspect") == ["5"]
        assert await values(**{"from": "2026-01-02T16:00:00Z"}) == ["11", "1", "5"]
        assert await values(to="2026-01-03T00:00:00+08:00") == ["10"]

    async def test_200_as_it_was_known(self, client, connection, place):
        await record(client, (2, 10), (3, 900))
        known = connection.execute("SELECT clock_timestamp() AS now").fetchone()["now"].isoformat()
        await act(client, "/readings/2/corrections", value=20)
        await record(client, (4, 30))
        assert [item["value"] for item in await shown(client)] == ["30", "20", "10"]
        assert [item["value"] for item in await shown(client, known_at=known)] == ["900", "10"]
        everything = await shown(client, superseded="true")
        assert [(i["value"], i["supersedes_id"], i["superseded_by_id"]) for i in everything] == [
            ("30", None, None),
            ("20", 2, None),
            ("900", None, 3),
            ("10", None, None),
        ]

    async def test_404_and_422(self, client, foreign, place):
        assert (await client.get(f"{ROOT}/meters/none/readings")).status_code == 404
        assert (await foreign.get(f"{ROOT}/meters/{DEVICE}/readings")).status_code == 404
        for name in ("register", "from", "to", "quality", "known_at", "limit", "cursor", "superseded"):
            answer = await client.get(f"{ROOT}/meters/{DEVICE}/readings", params={name: "!"})
            assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, [name])


class TestMissingReadings:
    async def test_200(self, client, connection, place):
        insert_register(connection, place.meter_id, kind="PEAK")
        insert_place(connection, device_id="water", commodity="water")
        insert_place(connection, device_id="fine")
        insert_place(connection, device_id="gone")
        insert_place(connection, device_id="foreign", project_id="49")
        connection.execute(
            "UPDATE meter_installation SET valid_to = %s WHERE id = 4", [at("2026-01-03T23:59:59")]
        )
        await record(client, (4, 1), device_id="fine")
        await record(client, (2, 1), (4, 2))
        await record(client, (3, 9), device_id="water")
        params = {"at": "2026-01-04T02:00:00+08:00"}
        answer = await client.get(f"{ROOT}/missing-readings", params=params)
        water = {
            "meter_id": 2,
            "device_id": "water",
            "commodity": "water",
            "service_point": answer.json()["items"][1]["service_point"],
            "registers": ["TOTAL"],
            "last_read_at": "2026-01-02T16:00:00Z",
        }
        power = {
            "meter_id": 1,
            "device_id": DEVICE,
            "commodity": "electricity",
            "service_point": answer.json()["items"][0]["service_point"],
            "registers": ["PEAK"],
            "last_read_at": "2026-01-03T16:00:00Z",
        }
        assert answer.json() == {"items": [power, water], "next": None}
        answer = await client.get(f"{ROOT}/missing-readings", params={**params, "commodity": "water"})
        assert answer.json()["items"] == [water]
        first = (await client.get(f"{ROOT}/missing-readings", params={**params, "limit": 1})).json()
        assert first["items"] == [power]
        second = await client.get(f"{ROOT}/missing-readings", params={**params, "cursor": first["next"]})
        assert second.json() == {"items": [water], "next": None}

    async def test_200_the_tolerance_is_the_projects(self, client, connection, place):
        insert_project(connection, boundary_tolerance="1 day")
        await record(client, (3, 1))
        for boundary, missing in (("2026-01-04T00:00:00+08:00", 0), ("2026-01-04T00:00:01+08:00", 1)):
            answer = await client.get(f"{ROOT}/missing-readings", params={"at": boundary})
            assert len(answer.json()["items"]) == missing

    async def test_200_a_suspect_reading_is_none(self, client, place):
        await record(client, (3, 5), (4, 1))
        answer = await client.get(f"{ROOT}/missing-readings", params={"at": "2026-01-04T00:00:00+08:00"})
        assert [item["last_read_at"] for item in answer.json()["items"]] == ["2026-01-02T16:00:00Z"]

    async def test_404_and_422(self, client, foreign):
        params = {"at": "2026-01-04T00:00:00+08:00"}
        assert (await foreign.get(f"{ROOT}/missing-readings", params=params)).status_code == 404
        for bad, field in (
            ({}, "at"),
            ({"at": "2026-01-04"}, "at"),
            ({**params, "commodity": "gas"}, "commodity"),
        ):
            answer = await client.get(f"{ROOT}/missing-readings", params=bad)
            assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, [field])


class TestCorrections:
    async def test_201(self, client, connection, place):
        await record(client, (2, 10), (3, 90), (4, 100))
        assert await act(client, "/readings/2/corrections", value="20.5") == {"id": 4}
        row = connection.execute("SELECT * FROM reading WHERE id = 4").fetchone()
        assert (row["source"], row["quality"], row["supersedes_id"], row["note"]) == (
            "correction",
            "edited",
            2,
            "misread",
        )
        assert await good(client) == {2: ("10", "10"), 3: ("20.5", "20.5"), 4: ("100", "100")}
        audit = connection.execute(
            "SELECT entity, entity_id, action, actor, detail FROM billing_audit"
        ).fetchone()
        assert audit == {
            "entity": "reading",
            "entity_id": 2,
            "action": "correct",
            "actor": "somebody",
            "detail": {
                "reading_id": 2,
                "correction_id": 4,
                "value": {"before": "90.000000", "after": "20.5"},
                "reason": "misread",
                "moved": 0,
            },
        }

    async def test_201_a_correction_is_corrected(self, client, place):
        await record(client, (2, 10))
        await act(client, "/readings/1/corrections", value=11)
        body = await act(client, "/readings/1/corrections", 409, value=12)
        assert body["detail"] == "reading 2 stands for it: correct that one"
        await act(client, "/readings/2/corrections", value=12)
        assert await good(client) == {2: ("12", "12")}

    async def test_201_bills_are_looked_at_again(self, client, connection, place):
        await record(client, (2, 10), (3, 20), (4, 30))
        await act(client, "/readings/3/corrections", value=31)
        assert connection.execute("SELECT * FROM rerate_request").fetchall() == []
        insert_bill(
            connection, place, period_from=at("2026-01-02T00:00:00"), period_to=at("2026-01-03T00:00:00")
        )
        await act(client, "/readings/4/corrections", value=32)
        assert connection.execute("SELECT * FROM rerate_request").fetchall() == []
        await act(client, "/readings/2/corrections", value=21)
        [request] = connection.execute("SELECT service_point_id, since FROM rerate_request").fetchall()
        assert request == {"service_point_id": place.service_point_id, "since": at("2026-01-02T00:00:00")}

    @pytest.mark.parametrize("value", [9, 31])
    async def test_409_its_neighbours_must_fit(self, client, place, value):
        await record(client, (2, 10), (3, 20), (4, 30))
        for force in (False, True):
            body = await act(client, "/readings/2/corrections", 409, value=value, force=force)
            assert body["detail"].endswith("correct those first")
        assert await good(client) == {2: ("10", "10"), 3: ("20", "20"), 4: ("30", "30")}

    async def test_201_a_turn_that_was_none(self, client, connection, place):
        """980 was misread as 080 and taken for a turn; everything after it counted a thousand too many."""
        connection.execute("UPDATE register SET modulus = 1000")
        await record(client, (2, 900), (3, 950), (4, 80), (5, 985), (6, 990))
        assert (await good(client))[6] == ("990", "1990")
        body = await act(client, "/readings/3/corrections", 409, value=980)
        assert body["detail"] == (
            "the readings after it would count other turns then: `force` it to count them anew"
        )
        await act(client, "/readings/3/corrections", value=980, force=True)
        assert await good(client) == {
            2: ("900", "900"),
            3: ("950", "950"),
            4: ("980", "980"),
            5: ("985", "985"),
            6: ("990", "990"),
        }
        assert len(await shown(client, superseded="true")) == 8

    async def test_201_a_turn_that_is_not_plausible(self, client, connection, place):
        connection.execute("UPDATE register SET modulus = 1000")
        await record(client, (2, 100), (12, 200), (13, 250))
        await act(client, "/readings/3/corrections", 409, value=50)
        await act(client, "/readings/3/corrections", value=50, force=True)
        assert (await good(client))[13] == ("50", "1050")

    async def test_201_meters_that_show_what_remains(self, client, connection, place):
        insert_project(connection, reading_mode="remaining")
        await record(client, (2, 100), (3, 90), (4, 70))
        await act(client, "/readings/2/corrections", value=80)
        assert await good(client) == {2: ("100", "100"), 3: ("80", "120"), 4: ("70", "130")}
        for value in (69, 101):
            await act(client, "/readings/4/corrections", 409, value=value)

    async def test_422(self, client, connection, place):
        connection.execute("UPDATE register SET modulus = 1000")
        await record(client, (2, 10))
        for bad, field in (
            ({"value": -1}, "value"),
            ({"value": "x"}, "value"),
            ({"value": 1000}, "value"),
            ({"value": 1, "reason": ""}, "reason"),
            ({"value": 1, "reason": "\u0000"}, "reason"),
            ({"value": 1, "reason": "r" * 501}, "reason"),
            ({"value": 1, "colour": "red"}, "colour"),
            ({}, "value"),
        ):
            body = await act(client, "/readings/1/corrections", 422, **bad)
            assert [error["field"] for error in body["errors"]] == [field]

    async def test_404(self, client, foreign, place):
        await record(client, (2, 10))
        for one, path in ((client, "/readings/9"), (foreign, "/readings/1")):
            await act(one, f"{path}/corrections", 404, value=1)
            await act(one, f"{path}/release", 404)
            await act(one, f"{path}/discard", 404)

    async def test_only_one_of_two_at_once(self, client, place):
        await record(client, (2, 10))
        answers = await asyncio.gather(
            *(
                client.post("/readings/1/corrections", json={"value": value, "reason": "r"})
                for value in (11, 12, 13)
            )
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409]


class TestReleaseAndDiscard:
    async def test_201_a_spike_is_discarded_and_what_it_kept_out_is_released(self, client, connection, place):
        await record(client, (2, 10), (3, 900), (4, 30), (5, 40))
        assert await good(client) == {2: ("10", "10"), 3: ("900", "900")}
        await act(client, "/readings/3/release", 409)
        await act(client, "/readings/2/discard")
        assert await good(client) == {2: ("10", "10")}
        await act(client, "/readings/4/release")
        await act(client, "/readings/3/release")
        assert await good(client) == {2: ("10", "10"), 4: ("30", "30"), 5: ("40", "40")}
        states = connection.execute("SELECT state, resolution, actor FROM billing_exception").fetchall()
        assert states == [{"state": "resolved", "resolution": "release: misread", "actor": "somebody"}] * 2

    async def test_409_only_what_is_in_quarantine_is_released(self, client, place):
        await record(client, (2, 10))
        body = await act(client, "/readings/1/release", 409)
        assert body["detail"] == "reading 1 is not in quarantine"

    async def test_201_a_discarded_reading_comes_back(self, client, place):
        await record(client, (2, 10))
        assert await act(client, "/readings/1/discard") == {"id": 2}
        assert await good(client) == {}
        await act(client, "/readings/2/release")
        assert await good(client) == {2: ("10", "10")}

    async def test_409_a_turn_hangs_on_it(self, client, connection, place):
        connection.execute("UPDATE register SET modulus = 1000")
        await record(client, (2, 900), (3, 80), (4, 950))
        await act(client, "/readings/2/discard", 409)
        await act(client, "/readings/2/discard", force=True)
        assert await good(client) == {2: ("900", "900"), 4: ("950", "950")}

    async def test_409_what_was_bought_would_be_lost(self, client, connection, place):
        insert_project(connection, reading_mode="remaining")
        await record(client, (2, 10))
        await record(client, (3, 50), top_up=45)
        await act(client, "/readings/2/discard", 409)

    async def test_readings_are_never_changed(self, client, connection, place):
        import psycopg

        await record(client, (2, 10))
        with pytest.raises(psycopg.errors.RestrictViolation):
            connection.execute("UPDATE reading SET value = 11")


class TestExceptions:
    async def test_200(self, client, foreign, connection, place):
        await record(client, (2, 10), (3, 5))
        answer = await client.get(f"{ROOT}/billing-exceptions")
        [item] = answer.json()["items"]
        assert item == {
            "id": 1,
            "project_id": PROJECT,
            "kind": "reverse_read",
            "state": "open",
            "detail": "5 does not fit between the readings around it: the counter would run backwards",
            "parked": False,
            "service_point": item["service_point"],
            "device_id": DEVICE,
            "reading_id": 2,
            "run_id": None,
            "resolution": None,
            "actor": None,
            "created_at": item["created_at"],
            "resolved_at": None,
        }
        assert (await foreign.get(f"{ROOT}/billing-exceptions")).status_code == 404

    async def test_200_filters_and_pages(self, client, connection, place):
        await record(client, (2, 10), (3, 5), (4, 6), (5, 7))
        connection.execute(
            "INSERT INTO billing_exception (project_id, kind, detail, parked, created_at)"
            " VALUES ('42', 'pull_failed', '', false, now())"
        )

        async def ids(**params):
            page = (await client.get(f"{ROOT}/billing-exceptions", params=params)).json()
            return [item["id"] for item in page["items"]], page["next"]

        await client.post("/billing-exceptions/2/resolve", json={"resolution": "seen"})
        assert await ids() == ([1, 2, 3, 4], None)
        assert await ids(state="resolved") == ([2], None)
        assert await ids(state="open", kind="pull_failed") == ([4], None)
        first, cursor = await ids(limit=2)
        assert (first, (await ids(cursor=cursor))[0]) == ([1, 2], [3, 4])

    async def test_200_resolve(self, client, place):
        await record(client, (2, 10), (3, 5))
        answer = await client.post("/billing-exceptions/1/resolve", json={"resolution": "seen"})
        body = answer.json()
        assert (body["state"], body["resolution"], body["actor"]) == ("resolved", "seen", "somebody")
        assert body["resolved_at"] is not None
        again = await client.post("/billing-exceptions/1/resolve", json={"resolution": "seen"})
        assert (again.status_code, again.json()["detail"]) == (409, "billing exception 1 is resolved already")

    async def test_200_accept_and_discard(self, client, place):
        await record(client, (2, 10), (3, 5), (4, 6))
        path = "/billing-exceptions/{}/resolve"
        refused = await client.post(path.format(1), json={"resolution": "ok", "action": "accept"})
        assert refused.status_code == 409
        await act(client, "/readings/1/discard")
        for number, action in ((1, "accept"), (2, "discard")):
            answer = await client.post(path.format(number), json={"resolution": "ok", "action": action})
            assert (answer.status_code, answer.json()["state"]) == (200, "resolved")
        assert await good(client) == {3: ("5", "5")}

    async def test_409_an_action_needs_a_reading(self, client, connection):
        connection.execute(
            "INSERT INTO billing_exception (project_id, kind, detail, parked, created_at)"
            " VALUES ('42', 'pull_failed', '', false, now())"
        )
        answer = await client.post(
            "/billing-exceptions/1/resolve", json={"resolution": "ok", "action": "accept"}
        )
        assert answer.status_code == 409

    async def test_404_and_422(self, client, foreign, place):
        await record(client, (2, 10), (3, 5))
        for one, number in ((client, 9), (foreign, 1)):
            answer = await one.post(f"/billing-exceptions/{number}/resolve", json={"resolution": "x"})
            assert answer.status_code == 404
        for body, field in (({}, "resolution"), ({"resolution": "x", "action": "burn"}, "action")):
            answer = await client.post("/billing-exceptions/1/resolve", json=body)
            assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, [field])
        answer = await client.get(f"{ROOT}/billing-exceptions", params={"kind": "x"})
        assert answer.status_code == 422
