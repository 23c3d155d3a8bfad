"""The registry of what is maintained: names of objects. Those that nobody named are shown by their id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import orjson
from pydantic import BeforeValidator

from include.kit.clock import Clock
from include.kit.db import Connection, Repository
from include.kit.sql import load_queries
from include.maintenance.clock import maintenance_clock
from include.maintenance.organizations import owner
from include.metering.model import Tally
from include.metering.problems import Problems, refuse_twice
from include.metering.rows import FilledText, Row, Text
from include.metering.scope import tally

queries = load_queries(__file__, "object_queries.sql")

OBJECT_LONGEST = 128


def check_object_id(given: Any) -> str:
    """Return the id of an object. Raises ValueError."""
    if given is None:
        raise ValueError("is required")
    if not isinstance(given, str) or not 1 <= len(given) <= OBJECT_LONGEST or not given.isprintable():
        raise ValueError(f"must be a string of 1 to {OBJECT_LONGEST} printable characters")
    return given


class ObjectRow(Row):
    """What an object is called."""

    object_id: Annotated[str, BeforeValidator(check_object_id)]
    name: FilledText
    alias: Text = ""


@dataclass(frozen=True, slots=True)
class MaintainedObject:
    """An object that has a name."""

    object_id: str
    organization_id: str
    name: str
    alias: str
    updated_at: datetime


class ObjectService:
    """Use cases on the registry, inside the caller's transaction.

    :param projects: the organisations that the caller's token may see, None for all
    """

    def __init__(
        self, connection: Connection, *, projects: Sequence[str] | None, clock: Clock = maintenance_clock
    ) -> None:
        self.projects = projects
        self.clock = clock
        self.repository = _ObjectRepository(connection)

    async def put(self, rows: Sequence[ObjectRow], organization_id: str | None = None) -> Tally:
        """Name objects or name them anew; tasks that are open keep the names that they were noticed under.

        :raises InvalidRowsError: an object stands in several rows
        :raises InvalidInputError, NotFoundError: see `owner`
        """
        organization = owner(self.projects, organization_id)
        problems = Problems()
        refuse_twice(problems, "object_id", [row.object_id for row in rows])
        problems.check()
        created = await self.repository.put_objects(organization, rows, self.clock())
        return tally(len(rows), created)

    async def list_objects(
        self, *, organization_id: str | None, after: tuple[str, str], limit: int
    ) -> list[MaintainedObject]:
        """Return objects by organisation and id."""
        return await self.repository.list_objects(self.projects, organization_id, after, limit)


class _ObjectRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits."""

    async def put_objects(self, organization_id: str, rows: Sequence[ObjectRow], now: datetime) -> list[bool]:
        """Return of each row that changed whether it is new."""
        items = orjson.dumps([row.model_dump() for row in rows]).decode()
        found = await self._rows(queries.put_objects, organization_id=organization_id, items=items, now=now)
        return [row["created"] for row in found]

    async def list_objects(
        self,
        projects: Sequence[str] | None,
        organization_id: str | None,
        after: tuple[str, str],
        limit: int,
    ) -> list[MaintainedObject]:
        rows = await self._rows(
            queries.list_objects,
            projects=None if projects is None else list(projects),
            organization_id=organization_id,
            after_organization=after[0],
            after=after[1],
            limit=limit,
        )
        return [MaintainedObject(**row) for row in rows]
