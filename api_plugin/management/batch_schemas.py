"""Batch tasks on the wire of the own API: all that there is of them. Names are those of document 004."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api_plugin.common.reconciler import run_id_of
from api_plugin.management.schemas import Answer
from include.batch.control import TaskRecord
from include.batch.model import Phase, SubtaskStatus, Task, TaskStatus, TaskType, dag_id_of
from include.batch.repository import WantedRun
from include.batch.rollout_repository import WaveRecord
from include.batch.steering import rollout_of


class PauseBody(BaseModel):
    """Why a task is to rest."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(None, min_length=1, max_length=500)


class BatchProgress(Answer):
    """How many sub-tasks are where; `total` is the sum of all others."""

    total: int
    waitting: int
    processing: int
    success: int
    fail: int
    fail_wait_retry: int
    stopped: int
    removed: int


class BatchRunResponse(Answer):
    """A run of the task's DAG."""

    run_id: str
    started: bool = Field(description="false: Airflow does not have it yet")


class BatchTaskResponse(Answer):
    """A batch task. Its targets stand in its sub-tasks."""

    task_id: str
    project_id: str
    app_id: str | None
    task_name: str
    task_type: TaskType
    task_mode: str | None
    need_confirm: bool
    task_ext_info: dict[str, Any] | None
    targets_filter: dict[str, Any] | None
    document: dict[str, Any] | None
    document_source: str | None
    schedule_time: AwareDatetime | None
    retry_count: int | None
    retry_interval: int | None = Field(description="minutes")
    rollout: dict[str, Any] | None = Field(description="x_rollout, with its defaults")
    status: TaskStatus
    status_desc: str | None
    progress: BatchProgress
    paused_at: AwareDatetime | None
    pause_reason: str | None
    attempts_begun: int
    open_wave: int = Field(description="the last wave that is open; 1 where there are none")
    dag_id: str
    runs: list[BatchRunResponse]
    run_failure: str | None = Field(description="why the next run could not be started yet")
    created_by: str | None
    created_at: AwareDatetime
    started_at: AwareDatetime | None
    finished_at: AwareDatetime | None

    @classmethod
    def of(cls, record: TaskRecord) -> Self:
        """Write a task."""
        return cls.model_validate(_fields(record))


class WaveResponse(Answer):
    """A wave, and what must be so before the next one opens."""

    wave: int
    size: int
    success_percent: float | None
    approval: bool
    opened_at: AwareDatetime | None
    approved_at: AwareDatetime | None
    approved_by: str | None
    open: int = Field(description="sub-tasks that have not ended")
    succeeded: int
    failed: int


class BatchTaskDetailResponse(BatchTaskResponse):
    """A batch task with its waves."""

    waves: list[WaveResponse]

    @classmethod
    def of(cls, record: TaskRecord) -> Self:
        waves = [_wave(one, record.task) for one in record.waves]
        return cls.model_validate({**_fields(record), "waves": waves})


class BatchSubtaskResponse(Answer):
    """What becomes of one target."""

    id: int
    target: str
    wave: int
    status: SubtaskStatus
    attempt: int = Field(description="attempts begun")
    retries_left: int
    phase: Phase | None = Field(description="of an upgrade")
    phase_ends_at: AwareDatetime | None
    wake_at: AwareDatetime | None = Field(description="when it is due next; null: it waits for something")
    window_ends_at: AwareDatetime | None = Field(description="of the maintenance window that lies in")
    progress: int | None
    output: str | None = Field(description="of createDevices with the device's secret")
    error_code: str | None
    error_msg: str | None
    created_at: AwareDatetime
    updated_at: AwareDatetime
    finished_at: AwareDatetime | None


class PreviewResponse(Answer):
    """What a task would do; nothing of it was stored."""

    total: int
    excluded: dict[str, int] = Field(
        description="with how many targets nothing would be done: unknown, offline, frozen, same_version,"
        " in_conflict, exists, not_frozen"
    )
    waiting: dict[str, int] = Field(description="how many would have to be waited for")
    waves: list[int] = Field(description="sizes")
    ends_at: AwareDatetime | None = Field(
        description="when the last attempt would begin if all succeed at once; null: nothing says"
    )


def _fields(record: TaskRecord) -> dict[str, Any]:
    task, asked = record.task, record.task.asked
    interval = asked.policy.retry_interval
    return {
        **{name: getattr(asked, name) for name in _ASKED},
        **{name: getattr(task, name) for name in _OWN},
        "schedule_time": asked.policy.schedule_time,
        "retry_count": asked.policy.retry_count,
        "retry_interval": None if interval is None else interval // timedelta(minutes=1),
        "progress": BatchProgress.model_validate(task.progress),
        "attempts_begun": task.dispatched,
        "dag_id": dag_id_of(asked.task_type),
        "runs": [_run(task, number) for number in range(1, task.runs_wanted + 1)],
        "run_failure": record.run_failure,
    }


_ASKED = (
    "project_id", "app_id", "task_name", "task_type", "task_mode", "need_confirm", "task_ext_info",
    "targets_filter", "document", "document_source", "rollout", "created_by",
)  # fmt: skip
_OWN = (
    "task_id", "status", "status_desc", "paused_at", "pause_reason", "open_wave", "created_at", "started_at",
    "finished_at",
)  # fmt: skip


def _run(task: Task, number: int) -> BatchRunResponse:
    asked = task.asked
    run = WantedRun(
        task.id, task.task_id, asked.task_name, asked.task_type, asked.policy.schedule_time, number, None
    )
    return BatchRunResponse(run_id=run_id_of(run), started=number <= task.runs_started)


def _wave(record: WaveRecord, task: Task) -> Mapping[str, Any]:
    gate = (rollout_of(task).waves or ())[record.wave - 1]
    return {
        **{name: getattr(record, name) for name in _WAVE},
        "success_percent": None if gate.success_percent is None else float(gate.success_percent),
        "approval": gate.approval,
    }


_WAVE = ("wave", "size", "opened_at", "approved_at", "approved_by", "open", "succeeded", "failed")
