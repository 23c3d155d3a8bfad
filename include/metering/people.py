"""Use cases on parties and on who lives where.

Every change of occupancies writes the households of their service points anew, in the same transaction, and
has the bills looked at again that end after its earliest moment.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import groupby, pairwise
from typing import Any

from include.billing.households import FOREVER, households
from include.billing.model import Occupancy
from include.errors import ConflictError
from include.metering.model import HouseholdRecord, LockedPoint, OccupancyRecord, Party, Tally
from include.metering.problems import Problems, alone, refuse_twice
from include.metering.rows import MoveOutFields, OccupancyFields, OccupancyRow, PartyRow
from include.metering.scope import ProjectService, require, tally
from include.readings.rerates import request_rerates

#: What an occupancy is told from others by.
_SAME = ("service_point_id", "party_id", "moved_in_at")


class PeopleService(ProjectService):
    """Parties and their occupancies. Errors: `InvalidRowsError`, `ConflictingRowsError`, `NotFoundError`."""

    async def put_parties(self, rows: Sequence[PartyRow]) -> Tally:
        """Store parties by key."""
        problems = Problems()
        refuse_twice(problems, "key", (row.key for row in rows))
        problems.check()
        return tally(len(rows), await self.repository.put_parties([row.model_dump() for row in rows]))

    async def find_party(self, key: str) -> Party:
        """Return a party. Raises NotFoundError."""
        return require(await self.repository.find_party(key), "party", key)

    async def list_parties(self, *, after: str, limit: int) -> list[Party]:
        """Return parties by key."""
        return await self.repository.list_parties(after, limit)

    async def delete_party(self, key: str) -> None:
        """Delete a party. Raises NotFoundError; ConflictError where it lives or lived anywhere."""
        require(await self.repository.delete_party(key), "party", key)

    async def put_occupancies(self, rows: Sequence[OccupancyRow], *, ends: bool = True) -> Tally:
        """Store occupancies by service point, party and beginning.

        :param ends: whether one that is there takes the end of its row; otherwise it keeps its own
        """
        problems = Problems()
        refuse_twice(
            problems, "moved_in_at", ((row.service_point, row.party, row.moved_in_at) for row in rows)
        )
        _refuse_overlaps(problems, rows)
        await self.share_readings()
        points = await self.repository.lock_service_points({row.service_point for row in rows})
        parties = await self.repository.party_ids({row.party for row in rows})
        for index, row in enumerate(rows):
            if row.service_point not in points:
                problems.refuse(index, "service_point", f"there is no service point {row.service_point!r}")
            if row.party not in parties:
                problems.refuse(index, "party", f"there is no party {row.party!r}")
        problems.check()
        items = [_item(index, row, points, parties) for index, row in enumerate(rows)]
        return await self._store(items, ends=ends)

    async def move_in(self, service_point: str, fields: OccupancyFields) -> tuple[bool, OccupancyRecord]:
        """Store one occupancy; returns whether it is new, and the occupancy.

        :raises NotFoundError: no such service point
        :raises InvalidInputError: no such party
        :raises ConflictError: the party lives there already in that time
        """
        await self.lock_point(service_point)
        with alone():
            tally = await self.put_occupancies([OccupancyRow(service_point=service_point, **vars(fields))])
        return bool(tally.created), await self._found(service_point, fields.party, fields.moved_in_at)

    async def move_out(self, service_point: str, fields: MoveOutFields) -> OccupancyRecord:
        """End the occupancy that a party has at a moment; doing it again changes nothing.

        :raises NotFoundError: no such service point
        :raises ConflictError: the party does not live there then
        """
        point = await self.lock_point(service_point)
        found = await self.repository.list_occupancies(service_point, 0, None, party=fields.party)
        at = fields.moved_out_at
        for one in found:
            if one.moved_in_at < at and one.moved_out_at in (None, at):
                if one.moved_out_at is None:
                    await self.repository.end_occupancy(one.id, at)
                    await self._changed({point.id: at})
                return await self._found(service_point, fields.party, one.moved_in_at)
        raise ConflictError(f"party {fields.party!r} does not live there at that moment", field="party")

    async def delete_occupancy(self, service_point: str, occupancy_id: int) -> None:
        """Delete an occupancy that was entered by mistake. Raises NotFoundError."""
        point = await self.lock_point(service_point)
        since = await self.repository.delete_occupancy(occupancy_id, point.id)
        await self._changed({point.id: require(since, "occupancy", occupancy_id)})

    async def list_occupancies(self, service_point: str, *, after: int, limit: int) -> list[OccupancyRecord]:
        """Return who lives and lived at a service point, the first entry first. Raises NotFoundError."""
        require(await self.repository.find_service_point(service_point), "service point", service_point)
        return await self.repository.list_occupancies(service_point, after, limit)

    async def list_households(self, service_point: str) -> list[HouseholdRecord]:
        """Return the households of a service point, the first one first. Raises NotFoundError."""
        require(await self.repository.find_service_point(service_point), "service point", service_point)
        return await self.repository.list_households(service_point)

    async def _found(self, service_point: str, party: str, moved_in_at: datetime) -> OccupancyRecord:
        rows = await self.repository.list_occupancies(service_point, 0, None, party=party)
        return next(row for row in rows if row.moved_in_at == moved_in_at)

    async def _store(self, items: Sequence[dict[str, Any]], *, ends: bool) -> Tally:
        if ends:
            await self._check_free(items)
        changed = await self.repository.change_occupancies(items, ends=ends)
        new = [item for item in items if item["row"] not in changed]
        if not ends:
            await self._check_free(new)
        await self.repository.insert_occupancies(new)
        touched: dict[int, datetime] = {}
        for item in items:
            since = changed.get(item["row"], item["moved_in_at"])
            if since is not None:
                point = item["service_point_id"]
                touched[point] = min(since, touched.get(point, since))
        await self._changed(touched)
        unchanged = sum(since is None for since in changed.values())
        return Tally(len(new), len(changed) - unchanged, unchanged)

    async def _check_free(self, items: Sequence[dict[str, Any]]) -> None:
        problems = Problems()
        changing = {tuple(item[name] for name in _SAME) for item in items}
        for other in await self.repository.occupancies_in_the_way(items):
            if tuple(other[name] for name in _SAME) in changing:
                continue
            end = f" to {other['moved_out_at'].isoformat()}" if other["moved_out_at"] else ""
            problems.contradict(
                other["row"], "party", f"lives there from {other['moved_in_at'].isoformat()}{end} already"
            )
        problems.check()

    async def _changed(self, since: Mapping[int, datetime]) -> None:
        """Follow a change of occupancies of service points, each since a moment."""
        if not since:
            return
        await self._write_households(since.keys())
        await request_rerates(self.connection, self.project_id, since)

    async def _write_households(self, service_point_ids: Collection[int]) -> None:
        rows = await self.repository.occupancies_of(service_point_ids)
        items = [
            household
            for point, found in groupby(rows, key=lambda row: row["service_point_id"])
            for household in _households(point, [_occupancy(row) for row in found])
        ]
        await self.repository.delete_households(service_point_ids)
        await self.repository.insert_households(items)


def _households(service_point_id: int, occupancies: Sequence[Occupancy]) -> list[dict[str, Any]]:
    return [
        {
            "service_point_id": service_point_id,
            "valid_from": one.valid_from,
            "valid_to": None if one.valid_to == FOREVER else one.valid_to,
            "persons": one.persons,
            "since": one.since,
        }
        for one in households(occupancies)
    ]


def _occupancy(row: Any) -> Occupancy:
    return Occupancy(
        party_id=row["party_id"],
        name="",
        cellphone="",
        valid_from=row["valid_from"],
        valid_to=row["valid_to"] or FOREVER,
        persons=row["persons"],
        weight=row["weight"],
    )


def _item(
    index: int, row: OccupancyRow, points: dict[str, LockedPoint], parties: dict[str, int]
) -> dict[str, Any]:
    return {
        "row": index,
        "service_point_id": points[row.service_point].id,
        "party_id": parties[row.party],
        "moved_in_at": row.moved_in_at,
        "moved_out_at": row.moved_out_at,
        "persons": row.persons,
        "weight": row.weight,
    }


def _refuse_overlaps(problems: Problems, rows: Sequence[OccupancyRow]) -> None:
    """Refuse rows in which a party lives at a service point twice at a time."""
    order = sorted(
        range(len(rows)), key=lambda i: (rows[i].service_point, rows[i].party, rows[i].moved_in_at)
    )
    for before, after in pairwise(order):
        one, other = rows[before], rows[after]
        if (one.service_point, one.party) != (other.service_point, other.party):
            continue
        if one.moved_in_at < other.moved_in_at < (one.moved_out_at or FOREVER):
            problems.refuse(after, "moved_in_at", f"the party lives there already by row {before + 1}")
