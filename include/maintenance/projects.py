"""Use cases on maintenance projects: create, change, delete, start, stop, restart (document 002).

The rules are B7 to B13 of the decision table in research `billing_maintenance.md` G.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from include.cron import CronSchedule
from include.errors import ConflictError, InvalidInputError, NotFoundError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection
from include.maintenance.clock import maintenance_clock
from include.maintenance.cycles import fits
from include.maintenance.evaluation import evaluate
from include.maintenance.model import (
    NATURAL,
    OBJECTS_MOST,
    STATISTICS,
    Project,
    ProjectFields,
    cycle_name,
)
from include.maintenance.repository import MaintenanceRepository
from include.schedules.repository import ScheduleRepository
from include.schedules.service import ScheduleService
from include.settings import get_settings
from include.tokens.model import require_project

#: The sentence of the document.
RUNNING = "项目下还有维保正在运行,请先停止项目下所有维保"

#: Of a natural period, a hundred years each: so no date is beyond the calendar.
PERIOD_MOST = {"年": 100, "月": 1200, "周": 5200, "日": 36_500, "小时": 876_000}
NOTICE_MOST = {"月": 1200, "日": 36_500}

#: What may change while a project is active (B11).
_WORDS = {"name", "alias", "description", "guide"}
_NAMES = {field.name for field in fields(ProjectFields)} - {"uid"}


class ProjectService:
    """The use cases, inside the caller's transaction.

    A uid that the caller sees in several organisations needs `organization_id` beside it; without one they
    raise InvalidInputError. A project that the caller does not see raises NotFoundError.

    :param projects: the organisations that the caller's token may see, None for all
    """

    def __init__(
        self,
        connection: Connection,
        *,
        projects: Sequence[str] | None = None,
        clock: Clock = maintenance_clock,
    ) -> None:
        self.connection = connection
        self.projects = projects
        self.clock = clock
        self.repository = MaintenanceRepository(connection)
        self.schedules = ScheduleService(ScheduleRepository(connection))
        self.timezone = get_settings().timezone

    async def create(self, values: ProjectFields, organization_id: str, created_by: int = 0) -> Project:
        """Create a project; nothing is due before it is started.

        :param organization_id: empty where the caller has none
        :raises InvalidInputError: names the field at fault
        :raises ConflictError: the uid is taken
        :raises PermissionDeniedError: the organisation is not the caller's
        """
        require_project(organization_id, self.projects)
        _check(values)
        uid = values.uid or await self.repository.make_uid()
        values = replace(values, uid=uid, alias=values.alias or uid)
        schedule_id = await self._schedule_for(values)
        project = await self.repository.insert_project(
            values,
            organization_id=organization_id,
            schedule_id=schedule_id,
            timezone=self.timezone,
            by=created_by,
            now=self.clock(),
        )
        if project is None:
            raise ConflictError(f"the uid {uid} is taken", field="uid")
        await self.repository.put_objects(project, values.object_ids)
        return await self.find(uid, organization_id)

    async def change(
        self, uid: str, changes: Mapping[str, Any], organization_id: str | None = None, by: int = 0
    ) -> Project:
        """Give a project new values, by names of `ProjectFields` without `uid`; others stay.

        The period under way keeps its beginning and gets its new length, open tasks follow; by another
        statistic it begins now. What counts how objects are due changes only while the project is stopped.

        :raises InvalidInputError: names the field at fault
        :raises ConflictError: the project is active
        """
        old = await self._locked(uid, organization_id)
        before = _fields(old)
        after = replace(before, **{name: value for name, value in changes.items() if name in _NAMES})
        _check(after)
        replanned = _plan(before) != _plan(after)
        regrouped = set(before.object_ids) != set(after.object_ids)
        if old.is_active and (replanned or regrouped):
            raise ConflictError(RUNNING)
        now = self.clock()
        schedule_id = await self._schedule_for(after) if replanned else old.schedule_id
        await self.repository.update_project(old.id, after, schedule_id=schedule_id, by=by, now=now)
        if regrouped:
            await self.repository.cancel_tasks(old.id, now, kept=after.object_ids)
            await self.repository.remove_objects(old.id, after.object_ids)
        await self.repository.put_objects(old.id, after.object_ids)
        if replanned:
            await self._replan(old, after, now)
        return await self.find(uid, old.organization_id)

    async def delete(self, uid: str, organization_id: str | None = None) -> None:
        """Take a stopped project away; its open tasks are cancelled, what was done stays.

        :raises ConflictError: it is active
        """
        project = await self._locked(uid, organization_id)
        if project.is_active:
            raise ConflictError(RUNNING)
        now = self.clock()
        await self.repository.cancel_tasks(project.id, now)
        await self.repository.delete_project(project.id, now)

    async def start(self, uid: str, organization_id: str | None = None, by: int = 0) -> Project:
        """Have a project be due: from now on, or where it was stopped, as if it had not been.

        :raises InvalidInputError: its statistic is missing or unknown
        """
        project = await self._locked(uid, organization_id)
        if not project.is_active:
            await self._activate(project, by=by, anew=False)
        return await self.find(uid, project.organization_id)

    async def restart(self, uid: str, organization_id: str | None = None, by: int = 0) -> Project:
        """Have all objects of a stopped project count from now; what was open is cancelled.

        :raises ConflictError: it is active
        :raises InvalidInputError: its statistic is missing or unknown
        """
        project = await self._locked(uid, organization_id)
        if project.is_active:
            raise ConflictError(RUNNING)
        await self.repository.cancel_tasks(project.id, self.clock())
        await self._activate(project, by=by, anew=True)
        return await self.find(uid, project.organization_id)

    async def stop(self, uid: str, organization_id: str | None = None, by: int = 0) -> Project:
        """Open no more tasks; open ones rest and can still be handled. Due moments stay as they are."""
        project = await self._locked(uid, organization_id)
        if project.is_active:
            await self._switch(project, active=False, by=by)
            await self.repository.stop_tasks(project.id, self.clock())
        return await self.find(uid, project.organization_id)

    async def find(self, uid: str, organization_id: str | None = None) -> Project:
        """Return a project."""
        found = await self.repository.find_projects(uid, self.projects, organization_id)
        if not found:
            raise NotFoundError(f"there is no project {uid[:64]}")
        if len(found) > 1:
            raise InvalidInputError(f"several organisations have a project {uid}", field="organization_id")
        return found[0]

    async def _locked(self, uid: str, organization_id: str | None) -> Project:
        project = await self.find(uid, organization_id)
        if not await self.repository.lock_project(project.id):
            raise NotFoundError(f"there is no project {uid[:64]}")
        return await self.find(uid, project.organization_id)

    async def _activate(self, project: Project, *, by: int, anew: bool) -> None:
        if project.cycle_type == STATISTICS:
            await self._require_statistic(project)
        now = self.clock()
        await self.repository.anchor_objects(project.id, now, anew=anew)
        await self.repository.work_out(project.id)
        await self._switch(project, active=True, by=by)
        await evaluate(self.connection, [project.id], now)

    async def _switch(self, project: Project, *, active: bool, by: int) -> None:
        # Schedules are Airflow's, whose clock is the machine's.
        machine = system_clock()
        await self.repository.switch_project(
            project.id, active=active, active_since=machine, by=by, now=self.clock()
        )
        await self.schedules.changed([project.schedule_id], machine)

    async def _replan(self, old: Project, after: ProjectFields, now: datetime) -> None:
        await self.repository.rebase_objects(
            old.id,
            cycle_type=old.cycle_type,
            period_num=old.period_num,
            period_unit=old.period_unit,
            same_statistic=_statistic(_fields(old)) == _statistic(after),
            now=now,
        )
        await self.repository.work_out(old.id)
        await self.repository.follow_plan(old.id, now)

    async def _schedule_for(self, values: ProjectFields) -> int:
        hourly = values.cycle_type == STATISTICS or values.period_unit == "小时"
        cron = CronSchedule.from_canonical("0 0 * * * *" if hourly else "0 0 0 * * *", self.timezone)
        cycle = cycle_name(values.cycle_type, values.period_num, values.period_unit)
        return await self.schedules.ensure_cycle(cycle, cron)

    async def _require_statistic(self, project: Project) -> None:
        uid = project.statistics_id
        if not uid:
            raise InvalidInputError("a project of a statistic needs one to be started", field="statistics_id")
        if await self.repository.find_statistic(project.organization_id, uid) is None:
            raise InvalidInputError(f"there is no statistic {uid[:64]}", field="statistics_id")


def _fields(project: Project) -> ProjectFields:
    return ProjectFields(**{name: getattr(project, name) for name in (*_NAMES, "uid")})


def _plan(values: ProjectFields) -> dict[str, Any]:
    """What counts how objects are due."""
    return {name: getattr(values, name) for name in _NAMES - _WORDS - {"object_ids"}}


def _statistic(values: ProjectFields) -> str | None:
    return values.statistics_id if values.cycle_type == STATISTICS else None


def _check(values: ProjectFields) -> None:
    """Check what fields must be to each other."""
    if values.period_num <= 0:
        raise InvalidInputError("must be greater than 0", field="period_num")
    if not 0 <= values.notice_num <= NOTICE_MOST[values.notice_unit]:
        raise InvalidInputError(f"must be 0 to {NOTICE_MOST[values.notice_unit]}", field="notice_num")
    if not 1 <= len(values.object_ids) <= OBJECTS_MOST:
        raise InvalidInputError(f"must list 1 to {OBJECTS_MOST} objects", field="object_id_list")
    if values.cycle_type == NATURAL:
        _check_period(values)


def _check_period(values: ProjectFields) -> None:
    unit = values.period_unit
    if not unit:
        raise InvalidInputError("a natural cycle needs one", field="period_unit")
    if values.period_num != int(values.period_num) or values.period_num > PERIOD_MOST[unit]:
        raise InvalidInputError(f"must be a whole number up to {PERIOD_MOST[unit]}", field="period_num")
    if not fits(int(values.period_num), unit, values.notice_num, values.notice_unit):
        raise InvalidInputError("must be shorter than the period", field="notice_num")
