"""The statements on sub-tasks; whoever changes them locks their task first (`TaskRepository.lock_task`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import orjson

from include.batch.codes import DEVICE_MISSING, INTERRUPTED
from include.batch.model import Step, Subtask, SubtaskStatus, Task
from include.batch.repository import queries
from include.devices.model import Status as DeviceStatus
from include.kit.db import Repository
from include.ledger.repository import CLAIMER_LOCK_CLASS

Row = Mapping[str, Any]

_SUBTASK = [one.name for one in fields(Subtask)]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A sub-task that was just claimed.

    :ivar was: its status before; Processing where an attempt goes on
    :ivar device_status: of the device of that name in the task's project, None: there is none
    """

    subtask: Subtask
    was: SubtaskStatus
    device_status: DeviceStatus | None


class SubtaskRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits."""

    async def insert_subtasks(self, id: int, *, wake_at: datetime | None, now: datetime) -> int:
        """Make the sub-tasks of a task from what it was asked for; returns how many."""
        return await self._run(
            queries.insert_subtasks, id=id, wake_at=wake_at, error_code=DEVICE_MISSING, now=now
        )

    async def claim_subtasks(
        self, task: Task, *, limit: int, fresh: int, claimer: int, now: datetime
    ) -> list[Claimed]:
        """Claim what is due.

        :param limit: at most so many in all
        :param fresh: at most so many of them that begin an attempt
        """
        rows = await self._rows(
            queries.claim_subtasks,
            id=task.id,
            project_id=task.asked.project_id,
            open_wave=task.open_wave,
            limit=limit,
            fresh=fresh,
            claimer=claimer,
            now=now,
        )
        return [Claimed(read_subtask(row), row["was"], row["device_status"]) for row in rows]

    async def release_dead_claims(
        self, task: Task, *, claimer: int, held: Collection[int], now: datetime
    ) -> int:
        """Free what nobody has in hand: `held` is what this process has. Returns how many."""
        return await self._run(
            queries.release_dead_claims,
            id=task.id,
            stopping=task.status == "Stopping",
            error_code=INTERRUPTED,
            claimer=claimer,
            held=list(held),
            lock_class=CLAIMER_LOCK_CLASS,
            now=now,
        )

    async def record_steps(
        self, task: Task, steps: Sequence[tuple[Subtask, Step]], *, claimer: int, now: datetime
    ) -> dict[int, SubtaskStatus]:
        """Write what became of sub-tasks; returns the status of each that was still ours to write."""
        interval = task.asked.policy.retry_interval
        rows = await self._rows(
            queries.record_steps,
            id=task.id,
            stopping=task.status == "Stopping",
            retry_at=now if interval is None else now + interval,
            claimer=claimer,
            now=now,
            steps=orjson.dumps([_written(subtask, step) for subtask, step in steps]).decode(),
        )
        return {row["id"]: row["status"] for row in rows}

    async def reopen_subtasks(
        self,
        task: Task,
        statuses: Collection[SubtaskStatus],
        *,
        wake_at: datetime | None,
        now: datetime,
        targets: Sequence[str] | None = None,
    ) -> list[str]:
        """Have sub-tasks begin anew, with all their retries; returns their targets."""
        rows = await self._rows(
            queries.reopen_subtasks,
            id=task.id,
            statuses=sorted(statuses),
            targets=None if targets is None else list(targets),
            retries=task.asked.policy.retry_count or 0,
            wake_at=wake_at,
            now=now,
        )
        return [row["target"] for row in rows]

    async def next_wake(self, task: Task, *, fresh: bool = True) -> datetime | None:
        """Return when something is due next.

        :param fresh: also of what begins an attempt
        """
        [row] = await self._rows(queries.next_wake, id=task.id, open_wave=task.open_wave, fresh=fresh)
        wake_at: datetime | None = row["wake_at"]
        return wake_at

    async def main_failure(self, id: int) -> tuple[str, str] | None:
        """Return code and message of what most of them failed of."""
        rows = await self._rows(queries.main_failure, id=id)
        return (rows[0]["error_code"] or "", rows[0]["error_msg"] or "") if rows else None


def _written(subtask: Subtask, step: Step) -> dict[str, Any]:
    return {
        "id": subtask.id,
        "attempt": subtask.attempt,
        "was": subtask.phase,
        "status": step.status,
        "output": step.output,
        "error_code": step.error_code,
        "error_msg": step.error_msg,
        "phase": step.phase,
        "phase_ends_at": step.phase_ends_at,
        "wake_at": step.wake_at,
        "progress": step.progress,
        "retryable": step.retryable,
    }


def read_subtask(row: Row) -> Subtask:
    """Return a sub-task from a row that has all its columns."""
    return Subtask(**{name: row[name] for name in _SUBTASK})
