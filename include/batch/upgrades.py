"""Performs upgrades of devices: one step each time a sub-task wants attention.

A step looks at what the device has said (`include/ota/events.py` keeps it), decides (`upgrade_steps.py`), and
tells the device something where that is what comes next. What is waited for is stored before it is told, so
an answer that comes at once is not missed, and a process that was killed in between is carried on by another.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from include.batch.model import Step, Subtask, Task
from include.batch.upgrade_steps import Limits, Say, Situation, failed
from include.devices.model import Device
from include.devices.service import find_devices
from include.gateway.model import DeviceEvent, DeviceGateway
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection, Database
from include.ledger.batches import Batches
from include.ota.model import KINDS, Package, Stage, Upgrade
from include.ota.notices import Addressee, upgrade_notice, version_query
from include.ota.reasons import CONFLICT, DEFECT, NO_PACKAGE, OTHER_PRODUCT
from include.ota.service import package_of
from include.ota.upgrade_repository import Opening, UpgradeRepository
from include.settings import get_settings

log = logging.getLogger(__name__)

DELAY_SECONDS = 0.02
MOST = 500
#: Tasks of which a process remembers the package.
REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Facts:
    """What the sub-tasks of one task have in common.

    :ivar siblings: sub-devices in the task by gateway; None: they are not to be told
    """

    package: Package
    siblings: dict[str, int] | None

    def siblings_of(self, device: Device) -> int | None:
        """Return how many sub-devices of its gateway the task is about; None where it is not to be told."""
        if self.siblings is None or device.gateway_id is None:
            return None
        return self.siblings.get(device.gateway_id)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A sub-task that is about to take a step."""

    task: Task
    subtask: Subtask
    package: Package


@dataclass(frozen=True, slots=True)
class Found:
    """Its device, None: gone; and the upgrade of that, None: the device is in another one."""

    device: Device | None
    upgrade: Upgrade | None


class UpgradePerformer:
    """A performer (`include.batch.performing`) of firmwareUpgrade, softwareUpgrade and moduleUpgrade."""

    def __init__(
        self,
        database: Database,
        gateway: DeviceGateway,
        *,
        limits: Limits | None = None,
        clock: Clock = system_clock,
    ) -> None:
        settings = get_settings()
        self.database = database
        self.gateway = gateway
        self.limits = limits or Limits.of(settings)
        self.notice_form = settings.upgrade_notice
        self.file_url = settings.upgrade_file_url
        self.clock = clock
        self.facts: dict[int, Facts] = {}
        self.looks: Batches[Wanted, Found] = Batches(self._look, delay=DELAY_SECONDS, limit=MOST)
        self.entries: Batches[tuple[Task, Subtask, Stage], Upgrade | None] = Batches(
            self._enter, delay=DELAY_SECONDS, limit=MOST
        )

    async def close(self) -> None:
        """Finish what is being written."""
        await self.looks.close()
        await self.entries.close()

    async def perform(self, task: Task, subtask: Subtask) -> Step:
        """Take the next step; never raises but for cancellation."""
        try:
            return await self._perform(task, subtask)
        except Exception:
            log.exception("sub-task %d of %s failed", subtask.id, task.task_id)
            return failed(subtask.id, DEFECT)

    async def _perform(self, task: Task, subtask: Subtask) -> Step:
        facts = await self._facts(task)
        if facts is None:
            return failed(subtask.id, NO_PACKAGE)
        package = facts.package
        found = await self.looks.add(Wanted(task, subtask, package))
        device, upgrade = found.device, found.upgrade
        if device is None or device.project_id != task.asked.project_id:
            return Step(subtask.id, "Removed")
        if upgrade is None:
            return failed(subtask.id, CONFLICT)
        if package.product_id not in (None, device.product_id):
            return failed(subtask.id, OTHER_PRODUCT)
        situation = Situation(
            upgrade, subtask.phase, subtask.phase_ends_at, package, self.limits, self.clock()
        )
        decision = situation.decide()
        if isinstance(decision, Step):
            return decision
        return await self._say(task, subtask, facts, device, situation, decision)

    async def _say(
        self, task: Task, subtask: Subtask, facts: Facts, device: Device, situation: Situation, say: Say
    ) -> Step:
        entered = await self.entries.add((task, subtask, say.stage))
        if entered is None:  # somebody ended the sub-task meanwhile; what we say of it is not recorded
            return failed(subtask.id, CONFLICT)
        if device.status == "OFFLINE":
            return situation.said(say, "offline", None)
        event = self._event(task, subtask, facts, device, entered, say)
        reply = await self.gateway.send_event(event)
        return situation.said(say, reply.outcome, reply.error)

    def _event(
        self, task: Task, subtask: Subtask, facts: Facts, device: Device, upgrade: Upgrade, say: Say
    ) -> DeviceEvent:
        to = Addressee(device.device_id, device.gateway_id, facts.siblings_of(device))
        request_id, now = subtask.request_id(task.task_id), self.clock()
        if say.what == "query":
            return version_query(task, facts.package, to, f"{request_id}-q{upgrade.asked}", now)
        return upgrade_notice(
            task,
            facts.package,
            to,
            f"{request_id}-u",
            now,
            form=self.notice_form,
            url=self.file_url,
            expires=int(self.limits.result.total_seconds()),
        )

    # --- the database

    async def _facts(self, task: Task) -> Facts | None:
        """Return what is known of a task; None where its package was deleted."""
        known = self.facts.get(task.id)
        if known is not None:
            return known
        async with self.database.transaction() as connection:
            package = await package_of(connection, task.asked.project_id, task.asked.document)
            if package is None:
                return None
            siblings = None
            if task.asked.task_mode == "GATEWAY":
                siblings = await UpgradeRepository(connection).count_siblings(task.id)
        if len(self.facts) >= REMEMBERED:
            del self.facts[next(iter(self.facts))]
        facts = self.facts[task.id] = Facts(package, siblings)
        return facts

    async def _look(self, wanted: Sequence[Wanted]) -> list[Found]:
        async with self.database.transaction() as connection:
            repository = await self._locked(connection, [one.task for one in wanted])
            devices = await find_devices(connection, {one.subtask.target for one in wanted})
            await repository.open_upgrades(
                [_opening(one) for one in wanted if one.subtask.target in devices], self.clock()
            )
            upgrades = await repository.look_at_upgrades([one.subtask.id for one in wanted])
        return [Found(devices.get(one.subtask.target), upgrades.get(one.subtask.id)) for one in wanted]

    async def _enter(self, items: Sequence[tuple[Task, Subtask, Stage]]) -> list[Upgrade | None]:
        async with self.database.transaction() as connection:
            repository = await self._locked(connection, [task for task, _, _ in items])
            stages = {subtask.id: stage for _, subtask, stage in items}
            entered = await repository.enter_stages(stages, self.clock())
        return [entered.get(subtask.id) for _, subtask, _ in items]

    async def _locked(self, connection: Connection, tasks: Sequence[Task]) -> UpgradeRepository:
        repository = UpgradeRepository(connection)
        await repository.lock_tasks({task.id for task in tasks})
        return repository


def _opening(wanted: Wanted) -> Opening:
    subtask, package = wanted.subtask, wanted.package
    return Opening(
        subtask.target,
        subtask.id,
        subtask.attempt,
        KINDS[wanted.task.asked.task_type],
        package.module_name,
        package.version,
    )
