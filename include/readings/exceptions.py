"""Use cases on the exceptions queue: what could not be billed or believed, until somebody settles it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from include.errors import ConflictError, NotFoundError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection
from include.readings.corrections import CorrectionService, check_reason
from include.readings.model import ExceptionKind, ExceptionRow, ExceptionState
from include.readings.repository import ReadingRepository


class ExceptionService:
    """The use cases, inside the caller's transaction.

    :param projects: the project ids that the caller's token may see, None for all
    :param actor: who asks, for the audit
    """

    def __init__(
        self,
        connection: Connection,
        *,
        projects: Sequence[str] | None = None,
        actor: str | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self.projects = projects
        self.actor = actor
        self.repository = ReadingRepository(connection)
        self.corrections = CorrectionService(connection, projects=projects, actor=actor, clock=clock)

    async def list(
        self,
        project_id: str,
        *,
        state: ExceptionState | None,
        kind: ExceptionKind | None,
        after: int,
        limit: int,
    ) -> list[ExceptionRow]:
        """Return entries of a project in the order they came to be. Raises NotFoundError."""
        if self.projects is not None and project_id not in self.projects:
            raise NotFoundError(f"there is no project {project_id!r}")
        return await self.repository.list_exceptions(
            [project_id], state=state, kind=kind, after=after, limit=limit
        )

    async def resolve(
        self,
        exception_id: int,
        resolution: str,
        *,
        action: Literal["accept", "discard"] | None = None,
    ) -> ExceptionRow:
        """Settle an entry. Of a quarantined reading, `accept` releases and `discard` discards it.

        :raises NotFoundError: no such entry for this caller
        :raises ConflictError: it is settled already, is not about a reading, or the reading does not fit
        """
        check_reason(resolution, "resolution")
        row = await self._find(exception_id)
        if row.state == "resolved":
            raise ConflictError(f"billing exception {exception_id} is resolved already")
        if action is not None:
            if row.reading_id is None:
                raise ConflictError(f"billing exception {exception_id} is not about a reading")
            act = self.corrections.release if action == "accept" else self.corrections.discard
            await act(row.reading_id, resolution)
        now = await self.repository.moment()
        settled = await self.repository.resolve_exception(
            exception_id, resolution=resolution, actor=self.actor, now=now
        )
        if not settled and action is None:
            raise ConflictError(f"billing exception {exception_id} is resolved already")
        return await self._find(exception_id)

    async def _find(self, exception_id: int) -> ExceptionRow:
        rows = await self.repository.list_exceptions(self.projects, id=exception_id)
        if not rows:
            raise NotFoundError(f"there is no billing exception {exception_id}")
        return rows[0]
