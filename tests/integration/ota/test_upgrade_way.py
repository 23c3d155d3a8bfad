"""Upgrades step by step, on a real database: what devices say, and what follows."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from include.batch.model import Task, TaskPolicy
from include.gateway.model import DeviceEvent
from include.kit.db import Database
from tests.batch_rows import NOW, subtasks, task_row
from tests.upgrade_rows import (
    Devices,
    Driver,
    Time,
    add_package,
    add_upgrade,
    at,
    insert_pumps,
    loading,
    open_upgrades,
    state,
    to_download,
    version,
)


class TestTheWayThrough:
    async def test_query_load_verify(
        self, driver: Driver, devices: Devices, task: Task, connection: psycopg.Connection
    ) -> None:
        await driver.turn(task)
        assert state(connection, task) == ("Processing", "version", None, None)
        assert devices.types() == ["version_query"]
        await driver.hear(version("1.0.0"))
        await driver.turn(task)
        assert state(connection, task) == ("Processing", "download", None, None)
        assert devices.types() == ["firmware_upgrade_v2"]
        for percent in (20, 60):
            tally = await driver.hear(loading(percent))
            assert (tally.accepted, tally.late) == (1, 0)
            assert subtasks(connection, task, "progress") == [percent]
            assert await driver.turn(task) == []  # progress alone is nobody's business
        await driver.hear(loading(100))
        await driver.turn(task)
        assert state(connection, task) == ("Processing", "verify", None, None)
        assert devices.types() == ["version_query"]
        await driver.hear(version("2.0.0"))
        await driver.turn(task)
        assert state(connection, task) == ("Success", None, None, None)
        assert subtasks(connection, task, "output") == ["upgraded to 2.0.0"]
        assert task_row(connection, task)["status"] == "Success"
        assert open_upgrades(connection) == []
        [device] = connection.execute("SELECT fw_version, sw_version FROM device").fetchall()
        assert device == {"fw_version": "2.0.0", "sw_version": "1.0.0"}

    async def test_the_same_version_needs_no_download(
        self, driver: Driver, devices: Devices, task: Task, connection: psycopg.Connection
    ) -> None:
        await driver.turn(task)
        await driver.hear(version("2.0.0"))
        await driver.turn(task)
        assert state(connection, task)[0] == "Success"
        assert devices.types() == ["version_query"]

    async def test_another_version_afterwards_is_a_failure(
        self, driver: Driver, task: Task, connection: psycopg.Connection
    ) -> None:
        await to_download(driver, task)
        await driver.hear(loading(100))
        await driver.turn(task)
        await driver.hear(version("1.0.0"))
        await driver.turn(task)
        assert state(connection, task) == (
            "Fail",
            None,
            "OTA.006",
            "Firmware update failed: the device reports the version 1.0.0",
        )

    async def test_a_device_that_tells_its_new_version_by_itself_is_done(
        self, driver: Driver, task: Task, connection: psycopg.Connection
    ) -> None:
        await to_download(driver, task)
        await driver.hear(version("1.0.0"))  # it has not begun
        assert await driver.turn(task) == []
        await driver.hear(version("2.0.0"))
        await driver.turn(task)
        assert state(connection, task)[0] == "Success"

    async def test_software_looks_at_the_other_version(
        self, driver: Driver, devices: Devices, database: Database, connection: psycopg.Connection
    ) -> None:
        insert_pumps(connection, 1)
        package = await add_package(database, package_type="softwarePackage")
        task = await add_upgrade(database, package, task_type="softwareUpgrade")
        await driver.turn(task)
        await driver.hear(version("2.0.0"))  # of the firmware; the software is 1.0.0
        await driver.turn(task)
        assert devices.types() == ["version_query", "software_upgrade_v2"]

    async def test_a_module_is_told_by_its_name(
        self, driver: Driver, devices: Devices, database: Database, connection: psycopg.Connection
    ) -> None:
        insert_pumps(connection, 1)
        package = await add_package(database, package_type="modulePackage", module_name="valve")
        task = await add_upgrade(database, package, task_type="moduleUpgrade")
        await driver.turn(task)
        assert devices.sent[0].paras == {"module_name": "valve"}
        await driver.hear(version("2.0.0", modules={"valve": "1", "lid": "2.0.0"}))
        await driver.turn(task)
        assert devices.types() == ["version_query", "module_upgrade_v2"]
        await driver.hear(version("1.0.0", modules={"valve": "2.0.0"}))
        await driver.turn(task)
        assert state(connection, task)[0] == "Success"


class TestWhatTheDeviceSays:
    @pytest.mark.parametrize(
        ("code", "reason"),
        [
            (1, "Firmware update failed: the device is in use"),
            (2, "Connection lost during downloading process: the signal is weak"),
            (3, "Firmware update failed: the device says that it has the newest version"),
            (4, "Firmware update failed: the battery is low"),
            (5, "Not enough storage for the new firmware package"),
            (6, "Waiting for device downloaded package timeout"),
            (7, "Integrity check failure for new downloaded package"),
            (8, "Unsupported package type"),
            (9, "Out of memory during downloading process"),
            (10, "Firmware update failed: the package could not be installed"),
            (255, "Firmware update failed: internal error"),
            (77, "Firmware update failed: result code 77"),
        ],
    )
    async def test_result_codes(
        self, driver: Driver, task: Task, connection: psycopg.Connection, code: int, reason: str
    ) -> None:
        await to_download(driver, task)
        await driver.hear(loading(40, code, description="{sorry}"))
        await driver.turn(task)
        assert state(connection, task) == ("Fail", None, f"OTA.{100 + code}", f"{reason} ({{sorry}})")

    async def test_repeated_and_late_reports_change_nothing(
        self, driver: Driver, devices: Devices, task: Task, connection: psycopg.Connection
    ) -> None:
        await driver.turn(task)
        early = await driver.hear(loading(100), loading(None, 10))
        assert (early.accepted, early.late) == (0, 2)
        await driver.hear(version("1.0.0"), version("1.0.0"))
        await driver.turn(task)
        await driver.hear(loading(60))
        repeated = await driver.hear(loading(60), loading(20))
        assert (repeated.accepted, repeated.late) == (0, 2)
        await driver.hear(loading(100), loading(100), loading(60, 10))
        await driver.turn(task)
        assert state(connection, task)[:2] == ("Processing", "verify")
        await driver.hear(version("2.0.0"), version("2.0.0"))
        await driver.turn(task)
        after = await driver.hear(loading(100), loading(60, 10))
        assert (after.accepted, after.late) == (0, 2)
        assert await driver.turn(task) == []
        assert state(connection, task)[0] == "Success"
        assert devices.types() == ["version_query", "firmware_upgrade_v2", "version_query"]

    async def test_what_the_device_said_before_does_not_count(
        self, driver: Driver, time: Time, database: Database, connection: psycopg.Connection
    ) -> None:
        """By the device's own clock, which here is years behind ours."""
        insert_pumps(connection, 1)
        package = await add_package(database)
        policy = TaskPolicy(retry_count=1, retry_interval=timedelta(minutes=5))
        task = await add_upgrade(database, package, policy=policy)
        clock = NOW - timedelta(days=2000)
        await driver.turn(task)
        await driver.hear(at(version("1.0.0"), clock))
        await driver.turn(task)
        await driver.hear(at(loading(40, 10), clock + timedelta(minutes=1)))
        await driver.turn(task)
        assert state(connection, task)[0] == "FailWaitRetry"
        time.pass_(minutes=5)
        await driver.turn(task)
        await driver.hear(at(version("1.0.0"), clock + timedelta(minutes=6)))
        await driver.turn(task)
        assert state(connection, task)[:2] == ("Processing", "download")
        late = await driver.hear(at(loading(40, 10), clock + timedelta(minutes=2)))  # of the first attempt
        assert (late.accepted, late.late) == (0, 1)
        await driver.hear(at(loading(100), clock + timedelta(minutes=7)))
        await driver.turn(task)
        await driver.hear(at(version("2.0.0"), clock + timedelta(minutes=8)))
        await driver.turn(task)
        assert state(connection, task)[0] == "Success"

    async def test_an_answer_that_comes_while_its_question_is_in_hand_is_not_missed(
        self, driver: Driver, devices: Devices, task: Task, connection: psycopg.Connection
    ) -> None:
        async def at_once(event: DeviceEvent) -> None:
            if event.event_type == "version_query":
                await driver.hear(version("2.0.0" if devices.loaded else "1.0.0"))  # type: ignore[attr-defined]
            else:
                devices.loaded = True  # type: ignore[attr-defined]
                await driver.hear(loading(100))

        devices.loaded = False  # type: ignore[attr-defined]
        devices.hook = at_once
        for _ in range(4):
            assert len(await driver.turn(task)) == 1
        assert state(connection, task)[0] == "Success"
        assert devices.types() == ["version_query", "firmware_upgrade_v2", "version_query"]

    async def test_a_gateway_speaks_for_its_own_devices_only(
        self, driver: Driver, task: Task, connection: psycopg.Connection
    ) -> None:
        await driver.turn(task)
        tally = await driver.hear(version("1.0.0", via="somebody"), version("1.0.0", "pump-9"))
        assert (tally.accepted, tally.unknown_devices) == (0, 2)
        assert await driver.turn(task) == []
