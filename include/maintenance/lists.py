"""Lists of projects, tasks and handles: what may be asked for (document 002), filtered and in pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, LiteralString, TypeVar

from psycopg import sql

from include.kit.db import Connection, Repository
from include.kit.sql import load_queries
from include.maintenance.conditions import Column, compile_filter
from include.maintenance.filters import Condition, Filter
from include.maintenance.model import OPEN_STATES, Handle, Project, Task

queries = load_queries(__file__, "list_queries.sql")

T = TypeVar("T")

#: By the names of document 002; an object of a project is looked up by its index.
PROJECT_COLUMNS: Mapping[str, Column] = {
    "uid": Column("text", "d.name"),
    "name": Column("text", "p.name"),
    "alias": Column("text", "p.alias"),
    "description": Column("text", "coalesce(d.description, '')"),
    "cycle_type": Column("text", "p.cycle_type"),
    "statistics_id": Column("text", "p.statistics_id"),
    "period_num": Column("number", "p.period_num"),
    "period_unit": Column("text", "p.period_unit"),
    "notice_num": Column("number", "p.notice_num"),
    "notice_unit": Column("text", "p.notice_unit"),
    "guide": Column("text", "p.guide"),
    "object_id_list": Column(
        "list",
        "d.id IN (SELECT definition_id"
        " FROM (SELECT definition_id, object_id AS item FROM maintenance_state) s WHERE {})",
    ),
    "is_active": Column("number", "d.enabled::integer"),
    "organization_id": Column("text", "coalesce(d.project_id, '')"),
    "created": Column("moment", "d.created_at"),
    "created_by": Column("number", "p.created_by"),
    "last_modified": Column("moment", "d.updated_at"),
    "last_modified_by": Column("number", "p.last_modified_by"),
}

_SUBJECT_COLUMNS: Mapping[str, Column] = {
    "project_id": Column("text", "t.project_uid"),
    "project_name": Column("text", "t.project_name"),
    "project_alias": Column("text", "t.project_alias"),
    "object_id": Column("text", "t.object_id"),
    "object_name": Column("text", "t.object_name"),
    "object_alias": Column("text", "t.object_alias"),
}

TASK_COLUMNS: Mapping[str, Column] = {
    "uid": Column("text", "t.uid"),
    "description": Column("text", "t.description"),
    **_SUBJECT_COLUMNS,
    "cycle_type": Column("text", "t.cycle_type"),
    "statistics_id": Column("text", "t.statistics_id"),
    "period_num": Column("number", "t.period_num"),
    "period_unit": Column("text", "t.period_unit"),
    "notice_num": Column("number", "t.notice_num"),
    "notice_unit": Column("text", "t.notice_unit"),
    "guide": Column("text", "t.guide"),
    "state": Column("text", "t.state"),
    "organization_id": Column("text", "t.organization_id"),
    "created": Column("moment", "t.created_at"),
    "created_by": Column("number", "t.created_by"),
    "last_modified": Column("moment", "t.updated_at"),
    "last_modified_by": Column("number", "t.last_modified_by"),
}

HANDLE_COLUMNS: Mapping[str, Column] = {
    "uid": Column("text", "h.uid"),
    "kind": Column("text", "h.kind"),
    "description": Column("text", "h.description"),
    "task_id": Column("text", "t.uid"),
    **_SUBJECT_COLUMNS,
    "handler_id_list": Column(
        "list", "EXISTS (SELECT FROM unnest(h.handler_keys) item WHERE {})", "h.handler_keys && {}"
    ),
    "handler_name_list": Column("list", "EXISTS (SELECT FROM unnest(h.handler_names) item WHERE {})"),
    "fee": Column("number", "h.fee"),
    "result": Column("text", "h.result"),
    "images": Column("text", "h.images #>> '{}'"),
    "organization_id": Column("text", "h.organization_id"),
    "created": Column("moment", "h.created_at"),
    "created_by": Column("number", "h.created_by"),
    "last_modified": Column("moment", "h.updated_at"),
    "last_modified_by": Column("number", "h.last_modified_by"),
}

_TASK = [field.name for field in fields(Task)]


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """A page of a list.

    :ivar count: how many rows all pages have
    """

    rows: Sequence[T]
    count: int


class MaintenanceLists(Repository):
    """The lists, inside the caller's transaction; the newest row first.

    :param projects: the organisations that the caller's token may see, None for all
    """

    def __init__(self, connection: Connection, *, projects: Sequence[str] | None = None) -> None:
        super().__init__(connection, {"projects": None if projects is None else list(projects)})

    async def projects(self, wanted: Filter, *, limit: int, offset: int) -> Listed[Project]:
        """Return projects that are not deleted."""
        return await self._page(
            (queries.count_projects, queries.list_projects),
            (wanted, PROJECT_COLUMNS),
            lambda row: Project(**row),
            limit=limit,
            offset=offset,
        )

    async def tasks(self, wanted: Filter, *, limit: int, offset: int) -> Listed[Task]:
        """Return open tasks; those of all states where a filter asks for `state` (B18)."""
        if not wanted.names("state"):
            is_open = Condition("state", "in", False, tuple(sorted(OPEN_STATES)))
            wanted = Filter((*wanted.every, is_open), wanted.any)
        return await self._page(
            (queries.count_tasks, queries.list_tasks),
            (wanted, TASK_COLUMNS),
            _task,
            limit=limit,
            offset=offset,
        )

    async def handles(self, wanted: Filter, *, limit: int, offset: int) -> Listed[Handle]:
        """Return handles, ignored tasks among them (`kind`)."""
        found = await self._page(
            (queries.count_handles, queries.list_handles),
            (wanted, HANDLE_COLUMNS),
            dict,
            limit=limit,
            offset=offset,
        )
        ids = [row["task_id"] for row in found.rows]
        tasks = {row["id"]: _task(row) for row in await self._rows(queries.tasks_of_handles, ids=ids)}
        return Listed([Handle(task=tasks[row.pop("task_id")], **row) for row in found.rows], found.count)

    async def _page(
        self,
        statements: tuple[LiteralString, LiteralString],
        wanted: tuple[Filter, Mapping[str, Column]],
        make: Callable[[Mapping[str, Any]], T],
        *,
        limit: int,
        offset: int,
    ) -> Listed[T]:
        condition, parameters = compile_filter(*wanted)
        count, page = (sql.SQL(statement).format(condition=condition) for statement in statements)
        [total] = await self._rows(count, **parameters)
        rows = await self._rows(page, **parameters, limit=limit, offset=offset)
        return Listed([make(row) for row in rows], int(total["count"]))


def _task(row: Mapping[str, Any]) -> Task:
    return Task(**{name: row[name] for name in _TASK})
