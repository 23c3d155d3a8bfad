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
    """A project in which something may be to do, and for how many objects."""

    id: int
    count: int


@dataclass(frozen=True, slots=True)
class Moved:
    """How many tasks of a project came to a state.

    :ivar project: its uid
    """

    project: str
    organization: str
    state: TaskState
    count: int


class EvaluationRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits."""

    async def list_waiting(self, schedule: int, now: datetime) -> list[Waiting]:
        rows = await self._rows(queries.list_waiting, schedule=schedule, now=now)
        return [Waiting(**row) for row in rows]

    async def take_first_samples(self, projects: Sequence[int]) -> None:
        await self.connection.execute(queries.take_first_samples, {"projects": list(projects)})

    async def move_tasks(self, projects: Sequence[int], now: datetime) -> list[Moved]:
        rows = await self._rows(queries.move_tasks, projects=list(projects), now=now)
        return [Moved(**row) for row in rows]

    async def open_tasks(self, projects: Sequence[int], now: datetime) -> list[Moved]:
        rows = await self._rows(queries.open_tasks, projects=list(projects), now=now)
        return [Moved(**row) for row in rows]
