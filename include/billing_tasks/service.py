"""Use cases on billing tasks: create, list, get, update, switch, delete (document 000)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import uuid4

from include.billing.model import Commodity
from include.billing_tasks.model import KEY, BillingTask, LockedTask, ProjectCalendar, TaskFields, TaskPage
from include.billing_tasks.repository import BillingTaskRepository
from include.cron import CronSchedule, parse_billing_crontab
from include.definitions.service import DefinitionService
from include.errors import NotFoundError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection
from include.schedules.repository import ScheduleRepository
from include.schedules.service import ScheduleService
from include.settings import get_settings
from include.tokens.model import require_project


class BillingTaskService:
    """The use cases, inside the caller's transaction.

    :param projects: the project ids that the caller's token may see, None for all
    """

    def __init__(
        self, connection: Connection, *, projects: Sequence[str] | None = None, clock: Clock = system_clock
    ) -> None:
        self.projects = projects
        self.clock = clock
        self.repository = BillingTaskRepository(connection)
        self.schedules = ScheduleService(ScheduleRepository(connection))
        self.definitions = DefinitionService(connection, projects=projects, clock=clock)
        self.default_timezone = get_settings().timezone

    async def create(self, project_id: str, commodity: Commodity, fields: TaskFields) -> BillingTask:
        """Create a task; it answers for instants from now on.

        :raises InvalidInputError: the crontab, naming the key at fault
        :raises PermissionDeniedError: the project is not the caller's
        """
        require_project(project_id, self.projects)
        now = self.clock()
        schedule_id = await self._schedule_for(project_id, fields, now)
        natrual_key = uuid4().hex
        await self.repository.insert_task(
            fields,
            natrual_key=natrual_key,
            project_id=project_id,
            commodity=commodity,
            schedule_id=schedule_id,
            now=now,
        )
        await self.schedules.changed([schedule_id], now)
        return await self.get(natrual_key)

    async def list(
        self, project_id: str, commodities: Sequence[Commodity], *, limit: int, offset: int
    ) -> TaskPage:
        """Return a page of a project's tasks, the oldest first.

        :raises PermissionDeniedError: the project is not the caller's
        """
        require_project(project_id, self.projects)
        return await self.repository.list_tasks(
            project_id, commodities, limit=limit, offset=offset, timezone=self.default_timezone
        )

    async def get(self, natrual_key: str) -> BillingTask:
        """Return a task.

        :raises NotFoundError: no such task for this caller
        """
        _check_key(natrual_key)
        task = await self.repository.find_task(natrual_key, self.projects, self.default_timezone)
        if task is None:
            raise _no_task(natrual_key)
        return task

    async def update(self, natrual_key: str, fields: TaskFields) -> BillingTask:
        """Give a task new values. A crontab that is given again as it was moves nothing.

        :raises InvalidInputError: the crontab, naming the key at fault
        :raises NotFoundError: no such task for this caller
        """
        task = await self._locked(natrual_key)
        now = self.clock()
        schedule_id = task.schedule_id
        if fields.crontab != task.crontab:
            schedule_id = await self._schedule_for(task.project_id, fields, now)
        await self.repository.update_task(
            task.definition_id,
            fields,
            schedule_id=schedule_id,
            moved=schedule_id != task.schedule_id,
            now=now,
        )
        await self.schedules.changed([task.schedule_id, schedule_id], now)
        return await self.get(natrual_key)

    async def switch(self, natrual_key: str, *, enabled: bool) -> None:
        """Enable or disable a task. Nothing is caught up: the next bill covers the gap.

        :raises NotFoundError: no such task for this caller
        """
        task = await self._locked(natrual_key)
        if enabled:
            await self.definitions.enable(task.definition_id)
        else:
            await self.definitions.disable(task.definition_id)

    async def delete(self, natrual_key: str) -> None:
        """Take a task away; its bills stay.

        :raises NotFoundError: no such task for this caller
        """
        task = await self._locked(natrual_key)
        await self.definitions.delete(task.definition_id)

    async def follow_project(self, project_id: str) -> None:
        """Have the tasks of a project go by its clocks and month ends, which have just changed.

        :raises InvalidInputError: the crontab of a task would not be due any more
        """
        now = self.clock()
        calendar = await self._calendar(project_id)
        touched: set[int] = set()
        for task in await self.repository.lock_tasks_of_project(project_id):
            schedule_id = await self.schedules.ensure("billing", _cron(task.crontab, calendar, now))
            if schedule_id != task.schedule_id:
                await self.repository.move_task(task.definition_id, schedule_id, now)
                touched |= {task.schedule_id, schedule_id}
        await self.schedules.changed(touched, now)

    async def _schedule_for(self, project_id: str, fields: TaskFields, now: datetime) -> int:
        cron = _cron(fields.crontab, await self._calendar(project_id), now)
        return await self.schedules.ensure("billing", cron)

    async def _calendar(self, project_id: str) -> ProjectCalendar:
        stored = await self.repository.project_calendar(project_id)
        return stored or ProjectCalendar(self.default_timezone)

    async def _locked(self, natrual_key: str) -> LockedTask:
        _check_key(natrual_key)
        task = await self.repository.lock_task(natrual_key, self.projects)
        if task is None:
            raise _no_task(natrual_key)
        return task


def _cron(crontab: Mapping[str, object], calendar: ProjectCalendar, now: datetime) -> CronSchedule:
    return parse_billing_crontab(crontab, zone=calendar.timezone, month_end=calendar.month_end, now=now)


def _check_key(natrual_key: str) -> None:
    if KEY.fullmatch(natrual_key) is None:
        raise _no_task(natrual_key)


def _no_task(natrual_key: str) -> NotFoundError:
    return NotFoundError(f"there is no task {natrual_key[:64]}")
