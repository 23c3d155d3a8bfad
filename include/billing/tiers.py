"""Tiers: what a frame makes of their limits, and what of a quantity falls to each.

Pure. Source: docs/billing.md, Price.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from include.billing.exact import exact, six, ten
from include.billing.households import household_at
from include.billing.model import ZERO, Household, Kind, Period, Tier
from include.billing.periods import part
from include.billing.segments import Segment

_ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True)
class TierPart:
    """What of a quantity lies within a tier."""

    tier: Tier
    quantity: Decimal


@exact
def limits(
    segment: Segment, period: Period, households: Sequence[Household], zone: ZoneInfo
) -> tuple[Decimal | None, ...]:
    """Return the upper limits of the tiers in a segment, 6 decimals; the last is open whatever it says."""
    version = segment.version
    factor, person_months = _scale(segment, period, households, zone)
    scaled = [
        six(tier.upper_limit * factor + tier.persons_step * person_months)
        if tier.upper_limit is not None
        else None
        for tier in version.tiers
    ]
    return (*scaled[:-1], *([None] if scaled else []))


@exact
def slices(
    tiers: Sequence[Tier], upper: Sequence[Decimal | None], before: Decimal, quantity: Decimal
) -> list[TierPart]:
    """Return what of `(before, before + quantity]` lies within each tier that has any of it."""
    found, reached, end = [], before, before + quantity
    for tier, limit in zip(tiers, upper, strict=True):
        until = end if limit is None else min(limit, end)
        if until > reached:
            found.append(TierPart(tier, until - reached))
            reached = until
    return found


@exact
def split_by_kind(quantity: Decimal, kinds: Mapping[Kind, Decimal]) -> list[tuple[Kind, Decimal]]:
    """Split the quantity of a tier over kinds in proportion, 6 decimals each, adding up to it.

    :param kinds: the quantities of a segment by kind, in their order; not all 0
    """
    whole = sum(kinds.values(), ZERO)
    found, so_far, shared = [], ZERO, ZERO
    for kind, of_kind in kinds.items():
        so_far += of_kind
        reached = six(quantity * so_far / whole)
        if reached != shared:
            found.append((kind, reached - shared))
            shared = reached
    return found


def _scale(
    segment: Segment, period: Period, households: Sequence[Household], zone: ZoneInfo
) -> tuple[Decimal, Decimal]:
    """Return by what a limit is multiplied, and the months of persons above the base, a person each."""
    version = segment.version
    if version.frame == "YEAR":
        scope = segment.scope_start.astimezone(zone)
        extra = _extra_of_year(segment, scope, households, zone) if version.counts_persons else ZERO
        return ten(Decimal(13 - scope.month) / 12), extra
    extra = _extra(segment.persons, segment) * segment.months
    if version.frame == "MONTH":
        return segment.months, extra
    return part(_ONE, segment.start, segment.end, period), extra


def _extra(persons: int, segment: Segment) -> Decimal:
    return Decimal(max(0, persons - segment.version.persons_base))


def _extra_of_year(
    segment: Segment, scope: datetime, households: Sequence[Household], zone: ZoneInfo
) -> Decimal:
    """Return the persons above the base, summed over the months of the scope."""
    extra = ZERO
    for month in range(scope.month, 13):
        begin = datetime(scope.year, month, 1, tzinfo=zone)
        if begin > segment.start:
            persons = segment.persons
        else:
            household = household_at(households, max(begin, segment.scope_start))
            persons = household.persons if household is not None else 0
        extra += _extra(persons, segment)
    return extra
