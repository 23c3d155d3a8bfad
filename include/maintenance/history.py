"""What was planned and what became of it: the history of tasks, and how well plans were kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from include.kit.db import Connection, Database, Repository
from include.kit.export import BOM, csv_text, harmless, snapshot
from include.kit.sql import load_queries
from include.maintenance.model import TaskState
from include.readings.rows import plain
from include.settings import get_settings

queries = load_queries(__file__, "history_queries.sql")

#: Tasks of an export that are in memory.
PIECE: Final = 500

ReportBy = Literal["project", "object", "month"]


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """Which tasks; None: whatever. `start` and `end` are about when they were noticed, `end` exclusive."""

    organization_id: str | None = None
    project: str | None = None
    object_id: str | None = None
    state: TaskState | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A task and what became of it.

    :ivar due_at: as planned; of statistics when it was seen to be due
    :ivar missed: further points of the plan that passed while it was open
    :ivar handle_id: and the rest: of its handle, None where there is none
    """

    id: int
    uid: str
    organization_id: str
    project_id: str
    project_name: str
    object_id: str
    object_name: str
    cycle_type: str
    state: TaskState
    noticed_at: datetime
    due_at: datetime | None
    due_total: Decimal | None
    due_since: datetime | None
    overdue_since: datetime | None
    closed_at: datetime | None
    missed: int
    below_threshold: bool
    handle_id: str | None
    description: str | None
    handler_ids: Sequence[int | str] | None
    handler_names: Sequence[str] | None
    fee: Decimal | None
    result: str | None
    images: Any


@dataclass(frozen=True, slots=True)
class Compliance:
    """How well plans were kept, of one project, object or month.

    :ivar on_time: handled before it was overdue; `late`: after
    :ivar overdue: and not handled yet; `open`: not overdue yet, or stopped
    :ivar missed: further points of plans that passed while tasks were open
    """

    key: str
    name: str
    planned: int
    on_time: int
    late: int
    ignored: int
    overdue: int
    open: int
    missed: int
    cost: Decimal

    @property
    def rate(self) -> Decimal | None:
        """The share that was handled on time of what is settled, 0 to 1; None: nothing is."""
        settled = self.planned - self.open
        return (Decimal(self.on_time) / settled).quantize(Decimal("0.0001")) if settled else None


class HistoryService:
    """The use cases, inside the caller's transaction.

    :param projects: the organisations that the caller's token may see, None for all
    """

    def __init__(self, connection: Connection, *, projects: Sequence[str] | None) -> None:
        self.repository = _HistoryRepository(
            connection, {"projects": None if projects is None else list(projects)}
        )

    async def occurrences(
        self, wanted: HistoryFilter, *, before: tuple[datetime, int] | None, limit: int
    ) -> list[Occurrence]:
        """Return tasks with what became of them, the newest first."""
        return await self.repository.list_history(wanted, before, limit)

    async def compliance(
        self,
        by: ReportBy,
        start: datetime,
        end: datetime,
        *,
        organization_id: str | None = None,
        project: str | None = None,
        after: str,
        limit: int,
    ) -> list[Compliance]:
        """Return how well was kept what was due from `start` until before `end`, by keys."""
        return await self.repository.report_compliance(
            by=by,
            start=start,
            end=end,
            organization_id=organization_id,
            project=project,
            zone=get_settings().timezone,
            after=after,
            limit=limit,
        )


#: In this order; docs/maintenance.md says what they are.
COLUMNS: Final = (
    "uid", "organization_id", "project_id", "project_name", "object_id", "object_name", "cycle_type", "state",
    "noticed_at", "due_at", "due_since", "overdue_since", "closed_at", "missed", "handle_id", "handler_names",
    "fee", "result", "description",
)  # fmt: skip


async def export_history(
    database: Database, wanted: HistoryFilter, *, projects: Sequence[str] | None, bom: bool = False
) -> AsyncGenerator[str, None]:
    """Yield the CSV of tasks, the newest first, piece by piece; the first is the head.

    Moments are by the clocks of CARILLON_TIMEZONE.

    :raises DatabaseUnavailableError: the database is away
    """
    zone = ZoneInfo(get_settings().timezone)
    async with snapshot(database) as connection:
        service = HistoryService(connection, projects=projects)
        yield (BOM if bom else "") + csv_text([COLUMNS])
        before: tuple[datetime, int] | None = None
        while tasks := await service.occurrences(wanted, before=before, limit=PIECE):
            yield csv_text(_cells(task, zone) for task in tasks)
            before = tasks[-1].noticed_at, tasks[-1].id


def _cells(task: Occurrence, zone: ZoneInfo) -> list[str]:
    values = asdict(task)
    return [_cell(values[name], zone) for name in COLUMNS]


def _cell(value: Any, zone: ZoneInfo) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return value.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
        case Decimal():
            return plain(value)
        case list() | tuple():
            return harmless(", ".join(map(str, value)))
        case _:
            return harmless(str(value))


class _HistoryRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits."""

    async def list_history(
        self, wanted: HistoryFilter, before: tuple[datetime, int] | None, limit: int
    ) -> list[Occurrence]:
        before_at, before_id = before or (None, None)
        rows = await self._rows(
            queries.list_history, **asdict(wanted), before_at=before_at, before_id=before_id, limit=limit
        )
        return [Occurrence(**row) for row in rows]

    async def report_compliance(self, **parameters: Any) -> list[Compliance]:
        rows = await self._rows(queries.report_compliance, **parameters)
        return [Compliance(**{**row, "missed": int(row["missed"])}) for row in rows]
