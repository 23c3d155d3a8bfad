"""Upgrades over a real Mosquitto: each pump is a client of its own, as the vendor's device SDKs are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.batch.upgrade_steps import Limits
from include.gateway.connect import create_gateway, parse_connection
from include.gateway.mqtt import MqttGateway
from include.kit.db import Database
from include.ota.inbox import EventInbox
from tests.batch_rows import subtasks
from tests.integration.gateway.mosquitto import Broker, needs_mosquitto
from tests.integration.ota.paho_pumps import pumps_of
from tests.upgrade_rows import Driver, add_package, add_upgrade, insert_pumps

pytestmark = needs_mosquitto


class Counted(EventInbox):
    """An inbox that counts what it hears.

    :ivar heard: payloads
    """

    heard = 0

    def heard_event(self, device_id: str, payload: bytes) -> None:
        self.heard += 1
        super().heard_event(device_id, payload)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    yield broker
    broker.kill()


@asynccontextmanager
async def triggerer(
    broker: Broker, database: Database, options: str = "", *, claimer: int = 1
) -> AsyncIterator[tuple[Driver, Counted]]:
    """What a triggerer has: a gateway that listens, and a performer."""
    gateway = create_gateway(parse_connection(f"{broker.url}?presence_topic=presence/{{device_id}}{options}"))
    assert isinstance(gateway, MqttGateway)
    inbox = Counted(database)
    gateway.listen(inbox)
    await gateway.open()
    driver = Driver(database, gateway, claimer=claimer, limits=Limits())
    try:
        await gateway.warm([])
        yield driver, inbox
    finally:
        await driver.close()
        await gateway.close()
        await inbox.close()


async def until(condition: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("options", ["", "&mqtt_version=3.1.1"])
async def test_pumps_of_every_kind(
    broker: Broker, database: Database, connection: psycopg.Connection, options: str
) -> None:
    insert_pumps(connection, 5)
    connection.execute("UPDATE device SET fw_version = NULL")
    async with (
        pumps_of(broker, "well", "keeps_version", "twice", 7, "well") as made,
        triggerer(broker, database, options) as (driver, _),
    ):
        made[4].version = "2.0.0"
        task = await add_upgrade(database, await add_package(database), 5, task_ext_info={"a": 1})
        done = await driver.run(task)
    assert done.status == "PartialSuccess"
    assert subtasks(connection, task, "status, error_code") == [
        ("Success", None),
        ("Fail", "OTA.006"),
        ("Success", None),
        ("Fail", "OTA.107"),
        ("Success", None),
    ]
    assert [event["event_type"] for event in made[0].heard] == [
        "version_query",
        "firmware_upgrade_v2",
        "version_query",
    ]
    assert made[0].heard[1]["paras"]["task_ext_info"] == {"a": 1}
    assert [event["event_type"] for event in made[4].heard] == ["version_query"]
    versions = connection.execute("SELECT fw_version FROM device ORDER BY id").fetchall()
    assert [row["fw_version"] for row in versions] == ["2.0.0", "1.0.0", "2.0.0", "1.0.0", "2.0.0"]


async def test_of_several_triggerers_all_hear_a_word_and_it_counts_once(
    broker: Broker, database: Database, connection: psycopg.Connection
) -> None:
    insert_pumps(connection, 12)
    said = 12 * 5
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(pumps_of(broker, *["well"] * 12))
        both = [
            await stack.enter_async_context(triggerer(broker, database, claimer=number)) for number in (1, 2)
        ]
        task = await add_upgrade(database, await add_package(database), 12)
        await asyncio.gather(*[driver.run(task) for driver, _ in both])
        await until(lambda: [inbox.heard for _, inbox in both] == [said, said])
    assert subtasks(connection, task, "status, attempt") == [("Success", 1)] * 12
    assert {len(pump.heard) for pump in made} == {3}


async def test_a_pump_that_comes_is_upgraded_at_once(
    broker: Broker, database: Database, connection: psycopg.Connection
) -> None:
    """It had left its last will: registry and gateway know that it is away, until it says otherwise."""
    insert_pumps(connection, 1)
    status = "SELECT status FROM device"
    async with triggerer(broker, database) as (driver, _):
        async with pumps_of(broker, "well") as [pump]:
            pump.ready()
            await asyncio.sleep(0.2)
            pump.leave()
            await until(lambda: connection.execute(status).fetchone() == {"status": "OFFLINE"})
        task = await add_upgrade(database, await add_package(database))
        running = asyncio.create_task(driver.run(task))
        await until(lambda: subtasks(connection, task, "phase") == ["online"])
        async with pumps_of(broker, "well") as [pump]:
            pump.ready()
            assert (await running).status == "Success"
    assert connection.execute(status).fetchone() == {"status": "ONLINE"}


async def test_what_cannot_be_read_is_counted_and_dropped(
    broker: Broker, database: Database, connection: psycopg.Connection
) -> None:
    insert_pumps(connection, 1)
    async with pumps_of(broker, "well") as [pump], triggerer(broker, database) as (driver, inbox):
        for payload in (b"what?", b"[]", b'{"services": {}}', b'{"services": [{"service_id": "$ota"}]}'):
            pump.client.publish("$oc/devices/pump-0/sys/events/up", payload, qos=1)
        pump.client.publish("$oc/devices/pump%200/sys/events/up", b'{"services": []}', qos=1)
        await until(lambda: inbox.heard == 5)
        assert inbox.unreadable == 4
        task = await driver.run(await add_upgrade(database, await add_package(database)))
    assert task.status == "Success"
