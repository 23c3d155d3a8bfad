"""Batch tasks beyond the vendor's API: all of them, pause and resume, waves, a look ahead, export."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AfterValidator
from starlette.responses import StreamingResponse

from api_plugin.common.auth import Caller, CallerDep
from api_plugin.common.database import DatabaseDep, transact
from api_plugin.common.exports import CSV_ANSWERS, csv_response
from api_plugin.common.pagination import (
    PAGE_DEFAULT,
    KeyCursor,
    Page,
    PageCursor,
    PageLimit,
    key_cursor,
    page_of,
    read_id_cursor,
    read_key_cursor,
)
from api_plugin.management.batch_schemas import (
    BatchSubtaskResponse,
    BatchTaskDetailResponse,
    BatchTaskResponse,
    PauseBody,
    PreviewResponse,
)
from api_plugin.management.problems import MISSING, PROBLEMS
from include.batch.control import BatchControl
from include.batch.control_repository import ControlFilter
from include.batch.export import export_subtasks
from include.batch.model import SubtaskStatus, TaskStatus, TaskType
from include.batch.requests import TaskRequest
from include.batch.rollout.model import WAVES_MOST
from include.kit.clock import system_clock
from include.kit.db import Connection, Database
from include.metering.rows import check_project

router = APIRouter(tags=["batch tasks"], responses={**PROBLEMS, **MISSING})

T = TypeVar("T")

TaskId = Annotated[str, Path(pattern="^[0-9a-f]{24}$")]
WaveNumber = Annotated[int, Path(ge=1, le=WAVES_MOST)]
WaveFilter = Annotated[int | None, Query(ge=1, le=WAVES_MOST)]
ProjectQuery = Annotated[str, Query(), AfterValidator(check_project)]


class Work:
    """Who asks, and the database."""

    def __init__(self, caller: CallerDep, database: DatabaseDep) -> None:
        self.caller: Caller = caller
        self.database: Database = database

    def control(self, connection: Connection) -> BatchControl:
        """Return what the caller may do."""
        token = self.caller.token
        return BatchControl(connection, projects=self.caller.projects, by=token.name if token else None)

    async def run(self, work: Callable[[BatchControl], Awaitable[T]]) -> T:
        """Do a request's work in one transaction."""
        return await transact(self.database, lambda connection: work(self.control(connection)))


WorkDep = Annotated[Work, Depends()]


def get_filter(
    project: Annotated[str | None, Query(max_length=64)] = None,
    task_type: TaskType | None = None,
    status: TaskStatus | None = None,
    name: Annotated[str | None, Query(max_length=128, description="a part of it, in any case")] = None,
    paused: bool | None = None,
) -> ControlFilter:
    """Return what a list is about."""
    return ControlFilter(project, task_type, status, name or None, paused)


FilterDep = Annotated[ControlFilter, Depends(get_filter)]


@router.get("/batch-tasks")
async def list_batch_tasks(
    work: WorkDep, wanted: FilterDep, limit: PageLimit = PAGE_DEFAULT, cursor: KeyCursor = None
) -> Page[BatchTaskResponse]:
    """Batch tasks of all types, the newest first."""
    before = read_key_cursor(cursor) or None
    rows = await work.run(lambda control: control.list_tasks(wanted, before=before, limit=limit + 1))
    return page_of(rows, limit, BatchTaskResponse.of, lambda row: key_cursor(row.task.task_id))


@router.post("/batch-tasks/preview")
async def preview_batch_task(body: TaskRequest, project_id: ProjectQuery, work: WorkDep) -> PreviewResponse:
    """Say what a task would do that were created so (document 004): nothing is stored."""
    new = body.new_task(project_id, created_by="preview", now=system_clock())
    return PreviewResponse.model_validate(await work.run(lambda control: control.preview(new)))


@router.get("/batch-tasks/{task_id}")
async def get_batch_task(task_id: TaskId, work: WorkDep) -> BatchTaskDetailResponse:
    """One batch task with its waves."""
    return BatchTaskDetailResponse.of(await work.run(lambda control: control.show(task_id)))


@router.post("/batch-tasks/{task_id}/pause")
async def pause_batch_task(
    task_id: TaskId, work: WorkDep, body: PauseBody | None = None
) -> BatchTaskDetailResponse:
    """Begin no attempt of a task any more once this is answered; what was begun settles."""
    reason = body.reason if body else None
    return BatchTaskDetailResponse.of(await work.run(lambda control: control.pause(task_id, reason)))


@router.post("/batch-tasks/{task_id}/resume")
async def resume_batch_task(task_id: TaskId, work: WorkDep) -> BatchTaskDetailResponse:
    """Have a paused task go on; what its rate would have allowed meanwhile is not made up for."""
    return BatchTaskDetailResponse.of(await work.run(lambda control: control.resume(task_id)))


@router.post("/batch-tasks/{task_id}/waves/{wave}/approve")
async def approve_batch_wave(task_id: TaskId, wave: WaveNumber, work: WorkDep) -> BatchTaskDetailResponse:
    """Let the wave after this one begin: when this one has passed its gate, or, if it has ended, now."""
    return BatchTaskDetailResponse.of(await work.run(lambda control: control.approve(task_id, wave)))


@router.get("/batch-tasks/{task_id}/subtasks")
async def list_batch_subtasks(
    task_id: TaskId,
    work: WorkDep,
    status: SubtaskStatus | None = None,
    wave: WaveFilter = None,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: PageCursor = None,
) -> Page[BatchSubtaskResponse]:
    """Sub-tasks in the order of the task's targets."""
    after = read_id_cursor(cursor)
    rows = await work.run(
        lambda control: control.subtasks(task_id, status=status, wave=wave, after=after, limit=limit + 1)
    )
    return page_of(rows, limit, BatchSubtaskResponse.model_validate)


@router.get("/batch-tasks/{task_id}/subtasks/export", response_class=StreamingResponse, responses=CSV_ANSWERS)
async def export_batch_subtasks(
    task_id: TaskId,
    work: WorkDep,
    status: SubtaskStatus | None = None,
    wave: WaveFilter = None,
    bom: Annotated[bool, Query(description="begin with a byte order mark, for spreadsheets")] = False,
) -> StreamingResponse:
    """All sub-tasks as CSV, of one moment, however many there are."""
    pieces = export_subtasks(
        work.database, task_id, projects=work.caller.projects, status=status, wave=wave, bom=bom
    )
    return await csv_response(pieces, f"{task_id}.csv")
