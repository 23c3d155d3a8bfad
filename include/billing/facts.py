"""Gathering what bills depend on: the rows of a few statements put together into `Facts`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from include.billing.households import households
from include.billing.model import (
    Facts,
    Installation,
    Occupancy,
    Reading,
    Register,
    TariffSpan,
    TariffVersion,
)
from include.tariffs.repository import load_versions

if TYPE_CHECKING:
    from include.billing.repository import BillingRepository

FOREVER = datetime.max.replace(tzinfo=UTC)
LONG_AGO = datetime.min.replace(tzinfo=UTC)

#: A tariff's id, and from when to when it is assigned.
Assigned = tuple[int, datetime, datetime]

Row = Mapping[str, Any]


async def load_facts(
    repository: BillingRepository, service_point_ids: Sequence[int], cutoff: datetime
) -> dict[int, Facts]:
    """Return the facts of service points by id, as they were known at a cutoff; unknown ids are left out."""
    ids = list(service_point_ids)
    points = await repository.rows_of("facts_of_points", ids=ids)
    projects = {row["project_id"] for row in points}
    rules = {project_id: await repository.load_rules(project_id) for project_id in projects}
    installations = await _installations(repository, ids, cutoff)
    assignments = await repository.rows_of("facts_of_assignments", ids=ids, project_ids=list(projects))
    versions = await _versions(repository, assignments, cutoff)
    occupancies = _by(
        "service_point_id",
        await repository.rows_of("facts_of_occupancies", ids=ids),
        lambda row: Occupancy(**{name: value for name, value in row.items() if name != "service_point_id"}),
    )
    return {
        row["id"]: Facts(
            row["id"],
            rules[row["project_id"]],
            tuple(installations.get(row["id"], ())),
            tuple(_tariff(_assigned(row, assignments), versions)),
            tuple(occupancies.get(row["id"], ())),
            households(occupancies.get(row["id"], ())),
            row["daily_quantity"],
        )
        for row in points
    }


async def _installations(
    repository: BillingRepository, ids: list[int], cutoff: datetime
) -> dict[int, list[Installation]]:
    rows = await repository.rows_of("facts_of_installations", ids=ids)
    meter_ids = list({row["meter_id"] for row in rows})
    registers = _by(
        "meter_id",
        await repository.rows_of("facts_of_registers", meter_ids=meter_ids),
        lambda row: Register(row["id"], row["kind"], row["unit"], row["multiplier"], row["modulus"]),
    )
    readings: dict[tuple[int, int], list[Reading]] = defaultdict(list)
    for row in await repository.rows_of("facts_of_readings", ids=ids, cutoff=cutoff):
        place = (row["installation_id"], row["register_id"])
        readings[place].append(Reading(row["id"], row["read_at"], row["total"]))
    return _by(
        "service_point_id",
        rows,
        lambda row: Installation(
            row["id"],
            row["meter_id"],
            row["device_id"],
            row["valid_from"],
            row["valid_to"],
            tuple(registers.get(row["meter_id"], ())),
            {one.id: tuple(readings[row["id"], one.id]) for one in registers.get(row["meter_id"], ())},
        ),
    )


async def _versions(
    repository: BillingRepository, assignments: Iterable[Row], cutoff: datetime
) -> dict[int, list[TariffVersion]]:
    """Return the versions of each tariff that were recorded by the cutoff, by date."""
    tariff_ids = list({row["tariff_id"] for row in assignments})
    known = {
        row["id"] for row in await repository.rows_of("versions_known", tariff_ids=tariff_ids, cutoff=cutoff)
    }
    versions: dict[int, list[TariffVersion]] = defaultdict(list)
    for version in (await load_versions(repository.connection, tariff_ids)).values():
        if version.id in known:
            versions[version.tariff_id].append(version)
    for of_tariff in versions.values():
        of_tariff.sort(key=lambda version: version.effective_from)
    return versions


def _assigned(point: Row, assignments: Sequence[Row]) -> list[Assigned]:
    """Return what holds for a service point when: its own assignments, between them those of its subtype,
    and between those what holds for all."""
    shared = [
        row
        for row in assignments
        if row["service_point_id"] is None
        and (row["project_id"], row["commodity"]) == (point["project_id"], point["commodity"])
    ]
    layers = [
        [row for row in assignments if row["service_point_id"] == point["id"]],
        [row for row in shared if row["subtype"] is not None and row["subtype"] == point["subtype"]],
        [row for row in shared if row["subtype"] is None],
    ]
    held: list[Assigned] = []
    for layer in layers:
        gaps = _gaps(held)
        held += [
            (row["tariff_id"], max(row["valid_from"], start), min(row["valid_to"], end))
            for row in layer
            for start, end in gaps
            if max(row["valid_from"], start) < min(row["valid_to"], end)
        ]
        held.sort(key=lambda one: one[1])
    return held


def _gaps(held: Sequence[Assigned]) -> list[tuple[datetime, datetime]]:
    edges = [LONG_AGO, *(edge for _, start, end in held for edge in (start, end)), FOREVER]
    return [(edges[n], edges[n + 1]) for n in range(0, len(edges), 2)]


def _tariff(
    assigned: Iterable[Assigned], versions: Mapping[int, Sequence[TariffVersion]]
) -> Iterable[TariffSpan]:
    spans = []
    for tariff_id, start, end in assigned:
        of_tariff = versions.get(tariff_id, ())
        ends = [version.effective_from for version in of_tariff[1:]] + [FOREVER]
        for version, until in zip(of_tariff, ends, strict=True):
            valid_from, valid_to = max(start, version.effective_from), min(end, until)
            if valid_from < valid_to:
                spans.append(TariffSpan(version, valid_from, valid_to))
    return sorted(spans, key=lambda span: span.valid_from)


def _by(key: str, rows: Iterable[Row], build: Callable[[Row], Any]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        found[row[key]].append(build(row))
    return found
