"""Which devices are upgraded, by whom, and what they are told."""

from __future__ import annotations

from datetime import timedelta

import psycopg

from include.batch.model import Task, TaskPolicy
from include.batch.upgrades import Wanted
from include.kit.db import Database
from include.ota.model import Package
from tests.batch_rows import progress
from tests.upgrade_rows import (
    Devices,
    Driver,
    Time,
    add_package,
    add_upgrade,
    insert_pumps,
    loading,
    open_upgrades,
    state,
    stop,
    to_download,
    version,
)


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

    async def test_a_device_is_let_go_when_its_upgrade_is_stopped(
        self,
        driver: Driver,
        devices: Devices,
        database: Database,
        task: Task,
        connection: psycopg.Connection,
    ) -> None:
        await to_download(driver, task)
        await stop(database, task, driver.clock)
        assert open_upgrades(connection) == []
        tally = await driver.hear(loading(100), version("2.0.0"))
        assert (tally.accepted, tally.late) == (1, 1)  # the version is kept
        assert await driver.turn(task) == []
        assert state(connection, task)[0] == "Stopped"
        assert connection.execute("SELECT fw_version FROM device").fetchone() == {"fw_version": "2.0.0"}

    async def test_a_stop_while_it_is_in_hand_leaves_nothing_behind(
        self, driver: Driver, database: Database, task: Task, connection: psycopg.Connection
    ) -> None:
        locked, [subtask] = await driver.claim(task)
        await stop(database, task, driver.clock)
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
