"""The statements on batch tasks; `subtask_repository.py` has those on their sub-tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

import orjson

from include.batch.model import FINISHED, NewTask, Progress, Task, TaskPolicy, TaskStatus, TaskType
from include.kit.db import Repository
from include.kit.sql import load_queries

queries = load_queries(__file__)

Row = Mapping[str, Any]

#: The first key of the advisory locks that stop and sending share, a task's id is the second.
SENDING_LOCK_CLASS = 0x42415443

_TASK = [one.name for one in fields(Task) if one.name not in ("asked", "progress")]
_ASKED = [one.name for one in fields(NewTask) if one.name != "policy"]
_PROGRESS = [one.name for one in fields(Progress)]
_POLICY = [one.name for one in fields(TaskPolicy)]


@dataclass(frozen=True, slots=True)
class WantedRun:
    """A task whose next run Airflow does not have yet.

    :ivar number: of the run; the first is 1
    :ivar schedule_time: when the task is to begin, None: at once
    """

    id: int
    task_id: str
    task_name: str
    task_type: TaskType
    schedule_time: datetime | None
    number: int
    created_by: str | None


class TaskRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits.

    A task is named by its `id`, which is ours; clients know `task_id`.
    """

    async def insert_task(self, new: NewTask, now: datetime) -> int:
        """Return its id."""
        values = {name: getattr(new, name) for name in _ASKED}
        values |= {name: getattr(new.policy, name) for name in _POLICY}
        values["targets"] = None if new.targets is None else list(new.targets)
        for name in ("task_ext_info", "targets_filter", "document", "rollout"):
            values[name] = None if values[name] is None else orjson.dumps(values[name]).decode()
        [row] = await self._rows(queries.insert_task, **values, now=now)
        return int(row["id"])

    async def find_task(
        self,
        id: int | None = None,
        *,
        task_id: str | None = None,
        projects: Sequence[str] | None = None,
        with_targets: bool = False,
    ) -> Task | None:
        """Return a task by either id; `asked.targets` is None unless asked for."""
        rows = await self._rows(
            queries.find_task,
            id=id,
            task_id=task_id,
            projects=None if projects is None else list(projects),
            with_targets=with_targets,
        )
        return read_task(rows[0]) if rows else None

    async def lock_task(self, id: int) -> Task | None:
        """Lock a task and return it, without its targets."""
        rows = await self._rows(queries.lock_task, id=id)
        return read_task(rows[0]) if rows else None

    async def move_task(
        self, id: int, status: TaskStatus, now: datetime, *, status_desc: str | None = None
    ) -> None:
        await self._run(
            queries.move_task,
            id=id,
            status=status,
            finished=status in FINISHED,
            status_desc=status_desc,
            now=now,
        )

    async def count_dispatched(self, id: int, count: int, paced_until: datetime | None) -> None:
        await self._run(queries.count_dispatched, id=id, count=count, paced_until=paced_until)

    async def runless_tasks(self, limit: int, after: int = 0) -> list[WantedRun]:
        rows = await self._rows(queries.runless_tasks, limit=limit, after=after)
        return [
            WantedRun(
                row["id"],
                row["task_id"],
                row["task_name"],
                row["task_type"],
                row["schedule_time"],
                row["runs_started"] + 1,
                row["created_by"],
            )
            for row in rows
        ]

    async def mark_run_started(self, id: int, runs: int) -> None:
        await self._run(queries.mark_run_started, id=id, runs=runs)

    async def mark_run_failed(self, id: int, failure: str) -> None:
        await self._run(queries.mark_run_failed, id=id, failure=failure)

    async def want_run(self, id: int) -> None:
        await self._run(queries.want_run, id=id)

    async def unexpanded_tasks(self, limit: int, now: datetime) -> list[int]:
        return [row["id"] for row in await self._rows(queries.unexpanded_tasks, limit=limit, now=now)]

    async def notify_task(self, id: int) -> None:
        await self._run(queries.notify_task, id=id)

    # --- stop and sending exclude each other

    async def try_lock_sending(self, id: int) -> bool:
        """Keep stops of a task waiting until `unlock_sending`, or until the session ends.

        :returns: False where a stop has the lock or waits for it
        """
        [row] = await self._rows(queries.try_lock_sending, lock_class=SENDING_LOCK_CLASS, key=_key(id))
        return bool(row["held"])

    async def unlock_sending(self, id: int) -> None:
        await self._run(queries.unlock_sending, lock_class=SENDING_LOCK_CLASS, key=_key(id))

    async def lock_stopping(self, id: int, wait: timedelta) -> None:
        """Wait until what was claimed of a task has left, before the task itself is locked.

        :raises psycopg.errors.LockNotAvailable: it did not leave in time
        """
        milliseconds = int(wait.total_seconds() * 1000)
        await self._run(queries.limit_lock_wait, milliseconds=milliseconds)
        await self._run(queries.lock_stopping, lock_class=SENDING_LOCK_CLASS, key=_key(id))
        await self._run(queries.limit_lock_wait, milliseconds=0)


def read_task(row: Row) -> Task:
    """Return a task from a row that has all its columns."""
    asked = {name: row[name] for name in _ASKED}
    policy = TaskPolicy(**{name: row[name] for name in _POLICY})
    return Task(
        asked=NewTask(**asked, policy=policy),
        progress=read_progress(row),
        **{name: row[name] for name in _TASK},
    )


def read_progress(row: Row) -> Progress:
    """Return the counters of a row that has them."""
    return Progress(**{name: row[name] for name in _PROGRESS})


def _key(id: int) -> int:
    # Keys are 32 bits. Two tasks that share one wait for each other now and then, and that is all.
    return id & 0x7FFFFFFF
