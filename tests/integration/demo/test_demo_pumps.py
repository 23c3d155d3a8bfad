"""The batch demo through the real REST APIs, the real fan-out and the real simulator, without Airflow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from include.batch.engine import BatchEngine
from include.batch.runs import BatchRun
from include.cli.postgres import find_free_port
from include.demo import batch
from include.demo.api import calling
from include.demo.batch import Clients, Story, look, ordered, registered, retry, watch
from include.demo.batch_report import news, retried, waves, wrong
from include.demo.pumps import Pump, plan_pumps
from include.kit.db import Database
from include.ledger.engine import Engine
from include.settings import get_settings
from tests.builders import make_token, serve_http
from tests.conftest import ClientOf
from tests.integration.demo.direct_api import DirectApi
from tests.integration.gateway.simulated import SimulatorProcess, simulator_process

PROJECT = "demo-x"
ALL = ("firmwareUpgrade", "deleteDevices")


@pytest.fixture
def process() -> Iterator[SimulatorProcess]:
    with simulator_process() as simulator:
        yield simulator


@pytest.fixture
async def clients(
    client_of: ClientOf, database: Database, process: SimulatorProcess
) -> AsyncIterator[Clients]:
    """Clients of the APIs and of a simulator that pushes to them."""
    own = await client_of("management", await make_token(database, projects=[PROJECT]))
    iot = await client_of("iot")
    iot.headers["X-Auth-Token"] = await make_token(database, projects=[PROJECT])
    token, port = await make_token(database, apis=["management"]), find_free_port()
    url = f"http://127.0.0.1:{port}/carillon/v1/device-events"
    process.admin("PUT", "push", {"url": url, "token": token})
    async with calling(process.url) as simulator, serve_http("management", port):
        yield Clients(DirectApi({"/carillon/v1": own, "/v5/iot": iot}), simulator, PROJECT)


@pytest.fixture
async def engine(
    database_url: str, process: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[BatchEngine]:
    """What a triggerer has."""
    monkeypatch.setenv("AIRFLOW_CONN_DEVICE_GATEWAY", process.url)
    monkeypatch.setattr(batch, "POLL_SECONDS", 0.1)
    get_settings.cache_clear()
    engine = await Engine(Database(database_url, max_size=4)).open()
    batch_engine = BatchEngine(engine)
    yield batch_engine
    await batch_engine.close()
    await engine.close()


@pytest.fixture
def pumps() -> list[Pump]:
    return plan_pumps("x", count=100)


@asynccontextmanager
async def airflow(engine: BatchEngine, connection: psycopg.Connection, *types: str) -> AsyncIterator[None]:
    """Do what runs in Airflow do, for tasks of these types."""

    async def work() -> None:
        while True:
            await asyncio.sleep(0.05)
            rows = connection.execute(
                "SELECT task_id FROM batch_task WHERE finished_at IS NULL AND task_type = ANY(%s)",
                [list(types)],
            ).fetchall()
            for row in rows:
                run = BatchRun(engine, row["task_id"], lambda _: None)
                await run.expand()
                await run.fan_out(0)

    working = asyncio.create_task(work())
    try:
        yield
        assert not working.done(), working
    finally:
        working.cancel()


def left(connection: psycopg.Connection) -> dict[str, int]:
    row = connection.execute(
        "SELECT (SELECT count(*) FROM device) AS devices, (SELECT count(*) FROM ota_package) AS packages,"
        " (SELECT count(*) FROM device_upgrade) AS upgrades,"
        " (SELECT count(*) FROM batch_task WHERE status IN ('Success', 'Stopped')) AS tasks"
    ).fetchone()
    assert row is not None
    return dict(row)


async def test_pumps_are_upgraded_and_what_task_and_simulator_say_is_compared(
    clients: Clients,
    process: SimulatorProcess,
    engine: BatchEngine,
    pumps: list[Pump],
    connection: psycopg.Connection,
) -> None:
    process.admin("PUT", "devices/other", {"online": False})
    told: list[str] = []

    def tell(story: Story) -> None:
        told.extend(line for _, line in news(story) if line not in told)

    async with airflow(engine, connection, *ALL), registered(clients, pumps) as package_id:
        async with ordered(clients, pumps, package_id) as story:
            await watch(clients.api, story, tell)
            await retry(clients, story)
            await watch(clients.api, story, tell)
            await look(clients, story)
        assert wrong(story) == []
        assert told == [
            "wave 1: 10 of 10 succeeded, 0 failed",
            "wave 2: 88 of 90 succeeded, 2 failed",
            "retry: 2 of 2 succeeded, 0 failed",
        ]
        again = retried(story)
        assert again is not None
        assert all(one.seconds > 0 for one in (*waves(story), again))
        device_id = pumps[0].device_id
        fields = {"version": "3.0.0", "url": "http://127.0.0.1/x"}
        event = {"services": [{"service_id": "$ota", "event_type": "firmware_upgrade_v2", "paras": fields}]}
        await send_event(clients, device_id, event)
        await look(clients, story)
        assert wrong(story) == [
            f"began 2 upgrades by the simulator's count, 1 by the task's: 1 pump, such as {device_id}"
        ]
    assert left(connection) == {"devices": 0, "packages": 0, "upgrades": 0, "tasks": 1}
    assert process.admin("GET", "faults")["ota"]["results"] == {}
    assert process.admin("GET", "counters")["devices"] == 1
    assert process.admin("GET", "devices/other")["online"] is False


async def send_event(clients: Clients, device_id: str, event: dict[str, object]) -> None:
    """Tell a device something behind the back of the instance."""
    from orjson import dumps

    body = {
        "message": dumps(event).decode(),
        "topic_full_name": f"$oc/devices/{device_id}/sys/events/down",
        "ttl": 0,
    }
    await clients.simulator.send("POST", f"/v5/iot/demo-x/devices/{device_id}/messages", body)


async def test_one_that_is_interrupted_is_stopped_and_taken_away(
    clients: Clients, engine: BatchEngine, pumps: list[Pump], connection: psycopg.Connection
) -> None:
    def interrupt(story: Story) -> None:
        if story.now.task["progress"]["processing"]:
            raise InterruptedError

    async def interrupted() -> None:
        async with registered(clients, pumps) as package_id, ordered(clients, pumps, package_id) as story:
            await watch(clients.api, story, interrupt)

    async with airflow(engine, connection, *ALL):
        with pytest.raises(InterruptedError):
            await interrupted()
    assert left(connection) == {"devices": 0, "packages": 0, "upgrades": 0, "tasks": 1}


async def test_a_task_that_does_not_begin_is_given_up(
    clients: Clients, engine: BatchEngine, pumps: list[Pump], connection: psycopg.Connection
) -> None:
    async with airflow(engine, connection, "deleteDevices"), registered(clients, pumps) as package_id:
        async with ordered(clients, pumps, package_id) as story:
            await watch(clients.api, story, lambda _: None, seconds=0.2)
            assert wrong(story)[:2] == [
                "the task is Initializing after the upgrade, not PartialSuccess",
                "nothing was retried",
            ]
        assert story.now.task["status"] == "Stopped"
    assert left(connection) == {"devices": 0, "packages": 0, "upgrades": 0, "tasks": 1}
