"""The courier against receivers that behave, fail, hang, reset and come back."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from datetime import timedelta

import pytest
from standardwebhooks import Webhook

from include.events import model
from include.events.courier import IN_HAND_OF_ONE, Courier
from include.kit.egress import EgressGuard
from include.kit.http import OutboundClient
from tests.event_rows import body, courier_at_work, happen, headers, subscribe, until_settled
from tests.integration.kit.peers import OK, Peer, always, peer, reset

FAILED = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"

pytestmark = pytest.mark.usefixtures("local_targets")


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two further attempts, soon."""
    monkeypatch.setattr(model, "RETRY_DELAYS", (timedelta(seconds=0.05), timedelta(seconds=0.1)))


def told(receiver: Peer) -> list[tuple[str, str]]:
    """What a receiver heard, in order: of which task, which status."""
    bodies = [json.loads(body(request))["notify_data"]["body"] for request in receiver.requests]
    return [(one["task_id"], one["status"]) for one in bodies]


async def test_what_happens_is_told_signed(database, connection) -> None:
    async with peer(always(OK)) as receiver, courier_at_work(database):
        _, secret = await subscribe(database, f"{receiver.url}/events?key=1")
        happen(connection)
        [event] = await until_settled(connection)
    [request] = receiver.requests
    assert request.startswith(b"POST /events?key=1 HTTP/1.1\r\n")
    assert Webhook(secret).verify(body(request).decode(), headers(request)) == {
        "resource": "batchtask",
        "event": "update",
        "event_time": f"{event['created_at']:%Y%m%dT%H%M%SZ}",
        "event_time_ms": event["created_at"].isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "request_id": event["webhook_id"],
        "notify_data": {"body": {"task_id": "t1", "status": "Processing"}},
    }
    assert headers(request)["webhook-id"] == event["webhook_id"]
    assert headers(request)["content-type"] == "application/json"
    assert (event["attempts"], event["last_error"], event["delivered_at"] is not None) == (1, None, True)


async def test_only_those_who_subscribed_to_it_are_told(database, connection) -> None:
    async with peer(always(OK)) as receiver, courier_at_work(database):
        await subscribe(database, receiver.url, project="p1")
        await subscribe(database, receiver.url, project="p2")
        await subscribe(database, receiver.url, resource="other")
        happen(connection, "t1", project="p1")
        happen(connection, "t2", project="p3")
        await until_settled(connection)
    assert told(receiver) == [("t1", "Processing")]


@pytest.mark.usefixtures("short_pauses")
async def test_a_failure_is_tried_again_under_the_same_id(database, connection) -> None:
    answers = [FAILED, FAILED, OK]

    async def behave(request, reader, writer):
        return answers[len(receiver.requests) - 1]

    async with peer(behave) as receiver, courier_at_work(database):
        await subscribe(database, receiver.url)
        happen(connection)
        [event] = await until_settled(connection)
    assert [headers(request)["webhook-id"] for request in receiver.requests] == [event["webhook_id"]] * 3
    assert [headers(request)["carillon-attempt"] for request in receiver.requests] == ["1", "2", "3"]
    assert len({body(request) for request in receiver.requests}) == 1
    assert (event["attempts"], event["last_error"], event["delivered_at"] is not None) == (3, None, True)


@pytest.mark.usefixtures("short_pauses")
async def test_after_the_last_attempt_it_is_given_up_and_said_so(database, connection, caplog) -> None:
    with caplog.at_level(logging.WARNING, "include.events"):
        async with peer(always(FAILED)) as receiver, courier_at_work(database):
            await subscribe(database, receiver.url)
            happen(connection)
            [event] = await until_settled(connection)
            await asyncio.sleep(0.3)
    assert len(receiver.requests) == event["attempts"] == 3
    assert (event["delivered_at"], event["last_error"]) == (None, "the receiver answered with status 500")
    assert f"event {event['webhook_id']} of subscription 1 is given up after 3 attempts" in caplog.text


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 302 Elsewhere\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "with status 302"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "the answer is not HTTP"),
        (None, "closed before an answer came"),
    ],
)
async def test_what_is_no_success(database, connection, answer, error) -> None:
    async def behave(request, reader, writer):
        if answer is None:
            reset(writer)
        return answer

    async with peer(behave) as receiver, courier_at_work(database):
        await subscribe(database, receiver.url)
        happen(connection)
        async with asyncio.timeout(10):
            while True:
                event = connection.execute("SELECT *, next_at - now() AS wait FROM event").fetchone()
                if event["last_error"]:
                    break
                await asyncio.sleep(0.02)
    assert error in event["last_error"]
    assert len(receiver.requests) == 1
    assert timedelta(seconds=3) < event["wait"] <= timedelta(seconds=5)


async def test_addresses_that_must_not_be_called_are_not(database, connection) -> None:
    async with peer(always(OK)) as receiver:
        await subscribe(database, receiver.url)
        happen(connection)
        outbound = OutboundClient(EgressGuard())
        courier = Courier(database, outbound, timeout=5)
        task = asyncio.create_task(courier.run())
        async with asyncio.timeout(10):
            while not (event := connection.execute("SELECT * FROM event").fetchone())["last_error"]:
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await outbound.aclose()
    assert "loopback" in event["last_error"]
    assert receiver.opened == 0


@pytest.mark.usefixtures("short_pauses")
async def test_who_hangs_does_not_keep_others_waiting(database, connection) -> None:
    async def hang(request, reader, writer):
        await asyncio.sleep(60)

    async with peer(hang) as hanging, peer(always(OK)) as receiver, courier_at_work(database, timeout=1):
        await subscribe(database, hanging.url)
        await subscribe(database, receiver.url)
        for number in range(40):
            happen(connection, f"t{number}")
        async with asyncio.timeout(20):
            while len(receiver.requests) < 40:
                await asyncio.sleep(0.02)
        most = hanging.open_now
        rows = connection.execute("SELECT * FROM event WHERE delivered_at IS NOT NULL").fetchall()
        async with asyncio.timeout(20):
            while not (late := connection.execute("SELECT * FROM event WHERE last_error <> ''").fetchall()):
                await asyncio.sleep(0.02)
    assert most <= IN_HAND_OF_ONE
    assert {row["subscription_id"] for row in rows} <= {2}
    assert "no complete answer within 1 s" in late[0]["last_error"]


@pytest.mark.usefixtures("short_pauses")
async def test_what_happens_to_one_task_is_told_in_order(database, connection) -> None:
    tries = Counter()

    async def behave(request, reader, writer):
        about = json.loads(body(request))["notify_data"]["body"]
        tries[about["task_id"], about["status"]] += 1
        return FAILED if about["task_id"] == "t1" and tries["t1", about["status"]] == 1 else OK

    async with peer(behave) as receiver, courier_at_work(database):
        await subscribe(database, receiver.url)
        for status in ("Waitting", "Processing", "Success"):
            for task in ("t1", "t2"):
                happen(connection, task, status)
        await until_settled(connection)
    statuses = {task: [status for one, status in told(receiver) if one == task] for task in ("t1", "t2")}
    assert statuses["t2"] == ["Waitting", "Processing", "Success"]
    assert statuses["t1"] == ["Waitting", "Waitting", "Processing", "Processing", "Success", "Success"]


@pytest.mark.usefixtures("short_pauses")
async def test_what_follows_an_event_that_was_given_up_is_told(database, connection) -> None:
    async def behave(request, reader, writer):
        return FAILED if b"Waitting" in request else OK

    async with peer(behave) as receiver, courier_at_work(database):
        await subscribe(database, receiver.url)
        happen(connection, status="Waitting")
        happen(connection, status="Processing")
        rows = await until_settled(connection)
    assert [row["delivered_at"] is not None for row in rows] == [False, True]
    assert [status for _, status in told(receiver)] == ["Waitting"] * 3 + ["Processing"]


async def test_two_couriers_share_the_work(database, connection) -> None:
    async with peer(always(OK)) as receiver:
        for _ in range(20):
            await subscribe(database, receiver.url)
        for number in range(50):
            happen(connection, f"t{number % 10}", f"step {number}")
        async with courier_at_work(database), courier_at_work(database):
            rows = await until_settled(connection, 60)
    assert len(rows) == 1000
    counts = Counter(headers(request)["webhook-id"] for request in receiver.requests)
    assert counts == {row["webhook_id"]: 1 for row in rows}
    assert {row["attempts"] for row in rows} == {1}


async def test_a_lost_connection_is_made_again(database, connection) -> None:
    listening = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE '%LISTEN carillon_event'
    """
    async with peer(always(OK)) as receiver, courier_at_work(database):
        await subscribe(database, receiver.url)
        async with asyncio.timeout(10):
            while not connection.execute(listening).fetchall():
                await asyncio.sleep(0.02)
        happen(connection)
        await until_settled(connection)
    assert told(receiver) == [("t1", "Processing")]


async def test_nothing_is_told_of_what_was_rolled_back(database, connection) -> None:
    async with peer(always(OK)) as receiver, courier_at_work(database):
        await subscribe(database, receiver.url)
        with connection.transaction(force_rollback=True):
            happen(connection, "t1")
        happen(connection, "t2")
        await until_settled(connection)
    assert told(receiver) == [("t2", "Processing")]
