"""What the tests of upgrades share: pumps, packages, and a driver that performs tasks without Airflow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg

from include.batch.actions import BatchActions
from include.batch.model import Step, Subtask, Task
from include.batch.repository import TaskRepository
from include.batch.settling import record
from include.batch.subtask_repository import SubtaskRepository
from include.batch.upgrade_steps import Limits
from include.batch.upgrades import UpgradePerformer
from include.gateway.model import DeviceEvent, DeviceGateway, Outcome, Reply
from include.kit.clock import Clock, system_clock
from include.kit.db import Database
from include.ota.events import DeviceEventService, Tally
from include.ota.model import Package
from include.ota.reports import ProgressReport, Report, VersionReport
from include.ota.service import PackageService
from tests.batch_rows import NOW, PROJECT, add_task, subtasks

LOCATION = {
    "obs_location": {
        "region_name": "cn-north-4",
        "bucket_name": "pumps",
        "object_key": "firmware/pump 2.bin",
        "sign_method": "SHA256",
        "sign": "5" * 64,
    }
}
#: Like the defaults, in seconds instead of hours.
QUICK = Limits(
    online=timedelta(seconds=25),
    version=timedelta(seconds=3),
    result=timedelta(seconds=24),
    verify=timedelta(seconds=10),
    ask=timedelta(seconds=1),
    quiet=timedelta(seconds=5),
)


def insert_pumps(connection: psycopg.Connection, count: int, *, status: str = "ONLINE") -> None:
    """Make devices `pump-0` and so on of a project, of version 1.0.0."""
    connection.execute(
        "INSERT INTO device (device_id, project_id, product_id, node_id, status, fw_version, sw_version,"
        "                    created_at, updated_at)"
        " SELECT 'pump-' || n, %s, 'pump', 'pump-' || n, %s, '1.0.0', '1.0.0', now(), now()"
        " FROM generate_series(0, %s - 1) n",
        [PROJECT, status, count],
    )


def pumps(count: int) -> list[str]:
    return [f"pump-{number}" for number in range(count)]


async def add_package(database: Database, **changes: Any) -> Package:
    """Store a firmware of version 2.0.0 for pumps."""
    values = {
        "app_id": "app",
        "package_type": "firmwarePackage",
        "product_id": "pump",
        "module_name": None,
        "version": "2.0.0",
        "support_source_versions": None,
        "description": None,
        "custom_info": None,
        "file_location": LOCATION,
        **changes,
    }
    async with database.transaction() as connection:
        return await PackageService(connection, PROJECT).create(values)


async def add_upgrade(database: Database, package: Package, count: int = 1, **changes: Any) -> Task:
    """Insert an expanded task that upgrades the first pumps."""
    values = {
        "task_name": "new firmware",
        "task_type": "firmwareUpgrade",
        "targets": pumps(count),
        "document": {"package_ids": [package.package_id]},
        **changes,
    }
    return await add_task(database, **values)


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **span: float) -> None:
        self.now += timedelta(**span)


class Devices:
    """A gateway behind which nobody answers by himself.

    :ivar sent: every event that reached a device
    :ivar outcome: what the gateway says from now on
    """

    def __init__(self) -> None:
        self.sent: list[DeviceEvent] = []
        self.outcome: Outcome = "acknowledged"
        self.hook: Callable[[DeviceEvent], Any] | None = None

    async def send_event(self, event: DeviceEvent) -> Reply:
        if self.outcome == "acknowledged":
            self.sent.append(event)
        if self.hook is not None:
            await self.hook(event)
        now = system_clock()
        return Reply(self.outcome, now, now, error=None if self.outcome == "acknowledged" else "as told")

    def types(self) -> list[str]:
        """Return what was sent, and forget it."""
        sent, self.sent = self.sent, []
        return [event.event_type for event in sent]


class Driver:
    """Claims, performs and records the sub-tasks of tasks, without Airflow.

    :ivar claimer: the process that it plays
    """

    def __init__(
        self,
        database: Database,
        gateway: DeviceGateway | Devices,
        *,
        clock: Clock = system_clock,
        limits: Limits | None = None,
        claimer: int = 1,
    ) -> None:
        self.database = database
        self.clock = clock
        self.claimer = claimer
        self.performer = UpgradePerformer(database, gateway, clock=clock, limits=limits)  # type: ignore[arg-type]

    async def claim(self, task: Task) -> tuple[Task, list[Subtask]]:
        async with self.database.transaction() as connection:
            locked = await TaskRepository(connection).lock_task(task.id)
            assert locked is not None
            claimed = await SubtaskRepository(connection).claim_subtasks(
                locked, limit=500, fresh=500, claimer=self.claimer, now=self.clock()
            )
        return locked, [one.subtask for one in claimed]

    async def record(self, task: Task, steps: Sequence[tuple[Subtask, Step]]) -> None:
        async with self.database.transaction() as connection:
            locked = await TaskRepository(connection).lock_task(task.id)
            assert locked is not None
            await record(connection, locked, steps, claimer=self.claimer, now=self.clock())

    async def turn(self, task: Task) -> list[Step]:
        """Take the next step of all that is due; returns the steps."""
        locked, subtasks = await self.claim(task)
        steps = await asyncio.gather(*[self.performer.perform(locked, one) for one in subtasks])
        if steps:
            await self.record(locked, list(zip(subtasks, steps, strict=True)))
        return list(steps)

    async def run(self, task: Task, *, seconds: float = 60.0) -> Task:
        """Work in real time until the task has ended; returns it."""
        async with asyncio.timeout(seconds):
            while True:
                if not await self.turn(task):
                    await asyncio.sleep(0.02)
                async with self.database.transaction() as connection:
                    found = await TaskRepository(connection).find_task(task.id)
                assert found is not None
                if found.finished:
                    return found

    async def hear(self, *reports: Report) -> Tally:
        """Have devices say something."""
        async with self.database.transaction() as connection:
            return await DeviceEventService(connection, clock=self.clock).take(reports)

    async def close(self) -> None:
        await self.performer.close()


def version(said: str, device: str = "pump-0", **more: Any) -> VersionReport:
    """A device tells the version of its firmware."""
    return VersionReport(device_id=device, fw_version=said, sw_version="1.0.0", **more)


def loading(percent: int | None, code: int = 0, device: str = "pump-0", **more: Any) -> ProgressReport:
    """A device tells how far it is."""
    return ProgressReport(device_id=device, result_code=code, progress=percent, **more)


def ids(events: Sequence[DeviceEvent]) -> list[str]:
    """Return the message ids without that of the task."""
    return [event.message_id.split("-", 1)[1] for event in events]


def at(report: Report, device_time: datetime) -> Report:
    """Return the same, said at a moment of the device's clock."""
    return replace(report, device_time=device_time)


def state(connection: psycopg.Connection, task: Task) -> tuple[Any, ...]:
    """Return status, phase, code and reason of the first sub-task."""
    return tuple(subtasks(connection, task, "status, phase, error_code, error_msg")[0])


def open_upgrades(connection: psycopg.Connection) -> list[str]:
    """Return the devices that are being upgraded."""
    return [row["device_id"] for row in connection.execute("SELECT device_id FROM device_upgrade ORDER BY 1")]


async def to_download(driver: Driver, task: Task) -> None:
    """Bring the first pump so far that it loads."""
    await driver.turn(task)
    await driver.hear(version("1.0.0"))
    await driver.turn(task)


async def stop(database: Database, task: Task, clock: Clock = system_clock) -> None:
    """Stop a task, as the API does."""
    async with database.transaction() as connection:
        await BatchActions(connection, PROJECT, clock=clock).stop(task.task_id)
