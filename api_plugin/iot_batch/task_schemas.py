"""The wire of document 004: tasks, their progress and their sub-tasks. What is null is left out.

Names, spellings (`Waitting`) and forms of times are the document's; `need_confirm` and `removed` are of a
later edition of it (research `iot.md` A5), and what is ours is marked so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, model_validator
from starlette.responses import Response

from api_plugin.iot_batch.paging import PageInfo, iot_time
from include.batch.model import (
    Page,
    Progress,
    Subtask,
    SubtaskStatus,
    TargetResult,
    Task,
    TaskStatus,
    TaskType,
)
from include.batch.requests import Target
from include.metering.rows import Row

TARGETS_MOST = 100


class PolicyOut(BaseModel):
    """`task_policy` as it was sent."""

    schedule_time: str | None = Field(description="UTC", examples=["20151212T121212Z"])
    retry_count: int | None
    retry_interval: int | None = Field(description="minutes")


class ProgressOut(BaseModel):
    """How many sub-tasks are where; `total` is the sum of all others."""

    total: int
    processing: int
    success: int
    fail: int
    waitting: int
    fail_wait_retry: int
    stopped: int
    removed: int


class TaskOut(BaseModel):
    """A batch task; the same in every answer."""

    task_id: str = Field(description="24 hexadecimal digits; they sort by creation")
    task_name: str
    task_type: TaskType
    task_mode: str | None
    need_confirm: bool
    task_ext_info: dict[str, Any] | None
    targets: list[str] | None = Field(description="as they were sent")
    targets_filter: dict[str, Any] | None
    document: dict[str, Any] | None
    task_policy: PolicyOut | None
    status: TaskStatus
    status_desc: str | None = Field(description="the main reason why it did not succeed")
    task_progress: ProgressOut
    create_time: str = Field(description="UTC", examples=["20151212T121212Z"])
    x_rollout: dict[str, Any] | None = Field(description="ours: as it was sent")


class ErrorOut(BaseModel):
    """Why a sub-task failed."""

    error_code: str | None
    error_msg: str | None


class SubtaskOut(BaseModel):
    """What became of one target."""

    target: str = Field(description="device_id; of createDevices product_id and node_id")
    status: SubtaskStatus
    output: str | None = Field(description="of createDevices with the device's secret")
    error: ErrorOut | None


class TaskList(BaseModel):
    """A page of tasks, the newest first."""

    batchtasks: list[TaskOut]
    page: PageInfo


class TaskDetails(BaseModel):
    """A task and a page of its sub-tasks, the newest first."""

    batchtask: TaskOut
    task_details: list[SubtaskOut]
    page: PageInfo


class TargetsBody(Row):
    """Which targets of a task a call is about; `{}`: all."""

    targets: Annotated[list[Target], Field(min_length=1, max_length=TARGETS_MOST)] | None = None

    @model_validator(mode="after")
    def _not_null(self) -> Self:
        """A client that means some targets and sends null must not hit all of them."""
        if "targets" in self.model_fields_set and self.targets is None:
            raise ValueError("targets must not be null")
        return self


class TargetResultOut(BaseModel):
    """What a call did to one target."""

    target: str
    status: str = Field(description="success or failure")
    error_code: str | None
    error_msg: str | None


class TargetResults(BaseModel):
    """What became of each target that was named; empty where none was."""

    targets: list[TargetResultOut]


def task_out(task: Task) -> TaskOut:
    """Write a task as document 004 does."""
    asked = task.asked
    return TaskOut(
        task_id=task.task_id,
        task_name=asked.task_name,
        task_type=asked.task_type,
        task_mode=asked.task_mode,
        need_confirm=asked.need_confirm,
        task_ext_info=_plain(asked.task_ext_info),
        targets=None if asked.targets is None else list(asked.targets),
        targets_filter=_plain(asked.targets_filter),
        document=_plain(asked.document),
        task_policy=_policy(task),
        status=task.status,
        status_desc=task.status_desc,
        task_progress=_progress(task.progress),
        create_time=iot_time(task.created_at),
        x_rollout=_plain(asked.rollout),
    )


def task_list(tasks: Sequence[Task], page: Page) -> TaskList:
    """Write a page of tasks."""
    return TaskList(batchtasks=[task_out(task) for task in tasks], page=_page(page))


def task_details(task: Task, subtasks: Sequence[Subtask], page: Page) -> TaskDetails:
    """Write a task and a page of its sub-tasks."""
    return TaskDetails(
        batchtask=task_out(task), task_details=[_subtask(one) for one in subtasks], page=_page(page)
    )


def target_results(results: Sequence[TargetResult]) -> TargetResults:
    """Write what became of named targets."""
    return TargetResults(
        targets=[
            TargetResultOut(
                target=one.target, status=one.status, error_code=one.error_code, error_msg=one.error_msg
            )
            for one in results
        ]
    )


def written(answer: BaseModel, status: int = 200) -> Response:
    """Return an answer without what is null, at once as bytes: a list of tasks may hold a million targets."""
    return Response(answer.model_dump_json(exclude_none=True), status, media_type="application/json")


def _policy(task: Task) -> PolicyOut | None:
    policy = task.asked.policy
    if policy.schedule_time is None and policy.retry_count is None:
        return None
    interval = policy.retry_interval
    return PolicyOut(
        schedule_time=iot_time(policy.schedule_time) if policy.schedule_time else None,
        retry_count=policy.retry_count,
        retry_interval=None if interval is None else int(interval.total_seconds() // 60),
    )


def _progress(progress: Progress) -> ProgressOut:
    return ProgressOut(**{name: getattr(progress, name) for name in ProgressOut.model_fields})


def _subtask(subtask: Subtask) -> SubtaskOut:
    failed = subtask.error_code is not None or subtask.error_msg is not None
    return SubtaskOut(
        target=subtask.target,
        status=subtask.status,
        output=subtask.output,
        error=ErrorOut(error_code=subtask.error_code, error_msg=subtask.error_msg) if failed else None,
    )


def _page(page: Page) -> PageInfo:
    return PageInfo(count=page.count, marker=page.marker)


def _plain(value: Any) -> dict[str, Any] | None:
    return None if value is None else dict(value)
