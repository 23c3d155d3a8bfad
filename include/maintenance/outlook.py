"""What will be due: object by object, and as a calendar of all projects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import takewhile
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from include.kit.clock import Clock
from include.kit.db import Connection, Repository
from include.kit.sql import load_queries
from include.maintenance.clock import maintenance_clock
from include.maintenance.cycles import shift, start_of
from include.maintenance.model import NATURAL, Project
from include.maintenance.projects import ProjectService

queries = load_queries(__file__, "outlook_queries.sql")

MONTHS_MOST: Final = 12
#: Moments that are told of an object at most: a cycle of hours has 8,784 in a year.
POINTS_MOST: Final = 400
#: Entries of a calendar, and names of objects in each.
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
    ) -> list[Outlook]:
        """Return what will be due of the objects of a project, in its order, until months from now.

        :raises NotFoundError, InvalidInputError: see `ProjectService.find`
        """
        service = ProjectService(self.connection, projects=self.projects)
        project = await service.find(uid, organization_id)
        now = self.clock()
        until = shift(now, months, "月", ZoneInfo(project.timezone))
        rows = await self.repository.list_outlook(project.id, now=now, after=after, limit=limit)
        following = _Following(until)
        return [
            Outlook(**values, following=following.of(project, base, passed, values, now))
            for values, base, passed in rows
        ]

    async def calendar(
        self, *, uid: str | None = None, organization_id: str | None = None
    ) -> list[CalendarEntry]:
        """Return what is or will be due within a year in active projects, the earliest first."""
        projects = self.projects
        if organization_id is not None:
            projects = [organization_id] if projects is None or organization_id in projects else []
        now = self.clock()
        until = now + timedelta(days=365)
        rows = await self.repository.list_calendar(
            projects=None if projects is None else list(projects),
            uid=uid,
            now=now,
            until=until,
            names=NAMES_MOST,
            limit=ENTRIES_MOST,
        )
        following = _Following(until)
        entries = []
        for values, repeats, base, passed in rows:
            entry = CalendarEntry(**values)
            entries.append(entry)
            if repeats is not None:
                points = following.points(base, passed, repeats, entry.unit, entry.timezone)
                entries += [replace(entry, due_at=point, state=None) for point in points]
        return sorted(entries, key=lambda entry: entry.due_at)[:ENTRIES_MOST]


class _Following:
    """What is due after the next time, until a moment; worked out once for objects that stand alike."""

    def __init__(self, until: datetime) -> None:
        self.until = until
        self.known: dict[tuple[object, ...], list[datetime]] = {}

    def of(
        self, project: Project, base: datetime | None, passed: int, values: Mapping[str, Any], now: datetime
    ) -> list[datetime]:
        if values["due_at"] is None or base is None:
            return []
        if project.cycle_type == NATURAL:
            return self.points(base, passed, int(project.period_num), project.period_unit, project.timezone)
        if not values["daily_growth"]:
            return []
        step = float(project.period_num / values["daily_growth"]) * 86_400
        first = max(now, values["due_at"])
        count = min(POINTS_MOST, int((self.until - first).total_seconds() / step))
        return [first + timedelta(seconds=step * point) for point in range(1, count + 1)]

    def points(self, base: datetime, passed: int, num: int, unit: str, timezone: str) -> list[datetime]:
        """Return the points of a plan after those that passed."""
        zone = ZoneInfo(timezone)
        start = start_of(base, unit, zone)
        key = (start, passed, num, unit, timezone)
        if key not in self.known:
            found = (shift(start, k * num, unit, zone) for k in range(passed + 1, passed + 1 + POINTS_MOST))
            self.known[key] = list(takewhile(lambda moment: moment <= self.until, found))
        return self.known[key]


class _OutlookRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits."""

    async def list_outlook(
        self, project: int, **parameters: Any
    ) -> list[tuple[dict[str, Any], datetime | None, int]]:
        """Return fields of `Outlook`, where the plan begins, and how many points of it passed."""
        rows = [dict(row) for row in await self._rows(queries.list_outlook, project=project, **parameters)]
        return [(row, row.pop("base"), row.pop("passed")) for row in rows]

    async def list_calendar(
        self, **parameters: Any
    ) -> list[tuple[dict[str, Any], int | None, datetime, int]]:
        """Return fields of `CalendarEntry`, the period of what repeats, and the same as above."""
        rows = [dict(row) for row in await self._rows(queries.list_calendar, **parameters)]
        return [(row, row.pop("repeats"), row.pop("base"), row.pop("passed")) for row in rows]
