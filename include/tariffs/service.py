"""Use cases on tariffs: keep them, give them versions, assign them, and tell which one holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from include.billing.model import TariffVersion
from include.errors import ConflictError, InvalidInputError, InvalidRowsError, NotFoundError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection
from include.readings.locks import share_readings
from include.tariffs.model import (
    Applied,
    Assignment,
    AssignmentFields,
    EndFields,
    Span,
    Tariff,
    TariffFields,
    VersionFields,
    local_midnight,
    make_version,
    version_problems,
)
from include.tariffs.repository import TariffRepository, load_versions


class TariffService:
    """The use cases of one project, inside the caller's transaction.

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
        self.clock = clock
        self.repository = TariffRepository(connection, project_id)

    async def zone(self) -> ZoneInfo:
        """Return the time zone whose midnights begin versions and assignments."""
        return ZoneInfo(await self.repository.project_timezone())

    async def list_tariffs(self, *, after: str, limit: int) -> list[Tariff]:
        """Return tariffs by key, those after the key `after`."""
        return await self.repository.list_tariffs(after=after, limit=limit)

    async def find_tariff(self, key: str) -> Tariff:
        """Return a tariff. Raises NotFoundError."""
        rows = await self.repository.list_tariffs(key=key)
        if not rows:
            raise NotFoundError(f"there is no tariff {key!r}")
        return rows[0]

    async def put_tariff(self, key: str, fields: TariffFields) -> bool:
        """Make or replace a tariff; returns whether it is new.

        :raises ConflictError: commodity or currency of a tariff that has versions or assignments
        """
        created = await self.repository.put_tariff(key, fields)
        if created is None:
            raise ConflictError("commodity and currency stay: the tariff has versions or assignments")
        return created

    async def add_version(self, key: str, fields: VersionFields) -> TariffVersion:
        """Add what a tariff says from a date on.

        :raises InvalidRowsError: it contradicts itself; names each field
        :raises NotFoundError: no such tariff
        :raises ConflictError: the tariff has a version of that date, or it would hold in billed time
        """
        await self._share_readings()
        tariff = await self.find_tariff(key)
        version = make_version(fields, await self.zone(), tariff_id=tariff.id)
        problems = version_problems(version)
        if problems:
            raise InvalidRowsError(problems)
        version_id = await self.repository.insert_version(version)
        if version_id is None:
            raise ConflictError(
                f"tariff {key!r} has a version from {fields.effective_from.isoformat()} already, and what a"
                " version says never changes",
                field="effective_from",
            )
        spans = await self.repository.spans_of_version(version_id)
        await self._look_again(spans, tariff.commodity, "effective_from", force=fields.force)
        return (await load_versions(self.connection, [tariff.id]))[version_id]

    async def list_versions(self, key: str) -> list[TariffVersion]:
        """Return the versions of a tariff, the earliest first. Raises NotFoundError."""
        tariff = await self.find_tariff(key)
        return list((await load_versions(self.connection, [tariff.id])).values())

    async def assign(self, fields: AssignmentFields) -> Assignment:
        """Have a tariff hold from a date on.

        :raises InvalidInputError: unknown tariff or service point, another commodity, no span
        :raises ConflictError: another one holds within that span, or it is billed
        """
        await self._share_readings()
        rows = await self.repository.list_tariffs(key=fields.tariff)
        if not rows:
            raise InvalidInputError(f"there is no tariff {fields.tariff!r}", field="tariff")
        tariff, point_id = rows[0], await self._assigned_point(fields, rows[0])
        valid_from, valid_to = await self._span(fields.valid_from, fields.valid_to)
        assignment_id = await self.repository.insert_assignment(
            tariff_id=tariff.id,
            service_point_id=point_id,
            commodity=tariff.commodity,
            subtype=fields.subtype,
            valid_from=valid_from,
            valid_to=valid_to,
        )
        if assignment_id is None:
            raise ConflictError("another tariff is assigned within that span: end that assignment first")
        span = Span(point_id, fields.subtype, valid_from, valid_to)
        await self._look_again([span], tariff.commodity, "from", force=fields.force)
        return await self.find_assignment(assignment_id)

    async def list_assignments(
        self, *, tariff: str | None, service_point: str | None, after: int, limit: int
    ) -> list[Assignment]:
        """Return assignments in the order they came to be."""
        return await self.repository.list_assignments(
            tariff=tariff, service_point=service_point, after=after, limit=limit
        )

    async def find_assignment(self, assignment_id: int) -> Assignment:
        """Return an assignment. Raises NotFoundError."""
        rows = await self.repository.list_assignments(id=assignment_id)
        if not rows:
            raise NotFoundError(f"there is no tariff assignment {assignment_id}")
        return rows[0]

    async def end_assignment(self, assignment_id: int, fields: EndFields) -> Assignment:
        """Have an assignment end at a local midnight, or never.

        :raises NotFoundError: no such assignment
        :raises InvalidInputError: it would end before it begins
        :raises ConflictError: another one holds within what would be added to it, or what changes is billed
        """
        await self._share_readings()
        assignment = await self.find_assignment(assignment_id)
        valid_to = None if fields.valid_to is None else local_midnight(fields.valid_to, await self.zone())
        if valid_to is not None and valid_to <= assignment.valid_from:
            raise InvalidInputError("must be after from", field="to")
        if not await self.repository.end_assignment(assignment_id, valid_to):
            raise ConflictError("another tariff is assigned within that span: end that assignment first")
        if valid_to != assignment.valid_to:
            ends = sorted(end for end in (assignment.valid_to, valid_to) if end is not None)
            span = assignment.span(ends[0], ends[1] if len(ends) > 1 else None)
            await self._look_again([span], assignment.commodity, "to", force=fields.force)
        return await self.find_assignment(assignment_id)

    async def delete_assignment(self, assignment_id: int) -> None:
        """Take away an assignment by which no bill was made. Raises NotFoundError, ConflictError."""
        await self._share_readings()
        assignment = await self.find_assignment(assignment_id)
        if not await self.repository.delete_assignment(assignment_id):
            raise ConflictError("there are bills within its span: end it instead")
        span = assignment.span(assignment.valid_from, assignment.valid_to)
        await self.repository.request_rerates([span], assignment.commodity, force=False)

    async def applied(self, service_point: str, at: datetime | None) -> tuple[Applied, TariffVersion]:
        """Return what holds at a service point at a moment, by default now.

        :raises NotFoundError: no such service point, or nothing holds
        """
        point = await self.repository.find_service_point(service_point)
        if point is None:
            raise NotFoundError(f"there is no service point {service_point!r}")
        found = await self.repository.find_applied(point["id"], at or self.clock())
        if found is None:
            raise NotFoundError(f"no tariff holds at service point {service_point!r} then")
        applied, tariff_id = found
        return applied, (await load_versions(self.connection, [tariff_id]))[applied.version_id]

    async def _share_readings(self) -> None:
        """Hold off cutoffs of billing runs; before any row is locked."""
        await share_readings(self.connection, self.repository.project_id)

    async def _look_again(self, spans: Sequence[Span], commodity: str, field: str, *, force: bool) -> None:
        """Have bills within spans looked at again. Raises ConflictError where that is not forced."""
        points, since = await self.repository.request_rerates(spans, commodity, force=force)
        if since is not None and not force:
            first = since.astimezone(await self.zone())
            raise ConflictError(
                f"lies in billed time: bills of {points} service point{'s' * (points > 1)} exist since"
                f" {first.isoformat()}; `force` it to have them looked at again",
                field=field,
            )

    async def _assigned_point(self, fields: AssignmentFields, tariff: Tariff) -> int | None:
        if fields.service_point is None:
            return None
        if fields.subtype is not None:
            raise InvalidInputError("is for defaults: leave it out, or the service point", field="subtype")
        point = await self.repository.find_service_point(fields.service_point)
        if point is None:
            raise InvalidInputError(
                f"there is no service point {fields.service_point!r}", field="service_point"
            )
        if point["commodity"] != tariff.commodity:
            raise InvalidInputError(
                f"tariff {tariff.key!r} is for {tariff.commodity}, the service point is not",
                field="tariff",
            )
        point_id: int = point["id"]
        return point_id

    async def _span(self, first: date, end: date | None) -> tuple[datetime, datetime | None]:
        if end is not None and end <= first:
            raise InvalidInputError("must be after from", field="to")
        zone = await self.zone()
        return local_midnight(first, zone), None if end is None else local_midnight(end, zone)
