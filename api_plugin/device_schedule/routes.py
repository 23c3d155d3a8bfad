"""The timers of document 001, in groups that share the days of the week."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request

from api_plugin.common.announcer import nudge
from api_plugin.common.auth import UserDep
from api_plugin.common.bodies import PayloadDep, read
from api_plugin.common.database import DatabaseDep, transact
from api_plugin.common.envelope import Envelope, Nothing, ok
from api_plugin.common.spellings import spelled
from api_plugin.device_schedule.schemas import (
    PAGE_SIZE_DEFAULT,
    CreateBody,
    DeviceQuery,
    GroupOut,
    Listed,
    PageQuery,
    PageSizeQuery,
    UpdateBody,
    group_out,
)
from include.errors import InvalidInputError
from include.kit.clock import system_clock
from include.timers.model import GROUPS_MOST
from include.timers.service import TimerService

router = APIRouter(tags=["timers"])


@spelled(router, "POST", "/task/", body=CreateBody)
async def create_task(payload: PayloadDep, user: UserDep, database: DatabaseDep) -> Envelope[GroupOut]:
    """Create a group of timers of a device."""
    body = read(CreateBody, payload)
    group = await transact(
        database,
        lambda connection: TimerService(connection, user=user).create(body.device_id, body.fields()),
    )
    nudge()
    return ok("create crontab ok.", group_out(group, system_clock()))


@spelled(router, "GET", "/task/{group_id}/")
async def get_task(group_id: str, user: UserDep, database: DatabaseDep) -> GroupOut:
    """Return a group, bare as the document has it."""
    group = await transact(database, lambda connection: TimerService(connection, user=user).get(group_id))
    return group_out(group, system_clock())


@spelled(router, "PUT", "/task/{group_id}/", body=UpdateBody)
async def update_task(
    group_id: str, payload: PayloadDep, user: UserDep, database: DatabaseDep
) -> Envelope[GroupOut]:
    """Give a group new values and timers."""
    body = read(UpdateBody, payload)
    if body.group_id not in (None, group_id):
        raise InvalidInputError("is not that of the path", field="group_id")
    group = await transact(
        database,
        lambda connection: TimerService(connection, user=user).update(
            group_id, body.fields(), device_id=body.device_id
        ),
    )
    nudge()
    return ok("task update ok", group_out(group, system_clock()))


@spelled(router, "DELETE", "/task/{group_id}/")
async def delete_task(group_id: str, user: UserDep, database: DatabaseDep) -> Envelope[Nothing]:
    """Take a group of timers away."""
    await transact(database, lambda connection: TimerService(connection, user=user).delete(group_id))
    nudge()
    return ok("delete ok.", Nothing())


@spelled(router, "GET", "/tasks/")
async def list_tasks(
    request: Request,
    user: UserDep,
    database: DatabaseDep,
    device_id: DeviceQuery,
    page: PageQuery = None,
    page_size: PageSizeQuery = None,
) -> Envelope[Listed]:
    """Return the groups of a device, the newest first; all of them unless a page is asked for."""
    paged = page is not None or page_size is not None
    number, size = page or 1, page_size or (PAGE_SIZE_DEFAULT if paged else GROUPS_MOST)
    found = await transact(
        database,
        lambda connection: TimerService(connection, user=user).list(
            device_id, limit=size, offset=(number - 1) * size
        ),
    )
    now = system_clock()
    return ok(
        "task list info",
        Listed(
            count=found.count,
            next=_page(request, number + 1) if number * size < found.count else None,
            previous=_page(request, number - 1) if number > 1 else None,
            results=[group_out(group, now) for group in found.groups],
        ),
    )


def _page(request: Request, number: int) -> str:
    return str(request.url.include_query_params(page=number))
