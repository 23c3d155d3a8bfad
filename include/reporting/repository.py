"""The statements by which schedules, definitions and the ledger are looked at. Nothing here writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from include.kit.db import Connection, Repository
from include.kit.sql import load_queries
from include.reporting.model import (
    LATENESS_BOUNDS_MS,
    AttemptRow,
    DefinitionRow,
    ExecutionFilter,
    ExecutionRow,
    LatenessRow,
    ScheduleRow,
)

queries = load_queries(__file__)


class ReportingRepository(Repository):
    """One method a statement, each of one query.

    :param projects: the project ids that the caller may see, None for all
    """

    def __init__(self, connection: Connection, projects: Sequence[str] | None) -> None:
        super().__init__(connection, {"projects": None if projects is None else list(projects)})

    async def list_schedules(
        self,
        *,
        id: int | None = None,
        after: int = 0,
        limit: int = 1,
        kind: str | None = None,
        active: bool | None = None,
    ) -> list[ScheduleRow]:
        rows = await self._rows(
            queries.list_schedules, id=id, after=after, limit=limit, kind=kind, active=active
        )
        return [ScheduleRow(**row) for row in rows]

    async def list_definitions(
        self,
        *,
        id: int | None = None,
        schedule_id: int | None = None,
        after: int = 0,
        limit: int = 1,
        deleted: bool = False,
    ) -> list[DefinitionRow]:
        rows = await self._rows(
            queries.list_definitions,
            id=id,
            schedule_id=schedule_id,
            after=after,
            limit=limit,
            deleted=deleted,
        )
        return [DefinitionRow(**row) for row in rows]

    async def list_executions(
        self,
        conditions: ExecutionFilter,
        *,
        id: int | None = None,
        before: tuple[datetime, int] | None = None,
        limit: int = 1,
    ) -> list[ExecutionRow]:
        """Return executions by descending (due_at, id), those before the pair `before`."""
        before_due, before_id = before or (None, None)
        rows = await self._rows(
            queries.list_executions,
            **asdict(conditions),
            id=id,
            before_due=before_due,
            before_id=before_id,
            limit=limit,
        )
        return [ExecutionRow(**row) for row in rows]

    async def list_attempts(self, execution_id: int) -> list[AttemptRow] | None:
        """Return the attempts, None where there is no such execution."""
        rows = await self._rows(queries.list_attempts, id=execution_id)
        return [AttemptRow(**row) for row in rows if row["number"] is not None] if rows else None

    async def find_named(self, name: str) -> list[Mapping[str, Any]]:
        """Return id, kind, project_id and deleted_at of each, those that are not deleted first."""
        return await self._rows(queries.find_named, name=name)

    async def find_answer(self, definition_id: int, at: datetime) -> ExecutionRow | None:
        rows = await self._rows(queries.find_answer, definition_id=definition_id, at=at)
        return ExecutionRow(**rows[0]) if rows else None

    async def lateness(self, *, due_from: datetime, due_to: datetime, kind: str | None) -> list[LatenessRow]:
        rows = await self._rows(
            queries.lateness, due_from=due_from, due_to=due_to, kind=kind, bounds=list(LATENESS_BOUNDS_MS)
        )
        return [LatenessRow(**row) for row in rows]

    async def ping(self) -> Mapping[str, Any]:
        [row] = await self._rows(queries.ping)
        return row
