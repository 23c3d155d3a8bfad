"""Use cases on statistics: what is counted of objects, and what maintenance makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from include.errors import ConflictError, ConflictingRowsError, InvalidInputError, NotFoundError, RowProblem
from include.kit.clock import Clock
from include.kit.db import Connection
from include.maintenance.clock import maintenance_clock
from include.maintenance.organizations import only, owner
from include.readings.rows import plain
from include.settings import get_settings
from include.statistics.model import (
    ON_DUPLICATE,
    ROWS_MOST,
    ObjectValue,
    OnDuplicate,
    Sample,
    SampleReport,
    Statistic,
    StatisticKind,
)
from include.statistics.repository import StatisticRepository
from include.statistics.rows import read_samples


class StatisticService:
    """The use cases, inside the caller's transaction.

    :param projects: the organisations that the caller's token may see, None for all; a statistic of another
        one is not found
    """

    def __init__(
        self, connection: Connection, *, projects: Sequence[str] | None, clock: Clock = maintenance_clock
    ) -> None:
        self.projects = projects
        self.clock = clock
        self.repository = StatisticRepository(connection)

    async def put(
        self, uid: str, *, name: str, unit: str, kind: StatisticKind, organization_id: str | None = None
    ) -> tuple[bool, Statistic]:
        """Make a statistic or change it; returns whether it is new.

        :raises ConflictError: there are samples, which another kind would make another sense of
        :raises InvalidInputError, NotFoundError: see `owner`
        """
        organization = owner(self.projects, organization_id)
        for known in await self.repository.find_statistics(uid, None, organization):
            await self.repository.lock_statistic(known.id)
            if kind != known.kind and await self.repository.has_samples(known.id):
                raise ConflictError(f"has samples as {known.kind}", field="kind")
        new = await self.repository.put_statistic(
            organization, uid, name=name, unit=unit, kind=kind, now=self.clock()
        )
        return new, await self.find(uid, organization)

    async def find(self, uid: str, organization_id: str | None = None) -> Statistic:
        """Return a statistic. Raises NotFoundError, InvalidInputError: see `only`."""
        found = await self.repository.find_statistics(uid, self.projects, organization_id)
        return only(found, "statistic", uid)

    async def list_statistics(
        self, *, organization_id: str | None, after: int, limit: int
    ) -> list[Statistic]:
        """Return statistics, the oldest first."""
        return await self.repository.list_statistics(
            self.projects, organization_id=organization_id, after=after, limit=limit
        )

    async def delete(self, uid: str, organization_id: str | None = None) -> None:
        """Delete a statistic with its samples.

        :raises NotFoundError: no such statistic
        :raises ConflictError: a project is due by it
        """
        statistic = await self._locked(uid, organization_id)
        project = await self.repository.project_that_counts(statistic)
        if project is not None:
            raise ConflictError(f"the maintenance project {project!r} is due by it")
        await self.repository.delete_statistic(statistic.id)

    async def add_samples(
        self,
        uid: str,
        rows: Sequence[Any],
        *,
        on_duplicate: OnDuplicate = "reject",
        organization_id: str | None = None,
    ) -> SampleReport:
        """Store samples, all or none, in whatever order they come.

        :param rows: objects with `object_id`, `at` and `value`
        :param on_duplicate: `replace`: a value stands for the one that is stored of its moment
        :raises InvalidInputError: too many rows
        :raises InvalidRowsError: names each row that cannot be used
        :raises ConflictingRowsError: names each row whose object has another value at that moment
        """
        if len(rows) > ROWS_MOST:
            raise InvalidInputError(f"must have at most {ROWS_MOST:,} entries", field="rows")
        if on_duplicate not in ON_DUPLICATE:
            raise InvalidInputError(f"must be one of {', '.join(ON_DUPLICATE)}", field="on_duplicate")
        zone = ZoneInfo(get_settings().timezone)
        new, repeated = read_samples(rows, zone=zone, now=self.clock())
        statistic = await self._locked(uid, organization_id)
        samples = [(one.object_id, one.at, one.value) for one in new]
        others = await self.repository.other_values(statistic.id, samples)
        if others and on_duplicate == "reject":
            raise ConflictingRowsError(
                [RowProblem("at", f"has the value {plain(was)}", new[place].row + 1) for place, was in others]
            )
        created, resets, crossed = await self._store(statistic, samples)
        unchanged = repeated + len(new) - created - len(others)
        return SampleReport(created, len(others), unchanged, resets, crossed)

    async def delete_sample(
        self, uid: str, object_id: str, at: datetime, organization_id: str | None = None
    ) -> SampleReport:
        """Have a sample count no more.

        :raises NotFoundError: no such statistic or sample
        """
        statistic = await self._locked(uid, organization_id)
        if not await self.repository.delete_sample(statistic.id, object_id, at):
            raise NotFoundError(f"object {object_id!r} has no sample at {at.isoformat()}")
        _, resets, crossed = await self._store(statistic, [(object_id, at, None)])
        return SampleReport(corrected=1, resets=resets, crossed=crossed)

    async def samples(
        self,
        uid: str,
        object_id: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        before: datetime | None = None,
        limit: int,
        organization_id: str | None = None,
    ) -> list[Sample]:
        """Return the samples of an object from `start` until before `end`, the newest first."""
        statistic = await self.find(uid, organization_id)
        return await self.repository.list_samples(
            statistic.id, object_id, start=start, end=end, before=before, limit=limit
        )

    async def values(
        self, uid: str, *, after: str, limit: int, organization_id: str | None = None
    ) -> list[ObjectValue]:
        """Return where objects stand, by their ids."""
        statistic = await self.find(uid, organization_id)
        return await self.repository.list_values(statistic.id, after=after, limit=limit)

    async def _locked(self, uid: str, organization_id: str | None) -> Statistic:
        """Return a statistic whose samples nobody else changes meanwhile."""
        found = await self.find(uid, organization_id)
        locked = await self.repository.lock_statistic(found.id)
        return only([locked] if locked else [], "statistic", uid)

    async def _store(
        self, statistic: Statistic, samples: Sequence[tuple[str, datetime, Decimal | None]]
    ) -> tuple[int, int, int]:
        """Return how many samples are new, how many counters began anew, how many states crossed."""
        if not samples:
            return 0, 0, 0
        since: dict[str, datetime] = {}
        for object_id, at, _ in samples:
            since[object_id] = min(at, since.get(object_id, at))
        anchors = await self.repository.lock_anchors(statistic, since)
        written = await self.repository.store_samples(statistic.id, statistic.kind, samples)
        touched = await self.repository.put_values(statistic.id, since)
        if anchors:
            await self.repository.move_anchors(statistic.id, anchors)
        crossed = await self.repository.count_crossings(statistic, touched)
        created = [reset for new, reset in written if new]
        return len(created), sum(created), crossed
