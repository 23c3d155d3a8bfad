"""What will be due: object by object, and as a calendar of all projects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from include.kit.clock import Clock
from include.kit.db import Connection, Repository
from include.kit.sql import load_queries
from include.maintenance.clock import maintenance_clock
from include.maintenance.cycles import shift
from include.maintenance.model import Project
from include.maintenance.projects import ProjectService

queries = load_queries(__file__, "outlook_queries.sql")

MONTHS_MOST: Final = 12
#: Moments that are told of an object at most: a cycle of hours has 8,784 in a year.
POINTS_MOST: Final = 400
#: Entries of a calendar, and names in each.
ENTRIES_MOST, NAMES_MOST = 5000, 10

OutlookState = Literal["not_started", "no_data", "waiting", "noticed", "due", "overdue", "stopped"]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What will be due of an object.

    :ivar due_at: of its open task, else the next time; None: nobody can tell
    :ivar following: after that, as long as it is handled on the day on which it is due
    :ivar grown: since it was handled last, in the unit of the statistic; it is due at `due_growth`
    :ivar counted_at: the moment of the last sample, from which the forecast begins
    """

    object_id: str
    position: int
    name: str
    alias: str
    state: OutlookState
    task_id: str | None
    due_at: datetime | None
    notice_at: datetime | None
    grown: Decimal | None
    due_growth: Decimal | None
    daily_growth: Decimal | None
    counted_at: datetime | None
    following: Sequence[datetime]


@dataclass(frozen=True, slots=True)
class CalendarEntry:
    """Objects of a project that are due together.

    :ivar unit: `小时`: due in the hour that begins then, else on that day
    :ivar names: of the first objects
    """

    uid: str
    organization_id: str
    name: str
    guide: str
    timezone: str
    unit: str
    due_at: datetime
    state: str | None
    objects: int
    names: Sequence[str]


class OutlookService:
    """The use cases, inside the caller's transaction.

    :param projects: the organisations that the caller's token may see, None for all
    """

    def __init__(
        self, connection: Connection, *, projects: Sequence[str] | None, clock: Clock = maintenance_clock
    ) -> None:
        self.connection = connection
        self.projects = projects
        self.clock = clock
        self.repository = _OutlookRepository(connection)

    async def preview(
        self, uid: str, *, months: int, organization_id: str | None = None, after: int, limit: int
    ) -> tuple[Project, list[Outlook]]:
        """Return a project and what will be due of its objects, in its order, until months from now.

        :raises NotFoundError, InvalidInputError: see `ProjectService.find`
        """
        service = ProjectService(self.connection, projects=self.projects)
        project = await service.find(uid, organization_id)
        now = self.clock()
        until = shift(now, months, "月", ZoneInfo(project.timezone))
        outlook = await self.repository.list_outlook(
            project.id, now=now, until=until, points=POINTS_MOST, after=after, limit=limit
        )
        return project, outlook

    async def calendar(
        self, *, uid: str | None = None, organization_id: str | None = None
    ) -> list[CalendarEntry]:
        """Return what is or will be due within a year in active projects, the earliest first."""
        projects = self.projects
        if organization_id is not None:
            projects = [organization_id] if projects is None or organization_id in projects else []
        now = self.clock()
        return await self.repository.list_calendar(
            projects=None if projects is None else list(projects),
            uid=uid,
            now=now,
            until=now + timedelta(days=365),
            points=366,
            names=NAMES_MOST,
            limit=ENTRIES_MOST,
        )


class _OutlookRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits."""

    async def list_outlook(self, project: int, **parameters: Any) -> list[Outlook]:
        rows = await self._rows(queries.list_outlook, project=project, **parameters)
        return [Outlook(**row) for row in rows]

    async def list_calendar(self, **parameters: Any) -> list[CalendarEntry]:
        rows: list[Mapping[str, Any]] = await self._rows(queries.list_calendar, **parameters)
        return [CalendarEntry(**row) for row in rows]
