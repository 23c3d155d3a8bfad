"""Use cases on premises, usage classes and service points.

`put_…` takes rows as one: all are stored or none. Those that say what is stored already change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from include.billing.model import Commodity
from include.metering.model import LockedPoint, Premise, ServicePoint, Tally, UsageClass
from include.metering.problems import Problems, refuse_twice
from include.metering.rows import PointRow, PremiseRow, UsageClassRow
from include.metering.scope import ProjectService, require, tally


class PlaceService(ProjectService):
    """Where commodities are delivered.

    Errors: `InvalidRowsError`, `ConflictingRowsError`, `NotFoundError`.
    """

    async def put_premises(self, rows: Sequence[PremiseRow]) -> Tally:
        """Store premises by key."""
        _check_keys(rows)
        return tally(len(rows), await self.repository.put_premises([row.model_dump() for row in rows]))

    async def find_premise(self, key: str) -> Premise:
        """Return a premise. Raises NotFoundError."""
        return require(await self.repository.find_premise(key), "premise", key)

    async def list_premises(self, *, after: str, limit: int) -> list[Premise]:
        """Return premises by key."""
        return await self.repository.list_premises(after, limit)

    async def delete_premise(self, key: str) -> None:
        """Delete a premise. Raises NotFoundError; ConflictError where it has service points."""
        require(await self.repository.delete_premise(key), "premise", key)

    async def put_usage_classes(self, rows: Sequence[UsageClassRow]) -> Tally:
        """Store usage classes by key."""
        _check_keys(rows)
        return tally(len(rows), await self.repository.put_usage_classes([row.model_dump() for row in rows]))

    async def find_usage_class(self, key: str) -> UsageClass:
        """Return a usage class. Raises NotFoundError."""
        return require(await self.repository.find_usage_class(key), "usage class", key)

    async def list_usage_classes(self, *, after: str, limit: int) -> list[UsageClass]:
        """Return usage classes by key."""
        return await self.repository.list_usage_classes(after, limit)

    async def delete_usage_class(self, key: str) -> None:
        """Delete a usage class. Raises NotFoundError; ConflictError where service points are of it."""
        require(await self.repository.delete_usage_class(key), "usage class", key)

    async def put_service_points(self, rows: Sequence[PointRow]) -> Tally:
        """Store service points by key. The commodity of one that has or had a meter cannot change."""
        _check_keys(rows)
        stored = await self.repository.lock_service_points({row.key for row in rows})
        premises = await self.repository.known_premises({row.premise for row in rows})
        classes = await self.repository.known_usage_classes(
            {row.usage_class for row in rows if row.usage_class}
        )
        problems = Problems()
        for index, row in enumerate(rows):
            if row.premise not in premises:
                problems.refuse(index, "premise", f"there is no premise {row.premise!r}")
            if row.usage_class and row.usage_class not in classes:
                problems.refuse(index, "usage_class", f"there is no usage class {row.usage_class!r}")
            _check_commodity(problems, index, row, stored.get(row.key))
        problems.check()
        return tally(len(rows), await self.repository.put_service_points([row.model_dump() for row in rows]))

    async def find_service_point(self, key: str) -> ServicePoint:
        """Return a service point. Raises NotFoundError."""
        return require(await self.repository.find_service_point(key), "service point", key)

    async def list_service_points(
        self, *, after: str, limit: int, premise: str | None = None, commodity: Commodity | None = None
    ) -> list[ServicePoint]:
        """Return service points by key."""
        return await self.repository.list_service_points(after, limit, premise=premise, commodity=commodity)

    async def delete_service_point(self, key: str) -> None:
        """Delete a service point. Raises NotFoundError; ConflictError where anything hangs on it."""
        require(await self.repository.delete_service_point(key), "service point", key)


def _check_keys(rows: Sequence[PremiseRow | UsageClassRow | PointRow]) -> None:
    problems = Problems()
    refuse_twice(problems, "key", (row.key for row in rows))
    problems.check()


def _check_commodity(problems: Problems, index: int, row: PointRow, stored: LockedPoint | None) -> None:
    if stored and stored.measured and stored.commodity != row.commodity:
        problems.contradict(
            index, "commodity", f"cannot change: a meter of {stored.commodity} is or was there"
        )
