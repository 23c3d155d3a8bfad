"""Asking a source for missing readings: a slow, absent or wrong one never ends the run."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Any

import pytest

from include.errors import OutboundError, OutboundProtocolError
from include.kit.egress import EgressGuard
from include.kit.http import OutboundClient
from include.readings.pull import PullReport, pull_missing
from include.readings.source import MeterSource
from include.settings import get_settings
from tests.billing_rows import PROJECT, at, insert_place

BOUNDARY = at("2026-01-04T00:00:00")


class Source:
    """A source that knows some readings and remembers what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[list[str]] = []

    async def fetch(self, device_ids, moment: datetime):
        assert moment == BOUNDARY
        self.asked.append(list(device_ids))
        answer = self.answers.pop(0) if self.answers else []
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, float):
            await asyncio.sleep(answer)
        return answer


def reading(device_id: str, value: object = 7, **changes):
    return {"device_id": device_id, "read_at": "2026-01-03T23:55:00", "value": value, **changes}


@pytest.fixture
def places(connection):
    return [insert_place(connection, device_id=f"d{number}") for number in range(5)]


@pytest.fixture
def pull(database):
    async def run(source: Source, **changes) -> PullReport:
        options = {"retry_delays": (), "answer_seconds": 1.0, "batch": 2, **changes}
        return await pull_missing(database, PROJECT, "electricity", BOUNDARY, fetch=source.fetch, **options)

    return run


def queue(connection):
    rows = connection.execute(
        "SELECT kind, service_point_id, detail, parked FROM billing_exception ORDER BY id"
    )
    return rows.fetchall()


def stored(connection):
    rows = connection.execute(
        "SELECT m.device_id, r.value::int AS value, r.source, r.quality FROM reading r"
        " JOIN register g ON g.id = r.register_id JOIN meter m ON m.id = g.meter_id ORDER BY r.id"
    )
    return [tuple(row.values()) for row in rows.fetchall()]


async def test_all_that_lack_one_are_asked_for_in_batches(pull, places, connection):
    insert_place(connection, device_id="w", commodity="water")
    source = Source([reading("d0"), reading("d1")], [reading("d2", source="manual")], [reading("d4")])
    report = await pull(source)
    assert source.asked == [["d0", "d1"], ["d2", "d3"], ["d4"]]
    assert report == PullReport(asked=5, stored=4)
    assert stored(connection) == [(device, 7, "pull", "ok") for device in ("d0", "d1", "d2", "d4")]
    assert queue(connection) == []
    again = Source()
    await pull(again)
    assert again.asked == [["d3"]]


async def test_a_batch_that_fails_is_queued_and_the_others_go_on(pull, places, connection):
    source = Source(OutboundError("refused"), [reading("d2")], ValueError("a bug"))
    report = await pull(source)
    assert report == PullReport(asked=5, stored=1, failed=3)
    detail = "the source did not answer for 2 meters: refused"
    assert queue(connection) == [
        {"kind": "pull_failed", "service_point_id": None, "detail": detail, "parked": False}
    ]


async def test_it_is_asked_again(pull, places, connection):
    source = Source(OutboundError("busy"), 5.0, [reading("d0")])
    report = await pull(source, batch=9, answer_seconds=0.05, retry_delays=(0, 0.01))
    assert (len(source.asked), report) == (3, PullReport(asked=5, stored=1))
    assert queue(connection) == []


@pytest.mark.parametrize("answer", [None, "x", {"readings": []}, [{}] * 10_001])
async def test_an_answer_that_is_no_list_of_readings(pull, places, connection, answer):
    assert await pull(Source(answer), batch=9) == PullReport(asked=5, failed=5)
    assert [row["kind"] for row in queue(connection)] == ["pull_failed"]


async def test_garbage_is_never_stored(pull, places, connection):
    source = Source(
        [
            7,
            None,
            reading("stranger"),
            reading(["d0"]),
            reading("d0", "NaN"),
            reading("d1", -1),
            reading("d2", 5, read_at="2999-01-01T00:00:00Z"),
            reading("d3", 5, register="PEAK"),
            reading("d4"),
        ]
    )
    report = await pull(source, batch=9)
    assert report == PullReport(asked=5, stored=1, refused=8)
    assert stored(connection) == [("d4", 7, "pull", "ok")]
    assert [(row["kind"], row["service_point_id"]) for row in queue(connection)] == [
        ("pull_failed", place.service_point_id) for place in places[:4]
    ]
    assert queue(connection)[2]["detail"] == "the source's reading: read_at: lies in the future"
    await pull(source=Source([reading("d0", "NaN")]), batch=9)
    assert len(queue(connection)) == 4


async def test_decreasing_ones_are_quarantined_and_known_ones_skipped(pull, places, connection):
    older = [reading("d0", 9, read_at="2026-01-01T00:00:00"), reading("d1", 1, read_at="2026-01-01T00:00:00")]
    assert await pull(Source(older), batch=9) == PullReport(asked=5, stored=2)
    report = await pull(Source([*older, reading("d0", 5), reading("d1", 5)]), batch=9)
    assert report == PullReport(asked=5, stored=1, quarantined=1)
    assert [row["kind"] for row in queue(connection)] == ["reverse_read"]


async def test_no_transaction_is_open_while_one_waits(pull, places, connection):
    class Looking(Source):
        async def fetch(self, device_ids, moment):
            rows = connection.execute(
                "SELECT count(*) AS n FROM pg_stat_activity"
                " WHERE datname = current_database() AND state = 'idle in transaction'"
            )
            assert rows.fetchone()["n"] == 0
            return await super().fetch(device_ids, moment)

    await pull(Looking())


class TestMeterSource:
    """The HTTP protocol of docs/metering-source.md against a server."""

    @pytest.fixture
    async def server(self, local_targets):
        requests: list[tuple[str, dict[str, str], Any]] = []
        answer = {"status": 200, "body": b'{"readings": [{"device_id": "d0"}]}'}

        async def handle(reader, writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers["content-length"]))
            requests.append((head[0], headers, json.loads(body)))
            writer.write(
                b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s"
                % (answer["status"], len(answer["body"]), answer["body"])
            )
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1")
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/"
        client = OutboundClient(EgressGuard(get_settings().egress_allow))
        yield client, url, requests, answer
        await client.aclose()
        server.close()
        await server.wait_closed()

    async def test_the_question_and_the_answer(self, server):
        client, url, requests, _ = server
        source = MeterSource(client, url, PROJECT, login="carillon", password="secret")
        assert await source.fetch(["d0", "d1"], BOUNDARY) == [{"device_id": "d0"}]
        [(line, headers, body)] = requests
        assert line == "POST /api/readings/query HTTP/1.1"
        assert headers["authorization"] == "Basic Y2FyaWxsb246c2VjcmV0"
        assert headers["content-type"] == "application/json"
        assert body == {
            "project_id": "42",
            "at": "2026-01-03T16:00:00+00:00",
            "device_ids": ["d0", "d1"],
        }

    @pytest.mark.parametrize(("token", "header"), [("abc", "Bearer abc"), (None, None)])
    async def test_credentials(self, server, token, header):
        client, url, requests, _ = server
        await MeterSource(client, url, PROJECT, token=token).fetch([], BOUNDARY)
        assert requests[0][1].get("authorization") == header

    @pytest.mark.parametrize(
        ("status", "body", "error"),
        [
            (500, b"{}", OutboundError),
            (302, b"{}", OutboundError),
            (200, b"<html>", OutboundProtocolError),
            (200, b"[]", OutboundProtocolError),
            (200, b'{"readings": {}}', OutboundProtocolError),
        ],
    )
    async def test_answers_that_cannot_be_used(self, server, status, body, error):
        client, url, _, answer = server
        answer.update(status=status, body=body)
        with pytest.raises(error):
            await MeterSource(client, url, PROJECT).fetch(["d0"], BOUNDARY)

    async def test_a_place_that_may_not_be_called(self):
        client = OutboundClient(EgressGuard(()))
        with pytest.raises(OutboundError, match="127"):
            await MeterSource(client, "http://127.0.0.1:1", PROJECT).fetch(["d0"], BOUNDARY)
        await client.aclose()
