"""/carillon/v1/statistics: what is counted, its samples, and what maintenance hears of them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from api_plugin.common import airflow_adapter
from include.kit.clock import system_clock
from tests.builders import make_token
from tests.statistic_rows import insert_project, insert_state, insert_task

PATH = "/statistics/hours"
SAMPLES = f"{PATH}/samples"
HOURS = {"name": "Running hours", "unit": "小时", "kind": "cumulative"}


@pytest.fixture
async def client(client_of, database):
    return await client_of("management", await make_token(database, projects=["p1"]))


@pytest.fixture
async def counted(client):
    """A client of an organisation that counts hours."""
    await client.put(PATH, json=HOURS)
    return client


@pytest.fixture
def told(monkeypatch):
    """The events of assets that Airflow was told."""
    events: list = []
    monkeypatch.setattr(airflow_adapter, "emit_asset_event", lambda *event: events.append(event))
    return events


def row(at: str, value: object, object_id: str = "pump"):
    return {"object_id": object_id, "at": f"2026-02-{at}Z", "value": value}


async def post(client, *rows, status=200, **options):
    answer = await client.post(SAMPLES, content=json.dumps({"rows": list(rows), **options}))
    assert answer.status_code == status, answer.text
    return answer.json()


def stored(connection, object_id="pump"):
    rows = connection.execute(
        "SELECT value, total, reset FROM statistic_sample WHERE object_id = %s ORDER BY at", [object_id]
    )
    return [(int(r["value"]), int(r["total"]), r["reset"]) for r in rows.fetchall()]


def problems(body):
    return [(error["row"], error["field"], error["message"]) for error in body["errors"]]


def state(connection, object_id="pump"):
    found = connection.execute(
        "SELECT anchor_total, due_total FROM maintenance_state WHERE object_id = %s", [object_id]
    ).fetchone()
    return found["anchor_total"], found["due_total"]


class TestStatistic:
    async def test_201_then_200(self, client):
        made = await client.put(PATH, json=HOURS)
        assert made.status_code == 201
        body = made.json()
        assert {**body, "created_at": None, "updated_at": None} == {
            "uid": "hours", "organization_id": "p1", **HOURS, "created_at": None, "updated_at": None
        }  # fmt: skip
        again = await client.put(PATH, json={**HOURS, "name": "Hours"})
        assert (again.status_code, again.json()["name"]) == (200, "Hours")
        assert (await client.get(PATH)).json() == again.json()
        assert (await client.get("/statistics")).json() == {"items": [again.json()], "next": None}

    async def test_409_another_kind_once_there_are_samples(self, counted):
        assert (await counted.put(PATH, json={**HOURS, "kind": "delta"})).status_code == 200
        await post(counted, row("01T00:00", 1))
        answer = await counted.put(PATH, json=HOURS)
        assert (answer.status_code, answer.json()["detail"]) == (409, "kind: has samples as delta")

    async def test_422_a_uid_with_other_characters(self, client):
        assert (await client.put("/statistics/a.b", json=HOURS)).status_code == 422

    async def test_each_organisation_has_its_own(self, client_of, database, client):
        await client.put(PATH, json=HOURS)
        other = await client_of("management", await make_token(database, projects=["p2"]))
        assert (await other.get(PATH)).status_code == 404
        answer = await other.post(SAMPLES, json={"rows": [row("01T00:00", 1)]})
        assert (answer.status_code, answer.json()["detail"]) == (404, "there is no statistic 'hours'")
        assert (await other.put(PATH, json=HOURS)).status_code == 201
        both = await client_of("management", await make_token(database, projects=["p1", "p2"]))
        answer = await both.get(PATH)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "organization_id")
        assert (await both.get(PATH, params={"organization_id": "p2"})).json()["organization_id"] == "p2"
        assert (await both.put("/statistics/km", json=HOURS)).status_code == 422
        assert (await both.put("/statistics/km?organization_id=p3", json=HOURS)).status_code == 404

    async def test_204_with_its_samples_unless_a_project_counts_by_it(self, counted, connection):
        await post(counted, row("01T00:00", 1))
        project = insert_project(connection)
        answer = await counted.delete(PATH)
        assert (answer.status_code, answer.json()["detail"]) == (
            409, "the maintenance project 'st_test' is due by it"
        )  # fmt: skip
        connection.execute("UPDATE definition SET deleted_at = now() WHERE id = %s", [project])
        assert (await counted.delete(PATH)).status_code == 204
        assert stored(connection) == []


class TestTotals:
    async def test_growth_since_the_first(self, counted, connection):
        report = await post(counted, row("01T00:00", 100), row("02T00:00", "110.5"), row("03T00:00", 130))
        assert report == {"accepted": 3, "corrected": 0, "unchanged": 0, "resets": 0, "crossed": 0}
        [value] = (await counted.get(f"{PATH}/values")).json()["items"]
        assert value == {
            "object_id": "pump", "at": "2026-02-03T00:00:00Z", "value": "130", "total": "30",
            "daily_growth": "15",
        }  # fmt: skip

    async def test_a_counter_that_falls_began_anew(self, counted, connection):
        assert (await post(counted, row("01T00:00", 100), row("02T00:00", 7)))["resets"] == 1
        await post(counted, row("03T00:00", 9))
        assert stored(connection) == [(100, 0, False), (7, 7, True), (9, 9, False)]

    async def test_deltas_add_up(self, counted, connection):
        await counted.put(PATH, json={**HOURS, "kind": "delta"})
        await post(counted, row("01T00:00", 4), row("02T00:00", 3), row("03T00:00", 0))
        assert stored(connection) == [(4, 4, False), (3, 7, False), (0, 7, False)]

    async def test_a_late_sample_is_counted_in_its_place(self, counted, connection):
        await post(counted, row("02T00:00", 10), row("04T00:00", 5))
        await post(counted, row("03T00:00", 30), row("01T00:00", 8))
        assert stored(connection) == [(8, 0, False), (10, 2, False), (30, 22, False), (5, 27, True)]

    async def test_a_corrected_sample(self, counted, connection):
        await post(counted, row("01T00:00", 10), row("02T00:00", 900), row("03T00:00", 30))
        assert stored(connection)[-1] == (30, 920, True)
        answer = await post(counted, row("02T00:00", 20), status=409)
        assert problems(answer) == [(1, "at", "has the value 900")]
        report = await post(counted, row("02T00:00", 20), on_duplicate="replace")
        assert report == {"accepted": 0, "corrected": 1, "unchanged": 0, "resets": 0, "crossed": 0}
        assert stored(connection) == [(10, 0, False), (20, 10, False), (30, 20, False)]

    async def test_a_deleted_sample(self, counted, connection):
        await post(counted, row("01T00:00", 10), row("02T00:00", 900), row("03T00:00", 30))
        wanted = {"object_id": "pump", "at": "2026-02-02T00:00:00Z"}
        answer = await counted.delete(SAMPLES, params=wanted)
        assert answer.json() == {"accepted": 0, "corrected": 1, "unchanged": 0, "resets": 0, "crossed": 0}
        assert stored(connection) == [(10, 0, False), (30, 20, False)]
        assert (await counted.delete(SAMPLES, params=wanted)).status_code == 404
        for at in ("01", "03"):
            await counted.delete(SAMPLES, params={**wanted, "at": f"2026-02-{at}T00:00:00Z"})
        assert (await counted.get(f"{PATH}/values")).json()["items"] == []

    async def test_what_is_sent_again_is_unchanged(self, counted, connection):
        rows = [row("01T00:00", 10), row("02T00:00", 20), row("02T00:00", "20.0")]
        assert (await post(counted, *rows))["unchanged"] == 1
        report = await post(counted, *rows, row("03T00:00", 21))
        assert report == {"accepted": 1, "corrected": 0, "unchanged": 3, "resets": 0, "crossed": 0}

    async def test_growth_by_a_day_is_of_the_last_30_days(self, counted):
        await post(counted, row("01T00:00", 0), row("02T00:00", 500))
        values = (await counted.get(f"{PATH}/values")).json()["items"]
        assert values[0]["daily_growth"] is None
        later = [
            {"object_id": "pump", "at": f"2026-05-{day}T00:00:00Z", "value": 600 + day}
            for day in (10, 12, 20)
        ]
        await post(counted, *later)
        assert (await counted.get(f"{PATH}/values")).json()["items"][0]["daily_growth"] == "1"

    async def test_200_listed(self, counted):
        await post(counted, *(row(f"0{day}T00:00", day) for day in range(1, 6)), row("01T00:00", 1, "fan"))
        first = (await counted.get(SAMPLES, params={"object_id": "pump", "limit": 3})).json()
        rest = (
            await counted.get(SAMPLES, params={"object_id": "pump", "limit": 3, "cursor": first["next"]})
        ).json()
        assert [one["value"] for one in first["items"] + rest["items"]] == ["5", "4", "3", "2", "1"]
        assert rest["next"] is None
        assert first["items"][0] == {
            "object_id": "pump", "at": "2026-02-05T00:00:00Z", "value": "5", "total": "4", "reset": False
        }  # fmt: skip
        span = {"object_id": "pump", "from": "2026-02-02T00:00:00Z", "to": "2026-02-04T00:00:00Z"}
        assert [one["value"] for one in (await counted.get(SAMPLES, params=span)).json()["items"]] == [
            "3",
            "2",
        ]


class TestRefused:
    @pytest.mark.parametrize(
        ("changes", "field", "message"),
        [
            ({"object_id": ""}, "object_id", "must be a string of 1 to 128 printable characters"),
            ({"object_id": 7}, "object_id", "must be a string of 1 to 128 printable characters"),
            ({"object_id": "x" * 129}, "object_id", "must be a string of 1 to 128 printable characters"),
            ({"object_id": "a\x00"}, "object_id", "must be a string of 1 to 128 printable characters"),
            ({"object_id": "\ud800"}, "object_id", "must be a string of 1 to 128 printable characters"),
            ({"value": -1}, "value", "must be 0 or more"),
            ({"value": None}, "value", "is required"),
            ({"value": True}, "value", "must be a number of at most 12 digits before and 6 after the point"),
            ({"value": "1e3"}, "value", "must be a number of at most 12 digits before and 6 after the point"),
            ({"at": "yesterday"}, "at", "must be a moment in ISO 8601, such as 2026-11-22T09:30:00+08:00"),
            ({"at": "1969-12-31T00:00:00Z"}, "at", "lies before 1970"),
            ({"at": "2999-01-01T00:00:00Z"}, "at", "lies in the future"),
            ({"unit": "h"}, "unit", "is not a field of a sample"),
        ],
    )
    async def test_422_names_the_row(self, counted, connection, changes, field, message):
        answer = await post(counted, row("01T00:00", 1), {**row("02T00:00", 2), **changes}, status=422)
        assert problems(answer) == [(2, field, message)]
        assert stored(connection) == []

    async def test_422_two_values_of_one_moment(self, counted):
        answer = await post(counted, row("01T00:00", 1), row("01T00:00", 2), status=422)
        assert problems(answer) == [(2, "at", "row 1 says 1 of this moment")]

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({}, "rows: is required"),
            ({"rows": {}}, "rows: must be a list"),
            ({"rows": [3]}, "nothing was stored: row 1: must be an object"),
            ({"rows": [], "x": 1}, "x: is not a field of this request"),
            ({"rows": [], "on_duplicate": "skip"}, "on_duplicate: must be one of reject, replace"),
            ({"rows": [{}] * 10_001}, "rows: must have at most 10,000 entries"),
        ],
    )
    async def test_422_the_request(self, counted, body, message):
        answer = await counted.post(SAMPLES, json=body)
        assert (answer.status_code, answer.json()["detail"]) == (422, message)


class TestThresholds:
    """A project every 25 hours: what was counted when it was anchored, what it is due at, who hears of it."""

    async def test_the_first_sample_is_the_baseline(self, counted, connection, told):
        insert_state(connection, insert_project(connection))
        insert_state(connection, insert_project(connection, "stopped", enabled=False), anchor_at=None)
        assert (await post(counted, row("01T00:00", 1000)))["crossed"] == 0
        found = connection.execute(
            "SELECT anchor_total, due_total FROM maintenance_state ORDER BY 1"
        ).fetchall()
        assert [tuple(one.values()) for one in found] == [(0, 25), (None, None)]

    async def test_crossing_is_told_once(self, counted, connection, told):
        insert_state(connection, insert_project(connection))
        await post(counted, row("01T00:00", 1000))
        assert (await post(counted, row("02T00:00", "1024.9")))["crossed"] == 0
        assert told == []
        assert (await post(counted, row("03T00:00", 1025)))["crossed"] == 1
        assert (await post(counted, row("04T00:00", 1026)))["crossed"] == 0
        assert told == [("carillon_statistics", {"crossed": 1})]

    async def test_a_noticed_task_comes_to_be_due(self, counted, connection, told):
        project = insert_project(connection, notice_num=1)
        insert_state(connection, project)
        await post(counted, row("01T00:00", 0))
        assert (await post(counted, row("02T00:00", 1)))["crossed"] == 1, "25 less 24 hours"
        insert_task(connection, project, due_total=25)
        assert (await post(counted, row("03T00:00", 24)))["crossed"] == 0
        assert (await post(counted, row("04T00:00", 25)))["crossed"] == 1
        assert len(told) == 2

    async def test_what_is_not_counted_in_hours_is_noticed_by_its_growth(self, counted, connection, told):
        await counted.put(PATH, json={**HOURS, "unit": "km"})
        insert_state(connection, insert_project(connection, notice_num=2, period_num=100))
        await post(counted, *(row(f"0{day}T00:00", day * 10) for day in (1, 2, 3)))
        assert (await post(counted, row("08T23:00", "89.8")))["crossed"] == 0
        assert (await post(counted, row("09T00:00", 90)))["crossed"] == 1, "10 a day: 80 of 100"

    async def test_a_stopped_project_is_not_looked_at(self, counted, connection, told):
        insert_state(connection, insert_project(connection, enabled=False))
        assert (await post(counted, row("01T00:00", 0), row("02T00:00", 50)))["crossed"] == 0

    async def test_another_organisation_hears_nothing(self, counted, connection, told):
        insert_state(connection, insert_project(connection, organization_id="p2"))
        assert (await post(counted, row("01T00:00", 0), row("02T00:00", 50)))["crossed"] == 0
        assert state(connection) == (None, None)

    async def test_samples_before_the_anchor_move_what_is_due(self, counted, connection, told):
        project = insert_project(connection)
        insert_state(connection, project, anchor_at=datetime.fromisoformat("2026-02-10T00:00:00Z"))
        await post(counted, row("09T00:00", 100), row("12T00:00", 110))
        assert state(connection) == (0, 25)
        task = insert_task(connection, project, due_total=25)
        await post(counted, row("01T00:00", 60))
        assert state(connection) == (40, 65)
        shifted = connection.execute("SELECT due_total FROM maintenance_task WHERE id = %s", [task["id"]])
        assert shifted.fetchone()["due_total"] == 65
        await counted.delete(SAMPLES, params={"object_id": "pump", "at": "2026-02-01T00:00:00Z"})
        assert state(connection) == (0, 25)

    async def test_a_task_that_a_correction_puts_below_is_looked_at(self, counted, connection, told):
        project = insert_project(connection)
        insert_state(connection, project)
        await post(counted, row("01T00:00", 0), row("02T00:00", 250))
        task = insert_task(connection, project, due_total=25, state="due", due_since=system_clock())
        assert (await post(counted, row("03T00:00", 251)))["crossed"] == 0
        assert (await post(counted, row("02T00:00", 20), row("03T00:00", 20), on_duplicate="replace"))[
            "crossed"
        ] == 1
        connection.execute("UPDATE maintenance_task SET below_threshold = true WHERE id = %s", [task["id"]])
        assert (await post(counted, row("04T00:00", 24)))["crossed"] == 0
        assert (await post(counted, row("05T00:00", 25)))["crossed"] == 1

    async def test_a_plan_that_began_elsewhere_is_moved_as_a_whole(self, counted, connection, told):
        anchor = datetime.fromisoformat("2026-02-10T00:00:00Z")
        await post(counted, row("09T00:00", 100), row("12T00:00", 110))
        insert_state(connection, insert_project(connection), anchor_at=anchor, anchor_total=50, due_total=75)
        await post(counted, row("08T00:00", 97))
        assert state(connection) == (53, 78)

    async def test_airflow_away_the_samples_are_stored(self, counted, connection, monkeypatch):
        def away(*_):
            raise RuntimeError("away")

        monkeypatch.setattr(airflow_adapter, "emit_asset_event", away)
        insert_state(connection, insert_project(connection))
        report = await post(counted, row("01T00:00", 0), row("02T00:00", 25))
        assert (report["accepted"], report["crossed"]) == (2, 1)


async def test_ten_thousand_samples_of_many_objects(counted, connection):
    start = datetime.fromisoformat("2026-02-01T00:00:00+00:00")
    rows = [
        {"object_id": f"o{number % 500}", "at": (start + timedelta(hours=number // 500)).isoformat(),
         "value": number // 500}
        for number in range(10_000)
    ]  # fmt: skip
    assert (await post(counted, *reversed(rows)))["accepted"] == 10_000
    totals = connection.execute("SELECT DISTINCT total FROM statistic_value").fetchall()
    assert [one["total"] for one in totals] == [Decimal(19)]
