"""The statements of an evaluation: the only caller of `evaluation_queries.sql`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from include.kit.db import Repository
from include.kit.sql import load_queries
from include.maintenance.model import TaskState

queries = load_queries(__file__, "evaluation_queries.sql")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A project in which something may be to do.

    :ivar open: tasks that may move
    :ivar ripe: objects that may need one
    """

    id: int
    open: int
    ripe: int


@dataclass(frozen=True, slots=True)
class Moved:
    """How many tasks of a project came to a state.

    :ivar project: its uid
    """

    project: str
    organization: str
    state: TaskState
    count: int


@dataclass(frozen=True, slots=True)
class NoData:
    """How many objects of a project have no sample yet, so that nobody knows when they are due (B28)."""

    project: str
    organization: str
    count: int


class EvaluationRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits."""

    # A plan for any chunk of projects took half a minute for 5,000 tasks.
    prepare = False

    async def plan_wide(self, schedule: int) -> None:
        """Have what follows in this transaction planned for `list_waiting`."""
        await self._rows(queries.plan_wide, schedule=schedule)

    async def plan_for_chunks(self) -> None:
        """Have what follows in this transaction planned for the statements below that take projects."""
        await self._rows(queries.plan_for_chunks)

    async def list_waiting(self, schedule: int, now: datetime) -> list[Waiting]:
        rows = await self._rows(queries.list_waiting, schedule=schedule, now=now)
        return [Waiting(**row) for row in rows]

    async def take_first_samples(self, projects: Sequence[int]) -> None:
        await self._run(queries.take_first_samples, projects=list(projects))

    async def move_tasks(self, projects: Sequence[int], now: datetime) -> list[Moved]:
        rows = await self._rows(queries.move_tasks, projects=list(projects), now=now)
        return [Moved(**row) for row in rows]

    async def open_tasks(self, projects: Sequence[int], now: datetime) -> list[Moved]:
        rows = await self._rows(queries.open_tasks, projects=list(projects), now=now)
        return [Moved(**row) for row in rows]

    async def count_no_data(self, schedule: int) -> list[NoData]:
        return [NoData(**row) for row in await self._rows(queries.count_no_data, schedule=schedule)]
