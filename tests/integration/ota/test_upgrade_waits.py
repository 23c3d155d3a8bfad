"""Upgrades that wait: for devices that are away, for words that do not come. The clock is moved."""

from __future__ import annotations

from datetime import timedelta

import psycopg

from include.batch.model import Task, TaskPolicy
from include.kit.db import Database
from include.ota.model import Package
from include.ota.reports import StatusReport
from tests.batch_rows import subtasks
from tests.upgrade_rows import (
    Devices,
    Driver,
    Time,
    add_upgrade,
    ids,
    insert_pumps,
    loading,
    open_upgrades,
    state,
    to_download,
    version,
)


class TestOffline:
    async def test_a_device_that_is_away_is_waited_for_and_taken_when_it_comes(
        self, driver: Driver, devices: Devices, time: Time, task: Task, connection: psycopg.Connection
    ) -> None:
        connection.execute("UPDATE device SET status = 'OFFLINE'")
        await driver.turn(task)
        assert state(connection, task)[:2] == ("Processing", "online")
        assert devices.types() == []
        time.pass_(hours=20)
        await driver.turn(task)
        assert devices.types() == []
        time.pass_(seconds=1)
        await driver.hear(StatusReport(device_id="pump-0", online=True))
        await driver.turn(task)
        assert devices.types() == ["version_query"]
        assert state(connection, task)[:2] == ("Processing", "version")
        assert connection.execute("SELECT status FROM device").fetchone() == {"status": "ONLINE"}

    async def test_what_only_the_gateway_knows_counts_too(
        self, driver: Driver, devices: Devices, time: Time, task: Task, connection: psycopg.Connection
    ) -> None:
        devices.outcome = "offline"
        waits = []
        for _ in range(8):
            [step] = await driver.turn(task)
            assert step.wake_at is not None
            waits.append((step.wake_at - time.now).total_seconds())
            time.now = step.wake_at
        assert waits == [10, 10, 20, 40, 80, 160, 300, 300]
        devices.outcome = "acknowledged"
        await driver.turn(task)
        assert state(connection, task)[:2] == ("Processing", "version")

    async def test_it_is_waited_for_25_hours_in_all(
        self, driver: Driver, devices: Devices, time: Time, task: Task, connection: psycopg.Connection
    ) -> None:
        devices.outcome = "unreachable"
        await driver.turn(task)
        time.pass_(hours=24, minutes=59)
        await driver.turn(task)
        assert state(connection, task)[:2] == ("Processing", "online")
        time.pass_(minutes=1)
        await driver.turn(task)
        assert state(connection, task)[2:] == ("OTA.002", "Waiting for the device online timeout")

    async def test_one_that_goes_before_it_is_told_is_told_when_it_is_back(
        self, driver: Driver, devices: Devices, time: Time, task: Task, connection: psycopg.Connection
    ) -> None:
        await driver.turn(task)
        devices.outcome = "offline"
        await driver.hear(version("1.0.0"))
        await driver.turn(task)
        assert state(connection, task)[:2] == ("Processing", "online")
        devices.outcome = "acknowledged"
        await driver.hear(StatusReport(device_id="pump-0", online=True))
        await driver.turn(task)
        assert devices.types() == ["version_query", "firmware_upgrade_v2"]
        assert state(connection, task)[:2] == ("Processing", "download")

    async def test_one_that_has_begun_is_not_told_again(
        self, driver: Driver, devices: Devices, time: Time, task: Task, connection: psycopg.Connection
    ) -> None:
        """The word arrived although the gateway could not say so."""
        await driver.turn(task)
        devices.outcome = "timeout"
        await driver.hear(version("1.0.0"))
        await driver.turn(task)
        await driver.hear(loading(10))
        devices.outcome = "acknowledged"
        time.pass_(seconds=10)
        await driver.turn(task)
        assert devices.types() == ["version_query"]
        assert state(connection, task)[:2] == ("Processing", "download")

    async def test_a_gateway_that_does_not_know_the_device_ends_it(
        self, driver: Driver, devices: Devices, task: Task, connection: psycopg.Connection
    ) -> None:
        devices.outcome = "refused"
        await driver.turn(task)
        assert state(connection, task)[2:] == ("OTA.007", "Device Abnormal is not online: as told")


class TestTimeouts:
    async def test_no_version(
        self, driver: Driver, devices: Devices, time: Time, task: Task, connection: psycopg.Connection
    ) -> None:
        await driver.turn(task)
        for _ in range(2):
            time.pass_(minutes=1)
            await driver.turn(task)  # asked again: words get lost
        assert ids(devices.sent) == [f"{subtasks(connection, task, 'id')[0]}-1-q{n}" for n in (1, 2, 3)]
        time.pass_(seconds=59)
        assert await driver.turn(task) == []
        time.pass_(seconds=1)
        await driver.turn(task)
        assert state(connection, task)[2:] == (
            "OTA.003",
            "Waiting for report device firmware version timeout",
        )

    async def test_no_result_but_the_version(
        self, driver: Driver, devices: Devices, time: Time, task: Task, connection: psycopg.Connection
    ) -> None:
        await to_download(driver, task)
        time.pass_(hours=24)
        await driver.turn(task)
        assert state(connection, task)[:2] == ("Processing", "verify")
        await driver.hear(version("2.0.0"))
        await driver.turn(task)
        assert state(connection, task)[0] == "Success"

    async def test_no_result_and_the_old_version(
        self, driver: Driver, time: Time, task: Task, connection: psycopg.Connection
    ) -> None:
        await to_download(driver, task)
        time.pass_(hours=24)
        await driver.turn(task)
        await driver.hear(version("1.0.0"))
        await driver.turn(task)
        assert state(connection, task)[2:] == (
            "OTA.004",
            "Wait for the device to report upgrade result timeout",
        )

    async def test_no_result_and_no_version(
        self, driver: Driver, time: Time, task: Task, connection: psycopg.Connection
    ) -> None:
        await to_download(driver, task)
        time.pass_(hours=24)
        await driver.turn(task)
        time.pass_(minutes=10)
        await driver.turn(task)
        assert state(connection, task)[2:] == (
            "OTA.005",
            "Updating timeout and query device version for check timeout",
        )

    async def test_the_result_and_no_version(
        self, driver: Driver, time: Time, task: Task, connection: psycopg.Connection
    ) -> None:
        await to_download(driver, task)
        await driver.hear(loading(100))
        await driver.turn(task)
        time.pass_(minutes=10)
        await driver.turn(task)
        assert state(connection, task)[2] == "OTA.003"

    async def test_one_that_loads_in_silence_is_asked_now_and_then(
        self, driver: Driver, devices: Devices, time: Time, task: Task, connection: psycopg.Connection
    ) -> None:
        await to_download(driver, task)
        time.pass_(minutes=14)
        await driver.hear(loading(30))
        devices.types()
        time.pass_(minutes=1)
        await driver.turn(task)
        assert devices.types() == []  # it has just said something
        time.pass_(minutes=14)
        await driver.turn(task)
        assert devices.types() == ["version_query"]
        assert state(connection, task)[:2] == ("Processing", "download")
        await driver.hear(version("2.0.0"))  # the word that it was done had been lost
        await driver.turn(task)
        assert state(connection, task)[0] == "Success"

    async def test_a_retry_begins_anew(
        self,
        driver: Driver,
        devices: Devices,
        time: Time,
        database: Database,
        package: Package,
        connection: psycopg.Connection,
    ) -> None:
        insert_pumps(connection, 1)
        policy = TaskPolicy(retry_count=1, retry_interval=timedelta(minutes=5))
        task = await add_upgrade(database, package, policy=policy)
        await to_download(driver, task)
        await driver.hear(loading(40, 4))
        await driver.turn(task)
        assert state(connection, task)[0] == "FailWaitRetry"
        assert open_upgrades(connection) == ["pump-0"]
        late = await driver.hear(loading(100))
        assert late.late == 1
        time.pass_(minutes=5)
        await driver.turn(task)
        assert subtasks(connection, task, "attempt, progress, phase") == [(2, 0, "version")]
        number = subtasks(connection, task, "id")[0]
        assert ids(devices.sent) == [f"{number}-1-q1", f"{number}-1-u", f"{number}-2-q1"]
