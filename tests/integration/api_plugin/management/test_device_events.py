"""POST /carillon/v1/device-events: what devices say, pushed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import psycopg
import pytest

from api_plugin.management.device_event_schemas import EVENTS_MOST
from include.kit.db import Database
from tests.batch_rows import PROJECT, subtasks
from tests.builders import make_token
from tests.conftest import ClientOf
from tests.upgrade_rows import Devices, Driver, add_package, add_upgrade, insert_pumps

DEVICE_STATUS = "SELECT status FROM device WHERE device_id = 'pump-0'"


@pytest.fixture
async def client(client_of: ClientOf, database: Database) -> httpx.AsyncClient:
    return await client_of("management", await make_token(database, apis=["management"]))


@pytest.fixture
async def driver(database: Database) -> AsyncIterator[Driver]:
    driver = Driver(database, Devices())
    yield driver
    await driver.close()


def said(event_type: str, device: str = "pump-0", **paras: Any) -> dict[str, Any]:
    service = {
        "service_id": "$ota",
        "event_type": event_type,
        "event_time": "20261122T020000Z",
        "paras": paras,
    }
    return {"device_id": device, "services": [service]}


def version(text: str, device: str = "pump-0") -> dict[str, Any]:
    return said("version_report", device, fw_version=text, sw_version="3.0")


def notification(resource: str, event: str, body: dict[str, Any]) -> dict[str, Any]:
    """What a platform forwards (A13)."""
    header = {"app_id": "a", "device_id": "pump-0", "node_id": "n", "product_id": "pump", "tags": []}
    return {
        "resource": resource,
        "event": event,
        "event_time": "20261122T020000Z",
        "event_time_ms": "2026-11-22T02:00:00.000Z",
        "request_id": "r1",
        "notify_data": {"header": header, "body": body},
    }


async def push(client: httpx.AsyncClient, *events: Any) -> dict[str, Any]:
    answer = await client.post("/device-events", json={"events": list(events)})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def tally(**counts: int) -> dict[str, int]:
    return {"accepted": 0, "late": 0, "unknown_devices": 0, "unknown_services": 0, **counts}


async def test_a_version_is_kept(client: httpx.AsyncClient, connection: psycopg.Connection) -> None:
    insert_pumps(connection, 2)
    assert await push(client, version("1.1"), version("1.2"), version("9", "pump-1")) == tally(accepted=3)
    found = connection.execute("SELECT fw_version, sw_version FROM device ORDER BY id").fetchall()
    assert found == [{"fw_version": "1.2", "sw_version": "3.0"}, {"fw_version": "9", "sw_version": "3.0"}]
    await push(client, said("version_report", fw_version="1.3"))
    assert connection.execute("SELECT fw_version, sw_version FROM device ORDER BY id").fetchone() == {
        "fw_version": "1.3",
        "sw_version": "3.0",
    }


async def test_what_is_unknown_is_counted(client: httpx.AsyncClient, connection: psycopg.Connection) -> None:
    insert_pumps(connection, 1)
    other = {"service_id": "$sub_device_manager", "event_type": "sub_device_sync_request", "paras": {}}
    found = await push(
        client,
        version("1.1", "pump-7"),
        {"device_id": "pump-0", "services": [other, {**other, "service_id": "$ota"}]},
        said("upgrade_progress_report", result_code=0, progress=10, version="1"),
        notification("device.property", "report", {"services": []}),
        {"device_id": "pump-0", "status": "ABNORMAL"},
    )
    assert found == tally(late=1, unknown_devices=1, unknown_services=4)


async def test_devices_of_other_projects_are_unknown(
    client_of: ClientOf, database: Database, connection: psycopg.Connection
) -> None:
    insert_pumps(connection, 1)
    for projects, expected in (
        (["other"], tally(unknown_devices=1)),
        ([PROJECT, "other"], tally(accepted=1)),
    ):
        token = await make_token(database, apis=["management"], projects=projects)
        client = await client_of("management", token)
        assert await push(client, version("5")) == expected


async def test_a_sub_device_speaks_through_its_own_gateway_alone(
    client: httpx.AsyncClient, connection: psycopg.Connection
) -> None:
    insert_pumps(connection, 3)
    connection.execute("UPDATE device SET gateway_id = 'pump-1' WHERE device_id = 'pump-0'")
    through = {**version("6"), "object_device_id": "pump-0"}
    assert await push(client, {**through, "device_id": "pump-2"}) == tally(unknown_devices=1)
    assert await push(client, {**through, "device_id": "pump-1"}) == tally(accepted=1)
    assert await push(client, {**through, "device_id": "pump-0"}) == tally(accepted=1)


class TestStatus:
    async def test_online_and_offline(
        self, client: httpx.AsyncClient, connection: psycopg.Connection
    ) -> None:
        insert_pumps(connection, 1)
        await push(client, {"device_id": "pump-0", "status": "OFFLINE"})
        assert connection.execute(DEVICE_STATUS).fetchone() == {"status": "OFFLINE"}
        found = await push(
            client,
            {"device_id": "pump-0", "status": "ONLINE"},
            {"device_id": "pump-0", "status": "OFFLINE"},
            {"device_id": "pump-0", "status": "online"},
        )
        assert found == tally(accepted=3)
        assert connection.execute(DEVICE_STATUS).fetchone() == {"status": "ONLINE"}

    async def test_what_happened_earlier_changes_nothing(
        self, client: httpx.AsyncClient, connection: psycopg.Connection
    ) -> None:
        insert_pumps(connection, 1)
        for status, moment in (("OFFLINE", "20261101T000200Z"), ("ONLINE", "20261101T000100Z")):
            await push(client, {"device_id": "pump-0", "status": status, "status_time": moment})
        assert connection.execute(DEVICE_STATUS).fetchone() == {"status": "OFFLINE"}

    async def test_a_time_to_come_is_now(
        self, client: httpx.AsyncClient, connection: psycopg.Connection
    ) -> None:
        insert_pumps(connection, 1)
        await push(client, {"device_id": "pump-0", "status": "OFFLINE", "status_time": "29990101T000000Z"})
        await push(client, {"device_id": "pump-0", "status": "ONLINE"})
        assert connection.execute(DEVICE_STATUS).fetchone() == {"status": "ONLINE"}

    async def test_a_notification_of_the_platform_is_a_body_by_itself(
        self, client: httpx.AsyncClient, connection: psycopg.Connection
    ) -> None:
        insert_pumps(connection, 1)
        body = {"status": "OFFLINE", "last_online_time": "2026-11-22T02:00:00.000Z"}
        for document in (
            notification("device.status", "update", body),
            [notification("device.status", "update", {**body, "status": "ONLINE"})],
        ):
            answer = await client.post("/device-events", json=document)
            assert (answer.status_code, answer.json()) == (200, tally(accepted=1))
        assert connection.execute(DEVICE_STATUS).fetchone() == {"status": "ONLINE"}


@pytest.mark.parametrize("as_text", [False, True])
async def test_a_message_that_the_platform_forwards(
    client: httpx.AsyncClient, connection: psycopg.Connection, as_text: bool
) -> None:
    insert_pumps(connection, 1)
    content: Any = {"object_device_id": "pump-0", "services": version("7.0")["services"]}
    if as_text:
        content = httpx.Request("POST", "http://x", json=content).content.decode()
    body = {"topic": "$oc/devices/pump-0/sys/events/up", "content": content}
    answer = await client.post("/device-events", json=notification("device.message", "report", body))
    assert answer.json() == tally(accepted=1)
    assert connection.execute("SELECT fw_version FROM device").fetchone() == {"fw_version": "7.0"}
    for other in ("hello", {"temperature": 7}, [1], None):
        body = {"topic": "up", "content": other}
        answer = await client.post("/device-events", json=notification("device.message", "report", body))
        assert answer.json() == tally(unknown_services=1)


async def test_a_bulk_moves_upgrades_in_its_order(
    client: httpx.AsyncClient, driver: Driver, database: Database, connection: psycopg.Connection
) -> None:
    insert_pumps(connection, 3)
    task = await add_upgrade(database, await add_package(database), 3)
    connection.execute("LISTEN carillon_batch")
    await driver.turn(task)
    found = await push(client, *[version("1.0.0", f"pump-{n}") for n in range(3)])
    assert found == tally(accepted=3)
    assert {n.payload for n in connection.notifies(timeout=5, stop_after=1)} == {str(task.id)}
    await driver.turn(task)
    report = "upgrade_progress_report"
    found = await push(
        client,
        said(report, "pump-0", result_code=0, progress=50, version="1"),
        said(report, "pump-0", result_code=0, progress=100, version="2"),
        said(report, "pump-0", result_code=0, progress=50, version="1"),
        said(report, "pump-1", result_code=10, progress=20, version="1", description="no room"),
        said(report, "pump-2", result_code=0, progress=70, version="1"),
    )
    assert found == tally(accepted=4, late=1)
    await driver.turn(task)
    assert subtasks(connection, task, "status, phase, progress, error_code") == [
        ("Processing", "verify", 100, None),
        ("Fail", None, 0, "OTA.110"),
        ("Processing", "download", 70, None),
    ]


OTA = "services.0.paras"


@pytest.mark.parametrize(
    ("item", "field"),
    [
        (7, ""),
        ({}, "device_id"),
        ({"device_id": "a b", "services": []}, "device_id"),
        ({"device_id": "pump-0"}, "services"),
        ({"device_id": "pump-0", "services": {}}, "services"),
        ({"device_id": "pump-0", "services": [7]}, "services.0"),
        ({"device_id": "pump-0", "status": 7}, "status"),
        ({"device_id": "pump-0", "object_device_id": "/", "services": []}, "object_device_id"),
        (said("version_report", fw_version=7), f"{OTA}.fw_version"),
        (said("version_report", fw_version="v" * 257), f"{OTA}.fw_version"),
        (said("version_report", fw_version="\0"), f"{OTA}.fw_version"),
        (said("version_report", modules=[]), None),
        (said("version_report", modules=["m"]), f"{OTA}.modules"),
        (said("version_report", modules={"m": 1}), f"{OTA}.modules.m"),
        (said("upgrade_progress_report", progress=1), f"{OTA}.result_code"),
        (said("upgrade_progress_report", result_code="0"), f"{OTA}.result_code"),
        (said("upgrade_progress_report", result_code=True), f"{OTA}.result_code"),
        (said("upgrade_progress_report", result_code=-1), f"{OTA}.result_code"),
        (said("upgrade_progress_report", result_code=0, progress=101), f"{OTA}.progress"),
        (said("upgrade_progress_report", result_code=0, progress=1.5), f"{OTA}.progress"),
        (notification("device.status", "update", {}), "notify_data.body.status"),
        ({"resource": "device.status"}, "notify_data"),
        ({"resource": "device.message", "notify_data": {"header": {}}}, "notify_data.header.device_id"),
    ],
)
async def test_what_cannot_be_read_is_named_and_nothing_is_taken(
    client: httpx.AsyncClient, connection: psycopg.Connection, item: Any, field: str | None
) -> None:
    insert_pumps(connection, 1)
    answer = await client.post("/device-events", json={"events": [version("8"), item, version("9")]})
    stored = connection.execute("SELECT fw_version FROM device").fetchone()
    if field is None:
        assert (answer.status_code, stored) == (200, {"fw_version": "9"})
        return
    assert answer.status_code == 422
    [problem] = answer.json()["errors"]
    assert (problem["row"], problem["field"]) == (2, field)
    assert stored == {"fw_version": "1.0.0"}


@pytest.mark.parametrize("body", [b"", b"{", b"7", b'"x"', b"{}", b'{"events": {}}'])
async def test_bodies_that_are_none(client: httpx.AsyncClient, body: bytes) -> None:
    assert (await client.post("/device-events", content=body)).status_code == 422


async def test_there_is_a_most(client: httpx.AsyncClient, connection: psycopg.Connection) -> None:
    insert_pumps(connection, 1)
    items = [version(str(number)) for number in range(EVENTS_MOST + 1)]
    answer = await client.post("/device-events", json={"events": items})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "events")
    assert await push(client, *items[1:]) == tally(accepted=EVENTS_MOST)
    assert connection.execute("SELECT fw_version FROM device").fetchone() == {"fw_version": str(EVENTS_MOST)}


async def test_an_empty_bulk(client: httpx.AsyncClient) -> None:
    assert await push(client) == tally()
