"""Upgrades from end to end: the simulator as a process, which pushes what devices say to our served API."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from include.batch.model import Task, TaskPolicy
from include.batch.repository import TaskRepository
from include.batch.settling import release
from include.batch.upgrade_steps import Limits
from include.cli.home import ROOT
from include.kit.clock import system_clock
from include.kit.db import Database
from tests.batch_rows import progress, subtasks
from tests.integration.gateway.simulated import SimulatorProcess, opened
from tests.integration.ota.pushing import Platform
from tests.upgrade_rows import QUICK, Driver, add_package, add_upgrade, insert_pumps, pumps, stop

#: Longer than any disturbance of the machine; what must time out says so itself.
PATIENT = Limits(
    online=timedelta(seconds=120),
    version=timedelta(seconds=120),
    result=timedelta(seconds=120),
    verify=timedelta(seconds=120),
    ask=timedelta(seconds=30),
    quiet=timedelta(seconds=60),
)


@pytest.fixture
async def driver(database: Database, platform: Platform) -> AsyncIterator[Driver]:
    """A driver, with the API served."""
    async with platform.served(), opened(platform.simulator.url) as gateway:
        driver = Driver(database, gateway, limits=PATIENT)
        yield driver
        await driver.close()


def reasons(connection: psycopg.Connection, task: Task) -> set[Any]:
    return set(subtasks(connection, task, "status, error_code"))


async def until(condition: Any, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def test_every_pump_is_asked_loads_and_is_asked_again(
    driver: Driver, simulator: SimulatorProcess, database: Database, connection: psycopg.Connection
) -> None:
    insert_pumps(connection, 40)
    simulator.faults(ota={"seconds": 0.4, "steps": 5, "reboot": 0.2})
    task = await driver.run(await add_upgrade(database, await add_package(database), 40))
    assert (task.status, progress(connection, task)) == ("Success", {"total": 40, "success": 40})
    counters = simulator.admin("GET", "counters")
    assert {name: counters[name] for name in ("queries", "notices", "upgrades", "reports")} == {
        "queries": 80,
        "notices": 40,
        "upgrades": 40,
        "reports": 40 * (2 + 5),
    }
    assert {row["fw_version"] for row in connection.execute("SELECT fw_version FROM device")} == {"2.0.0"}
    assert simulator.admin("GET", "push")["refused"] == 0


async def test_pumps_that_have_the_version_load_nothing(
    driver: Driver, simulator: SimulatorProcess, database: Database, connection: psycopg.Connection
) -> None:
    insert_pumps(connection, 2)
    simulator.admin("PUT", "devices/pump-0", {"fw_version": "2.0.0"})
    task = await driver.run(await add_upgrade(database, await add_package(database), 2))
    assert task.status == "Success"
    assert simulator.admin("GET", "devices/pump-0")["ota"]["upgrades"] == 0
    assert simulator.admin("GET", "devices/pump-1")["ota"]["upgrades"] == 1


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        ({"keeps_version": 1}, "OTA.006"),
        ({"results": {"5": 1}}, "OTA.105"),
        ({"results": {"255": 1}}, "OTA.355"),
    ],
)
async def test_pumps_that_fail(
    driver: Driver,
    simulator: SimulatorProcess,
    database: Database,
    connection: psycopg.Connection,
    faults: dict[str, Any],
    code: str,
) -> None:
    insert_pumps(connection, 3)
    simulator.faults(ota={"seconds": 0.1, **faults})
    task = await driver.run(await add_upgrade(database, await add_package(database), 3))
    assert task.status == "Fail"
    assert reasons(connection, task) == {("Fail", code)}


async def test_a_retry_by_the_policy_is_a_new_upgrade_to_the_device(
    driver: Driver, simulator: SimulatorProcess, database: Database, connection: psycopg.Connection
) -> None:
    insert_pumps(connection, 1)
    simulator.faults(ota={"seconds": 0.1, "results": {"4": 1}})
    policy = TaskPolicy(retry_count=1, retry_interval=timedelta(seconds=1))
    task = await add_upgrade(database, await add_package(database), policy=policy)
    running = asyncio.create_task(driver.run(task))
    await until(lambda: subtasks(connection, task, "status") == ["FailWaitRetry"])
    simulator.faults(ota={"seconds": 0.1})
    assert (await running).status == "Success"
    number = subtasks(connection, task, "id")[0]
    assert simulator.admin("GET", "devices/pump-0")["ota"]["notices"] == {
        f"{task.task_id}-{number}-1-u": 1,
        f"{task.task_id}-{number}-2-u": 1,
    }


async def test_everything_said_twice_counts_once(
    driver: Driver, simulator: SimulatorProcess, database: Database, connection: psycopg.Connection
) -> None:
    insert_pumps(connection, 10)
    simulator.faults(ota={"seconds": 0.2, "twice": 1})
    task = await driver.run(await add_upgrade(database, await add_package(database), 10))
    assert progress(connection, task) == {"total": 10, "success": 10}
    assert simulator.admin("GET", "counters")["upgrades"] == 10


async def test_pumps_that_go_away_on_the_way_go_on_when_they_are_back(
    driver: Driver, simulator: SimulatorProcess, database: Database, connection: psycopg.Connection
) -> None:
    insert_pumps(connection, 5)
    simulator.faults(ota={"seconds": 0.4, "away": 1, "away_seconds": 1.0})
    task = await add_upgrade(database, await add_package(database), 5)
    running = asyncio.create_task(driver.run(task))
    statuses = "SELECT count(*) AS n FROM device WHERE status = %s"
    await until(lambda: connection.execute(statuses, ["OFFLINE"]).fetchone()["n"] > 0)
    assert (await running).status == "Success"
    assert connection.execute(statuses, ["ONLINE"]).fetchone() == {"n": 5}


async def test_a_pump_that_is_away_is_upgraded_as_soon_as_it_comes(
    driver: Driver,
    simulator: SimulatorProcess,
    database: Database,
    connection: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The gateway alone knows that one of them is away; the registry knows of the other."""
    monkeypatch.setattr("include.batch.upgrade_steps.LONGEST_BACKOFF", timedelta(hours=1))
    monkeypatch.setattr("include.batch.upgrade_steps.FIRST_BACKOFF", timedelta(hours=1))
    insert_pumps(connection, 2)
    simulator.admin("POST", "offline", {"device_ids": pumps(1)})
    away = "SELECT count(*) AS n FROM device WHERE status = 'OFFLINE'"
    await until(lambda: connection.execute(away).fetchone() == {"n": 1})
    simulator.faults(offline=["pump-1"], ota={"seconds": 0.1})
    await until(lambda: simulator.admin("GET", "push")["waiting"] == 0)
    connection.execute("UPDATE device SET status = 'ONLINE' WHERE device_id = 'pump-1'")
    task = await add_upgrade(database, await add_package(database), 2)
    running = asyncio.create_task(driver.run(task))
    await until(lambda: subtasks(connection, task, "phase") == ["online", "online"])
    simulator.admin("POST", "online", {"device_ids": pumps(2)})
    assert (await running).status == "Success"


async def test_nothing_is_lost_while_the_api_is_away(
    platform: Platform, simulator: SimulatorProcess, database: Database, connection: psycopg.Connection
) -> None:
    insert_pumps(connection, 5)
    simulator.faults(ota={"seconds": 0.1})
    async with opened(simulator.url) as gateway:
        driver = Driver(database, gateway, limits=PATIENT)
        task = await add_upgrade(database, await add_package(database), 5)
        await driver.turn(task)
        await until(lambda: simulator.admin("GET", "push")["waiting"] == 5)
        async with platform.served():
            assert (await driver.run(task)).status == "Success"
        await driver.close()


async def test_a_silent_pump_fails_in_time(
    platform: Platform, simulator: SimulatorProcess, database: Database, connection: psycopg.Connection
) -> None:
    insert_pumps(connection, 1)
    simulator.faults(ota={"silent": 1})
    async with platform.served(), opened(simulator.url) as gateway:
        driver = Driver(database, gateway, limits=QUICK)
        task = await driver.run(await add_upgrade(database, await add_package(database)))
        await driver.close()
    assert reasons(connection, task) == {("Fail", "OTA.003")}
    assert simulator.admin("GET", "counters")["queries"] == 3


async def test_of_two_tasks_one_upgrades_the_pumps(
    driver: Driver, simulator: SimulatorProcess, database: Database, connection: psycopg.Connection
) -> None:
    insert_pumps(connection, 20)
    simulator.faults(ota={"seconds": 0.5})
    package = await add_package(database)
    tasks = [await add_upgrade(database, package, 20) for _ in range(2)]
    await asyncio.gather(*[driver.run(task) for task in tasks])
    found = sorted(
        (target, status, code)
        for task in tasks
        for target, status, code in subtasks(connection, task, "target, status, error_code")
    )
    assert found == sorted(
        (pump, *end) for pump in pumps(20) for end in (("Fail", "OTA.001"), ("Success", None))
    )
    assert simulator.admin("GET", "counters")["upgrades"] == 20


async def test_a_stop_on_the_way_leaves_the_pump_alone(
    driver: Driver, simulator: SimulatorProcess, database: Database, connection: psycopg.Connection
) -> None:
    insert_pumps(connection, 1)
    simulator.faults(ota={"seconds": 2.0})
    package = await add_package(database)
    task = await add_upgrade(database, package)
    running = asyncio.create_task(driver.run(task))
    await until(lambda: (subtasks(connection, task, "progress")[0] or 0) >= 25)
    await stop(database, task)
    await running
    assert connection.execute("SELECT count(*) AS n FROM device_upgrade").fetchone() == {"n": 0}
    await until(lambda: simulator.admin("GET", "devices/pump-0")["fw_version"] == "2.0.0")
    assert subtasks(connection, task, "status") == ["Stopped"]
    again = await driver.run(await add_upgrade(database, package))  # the pump is free for another task
    assert again.status == "Success"


async def test_sub_devices_answer_through_their_gateway(
    driver: Driver, simulator: SimulatorProcess, database: Database, connection: psycopg.Connection
) -> None:
    insert_pumps(connection, 3)
    connection.execute("UPDATE device SET gateway_id = 'pump-0' WHERE device_id <> 'pump-0'")
    task = await add_upgrade(database, await add_package(database), 3, task_mode="GATEWAY")
    task = await driver.run(task)
    assert task.status == "Success"
    messages = simulator.admin("GET", "devices/pump-0")["messages"]
    assert {message["topic_full_name"] for message in messages} == {"$oc/devices/pump-0/sys/events/down"}
    upgrades = [simulator.admin("GET", f"devices/{pump}")["ota"]["upgrades"] for pump in pumps(3)]
    assert upgrades == [1, 1, 1]


async def test_a_process_that_is_killed_after_its_question_is_carried_on(
    platform: Platform,
    simulator: SimulatorProcess,
    database: Database,
    database_url: str,
    connection: psycopg.Connection,
) -> None:
    insert_pumps(connection, 8)
    task = await add_upgrade(database, await add_package(database), 8)
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.upgrade_child", database_url, simulator.url, str(task.id)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert child.stdout is not None
    assert (await asyncio.to_thread(child.stdout.readline)).strip() == "asked"
    child.kill()
    child.wait(10)
    child.stdout.close()
    assert subtasks(connection, task, "status") == ["Processing"] * 8
    assert simulator.admin("GET", "counters")["queries"] == 8
    async with platform.served(), opened(simulator.url) as gateway:
        driver = Driver(database, gateway, limits=PATIENT)
        async with database.transaction() as releasing:
            locked = await TaskRepository(releasing).lock_task(task.id)
            assert locked is not None
            assert await release(releasing, locked, claimer=1, held=(), now=system_clock()) == 8
        done = await driver.run(task)
        await driver.close()
    assert done.status == "Success"
    assert simulator.admin("GET", "counters")["upgrades"] == 8
    assert subtasks(connection, task, "attempt") == [1] * 8
