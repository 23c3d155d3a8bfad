"""Upgrades on a clock that is moved by hand; and a simulator that pushes to the own API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from include.batch.model import Task
from include.cli.postgres import find_free_port
from include.kit.db import Database
from include.ota.model import Package
from tests.builders import make_token
from tests.integration.gateway.simulated import SimulatorProcess, simulator_process
from tests.integration.ota.pushing import Platform
from tests.upgrade_rows import Devices, Driver, Time, add_package, add_upgrade, insert_pumps


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def devices() -> Devices:
    return Devices()


@pytest.fixture
async def driver(database: Database, devices: Devices, time: Time) -> AsyncIterator[Driver]:
    driver = Driver(database, devices, clock=time)
    yield driver
    await driver.close()


@pytest.fixture
async def package(database: Database) -> Package:
    return await add_package(database)


@pytest.fixture
async def task(connection: psycopg.Connection, database: Database, package: Package) -> Task:
    """A task that upgrades one pump."""
    insert_pumps(connection, 1)
    return await add_upgrade(database, package)


@pytest.fixture(scope="module")
def process() -> Iterator[SimulatorProcess]:
    with simulator_process() as process:
        yield process
        assert process.stop() == 0


@pytest.fixture
async def platform(
    process: SimulatorProcess, database: Database, parse_requests: list[str]
) -> AsyncIterator[Platform]:
    """A simulator whose devices are new; the API is not served yet."""
    process.admin("DELETE", "faults")
    process.admin("DELETE", "devices")
    port = find_free_port()
    url = f"http://127.0.0.1:{port}/carillon/v1/device-events"
    token = await make_token(database, apis=["management"])
    process.admin("PUT", "push", {"url": url, "token": token})
    yield Platform(process, port)
    process.admin("DELETE", "push")


@pytest.fixture
def simulator(platform: Platform) -> SimulatorProcess:
    return platform.simulator
