"""Batch tasks as they are stored and shown. Moments are aware and in UTC. No I/O.

The words are those of the wire: document 004 and research `iot.md` A3 to A6; `Waitting` is spelled so there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

TaskType = Literal[
    "firmwareUpgrade",
    "softwareUpgrade",
    "moduleUpgrade",
    "createCommands",
    "createAsyncCommands",
    "createMessages",
    "updateDeviceShadows",
    "createDevices",
    "updateDevices",
    "deleteDevices",
    "freezeDevices",
    "unfreezeDevices",
]
TASK_TYPES: tuple[TaskType, ...] = get_args(TaskType)
#: The platform alone does these, without a word to a device: set-based, in one transaction.
LOCAL_TYPES: frozenset[TaskType] = frozenset(
    {"createDevices", "updateDevices", "deleteDevices", "freezeDevices", "unfreezeDevices"}
)
UPGRADE_TYPES: frozenset[TaskType] = frozenset({"firmwareUpgrade", "softwareUpgrade", "moduleUpgrade"})
#: Their targets may come from a file; those of `ROW_TYPES` come from nowhere else.
FILE_TYPES: frozenset[TaskType] = LOCAL_TYPES
ROW_TYPES: frozenset[TaskType] = frozenset({"createDevices", "updateDevices"})


def dag_id_of(task_type: TaskType) -> str:
    """Return the id of the DAG whose runs perform tasks of this type."""
    return f"batch.{task_type}"


TaskStatus = Literal[
    "Initializing", "Waitting", "Processing", "Success", "Fail", "PartialSuccess", "Stopped", "Stopping"
]
TASK_STATUSES: tuple[TaskStatus, ...] = get_args(TaskStatus)
#: A task in one of these goes on only by a retry.
FINISHED: frozenset[TaskStatus] = frozenset({"Success", "Fail", "PartialSuccess", "Stopped"})

SubtaskStatus = Literal["Waitting", "Processing", "Success", "Fail", "FailWaitRetry", "Stopped", "Removed"]
SUBTASK_STATUSES: tuple[SubtaskStatus, ...] = get_args(SubtaskStatus)

#: The steps of an upgrade (A10): wait for the device, ask its version, let it load and install, ask again.
Phase = Literal["online", "version", "download", "verify"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How many sub-tasks are where (A5); `total` is the sum of all others."""

    total: int = 0
    waitting: int = 0
    processing: int = 0
    success: int = 0
    fail: int = 0
    fail_wait_retry: int = 0
    stopped: int = 0
    removed: int = 0

    @property
    def open(self) -> int:
        """Sub-tasks that have not ended."""
        return self.waitting + self.processing + self.fail_wait_retry

    @property
    def executed(self) -> int:
        """Sub-tasks that succeeded or failed."""
        return self.success + self.fail


@dataclass(frozen=True, slots=True)
class TaskPolicy:
    """When a task runs, and how often a failed sub-task is tried again by itself (A3)."""

    schedule_time: datetime | None = None
    retry_count: int | None = None
    retry_interval: timedelta | None = None


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task as it was asked for and checked.

    :ivar targets: device ids; of several sources one counts: `targets`, `targets_filter`, `document_source`
    :ivar rollout: `x_rollout` in its JSON form, checked by `include.batch.rollout`
    """

    project_id: str
    task_name: str
    task_type: TaskType
    app_id: str | None = None
    task_mode: Literal["GATEWAY"] | None = None
    need_confirm: bool = False
    task_ext_info: Mapping[str, Any] | None = None
    targets: Sequence[str] | None = None
    targets_filter: Mapping[str, Any] | None = None
    document: Mapping[str, Any] | None = None
    document_source: str | None = None
    policy: TaskPolicy = TaskPolicy()
    rollout: Mapping[str, Any] | None = None
    created_by: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A stored task; what was asked for is in `asked`.

    :ivar id: ours; clients know `task_id`, 24 hexadecimal digits that sort by creation
    :ivar open_wave: sub-tasks of later waves wait
    :ivar dispatched: attempts begun so far
    :ivar paced_until: when what its rate allows was last used up (`include.batch.rollout.rate`)
    :ivar judged_success: what had succeeded when it was last resumed, `judged_fail` what had failed; whether
        too many failed is judged by the rest
    :ivar paused_at: None unless it is paused; its status stays what it was
    """

    id: int
    task_id: str
    asked: NewTask
    status: TaskStatus
    status_desc: str | None
    progress: Progress
    paused_at: datetime | None
    pause_reason: str | None
    dispatched: int
    paced_until: datetime | None
    judged_success: int
    judged_fail: int
    open_wave: int
    runs_wanted: int
    runs_started: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def finished(self) -> bool:
        return self.status in FINISHED

    @property
    def due_at(self) -> datetime:
        """From when on its sub-tasks may be sent."""
        return self.asked.policy.schedule_time or self.created_at


@dataclass(frozen=True, slots=True)
class Subtask:
    """A stored sub-task.

    :ivar target: device_id; of createDevices product_id and node_id
    :ivar input: its row of the file
    :ivar attempt: tries begun; 0 before the first
    :ivar output: may hold a secret (createDevices): never to a log
    """

    id: int
    batch_id: int
    target: str
    input: Mapping[str, Any] | None
    wave: int
    status: SubtaskStatus
    attempt: int
    retries_left: int
    phase: Phase | None
    phase_ends_at: datetime | None
    progress: int | None
    output: str | None
    error_code: str | None
    error_msg: str | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None

    def request_id(self, task_id: str) -> str:
        """Return what a device tells a repeat by: the same on every sending of one attempt."""
        return f"{task_id}-{self.id}-{self.attempt}"


@dataclass(frozen=True, slots=True)
class Step:
    """What became of a sub-task that was in hand.

    :ivar status: Processing where it goes on: in `phase`, woken at `wake_at` or by an event before that
    :ivar retryable: whether a Fail may be tried again by the task's retry policy
    """

    subtask_id: int
    status: Literal["Processing", "Success", "Fail", "Removed"]
    output: str | None = None
    error_code: str | None = None
    error_msg: str | None = None
    phase: Phase | None = None
    phase_ends_at: datetime | None = None
    wake_at: datetime | None = None
    progress: int | None = None
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class TargetResult:
    """What a call on named targets did to one of them (A2)."""

    target: str
    status: Literal["success", "failure"]
    error_code: str | None = None
    error_msg: str | None = None


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """What a list of tasks is about; None does not limit it.

    :ivar marker: only tasks older than this one
    :ivar offset: rows to skip after the marker
    """

    task_type: TaskType | None = None
    app_id: str | None = None
    status: TaskStatus | None = None
    marker: str = "f" * 24
    offset: int = 0
    limit: int = 10


@dataclass(frozen=True, slots=True)
class SubtaskFilter:
    """What a list of a task's sub-tasks is about, as `TaskFilter`."""

    status: SubtaskStatus | None = None
    target: str | None = None
    marker: str = "f" * 24
    offset: int = 0
    limit: int = 10


@dataclass(frozen=True, slots=True)
class Page:
    """`page` of a list (A14.9).

    :ivar count: rows that match, on all pages
    :ivar marker: the id of the last row of this page, None where it is empty
    """

    count: int
    marker: str | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a task would do: a dry run.

    :ivar excluded: how many targets nothing would be done with, by reason
    :ivar waiting: how many would have to be waited for, by reason
    :ivar waves: size of each
    :ivar ends_at: when the last would be begun, None where nothing says (`include.batch.rollout.predict`)
    """

    total: int
    excluded: Mapping[str, int] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    waves: Sequence[int] = ()
    ends_at: datetime | None = None
