"""What all services of metering master data share: a connection, one project, the clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from include.errors import NotFoundError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection
from include.metering.model import LockedPoint, Tally
from include.metering.repository import MeteringRepository
from include.readings.locks import share_readings

T = TypeVar("T")


class ProjectService:
    """Use cases on one project, inside the caller's transaction.

    :param projects: the project ids that the caller's token may see, None for all
    :raises NotFoundError: the project is not one of them
    """

    def __init__(
        self,
        connection: Connection,
        project_id: str,
        *,
        projects: Sequence[str] | None = None,
        clock: Clock = system_clock,
    ) -> None:
        if projects is not None and project_id not in projects:
            raise NotFoundError(f"there is no project {project_id!r}")
        self.connection = connection
        self.project_id = project_id
        self.projects = projects
        self.clock = clock
        self.repository = MeteringRepository(connection, project_id)

    async def share_readings(self) -> None:
        """Hold off cutoffs of billing runs; before any row is locked, so that nobody waits in a circle."""
        await share_readings(self.connection, self.project_id)

    async def lock_point(self, key: str) -> LockedPoint:
        """Lock a service point for a change of what its bills are made of. Raises NotFoundError."""
        await self.share_readings()
        found = await self.repository.lock_service_points([key])
        return require(found.get(key), "service point", key)


def tally(rows: int, created: Sequence[bool]) -> Tally:
    """Return the tally of a number of rows of which those that changed say whether they are new."""
    return Tally(sum(created), len(created) - sum(created), rows - len(created))


def require(found: T | None, what: str, key: object) -> T:
    """Return what was found. Raises NotFoundError where nothing was."""
    if not found:
        raise NotFoundError(f"there is no {what} {key!r}")
    return found
