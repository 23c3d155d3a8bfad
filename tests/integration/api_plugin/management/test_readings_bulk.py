"""/carillon/v1/projects/{id}/readings: recording in bulk."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from include.kit.clock import system_clock
from include.readings.locks import close_readings
from include.readings.service import ReadingService
from tests.billing_rows import (
    PROJECT,
    at,
    insert_bill,
    insert_installation,
    insert_place,
    insert_premise,
    insert_project,
    insert_register,
    insert_service_point,
)
from tests.builders import make_token

PATH = f"/projects/{PROJECT}/readings"
DEVICE = "000090502121"


@pytest.fixture
async def client(client_of, database):
    return await client_of("management", await make_token(database))


@pytest.fixture
def place(connection):
    return insert_place(connection, device_id=DEVICE)


def row(read_at: str, value: object, **changes):
    return {"device_id": DEVICE, "read_at": read_at, "value": value, **changes}


async def post(client, *rows, status=200, **options):
    answer = await client.post(PATH, json={"rows": list(rows), **options})
    assert answer.status_code == status, answer.text
    return answer.json()


def stored(connection):
    rows = connection.execute("SELECT value, total, quality, source FROM reading ORDER BY read_at, id")
    return [(str(r["value"].normalize()), str(r["total"].normalize()), r["quality"]) for r in rows.fetchall()]


def problems(body):
    return [(f"row {error['row']} {error['field']}", error["message"]) for error in body["errors"]]


NONE_QUARANTINED = {"duplicates": 0, "quarantined": [], "late": 0}


class TestAccepted:
    async def test_200(self, client, connection, place):
        report = await post(
            client,
            row("2026-01-02T00:00:00+08:00", "12.345678"),
            row("2026-01-01T00:00:00", 10, source="manual", quality="estimated", note="a\tnote\n\\N"),
        )
        assert report == {"accepted": 2, **NONE_QUARANTINED}
        rows = connection.execute(
            """
            SELECT read_at, value, total, top_up, source, quality, note, recorded_at
            FROM reading ORDER BY read_at
            """
        ).fetchall()
        assert [{**r, "recorded_at": None} for r in rows] == [
            {
                "read_at": at("2026-01-01T00:00:00"),
                "value": Decimal(10),
                "total": Decimal(10),
                "top_up": 0,
                "source": "manual",
                "quality": "estimated",
                "note": "a\tnote\n\\N",
                "recorded_at": None,
            },
            {
                "read_at": at("2026-01-02T00:00:00"),
                "value": Decimal("12.345678"),
                "total": Decimal("12.345678"),
                "top_up": 0,
                "source": "meter",
                "quality": "ok",
                "note": None,
                "recorded_at": None,
            },
        ]
        assert abs(rows[0]["recorded_at"] - system_clock()) < timedelta(minutes=1)

    async def test_200_nothing_to_do(self, client):
        assert await post(client) == {"accepted": 0, **NONE_QUARANTINED}

    async def test_200_each_register_and_device_on_its_own(self, client, connection, place):
        insert_register(connection, place.meter_id, kind="PEAK")
        insert_place(connection, device_id="other")
        report = await post(
            client,
            row("2026-01-01T00:00:00", 100),
            row("2026-01-01T00:00:00", 40, register="PEAK"),
            row("2026-01-02T00:00:00", 41, register="PEAK"),
            row("2026-01-02T00:00:00", 1, device_id="other"),
        )
        assert report["accepted"] == 4

    async def test_200_a_turn_of_the_register(self, client, connection, place):
        connection.execute("UPDATE register SET modulus = 1000")
        await post(client, row("2026-01-01T00:00:00", 100), row("2026-01-11T00:00:00", 900))
        # 80 a day: 3 x 80 x 2 days are plausible
        await post(client, row("2026-01-13T00:00:00", 50))
        assert stored(connection)[-1] == ("5E+1", "1.05E+3", "ok")

    async def test_200_turns_within_a_batch(self, client, connection, place):
        connection.execute("UPDATE register SET modulus = 1000")
        rows = [row(f"2026-01-{day:02}T00:00:00", day * 100 % 1000) for day in range(1, 29)]
        assert (await post(client, *rows))["accepted"] == 28
        assert connection.execute("SELECT max(total) AS total FROM reading").fetchone()["total"] == 2800

    async def test_422_a_turn_that_is_not_plausible(self, client, connection, place):
        connection.execute("UPDATE register SET modulus = 1000")
        await post(client, row("2026-01-01T00:00:00", 100), row("2026-01-11T00:00:00", 200))
        body = await post(client, row("2026-01-12T00:00:00", 50), status=422)
        assert problems(body) == [
            (
                "row 1 value",
                "50 does not fit between the readings around it: the counter would run backwards",
            )
        ]

    async def test_200_meters_that_show_what_remains(self, client, connection, place):
        insert_project(connection, reading_mode="remaining")
        await post(client, row("2026-01-01T00:00:00", 100), row("2026-01-02T00:00:00", 70))
        await post(client, row("2026-01-03T00:00:00", 110, top_up="50"))
        assert [total for _, total, _ in stored(connection)] == ["1E+2", "1.3E+2", "1.4E+2"]
        body = await post(client, row("2026-01-04T00:00:00", 111), status=422)
        assert problems(body)[0][0] == "row 1 value"

    async def test_200_the_zone_is_the_projects(self, client, connection, place):
        insert_project(connection, timezone="Europe/Berlin")
        await post(client, row("2026-07-01T00:00:00", 1))
        moment = connection.execute("SELECT read_at FROM reading").fetchone()["read_at"]
        assert moment.isoformat() == "2026-06-30T22:00:00+00:00"

    async def test_200_a_meter_that_moved_counts_anew(self, client, connection, place):
        connection.execute("UPDATE meter_installation SET valid_to = %s", [at("2026-01-10T00:00:00")])
        other = insert_service_point(connection, insert_premise(connection))
        insert_installation(connection, place.meter_id, other, valid_from=at("2026-01-20T00:00:00"))
        report = await post(
            client,
            row("2026-01-01T00:00:00", 500),
            row("2026-01-10T00:00:00", 510),
            row("2026-01-20T00:00:00", 0),
            row("2026-01-21T00:00:00", 3),
        )
        assert report["accepted"] == 4
        body = await post(client, row("2026-01-15T00:00:00", 511), status=422)
        assert problems(body) == [("row 1 read_at", f"meter {DEVICE!r} was not installed then")]
        assert (await post(client, row("2026-01-09T00:00:00", 505)))["accepted"] == 1
        assert (await post(client, row("2026-01-20T12:00:00", 1)))["accepted"] == 1


class TestLate:
    async def test_200_one_that_a_bill_should_have_known(self, client, connection, place):
        await post(client, row("2026-01-01T00:00:00", 1), row("2026-02-03T00:00:00", 40))
        insert_bill(
            connection, place, period_from=at("2026-01-01T00:00:00"), period_to=at("2026-02-01T00:00:00")
        )
        report = await post(
            client,
            row("2026-01-31T23:00:00", 38),
            row("2026-01-20T00:00:00", 20, quality="estimated"),
            row("2026-02-02T00:00:00", 39),
        )
        assert report == {"accepted": 3, **NONE_QUARANTINED, "late": 2}
        assert [quality for *_, quality in stored(connection)] == ["ok", "estimated", "late", "ok", "ok"]
        request = connection.execute("SELECT * FROM rerate_request").fetchall()
        assert [(r["service_point_id"], r["since"]) for r in request] == [
            (place.service_point_id, at("2026-01-01T00:00:00"))
        ]

    async def test_200_an_earlier_request_stays(self, client, connection, place):
        insert_bill(connection, place)
        await post(client, row("2019-10-10T00:00:00", 5))
        first = connection.execute("SELECT * FROM rerate_request").fetchone()
        assert first["since"] == at("2019-01-01T00:00:00")
        await post(client, row("2019-10-20T00:00:00", 6))
        second = connection.execute("SELECT * FROM rerate_request").fetchone()
        assert second["since"] == first["since"]
        assert second["requested_at"] > first["requested_at"]

    async def test_200_a_run_that_may_be_billing_counts_as_a_bill(self, client, connection, place):
        connection.execute(
            """
            INSERT INTO schedule (kind, expression, timezone, dag_id, description, active)
            VALUES ('billing', '0 0 0 1 * *', 'Asia/Shanghai', 'b', '', false);
            INSERT INTO definition (kind, schedule_id, name, enabled, active_since, misfire, misfire_grace,
                                    overlap, created_at, updated_at)
            VALUES ('billing', 1, 'b', true, now(), 'run', '1 hour', 'skip', now(), now());
            INSERT INTO billing_run (definition_id, project_id, commodity, due_at, period_to, cutoff, origin,
                                     state, started_at)
            VALUES (1, '42', 'electricity', '2026-02-01Z', '2026-02-01Z', '2026-02-01Z', 'scheduled',
                    'running', '2026-02-01Z')
            """
        )
        assert (await post(client, row("2026-01-31T00:00:00", 5)))["late"] == 1


class TestDecreasing:
    async def test_422_and_nothing_is_written(self, client, connection, place):
        await post(client, row("2026-01-01T00:00:00", 10), row("2026-01-10T00:00:00", 20))
        body = await post(client, row("2026-01-05T00:00:00", 15), row("2026-01-11T00:00:00", 19), status=422)
        assert problems(body)[0][0] == "row 2 value"
        assert len(stored(connection)) == 2

    async def test_200_quarantined(self, client, connection, place):
        await post(client, row("2026-01-01T00:00:00", 10), row("2026-01-10T00:00:00", 20))
        report = await post(
            client,
            row("2026-01-05T00:00:00", 21),
            row("2026-01-11T00:00:00", 19),
            row("2026-01-12T00:00:00", 22),
            on_decrease="quarantine",
        )
        message = "does not fit between the readings around it: the counter would run backwards"
        assert report == {
            "accepted": 1,
            "duplicates": 0,
            "quarantined": [
                {"row": 1, "field": "value", "message": f"21 {message}"},
                {"row": 2, "field": "value", "message": f"19 {message}"},
            ],
            "late": 0,
        }
        assert [quality for *_, quality in stored(connection)] == ["ok", "suspect", "ok", "suspect", "ok"]
        queued = connection.execute("SELECT * FROM billing_exception ORDER BY reading_id").fetchall()
        assert [(q["kind"], q["service_point_id"], q["meter_id"], q["parked"]) for q in queued] == [
            ("reverse_read", place.service_point_id, place.meter_id, False)
        ] * 2
        suspects = connection.execute("SELECT id FROM reading WHERE quality = 'suspect' ORDER BY id")
        assert [q["reading_id"] for q in queued] == [s["id"] for s in suspects.fetchall()]


class TestDuplicates:
    async def test_422_in_the_request_and_stored(self, client, connection, place):
        await post(client, row("2026-01-01T00:00:00", 10))
        body = await post(
            client,
            row("2026-01-01T00:00:00", 10),
            row("2026-01-02T00:00:00", 11),
            row("2026-01-01T16:00:00Z", "11.5"),
            status=422,
        )
        assert problems(body) == [
            ("row 1 read_at", "has a reading already, of 10"),
            ("row 3 read_at", "has a reading in this request, of 11"),
        ]
        assert len(stored(connection)) == 1

    async def test_200_skipped_where_the_value_is_the_same(self, client, connection, place):
        rows = [
            row("2026-01-01T00:00:00", 10),
            row("2026-01-02T00:00:00", 11),
            row("2026-01-02T00:00:00", 11.0),
        ]
        assert await post(client, *rows, on_duplicate="skip") == {
            **NONE_QUARANTINED,
            "accepted": 2,
            "duplicates": 1,
        }
        report = await post(client, *rows, on_duplicate="skip")
        assert (report["accepted"], report["duplicates"]) == (0, 3)
        body = await post(client, row("2026-01-02T00:00:00", 12), on_duplicate="skip", status=422)
        assert problems(body) == [("row 1 read_at", "has a reading already, of 11")]

    async def test_200_another_source_is_another_reading(self, client, connection, place):
        await post(client, row("2026-01-01T00:00:00", 10), row("2026-01-01T00:00:00", 10, source="manual"))
        assert len(stored(connection)) == 2


class TestRefused:
    async def test_422_every_row_is_named_and_nothing_is_written(self, client, connection, place):
        insert_place(connection, device_id="foreign", project_id="49")
        connection.execute("UPDATE register SET modulus = 1000")
        body = await post(
            client,
            row("2026-01-01T00:00:00", 1),
            row("2026-01-01T00:00:00", 1, device_id="nobody"),
            row("2026-01-01T00:00:00", 1, device_id="foreign"),
            row("2026-01-01T00:00:00", 1, register="PEAK"),
            row("2018-12-31T23:59:59", 1),
            row("2026-01-02T00:00:00", 1000),
            status=422,
        )
        assert problems(body) == [
            ("row 2 device_id", "there is no meter 'nobody' in this project"),
            ("row 3 device_id", "there is no meter 'foreign' in this project"),
            ("row 4 register", f"meter {DEVICE!r} has no register PEAK"),
            ("row 5 read_at", f"meter {DEVICE!r} was not installed then"),
            ("row 6 value", "the register turns over at 1000"),
        ]
        assert stored(connection) == []

    async def test_422_at_most_a_hundred_are_listed(self, client, place):
        body = await post(client, *[row("yesterday", 1)] * 150, status=422)
        assert len(body["errors"]) == 100
        assert body["detail"].endswith("; and 149 more")

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "rows"),
            ({"rows": 7}, "rows"),
            ({"rows": [], "colour": 1}, "colour"),
            ({"rows": [], "on_decrease": "x"}, "on_decrease"),
            ({"rows": [], "on_duplicate": []}, "on_duplicate"),
            ({"rows": [{}] * 10_001}, "rows"),
        ],
    )
    async def test_422_the_body(self, client, body, field):
        answer = await client.post(PATH, json=body)
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == [field]

    async def test_422_no_json(self, client):
        assert (await client.post(PATH, content=b"{")).status_code == 422

    async def test_404_anothers_project(self, client_of, database, place):
        narrow = await client_of("management", await make_token(database, projects=["49"]))
        answer = await narrow.post(PATH, json={"rows": []})
        assert (answer.status_code, answer.json()["detail"]) == (404, "there is no project '42'")


class TestAtOnce:
    async def test_batches_for_the_same_registers_take_turns(self, client, connection):
        """Each batch is good alone; together every second value would run backwards."""
        for number in range(20):
            insert_place(connection, device_id=f"d{number}")

        async def send(hour: int, value: int):
            rows = [row(f"2026-01-01T{hour:02}:00:00", value, device_id=f"d{number}") for number in range(20)]
            if value % 2:
                rows.reverse()
            return await client.post(PATH, json={"rows": rows})

        answers = await asyncio.gather(*(send(hour, 100 - hour) for hour in range(6)))
        assert sorted(answer.status_code for answer in answers) == [200] + [422] * 5
        assert len(stored(connection)) == 20

    async def test_the_same_batch_twice_is_stored_once(self, client, connection, place):
        rows = [row(f"2026-01-01T{hour:02}:00:00", hour) for hour in range(24)]
        answers = await asyncio.gather(
            *(client.post(PATH, json={"rows": rows, "on_duplicate": "skip"}) for _ in range(4))
        )
        assert sorted(answer.json()["accepted"] for answer in answers) == [0, 0, 0, 24]
        assert len(stored(connection)) == 24

    async def test_a_cutoff_waits_for_batches_before_it(self, database, connection, place):
        """Whatever is recorded before the cutoff is committed when the run sees it."""
        cutoff = None

        async def close():
            nonlocal cutoff
            async with database.transaction() as closing:
                await close_readings(closing, PROJECT)
                cursor = await closing.execute("SELECT clock_timestamp() AS now")
                cutoff = (await cursor.fetchone())["now"]

        async with database.transaction() as adding:
            await ReadingService(adding).add_bulk(PROJECT, [row("2026-01-01T00:00:00", 1)])
            waiting = asyncio.create_task(close())
            await asyncio.sleep(0.2)
            assert not waiting.done()
            async with database.transaction() as other:
                await close_readings(other, "another project")
        await waiting
        assert connection.execute("SELECT recorded_at FROM reading").fetchone()["recorded_at"] < cutoff
