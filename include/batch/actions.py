"""Use cases on batch tasks under way: retry, stop, confirm; all of a task, or named targets of it.

Which call is refused when, and what it acts on, is in `states.py` (research `iot.md` A6).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

from psycopg.errors import LockNotAvailable

from include.batch.api_repository import ApiRepository
from include.batch.codes import TARGET_UNFIT
from include.batch.expansion import expand
from include.batch.model import UPGRADE_TYPES, SubtaskStatus, TargetResult, Task, TaskStatus
from include.batch.service import BatchService, TaskStateError
from include.batch.settling import reopen, settle
from include.batch.states import (
    CONFIRM_REFUSED,
    CONFIRMED,
    RETRIED,
    RETRY_REFUSED,
    STOP_REFUSED,
    STOPPED,
)
from include.errors import DatabaseUnavailableError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection
from include.settings import get_settings

#: How long a stop waits until what was just claimed has left.
STOP_WAIT = timedelta(seconds=5)


class BatchActions:
    """Calls on tasks of one project, each the whole of the caller's transaction.

    Every call takes `targets`, None for all. Errors: NotFoundError, no such task; TaskStateError, its status
    or type does not allow the call. What becomes of each named target is returned, in their order; a call on
    all of a task returns nothing.
    """

    def __init__(self, connection: Connection, project_id: str, *, clock: Clock = system_clock) -> None:
        self.connection = connection
        self.clock = clock
        self.service = BatchService(connection, project_id, clock=clock)
        self.tasks = self.service.tasks
        self.repository = ApiRepository(connection)

    async def retry(self, task_id: str, targets: Sequence[str] | None = None) -> list[TargetResult]:
        """Begin anew what failed or was stopped; a task that had finished runs again."""
        task = await self.service.lock(task_id)
        self._check(task, "retried", RETRY_REFUSED)
        fit, results = await self._choose(task, targets, RETRIED)
        reopened = await reopen(self.connection, task, RETRIED, self.clock(), targets=fit)
        if reopened and task.finished:
            await self.tasks.want_run(task.id)
        return results

    async def stop(self, task_id: str, targets: Sequence[str] | None = None) -> list[TargetResult]:
        """End what is open. Nothing is sent any more once this has committed; what was sent settles.

        :raises DatabaseUnavailableError: what was just claimed did not leave within `STOP_WAIT`
        """
        task = await self.lock_unsent(task_id)
        self._check(task, "stopped", STOP_REFUSED)
        fit, results = await self._choose(task, targets, STOPPED, in_hand=False)
        now = self.clock()
        await self.repository.stop_subtasks(task.id, now, fit)
        if targets is None:
            await self.tasks.move_task(task.id, "Stopping", now)
        await settle(self.connection, task.id, now)
        await self.tasks.notify_task(task.id)
        return results

    async def confirm(self, task_id: str, targets: Sequence[str] | None = None) -> list[TargetResult]:
        """Let begin what waits for this (`need_confirm`), no sooner than the task is scheduled."""
        task = await self._expanded(await self.service.lock(task_id))
        self._check(task, "confirmed", CONFIRM_REFUSED, types=UPGRADE_TYPES)
        fit, results = await self._choose(task, targets, CONFIRMED)
        now = self.clock()
        wake_at = max(task.due_at, now)
        await self.repository.confirm_subtasks(task.id, wake_at=wake_at, now=now, targets=fit)
        if task.status == "Waitting" and wake_at <= now and (fit is None or fit):
            await self.tasks.move_task(task.id, "Processing", now)
        await self.tasks.notify_task(task.id)
        return results

    def _check(
        self,
        task: Task,
        done: str,
        refused: Collection[TaskStatus],
        types: Collection[str] | None = None,
    ) -> None:
        """Refuse a call that the task's type or status does not allow. Raises TaskStateError."""
        if types is None and not get_settings().batch_actions_all_types:
            types = UPGRADE_TYPES
        if types is not None and task.asked.task_type not in types:
            raise TaskStateError(f"a task of type {task.asked.task_type} cannot be {done}")
        if task.status in refused:
            raise TaskStateError(f"a task that is {task.status} cannot be {done}")

    async def lock_unsent(self, task_id: str) -> Task:
        """Lock a task of which nothing is about to leave, its sub-tasks made."""
        found = await self.service.find(task_id)
        try:
            await self.tasks.lock_stopping(found.id, STOP_WAIT)
        except LockNotAvailable as error:
            raise DatabaseUnavailableError("what is being sent did not leave in time") from error
        return await self._expanded(await self.service.lock(task_id))

    async def _expanded(self, task: Task) -> Task:
        """Make the sub-tasks of a locked task that has none yet, so that there is something to act on."""
        if task.status != "Initializing":
            return task
        return await expand(self.connection, task.id, self.clock()) or task

    async def _choose(
        self,
        task: Task,
        targets: Sequence[str] | None,
        statuses: Collection[SubtaskStatus],
        *,
        in_hand: bool = True,
    ) -> tuple[list[str] | None, list[TargetResult]]:
        """Return the named targets that a call may act on (None: all were meant), and what to say of each.

        :param in_hand: whether it may act on what somebody has in hand
        """
        if targets is None:
            return None, []
        named = list(dict.fromkeys(targets))
        found = await self.repository.find_targets(task.id, named)
        results = []
        for target in named:
            status, held = found.get(target, (None, False))
            if status is None:
                results.append(_unfit(target, "is not a target of this task"))
            elif status not in statuses:
                results.append(_unfit(target, f"is {status}"))
            elif held and not in_hand:
                results.append(_unfit(target, "is being performed just now"))
            else:
                results.append(TargetResult(target, "success"))
        return [one.target for one in results if one.status == "success"], results


def _unfit(target: str, reason: str) -> TargetResult:
    return TargetResult(target, "failure", TARGET_UNFIT, reason)
