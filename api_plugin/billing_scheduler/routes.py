"""The billing tasks of document 000."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from fastapi import APIRouter

from api_plugin.billing_scheduler.schemas import (
    PAGE_DEFAULT,
    PAGE_SIZE_DEFAULT,
    TASK_TYPES,
    CreateBody,
    CrontabOut,
    Listed,
    Page,
    PageSize,
    ProjectQuery,
    StatusBody,
    TaskOut,
    TaskTypeQuery,
    UpdateBody,
    commodities_of,
    listed,
    local_time,
)
from api_plugin.common.announcer import nudge
from api_plugin.common.auth import CallerDep
from api_plugin.common.bodies import PayloadDep, read
from api_plugin.common.database import DatabaseDep, transact
from api_plugin.common.envelope import Envelope, Nothing, ok
from api_plugin.common.spellings import spelled
from include.billing_tasks.model import BillingTask
from include.billing_tasks.service import BillingTaskService
from include.kit.clock import system_clock

router = APIRouter(tags=["tasks"])


@spelled(router, "POST", "/task/", "/tasks/", body=CreateBody)
async def create_task(payload: PayloadDep, caller: CallerDep, database: DatabaseDep) -> Envelope[TaskOut]:
    """Create a billing task."""
    body = read(CreateBody, payload)
    [commodity] = commodities_of(TASK_TYPES, body.device_type)
    task = await transact(
        database,
        lambda connection: BillingTaskService(connection, projects=caller.projects).create(
            str(body.project_id), commodity, body.fields()
        ),
    )
    nudge()
    return ok("create crontab ok.", _task(task))


@spelled(router, "GET", "/tasks/", "/task/")
async def list_tasks(
    caller: CallerDep,
    database: DatabaseDep,
    project_id: ProjectQuery,
    device_type: TaskTypeQuery,
    page: Page = PAGE_DEFAULT,
    page_size: PageSize = PAGE_SIZE_DEFAULT,
) -> Envelope[Listed[TaskOut]]:
    """Return a page of a project's tasks, the oldest first."""
    found = await transact(
        database,
        lambda connection: BillingTaskService(connection, projects=caller.projects).list(
            str(project_id),
            commodities_of(TASK_TYPES, device_type),
            limit=page_size,
            offset=(page - 1) * page_size,
        ),
    )
    return ok("task list info", listed([_task(task) for task in found.tasks], found.count, page, page_size))


@spelled(router, "GET", "/tasks/{natrual_key}/", "/task/{natrual_key}/")
async def get_task(natrual_key: str, caller: CallerDep, database: DatabaseDep) -> Envelope[TaskOut]:
    """Return a task."""
    task = await transact(
        database,
        lambda connection: BillingTaskService(connection, projects=caller.projects).get(natrual_key),
    )
    return ok("task info", _task(task))


@spelled(router, "PUT", "/tasks/{natrual_key}/", "/task/{natrual_key}/", body=UpdateBody)
async def update_task(
    natrual_key: str, payload: PayloadDep, caller: CallerDep, database: DatabaseDep
) -> Envelope[TaskOut]:
    """Give a task new values."""
    fields = read(UpdateBody, payload).fields()
    task = await transact(
        database,
        lambda connection: BillingTaskService(connection, projects=caller.projects).update(
            natrual_key, fields
        ),
    )
    nudge()
    return ok("task update ok.", _task(task))


@spelled(router, "DELETE", "/tasks/{natrual_key}/", "/task/{natrual_key}/")
async def delete_task(natrual_key: str, caller: CallerDep, database: DatabaseDep) -> Envelope[Nothing]:
    """Take a task away; its bills stay."""
    await transact(
        database,
        lambda connection: BillingTaskService(connection, projects=caller.projects).delete(natrual_key),
    )
    nudge()
    return ok("delete ok.", Nothing())


@spelled(router, "PUT", "/tasks/{natrual_key}/status/", "/task/{natrual_key}/status/", body=StatusBody)
async def switch_task(
    natrual_key: str, payload: PayloadDep, caller: CallerDep, database: DatabaseDep
) -> Envelope[Nothing]:
    """Enable or disable a task."""
    enabled = read(StatusBody, payload).enabled
    await transact(
        database,
        lambda connection: BillingTaskService(connection, projects=caller.projects).switch(
            natrual_key, enabled=enabled
        ),
    )
    nudge()
    return ok("update ok.", Nothing())


def _task(task: BillingTask) -> TaskOut:
    zone = ZoneInfo(task.project_timezone)
    next_run_at = task.next_run_at(system_clock())
    return TaskOut(
        name=task.name,
        crontab=CrontabOut(**task.crontab),
        natrual_key=task.natrual_key,
        project_id=int(task.project_id),
        device_type=TASK_TYPES[task.commodity],
        enabled=task.enabled,
        last_run_at=local_time(task.last_run_at or task.created_at, zone),
        update_time=local_time(task.updated_at, zone),
        create_time=local_time(task.created_at, zone),
        description=task.description,
        next_run_at=local_time(next_run_at, zone) if next_run_at else None,
        run_count=task.run_count,
    )
