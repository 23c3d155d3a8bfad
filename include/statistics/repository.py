"""The statements on statistics: the only caller of this domain's `queries.sql`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from include.kit.db import Repository
from include.kit.sql import load_queries
from include.statistics.model import ObjectValue, Sample, Statistic, StatisticKind

queries = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Touched:
    """An object whose samples were changed.

    :ivar since: the first moment that was
    :ivar known_at: of its last sample before, None: it had none
    """

    object_id: str
    since: datetime
    known_at: datetime | None
    known_total: Decimal | None

    @property
    def corrected(self) -> bool:
        """Whether what was counted may be less than it was, or what is due another."""
        return self.known_at is not None and self.since <= self.known_at


@dataclass(frozen=True, slots=True)
class Anchored:
    """A state whose anchor a change of samples reaches.

    :ivar total: what was counted by its anchor before the change
    """

    definition_id: int
    object_id: str
    total: Decimal


class StatisticRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits."""

    async def put_statistic(
        self, organization_id: str, uid: str, *, name: str, unit: str, kind: StatisticKind, now: datetime
    ) -> bool:
        """Return whether it is new."""
        [row] = await self._rows(
            queries.put_statistic,
            organization_id=organization_id,
            uid=uid,
            name=name,
            unit=unit,
            kind=kind,
            now=now,
        )
        return bool(row["created"])

    async def find_statistics(
        self, uid: str, projects: Sequence[str] | None, organization_id: str | None
    ) -> list[Statistic]:
        rows = await self._rows(
            queries.find_statistics, uid=uid, projects=_list(projects), organization_id=organization_id
        )
        return [Statistic(**row) for row in rows]

    async def lock_statistic(self, id: int) -> Statistic | None:
        rows = await self._rows(queries.lock_statistic, id=id)
        return Statistic(**rows[0]) if rows else None

    async def list_statistics(
        self, projects: Sequence[str] | None, *, organization_id: str | None, after: int, limit: int
    ) -> list[Statistic]:
        rows = await self._rows(
            queries.list_statistics,
            projects=_list(projects),
            organization_id=organization_id,
            after=after,
            limit=limit,
        )
        return [Statistic(**row) for row in rows]

    async def has_samples(self, id: int) -> bool:
        [row] = await self._rows(queries.has_samples, id=id)
        return bool(row["found"])

    async def project_that_counts(self, statistic: Statistic) -> str | None:
        """Return the uid of a project that is due by a statistic."""
        rows = await self._rows(
            queries.project_that_counts, uid=statistic.uid, organization_id=statistic.organization_id
        )
        return rows[0]["uid"] if rows else None

    async def delete_statistic(self, id: int) -> None:
        await self._run(queries.delete_statistic, id=id)

    async def other_values(
        self, id: int, samples: Sequence[tuple[str, datetime, Decimal]]
    ) -> list[tuple[int, Decimal]]:
        """Return (place, stored value) of the samples that are stored with another value; places from 0."""
        rows = await self._rows(queries.other_values, id=id, **_columns(samples))
        return [(row["row"] - 1, row["value"]) for row in rows]

    async def delete_sample(self, id: int, object_id: str, at: datetime) -> bool:
        """Return whether it was there."""
        return await self._run(queries.delete_sample, id=id, object_id=object_id, at=at) > 0

    async def store_samples(
        self, id: int, kind: StatisticKind, samples: Sequence[tuple[str, datetime, Decimal | None]]
    ) -> list[tuple[bool, bool]]:
        """Return of each sample that was written whether it is new, and whether the counter began anew."""
        rows = await self._rows(queries.store_samples, id=id, kind=kind, **_columns(samples))
        return [(row["created"], row["reset"]) for row in rows]

    async def put_values(self, id: int, since: Mapping[str, datetime]) -> list[Touched]:
        """Work out anew where objects stand.

        :param since: of each the first moment at which a sample was changed
        """
        object_ids = list(since)
        gone = await self._rows(queries.forget_values, id=id, object_ids=object_ids)
        rows = await self._rows(queries.put_values, id=id, object_ids=object_ids)
        touched = [Touched(row["object_id"], since[row["object_id"]], None, None) for row in gone]
        touched += [
            Touched(row["object_id"], since[row["object_id"]], row["known_at"], row["known_total"])
            for row in rows
        ]
        return touched

    async def lock_anchors(self, statistic: Statistic, since: Mapping[str, datetime]) -> list[Anchored]:
        rows = await self._rows(
            queries.lock_anchors,
            id=statistic.id,
            uid=statistic.uid,
            organization_id=statistic.organization_id,
            object_ids=list(since),
            sinces=list(since.values()),
        )
        return [Anchored(**row) for row in rows]

    async def move_anchors(self, id: int, anchors: Sequence[Anchored]) -> None:
        await self._run(
            queries.move_anchors,
            id=id,
            definitions=[one.definition_id for one in anchors],
            object_ids=[one.object_id for one in anchors],
            totals=[one.total for one in anchors],
        )

    async def count_crossings(self, statistic: Statistic, touched: Sequence[Touched]) -> int:
        [row] = await self._rows(
            queries.count_crossings,
            id=statistic.id,
            uid=statistic.uid,
            organization_id=statistic.organization_id,
            unit=statistic.unit,
            object_ids=[one.object_id for one in touched],
            corrected=[one.corrected for one in touched],
            known=[one.known_total for one in touched],
        )
        return int(row["count"])

    async def list_samples(
        self,
        id: int,
        object_id: str,
        *,
        start: datetime | None,
        end: datetime | None,
        before: datetime | None,
        limit: int,
    ) -> list[Sample]:
        rows = await self._rows(
            queries.list_samples,
            id=id,
            object_id=object_id,
            start=start,
            end=end,
            before=before,
            limit=limit,
        )
        return [Sample(**row) for row in rows]

    async def list_values(self, id: int, *, after: str, limit: int) -> list[ObjectValue]:
        rows = await self._rows(queries.list_values, id=id, after=after, limit=limit)
        return [ObjectValue(**row) for row in rows]


def _list(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else list(names)


def _columns(samples: Sequence[tuple[str, datetime, Any]]) -> dict[str, list[Any]]:
    return {
        "object_ids": [one[0] for one in samples],
        "ats": [one[1] for one in samples],
        "values": [one[2] for one in samples],
    }
