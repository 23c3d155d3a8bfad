"""Use cases of those who run devices: look at their timers, have them rest, run them now, forget them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from include.errors import ConflictError, NotFoundError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection
from include.ledger.repository import LedgerRepository
from include.schedules.repository import ScheduleRepository
from include.schedules.service import ScheduleService
from include.timers.model import GROUPS_MOST, KEY, TimerGroup
from include.timers.repository import TimedDevice, TimerRepository


@dataclass(frozen=True)
class DeviceTimers:
    """The timers of a device.

    :ivar paused: whether all of them rest
    """

    device_id: str
    paused: bool
    groups: Sequence[TimerGroup]


@dataclass(frozen=True)
class ManualRun:
    """What a run on demand made.

    :ivar due_at: aware UTC
    """

    due_at: datetime
    execution_ids: Sequence[int]


class TimerOperations:
    """The use cases, inside the caller's transaction.

    :param projects: the project ids that the caller's token may see, None for all
    """

    def __init__(
        self, connection: Connection, *, projects: Sequence[str] | None = None, clock: Clock = system_clock
    ) -> None:
        self.repository = TimerRepository(connection)
        self.ledger = LedgerRepository(connection)
        self.schedules = ScheduleService(ScheduleRepository(connection))
        self.projects = projects
        self.clock = clock

    async def timers(self, device_id: str) -> DeviceTimers:
        """Return the timers of a device, the newest group first.

        :raises NotFoundError: no such device for this caller
        """
        return await self._shown(await self._device(device_id))

    async def pause(self, device_id: str) -> DeviceTimers:
        """Have all timers of a device rest, even armed ones; those that come later rest as well.

        :raises NotFoundError: no such device for this caller
        """
        return await self._switch(device_id, paused=True)

    async def resume(self, device_id: str) -> DeviceTimers:
        """Have the timers of a device go on from now, each as its group is set.

        :raises NotFoundError: no such device for this caller
        """
        return await self._switch(device_id, paused=False)

    async def run_now(self, group_id: str) -> ManualRun:
        """Run each timer of a group once, now, whatever its days are, enabled or not.

        :raises NotFoundError: no such group for this caller
        :raises ConflictError: it has no timers
        """
        group = None
        if KEY.fullmatch(group_id):
            group = await self.repository.find_group(group_id, user=None, projects=self.projects)
        if group is None:
            raise NotFoundError(f"there is no timer group {group_id[:64]}")
        if not group.timers:
            raise ConflictError("the group has no timers")
        now = self.clock()
        ids = [timer.definition_id for timer in group.timers]
        once_id = await self.schedules.ensure_once("timer")
        await self.ledger.arm_rerun(once_id=once_id, due_at=now, definition_ids=ids)
        await self.schedules.changed([once_id], now)
        return ManualRun(now, await self.repository.list_manual_runs(ids, now))

    async def forget(self, devices: Sequence[int]) -> None:
        """Delete the timers of devices that are about to be deleted, even armed ones; their history stays.

        :param devices: ids of rows that the caller has locked
        """
        now = self.clock()
        groups = await self.repository.groups_of_devices(devices)
        await self.schedules.changed(await self.repository.delete_groups(groups, now), now)

    async def _switch(self, device_id: str, *, paused: bool) -> DeviceTimers:
        device = await self._device(device_id)
        now = self.clock()
        touched = await self.repository.pause_device(device.id, paused=paused, now=now)
        await self.schedules.changed(touched, now)
        return await self._shown(await self._device(device_id))

    async def _shown(self, device: TimedDevice) -> DeviceTimers:
        page = await self.repository.list_groups(device.id, limit=GROUPS_MOST)
        return DeviceTimers(device.device_id, device.paused, page.groups)

    async def _device(self, device_id: str) -> TimedDevice:
        found = await self.repository.lock_device_of_projects(device_id, self.projects)
        if found is None:
            raise NotFoundError(f"there is no device {device_id[:128]}")
        return found
