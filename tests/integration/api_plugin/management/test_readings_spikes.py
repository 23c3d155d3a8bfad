"""/carillon/v1: readings beyond all measure, which would make bills that nobody can have meant."""

from __future__ import annotations

import pytest

from tests.billing_rows import PROJECT, insert_place, insert_project
from tests.builders import make_token

ROOT = f"/projects/{PROJECT}"
DEVICE = "000090502121"
MESSAGE = "{} is a spike: no counter comes so far from the readings before it"

#: Two days at 10 a day: 30 a day are plausible, a spike begins at 1,000,000 a day.
KNOWN = [(1, 100), (3, 120)]


@pytest.fixture
async def client(client_of, database, connection):
    place = insert_place(connection, device_id=DEVICE)
    connection.execute("UPDATE service_point SET key = 'home' WHERE id = %s", [place.service_point_id])
    return await client_of("management", await make_token(database))


async def record(client, *pairs, status=200, **options):
    """Record (day of January 2026, value) pairs."""
    rows = [
        {"device_id": DEVICE, "read_at": f"2026-01-{day:02}T00:00:00", "value": value} for day, value in pairs
    ]
    answer = await client.post(f"{ROOT}/readings", json={"rows": rows, **options})
    assert answer.status_code == status, answer.text
    return answer.json()


def stored(connection):
    rows = connection.execute("SELECT value, quality FROM reading ORDER BY id").fetchall()
    return [(int(row["value"]), row["quality"]) for row in rows]


def queue(connection):
    rows = connection.execute("SELECT * FROM billing_exception ORDER BY id").fetchall()
    return [(row["kind"], row["state"], row["parked"], row["reading_id"]) for row in rows]


async def correct(client, reading_id, value, status, **options):
    body = {"value": value, "reason": "misread", **options}
    answer = await client.post(f"/readings/{reading_id}/corrections", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


class TestRecording:
    async def test_422_and_nothing_is_written(self, client, connection):
        await record(client, *KNOWN)
        body = await record(client, (4, 130), (5, 999_999_999_999), status=422)
        assert body["errors"] == [{"row": 2, "field": "value", "message": MESSAGE.format(999_999_999_999)}]
        assert len(stored(connection)) == 2

    @pytest.mark.parametrize(
        ("value", "status"),
        [(120 + 2_000_000, 200), (121 + 2_000_000, 422), (120 + 500_000, 200)],
        ids=["at the limit of two days", "above it", "an idle plant starts"],
    )
    async def test_the_limit_is_by_day(self, client, value, status):
        await record(client, *KNOWN)
        await record(client, (5, value), status=status)

    async def test_200_what_is_plausible_however_large(self, client, connection):
        """Of a giant that counts 900,000 a day."""
        await record(client, (1, 0), (2, 900_000), (3, 3_000_000), (4, 33_000_000))
        assert [quality for _, quality in stored(connection)] == ["ok"] * 4

    async def test_200_without_history(self, client):
        await record(client, (1, 100))
        await record(client, (2, 50_000_000))

    @pytest.mark.parametrize(("value", "status"), [("99999999999.999999", 200), ("100000000000", 422)])
    async def test_a_total_that_nobody_can_price(self, client, value, status):
        await record(client, (1, value), status=status)

    async def test_200_above_it_once_it_was_believed(self, client):
        await record(client, (1, 100_000_000_000), on_spike="accept")
        await record(client, (2, 100_000_000_005))

    async def test_200_quarantined_and_released(self, client, connection):
        await record(client, *KNOWN)
        report = await record(client, (4, 999_999_999), (5, 140), (6, 130), on_spike="quarantine", status=422)
        assert [error["row"] for error in report["errors"]] == [3]
        report = await record(client, (4, 999_999_999), (5, 140), on_spike="quarantine")
        assert (report["accepted"], report["quarantined"]) == (
            1,
            [{"row": 1, "field": "value", "message": MESSAGE.format(999_999_999)}],
        )
        assert stored(connection)[2:] == [(140, "ok"), (999_999_999, "suspect")]
        [(*entry, reading_id)] = queue(connection)
        assert entry == ["spike", "open", False]
        answer = await client.post(f"/readings/{reading_id}/release", json={"reason": "?"})
        assert answer.status_code == 409

    async def test_201_release_is_to_believe_it(self, client, connection):
        await record(client, *KNOWN)
        await record(client, (4, 999_999_999), on_spike="quarantine")
        answer = await client.post(
            "/billing-exceptions/1/resolve", json={"resolution": "it is one", "action": "accept"}
        )
        assert answer.status_code == 200
        assert stored(connection)[-1] == (999_999_999, "edited")
        assert queue(connection) == [("spike", "resolved", False, 3)]

    async def test_200_decreasing_ones_have_an_option_of_their_own(self, client, connection):
        await record(client, *KNOWN)
        await record(client, (4, 999_999_999), on_decrease="quarantine", status=422)
        await record(client, (4, 999_999_999), (5, 110), on_decrease="quarantine", on_spike="quarantine")
        assert [kind for kind, *_ in queue(connection)] == ["spike", "reverse_read"]

    async def test_200_accepted(self, client, connection):
        await record(client, *KNOWN)
        report = await record(client, (4, 999_999_999), (5, 1_000_000_000), on_spike="accept")
        assert report["accepted"] == 2
        assert queue(connection) == []

    async def test_200_up_to_a_known_one(self, client):
        await record(client, *KNOWN)
        await record(client, (5, 999_999_999), on_spike="accept")
        await record(client, (4, 900_000_000))

    async def test_200_meters_that_show_what_remains_are_judged_by_the_total(self, client, connection):
        insert_project(connection, reading_mode="remaining")
        await record(client, (1, 900_000_000), (3, 899_999_000), (4, 5))

    async def test_422_the_option(self, client):
        body = await record(client, on_spike="believe", status=422)
        assert [error["field"] for error in body["errors"]] == ["on_spike"]


class TestCorrecting:
    async def test_409_then_201_by_force(self, client, connection):
        await record(client, *KNOWN, (4, 130))
        body = await correct(client, 3, 999_999_999, 409)
        assert "is a spike" in body["detail"]
        assert "`force`" in body["detail"]
        await correct(client, 3, 999_999_999, 201, force=True)
        assert stored(connection)[-1] == (999_999_999, "edited")

    async def test_409_a_total_that_nobody_can_price(self, client):
        await record(client, (1, 100))
        await correct(client, 1, 100_000_000_000, 409)

    async def test_201_of_a_spike_that_was_stored_before(self, client):
        await record(client, *KNOWN)
        await record(client, (4, 999_999_999), on_spike="accept")
        await correct(client, 3, 131, 201)


async def test_409_a_final_reading(client, connection):
    await record(client, *KNOWN)
    path = f"{ROOT}/service-points/home/remove"
    body = {"removed_at": "2026-01-05T00:00:00+08:00", "readings": {"TOTAL": 999_999_999}}
    answer = await client.post(path, json=body)
    assert answer.status_code == 409
    assert [error["field"] for error in answer.json()["errors"]] == ["readings"]
    await record(client, (5, 999_999_999), on_spike="accept")
    assert (await client.post(path, json=body)).status_code == 200
