"""The statements on `definition` that are the same for every kind: the only caller of `queries.sql`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from include.kit.db import Connection
from include.kit.sql import load_queries
from include.schedules.model import Kind

queries = load_queries(__file__)


@dataclass(frozen=True)
class Switchable:
    """What enabling, disabling and deleting must know of a definition.

    :ivar due_at: one-shots only: their instant, aware UTC
    :ivar spent: one-shots only: the instant is in the ledger
    """

    id: int
    kind: Kind
    schedule_id: int
    enabled: bool
    due_at: datetime | None
    spent: bool


class DefinitionRepository:
    """One method a statement, on a connection whose transaction somebody else commits."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def lock_definition(self, definition_id: int, projects: Sequence[str] | None) -> Switchable | None:
        cursor = await self.connection.execute(
            queries.lock_definition,
            {"id": definition_id, "projects": None if projects is None else list(projects)},
        )
        row = await cursor.fetchone()
        return Switchable(**row) if row else None

    async def switch_definition(self, definition_id: int, *, enabled: bool, now: datetime) -> None:
        await self.connection.execute(
            queries.switch_definition, {"id": definition_id, "enabled": enabled, "now": now}
        )

    async def delete_definition(self, definition_id: int, now: datetime) -> None:
        await self.connection.execute(queries.delete_definition, {"id": definition_id, "now": now})
