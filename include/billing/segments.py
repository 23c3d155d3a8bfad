"""Segments: the stretches of a period within which nothing changes that a price depends on.

Pure. Source: docs/billing.md, Periods and Price (the scope of a year).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from include.billing.households import household_at
from include.billing.model import Facts, Household, Installation, Period, TariffSpan, TariffVersion
from include.billing.periods import part, year_start

# A local year is that of UTC as long as a moment keeps this far from its ends.
_MARGIN: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a bill with one tariff version, one year, one household.

    :ivar months: its part of the months of the period; `coverage` likewise, both 10 decimals
    :ivar persons: who live there, 0 where nobody is known
    :ivar scope_start: from when on a year counts: 1 January or, where the version resets, the last change of
        occupants
    """

    index: int
    start: datetime
    end: datetime
    version: TariffVersion
    months: Decimal
    coverage: Decimal
    persons: int
    scope_start: datetime


def segments(facts: Facts, period: Period) -> tuple[Segment, ...]:
    """Return the segments of a period, the earliest first; none where there is no meter or no tariff."""
    zone = facts.rules.zone
    stretches = [
        (span.version, start, end)
        for served_from, served_to in served(facts.installations, period.start, period.end)
        for span in tariff_in(facts.tariff, served_from, served_to)
        for start, end in pairwise(_edges(span, facts.households, zone))
    ]
    return tuple(
        _segment(index, version, start, end, facts.households, period, zone)
        for index, (version, start, end) in enumerate(stretches)
    )


def served(
    installations: Iterable[Installation], start: datetime, end: datetime
) -> list[tuple[datetime, datetime]]:
    """Return the stretches of `[start, end)` with a meter; meters that follow each other at once are one."""
    found: list[tuple[datetime, datetime]] = []
    for one in sorted(installations, key=lambda one: one.valid_from):
        valid_from, valid_to = max(one.valid_from, start), min(one.valid_to, end)
        if valid_from >= valid_to:
            continue
        if found and found[-1][1] == valid_from:
            valid_from = found.pop()[0]
        found.append((valid_from, valid_to))
    return found


def tariff_in(tariff: Iterable[TariffSpan], start: datetime, end: datetime) -> list[TariffSpan]:
    """Return the tariff of a stretch, clipped to it; spans of one version that touch are one."""
    found: list[TariffSpan] = []
    for span in tariff:
        valid_from, valid_to = max(span.valid_from, start), min(span.valid_to, end)
        if valid_from >= valid_to:
            continue
        if found and found[-1].version.id == span.version.id and found[-1].valid_to == valid_from:
            valid_from = found.pop().valid_from
        found.append(TariffSpan(span.version, valid_from, valid_to))
    return found


def first_without_tariff(tariff: Sequence[TariffSpan], start: datetime, end: datetime) -> datetime | None:
    """Return the first moment of a stretch without a tariff version, None when there is one all the time."""
    for span in tariff_in(tariff, start, end):
        if span.valid_from > start:
            break
        start = span.valid_to
    return start if start < end else None


def _edges(span: TariffSpan, households: Sequence[Household], zone: ZoneInfo) -> list[datetime]:
    """Return where a stretch of one version begins, is cut, and ends."""
    start, end, version = span.valid_from, span.valid_to, span.version
    cuts = set(_new_years(start, end, zone))
    persons = 0
    for household in households:
        at = household.valid_from
        if (version.on_occupant_change == "RESET" and household.since == at) or (
            version.counts_persons and household.persons != persons
        ):
            cuts.add(at)
        persons = household.persons
    return [start, *sorted(cut for cut in cuts if start < cut < end), end]


def _new_years(start: datetime, end: datetime, zone: ZoneInfo) -> list[datetime]:
    if (start - _MARGIN).year == (end + _MARGIN).year:
        return []
    years = range(1, end.astimezone(zone).year - start.astimezone(zone).year + 1)
    return [year_start(start, zone, year) for year in years]


def _segment(
    index: int,
    version: TariffVersion,
    start: datetime,
    end: datetime,
    households: Sequence[Household],
    period: Period,
    zone: ZoneInfo,
) -> Segment:
    household = household_at(households, start)
    scope_start = year_start(start, zone)
    if household is not None and version.on_occupant_change == "RESET":
        scope_start = max(scope_start, household.since)
    return Segment(
        index,
        start,
        end,
        version,
        part(period.months, start, end, period),
        part(period.coverage, start, end, period),
        household.persons if household is not None else 0,
        scope_start,
    )
