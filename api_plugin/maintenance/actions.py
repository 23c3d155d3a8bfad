"""The actions of document 002, each as its name: reads a body that was checked, returns what `result` is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from api_plugin.common.auth import Caller
from api_plugin.maintenance.schemas import (
    HandleOut,
    NamedOut,
    Nothing,
    PageOut,
    ProjectOut,
    TaskOut,
    UidOut,
    handle_out,
    page_out,
    project_out,
    task_out,
)
from include.kit.db import Connection
from include.maintenance.conditions import Column, kinds
from include.maintenance.filters import Filter, read_filter
from include.maintenance.handling import HandlingService
from include.maintenance.lists import HANDLE_COLUMNS, PROJECT_COLUMNS, TASK_COLUMNS, MaintenanceLists
from include.maintenance.organizations import owner
from include.maintenance.projects import ProjectService
from include.maintenance.requests import (
    CreateRequest,
    HandleRequest,
    IgnoreRequest,
    ListRequest,
    ProjectUidRequest,
    Request,
    UidRequest,
    UpdateRequest,
)
from include.settings import get_settings

Body = TypeVar("Body", bound=Request)
Work = Callable[[Body, Caller, Connection], Awaitable[Any]]


@dataclass(frozen=True)
class Action:
    """What can be asked for.

    :ivar group: the part of its path before its name
    :ivar answer: what `result` is
    :ivar work: does it in the caller's transaction
    :ivar moves_schedules: whether DAGs may come and go by it
    """

    group: str
    body: type[Request]
    answer: Any
    work: Work[Any]
    moves_schedules: bool


#: By name, in the order of the document.
ACTIONS: dict[str, Action] = {}


def action(
    group: str, body: type[Body], answer: Any, *, moves_schedules: bool = False
) -> Callable[[Work[Body]], Work[Body]]:
    """Register the action that is named as its function."""

    def register(work: Work[Body]) -> Work[Body]:
        ACTIONS[work.__name__] = Action(group, body, answer, work, moves_schedules)
        return work

    return register


@action("project", CreateRequest, NamedOut, moves_schedules=True)
async def create_v2_project(body: CreateRequest, caller: Caller, connection: Connection) -> NamedOut:
    """Create a project; it is started by start_v2_project."""
    organization_id = owner(caller.projects, body.organization_id or None)
    project = await _projects(caller, connection).create(body.fields(), organization_id, _by(caller))
    return NamedOut(name=project.name, uid=project.uid)


@action("project", UpdateRequest, NamedOut, moves_schedules=True)
async def update_v2_project(body: UpdateRequest, caller: Caller, connection: Connection) -> NamedOut:
    """Give a project new values. While it is active only its words: name, alias, description, guide."""
    project = await _projects(caller, connection).change(
        body.uid, body.told(), _chosen(body.organization_id, caller), _by(caller)
    )
    return NamedOut(name=project.name, uid=project.uid)


@action("project", ProjectUidRequest, UidOut, moves_schedules=True)
async def delete_v2_project(body: ProjectUidRequest, caller: Caller, connection: Connection) -> UidOut:
    """Take a stopped project away; what was done stays."""
    await _projects(caller, connection).delete(body.uid, _chosen(body.organization_id, caller))
    return UidOut(uid=body.uid)


@action("project", ProjectUidRequest, ProjectOut)
async def get_v2_project(body: ProjectUidRequest, caller: Caller, connection: Connection) -> ProjectOut:
    """Return a project."""
    found = await _projects(caller, connection).find(body.uid, _chosen(body.organization_id, caller))
    return project_out(found)


@action("project", ListRequest, PageOut[ProjectOut])
async def get_v2_project_list(
    body: ListRequest, caller: Caller, connection: Connection
) -> PageOut[ProjectOut]:
    """Return a page of projects, the newest first."""
    found = await _lists(caller, connection).projects(_filter(body, PROJECT_COLUMNS), **_paging(body))
    return page_out(found, body.page, project_out)


@action("project", ProjectUidRequest, Nothing, moves_schedules=True)
async def stop_v2_project(body: ProjectUidRequest, caller: Caller, connection: Connection) -> Nothing:
    """Open no more tasks; open ones can still be handled. One that is stopped stays so."""
    await _projects(caller, connection).stop(body.uid, _chosen(body.organization_id, caller), by=_by(caller))
    return Nothing()


@action("project", ProjectUidRequest, Nothing, moves_schedules=True)
async def start_v2_project(body: ProjectUidRequest, caller: Caller, connection: Connection) -> Nothing:
    """Count periods from now, or go on where it was stopped. One that is active stays as it is."""
    await _projects(caller, connection).start(body.uid, _chosen(body.organization_id, caller), by=_by(caller))
    return Nothing()


@action("project", ProjectUidRequest, Nothing, moves_schedules=True)
async def restart_v2_project(body: ProjectUidRequest, caller: Caller, connection: Connection) -> Nothing:
    """Have all objects of a stopped project begin anew; its open tasks are cancelled."""
    await _projects(caller, connection).restart(
        body.uid, _chosen(body.organization_id, caller), by=_by(caller)
    )
    return Nothing()


@action("task", UidRequest, TaskOut)
async def get_v2_task(body: UidRequest, caller: Caller, connection: Connection) -> TaskOut:
    """Return a task in any state."""
    return task_out(await _handling(caller, connection).find_task(body.uid))


@action("task", ListRequest, PageOut[TaskOut])
async def get_v2_task_list(body: ListRequest, caller: Caller, connection: Connection) -> PageOut[TaskOut]:
    """Return a page of open tasks, the newest first; a filter on `state` shows closed ones, too."""
    found = await _lists(caller, connection).tasks(_filter(body, TASK_COLUMNS), **_paging(body))
    return page_out(found, body.page, task_out)


@action("handle", HandleRequest, UidOut)
async def v2_handle(body: HandleRequest, caller: Caller, connection: Connection) -> UidOut:
    """Close a task as done; its object's next period begins now."""
    handle = await _handling(caller, connection).handle(body.task_id, body.fields(), _by(caller))
    return UidOut(uid=handle.uid)


@action("handle", IgnoreRequest, UidOut)
async def v2_handle_ignore(body: IgnoreRequest, caller: Caller, connection: Connection) -> UidOut:
    """Close a task without work; its object is due at the next point of its old plan."""
    handle = await _handling(caller, connection).ignore(body.task_id, _by(caller))
    return UidOut(uid=handle.uid)


@action("handle", UidRequest, HandleOut)
async def get_v2_handle(body: UidRequest, caller: Caller, connection: Connection) -> HandleOut:
    """Return what was done about a task."""
    return handle_out(await _handling(caller, connection).find_handle(body.uid))


@action("handle", ListRequest, PageOut[HandleOut])
async def get_v2_handle_list(body: ListRequest, caller: Caller, connection: Connection) -> PageOut[HandleOut]:
    """Return a page of what was done, the newest first."""
    found = await _lists(caller, connection).handles(_filter(body, HANDLE_COLUMNS), **_paging(body))
    return page_out(found, body.page, handle_out)


def _projects(caller: Caller, connection: Connection) -> ProjectService:
    return ProjectService(connection, projects=caller.projects)


def _handling(caller: Caller, connection: Connection) -> HandlingService:
    return HandlingService(connection, projects=caller.projects)


def _lists(caller: Caller, connection: Connection) -> MaintenanceLists:
    return MaintenanceLists(connection, projects=caller.projects)


def _by(caller: Caller) -> int:
    """Return who does it: the number of the token, 0 for a network that is let in (B29)."""
    return caller.token.id if caller.token else 0


def _chosen(organization_id: str | None, caller: Caller) -> str | None:
    """Return the organisation whose project is meant; the empty one is only seen without restriction."""
    return organization_id or (organization_id if caller.projects is None else None)


def _filter(body: ListRequest, columns: Mapping[str, Column]) -> Filter:
    zone = ZoneInfo(get_settings().timezone)
    return read_filter(body.where_and, body.where_or, body.where_in, kinds(columns), zone)


def _paging(body: ListRequest) -> dict[str, int]:
    index, size = body.page
    return {"limit": size, "offset": (index - 1) * size}
