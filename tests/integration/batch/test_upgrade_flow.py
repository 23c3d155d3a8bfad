"""Upgrades step by step, on a real database: a clock that is moved, devices that say what a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from include.batch.model import Task, TaskPolicy
from include.batch.repository import TaskRepository
from include.batch.settling import settle
from include.batch.upgrades import Wanted
from include.gateway.model import DeviceEvent
from include.kit.db import Database
from include.ota.model import Package
from include.ota.reports import StatusReport
from tests.batch_rows import NOW, progress, subtasks, task_row
from tests.upgrade_rows import (
    Devices,
    Driver,
    Time,
    add_package,
    add_upgrade,
    at,
    ids,
    insert_pumps,
    loading,
    version,
)

STATE = "status, phase, error_code, error_msg"


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
    insert_pumps(connection, 1)
    return await add_upgrade(database, package)


def state(connection: psycopg.Connection, task: Task) -> tuple[Any, ...]:
    """Return status, phase, code and reason of the first sub-task."""
    return tuple(subtasks(connection, task, STATE)[0])


def open_upgrades(connection: psycopg.Connection) -> list[str]:
    return [row["device_id"] for row in connection.execute("SELECT device_id FROM device_upgrade ORDER BY 1")]


async def to_download(driver: Driver, task: Task) -> None:
    """Bring the first pump so far that it loads."""
    await driver.turn(task)
    await driver.hear(version("1.0.0"))
    await driver.turn(task)


async def end(database: Database, task: Task, status: str) -> None:
    """End the sub-tasks of a task from outside, as the calls of the API do."""
    async with database.transaction() as connection:
        await TaskRepository(connection).lock_task(task.id)
        await connection.execute(
            "UPDATE batch_subtask SET status = %s, claimed_by = NULL, wake_at = NULL, phase = NULL,"
            " finished_at = now() WHERE batch_id = %s AND finished_at IS NULL",
            [status, task.id],
        )
        await settle(connection, task.id, NOW)


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


class TestOneUpgradeADevice:
    async def test_the_second_fails_with_the_conflict(
        self, driver: Driver, task: Task, package: Package, database: Database, connection: psycopg.Connection
    ) -> None:
        other = await add_upgrade(
            database, package, policy=TaskPolicy(retry_count=2, retry_interval=timedelta(minutes=1))
        )
        await driver.turn(task)
        await driver.turn(other)
        assert state(connection, other) == ("Fail", None, "OTA.001", "Task Conflict")
        assert open_upgrades(connection) == ["pump-0"]
        await driver.hear(version("2.0.0"))
        await driver.turn(task)
        third = await add_upgrade(database, package)
        await driver.turn(third)
        assert state(connection, third)[:2] == ("Processing", "version")

    async def test_two_at_the_same_moment(
        self, driver: Driver, task: Task, package: Package, database: Database, connection: psycopg.Connection
    ) -> None:
        other = await add_upgrade(database, package)
        one, [first] = await driver.claim(task)
        two, [second] = await driver.claim(other)
        found = await driver.performer._look([Wanted(two, second, package), Wanted(one, first, package)])
        assert [item.upgrade is not None for item in found] == [False, True]

    @pytest.mark.parametrize("status", ["Stopped", "Removed"])
    async def test_a_device_is_let_go_whoever_ends_the_upgrade(
        self,
        driver: Driver,
        devices: Devices,
        database: Database,
        task: Task,
        connection: psycopg.Connection,
        status: str,
    ) -> None:
        await to_download(driver, task)
        await end(database, task, status)
        assert open_upgrades(connection) == []
        tally = await driver.hear(loading(100), version("2.0.0"))
        assert (tally.accepted, tally.late) == (1, 1)  # the version is kept
        assert await driver.turn(task) == []
        assert state(connection, task)[0] == status
        assert connection.execute("SELECT fw_version FROM device").fetchone() == {"fw_version": "2.0.0"}

    async def test_a_stop_while_it_is_in_hand_leaves_nothing_behind(
        self, driver: Driver, database: Database, task: Task, connection: psycopg.Connection
    ) -> None:
        locked, [subtask] = await driver.claim(task)
        await end(database, task, "Stopped")
        step = await driver.performer.perform(locked, subtask)
        await driver.record(locked, [(subtask, step)])
        assert open_upgrades(connection) == []
        assert state(connection, task)[0] == "Stopped"

    async def test_a_deleted_task_lets_go(
        self, driver: Driver, task: Task, connection: psycopg.Connection
    ) -> None:
        await driver.turn(task)
        connection.execute("DELETE FROM batch_task WHERE id = %s", [task.id])
        assert open_upgrades(connection) == []


class TestWhoIsUpgraded:
    async def test_a_device_that_is_gone_is_removed(
        self, driver: Driver, task: Task, connection: psycopg.Connection
    ) -> None:
        connection.execute("DELETE FROM device")
        await driver.turn(task)
        assert progress(connection, task) == {"total": 1, "removed": 1}

    async def test_one_of_another_product_fails(
        self, driver: Driver, devices: Devices, task: Task, connection: psycopg.Connection
    ) -> None:
        connection.execute("UPDATE device SET product_id = 'lamp'")
        await driver.turn(task)
        assert state(connection, task)[2:] == (
            "OTA.008",
            "Unsupported package type: it is for another product",
        )
        assert devices.types() == []

    async def test_one_of_a_version_that_the_package_does_not_upgrade_fails(
        self, driver: Driver, devices: Devices, database: Database, connection: psycopg.Connection
    ) -> None:
        insert_pumps(connection, 1)
        package = await add_package(database, support_source_versions=["1.5.0"])
        task = await add_upgrade(database, package)
        await driver.turn(task)
        await driver.hear(version("1.0.0"))
        await driver.turn(task)
        assert state(connection, task)[2] == "OTA.009"
        assert devices.types() == ["version_query"]

    async def test_a_package_that_was_deleted_meanwhile(
        self, driver: Driver, task: Task, connection: psycopg.Connection
    ) -> None:
        connection.execute("DELETE FROM ota_package")
        await driver.turn(task)
        assert state(connection, task)[2] == "OTA.010"


class TestGatewayMode:
    async def test_sub_devices_are_told_of_the_task_through_their_gateway(
        self,
        driver: Driver,
        devices: Devices,
        database: Database,
        package: Package,
        connection: psycopg.Connection,
    ) -> None:
        insert_pumps(connection, 4)
        connection.execute("UPDATE device SET gateway_id = 'pump-0' WHERE device_id IN ('pump-1', 'pump-2')")
        task = await add_upgrade(
            database, package, 4, task_mode="GATEWAY", task_ext_info={"device_type": "DDC"}
        )
        await driver.turn(task)
        ext = {"task_ext_info": {"device_type": "DDC"}}
        about = {"task_id": task.task_id, "sub_device_count": 2, **ext}
        assert {(e.object_device_id, e.device_id): e.paras for e in devices.sent} == {
            ("pump-0", "pump-0"): ext,
            ("pump-1", "pump-0"): about,
            ("pump-2", "pump-0"): about,
            ("pump-3", "pump-3"): ext,
        }
        devices.types()
        await driver.hear(version("1.0.0", "pump-1", via="pump-0"))
        await driver.turn(task)
        [notice] = devices.sent
        assert notice.paras == {
            "version": "2.0.0",
            "url": "https://pumps.obs.cn-north-4.myhuaweicloud.com/firmware/pump%202.bin",
            "file_name": "pump 2.bin",
            "expires": 86_400,
            "sign": "5" * 64,
            **about,
        }

    async def test_without_it_they_are_not_told(
        self,
        driver: Driver,
        devices: Devices,
        database: Database,
        package: Package,
        connection: psycopg.Connection,
    ) -> None:
        insert_pumps(connection, 2)
        connection.execute("UPDATE device SET gateway_id = 'pump-0' WHERE device_id = 'pump-1'")
        task = await add_upgrade(database, package, 2)
        await driver.turn(task)
        assert [event.paras for event in devices.sent] == [{}, {}]


class TestProcessesThatEnd:
    async def test_killed_between_question_and_answer(
        self,
        driver: Driver,
        devices: Devices,
        time: Time,
        database: Database,
        task: Task,
        connection: psycopg.Connection,
    ) -> None:
        """Its claim is taken back; the answer came to somebody else meanwhile and is not lost."""
        locked, [subtask] = await driver.claim(task)
        await driver.performer.perform(locked, subtask)  # and nothing is recorded
        await driver.hear(version("1.0.0"))
        connection.execute("UPDATE batch_subtask SET claimed_by = NULL, wake_at = %s", [time.now])
        successor = Driver(database, devices, clock=time, claimer=2)
        await successor.turn(task)
        assert state(connection, task)[:2] == ("Processing", "download")
        assert devices.types() == ["version_query", "firmware_upgrade_v2"]
        await successor.close()

    async def test_killed_after_the_notice_it_goes_out_again_under_the_same_id(
        self,
        driver: Driver,
        devices: Devices,
        time: Time,
        database: Database,
        task: Task,
        connection: psycopg.Connection,
    ) -> None:
        await driver.turn(task)
        await driver.hear(version("1.0.0"))
        locked, [subtask] = await driver.claim(task)
        await driver.performer.perform(locked, subtask)
        connection.execute("UPDATE batch_subtask SET claimed_by = NULL, wake_at = %s", [time.now])
        successor = Driver(database, devices, clock=time, claimer=2)
        await successor.turn(task)
        notices = [event.message_id for event in devices.sent if event.event_type != "version_query"]
        assert len(notices) == 2
        assert len(set(notices)) == 1
        assert state(connection, task)[:2] == ("Processing", "download")
        await successor.close()
