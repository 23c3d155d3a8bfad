"""Batch tasks: create, list, show, retry, stop, confirm, delete (document 004, research `iot.md` A2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api_plugin.common.bodies import PayloadDep, documented, read
from api_plugin.common.json_body import read_object
from api_plugin.common.reconciler import nudge
from api_plugin.iot_batch.errors import ERRORS, MISSING
from api_plugin.iot_batch.paging import FIRST, Limit, Marker, Offset
from api_plugin.iot_batch.scope import ScopeDep
from api_plugin.iot_batch.task_schemas import (
    TargetResults,
    TargetsBody,
    TaskDetails,
    TaskList,
    TaskOut,
    target_results,
    task_details,
    task_list,
    task_out,
    written,
)
from include.batch.actions import BatchActions
from include.batch.model import (
    Page,
    Subtask,
    SubtaskFilter,
    SubtaskStatus,
    TargetResult,
    Task,
    TaskFilter,
    TaskStatus,
    TaskType,
)
from include.batch.requests import AppId, Target, TaskRequest
from include.batch.service import BatchService
from include.errors import InvalidInputError
from include.kit.clock import system_clock
from include.kit.db import Connection
from include.settings import get_settings

router = APIRouter(prefix="/{project_id}/batchtasks", tags=["batch tasks"], responses=ERRORS)

TaskId = Annotated[str, Path(pattern="^[0-9a-f]{1,24}$")]


async def _targets(request: Request) -> list[str] | None:
    """Return the targets that a body names; None: all, as `{}` and no body at all say."""
    body = await request.body()
    return read(TargetsBody, read_object(body)).targets if body else None


TargetsDep = Annotated[list[str] | None, Depends(_targets)]


@router.post("", status_code=201, response_model=TaskOut, openapi_extra=documented(TaskRequest))
async def create_batch_task(scope: ScopeDep, payload: PayloadDep) -> Response:
    """Create a task; it runs at once, or when it is scheduled, or once it is confirmed."""
    new = read(TaskRequest, payload).new_task(
        scope.project_id, created_by=scope.token.name, now=system_clock()
    )

    async def work(connection: Connection) -> Task:
        return await BatchService(connection, scope.project_id).create(new)

    task = await scope.run(work)
    nudge()
    return written(task_out(task), 201)


@router.get("", response_model=TaskList)
async def list_batch_tasks(
    scope: ScopeDep,
    task_type: Annotated[
        TaskType | None, Query(description="required, unless a setting says otherwise")
    ] = None,
    app_id: Annotated[AppId | None, Query(description="resource space")] = None,
    status: TaskStatus | None = None,
    limit: Limit = 10,
    marker: Marker = FIRST,
    offset: Offset = 0,
) -> Response:
    """Tasks, the newest first."""
    if task_type is None and not get_settings().batch_list_all_types:
        raise InvalidInputError("is required", field="task_type")
    wanted = TaskFilter(task_type, app_id, status, marker.lower(), offset, limit)

    async def work(connection: Connection) -> tuple[Sequence[Task], Page]:
        return await BatchService(connection, scope.project_id).list_tasks(wanted)

    return written(task_list(*await scope.run(work)))


@router.get("/{task_id}", response_model=TaskDetails, responses=MISSING)
async def show_batch_task(
    task_id: TaskId,
    scope: ScopeDep,
    task_detail_status: Annotated[SubtaskStatus | None, Query(description="of the sub-tasks")] = None,
    target: Annotated[Target | None, Query(description="device_id")] = None,
    limit: Limit = 10,
    marker: Marker = FIRST,
    offset: Offset = 0,
) -> Response:
    """A task and its sub-tasks, the newest first; filters and pages are about the latter."""
    wanted = SubtaskFilter(task_detail_status, target, marker.lower(), offset, limit)

    async def work(connection: Connection) -> tuple[Task, Sequence[Subtask], Page]:
        return await BatchService(connection, scope.project_id).show(task_id, wanted)

    return written(task_details(*await scope.run(work)))


@router.post(
    "/{task_id}/retry",
    response_model=TargetResults,
    responses=MISSING,
    openapi_extra=documented(TargetsBody, required=False),
)
async def retry_batch_task(task_id: TaskId, scope: ScopeDep, targets: TargetsDep) -> Response:
    """Begin anew what failed or was stopped of a task: all of it, or these targets."""

    async def work(connection: Connection) -> list[TargetResult]:
        return await BatchActions(connection, scope.project_id).retry(task_id, targets)

    results = await scope.run(work)
    nudge()
    return written(target_results(results))


@router.post(
    "/{task_id}/stop",
    response_model=TargetResults,
    responses=MISSING,
    openapi_extra=documented(TargetsBody, required=False),
)
async def stop_batch_task(task_id: TaskId, scope: ScopeDep, targets: TargetsDep) -> Response:
    """End what is open of a task: all of it, or these targets. Nothing is sent after the answer."""

    async def work(connection: Connection) -> list[TargetResult]:
        return await BatchActions(connection, scope.project_id).stop(task_id, targets)

    return written(target_results(await scope.run(work)))


@router.post(
    "/{task_id}/confirm",
    response_model=TargetResults,
    responses=MISSING,
    openapi_extra=documented(TargetsBody, required=False),
)
async def confirm_batch_task(task_id: TaskId, scope: ScopeDep, targets: TargetsDep) -> Response:
    """Let begin what waits for this (`need_confirm`): all of a task, or these targets."""

    async def work(connection: Connection) -> list[TargetResult]:
        return await BatchActions(connection, scope.project_id).confirm(task_id, targets)

    return written(target_results(await scope.run(work)))


@router.delete("/{task_id}", status_code=204, responses=MISSING)
async def delete_batch_task(task_id: TaskId, scope: ScopeDep) -> None:
    """Forget a task that has finished, with its sub-tasks."""

    async def work(connection: Connection) -> None:
        await BatchService(connection, scope.project_id).delete(task_id)

    await scope.run(work)
