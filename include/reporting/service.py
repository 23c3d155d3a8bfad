"""Use cases of those who look: lists, single rows, explanations, lateness. Nothing here writes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice

from include.cron import CronSchedule, on_weekdays
from include.errors import ConflictError, InvalidInputError, NotFoundError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection
from include.reporting.explain import explain
from include.reporting.model import (
    AttemptRow,
    DefinitionRow,
    ExecutionFilter,
    ExecutionRow,
    Explanation,
    LatenessRow,
    ScheduleRow,
)
from include.reporting.repository import ReportingRepository
from include.schedules.model import ONCE
from include.settings import get_settings

#: The longest time that a lateness histogram may span.
LATENESS_LONGEST = timedelta(days=31)


class ReportingService:
    """The use cases; each list and each single row is one query.

    :param projects: the project ids that the caller's token may see, None for all
    """

    def __init__(
        self, connection: Connection, *, projects: Sequence[str] | None = None, clock: Clock = system_clock
    ) -> None:
        self.repository = ReportingRepository(connection, projects)
        self.clock = clock

    async def schedules(
        self, *, after: int, limit: int, kind: str | None = None, active: bool | None = None
    ) -> list[ScheduleRow]:
        """Return schedules by ascending id, those after the id `after`."""
        return await self.repository.list_schedules(after=after, limit=limit, kind=kind, active=active)

    async def schedule(self, schedule_id: int) -> ScheduleRow:
        """Return a schedule. Raises NotFoundError."""
        found = await self.repository.list_schedules(id=schedule_id)
        if not found:
            raise NotFoundError(f"there is no schedule {schedule_id}")
        return found[0]

    async def definitions(self, schedule_id: int, *, after: int, limit: int) -> list[DefinitionRow]:
        """Return the definitions that hang on a schedule by ascending id, those after the id `after`."""
        return await self.repository.list_definitions(schedule_id=schedule_id, after=after, limit=limit)

    async def definition(self, definition_id: int, *, deleted: bool = False) -> DefinitionRow:
        """Return a definition, a deleted one too if asked. Raises NotFoundError."""
        found = await self.repository.list_definitions(id=definition_id, deleted=deleted)
        if not found:
            raise NotFoundError(f"there is no definition {definition_id}")
        return found[0]

    async def definition_named(self, name: str) -> DefinitionRow:
        """Return the definition with this name; where only deleted ones have it, the newest of those.

        :raises NotFoundError: nothing has this name
        :raises ConflictError: several have it, in other projects or of other kinds
        """
        found = await self.repository.find_named(name)
        if not found:
            raise NotFoundError(f"there is no definition named {name!r}")
        live = [row for row in found if row["deleted_at"] is None]
        if len(live) > 1:
            listed = ", ".join(
                f"{row['id']} ({row['kind']}, project {row['project_id'] or 'none'})" for row in live
            )
            raise ConflictError(f"several definitions are named {name!r}: ask for one by its id: {listed}")
        return await self.definition(found[0]["id"], deleted=True)

    async def executions(
        self, conditions: ExecutionFilter, *, before: tuple[datetime, int] | None, limit: int
    ) -> list[ExecutionRow]:
        """Return executions by descending (due_at, id), those before the pair `before`."""
        return await self.repository.list_executions(conditions, before=before, limit=limit)

    async def execution(self, execution_id: int, due_at: datetime | None = None) -> ExecutionRow:
        """Return an execution; with `due_at` (aware) only one partition is looked into.

        :raises NotFoundError: no such execution for this caller
        """
        until = None if due_at is None else due_at + timedelta(microseconds=1)
        found = await self.repository.list_executions(
            ExecutionFilter(due_from=due_at, due_to=until), id=execution_id
        )
        if not found:
            raise NotFoundError(f"there is no execution {execution_id}")
        return found[0]

    async def attempts(self, execution_id: int) -> list[AttemptRow]:
        """Return the attempts of an execution, the first one first. Raises NotFoundError."""
        found = await self.repository.list_attempts(execution_id)
        if found is None:
            raise NotFoundError(f"there is no execution {execution_id}")
        return found

    async def explain(self, definition_id: int, at: datetime) -> Explanation:
        """Say why a definition, a deleted one too, did or did not fire at `at` (aware).

        :raises NotFoundError: no such definition for this caller
        """
        definition = await self.definition(definition_id, deleted=True)
        execution = await self.repository.find_answer(definition_id, at)
        # Billing is planned once it is due.
        lead = timedelta(
            seconds=0 if definition.kind in ("billing", "maintenance") else get_settings().lead_seconds
        )
        return explain(definition, execution, at, now=self.clock(), lead=lead)

    async def lateness(
        self, *, due_from: datetime, due_to: datetime, kind: str | None = None
    ) -> list[LatenessRow]:
        """Return how late the scheduled executions due in `[due_from, due_to)` began, by kind.

        :raises InvalidInputError: names `to`: before `from`, or more than 31 days after it
        """
        if not timedelta(0) < due_to - due_from <= LATENESS_LONGEST:
            raise InvalidInputError("must lie after `from`, by 31 days at the most", field="to")
        return await self.repository.lateness(due_from=due_from, due_to=due_to, kind=kind)


def next_instants(schedule: ScheduleRow, now: datetime, count: int) -> list[datetime]:
    """Return when an active schedule has something due next (UTC); one-shots have no such instants."""
    if not schedule.active or schedule.expression == ONCE:
        return []
    cron = CronSchedule.from_canonical(schedule.expression, schedule.timezone)
    return list(islice(on_weekdays(cron, cron.iter_after(now), schedule.weekdays), count))
