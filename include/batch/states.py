"""Which status follows which, and how a task ends. Pure; the tables hold to the same rules.

Source: research `iot.md` A6.
"""

from __future__ import annotations

from collections.abc import Mapping

from include.batch.model import Progress, SubtaskStatus, TaskStatus

TASK_NEXT: Mapping[TaskStatus, frozenset[TaskStatus]] = {
    "Initializing": frozenset({"Waitting", "Processing", "Fail", "Stopping", "Stopped"}),
    "Waitting": frozenset({"Processing", "Success", "Fail", "PartialSuccess", "Stopping", "Stopped"}),
    "Processing": frozenset({"Success", "Fail", "PartialSuccess", "Stopping", "Stopped"}),
    "Stopping": frozenset({"Stopped"}),
    "Fail": frozenset({"Processing"}),
    "PartialSuccess": frozenset({"Processing"}),
    "Success": frozenset(),
    "Stopped": frozenset(),
}

SUBTASK_NEXT: Mapping[SubtaskStatus, frozenset[SubtaskStatus]] = {
    "Waitting": frozenset({"Processing", "Fail", "Stopped", "Removed"}),
    "Processing": frozenset({"Success", "Fail", "FailWaitRetry", "Stopped", "Removed"}),
    "FailWaitRetry": frozenset({"Waitting", "Processing", "Fail", "Stopped", "Removed"}),
    "Fail": frozenset({"Waitting"}),
    "Stopped": frozenset({"Waitting"}),
    "Success": frozenset(),
    "Removed": frozenset(),
}

#: In which statuses of the task a call is refused.
RETRY_REFUSED: frozenset[TaskStatus] = frozenset(
    {"Success", "Stopped", "Stopping", "Waitting", "Initializing"}
)
STOP_REFUSED: frozenset[TaskStatus] = frozenset({"Success", "Fail", "PartialSuccess", "Stopped", "Stopping"})
CONFIRM_REFUSED: frozenset[TaskStatus] = frozenset(
    {"Success", "Fail", "PartialSuccess", "Stopped", "Stopping"}
)

#: Which sub-tasks a call acts on, where it names none.
RETRIED: frozenset[SubtaskStatus] = frozenset({"Fail", "FailWaitRetry", "Stopped"})
STOPPED: frozenset[SubtaskStatus] = frozenset({"Waitting", "Processing", "FailWaitRetry"})
CONFIRMED: frozenset[SubtaskStatus] = frozenset({"Waitting"})


def final_status(status: TaskStatus, progress: Progress) -> TaskStatus | None:
    """Return how a task ends that is in this status, None while sub-tasks are open.

    A task without a sub-task failed; one of which nothing was executed was stopped, target by target.
    """
    if progress.open:
        return None
    if status == "Stopping":
        return "Stopped"
    if progress.total and progress.success == progress.total:
        return "Success"
    if progress.total and progress.executed == 0:
        return "Stopped"
    return "PartialSuccess" if progress.success else "Fail"
