"""Households: when the occupants of a service point changed, and how many persons lived there.

Pure. Source: docs/billing.md, Words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from include.billing.model import Household, Occupancy

#: Where a stretch ends that nothing ends.
FOREVER: Final = datetime.max.replace(tzinfo=UTC)


def households(occupancies: Iterable[Occupancy]) -> tuple[Household, ...]:
    """Return the stretches with constant occupants, without gaps from the first occupancy to the end of time.

    While nobody lives there, persons are 0 and the generation goes on; it ends when somebody moves in and
    nobody of those who lived there last does any more.
    """
    everybody = tuple(occupancies)
    edges = sorted({edge for one in everybody for edge in (one.valid_from, one.valid_to)})
    if edges and edges[-1] < FOREVER:
        edges.append(FOREVER)
    found: list[Household] = []
    parties: set[int] = set()
    for start, end in pairwise(edges):
        there = [one for one in everybody if one.valid_from <= start < one.valid_to]
        now = {one.party_id for one in there}
        since = start if not found or (now and not now & parties) else found[-1].since
        parties = now or parties
        _append(found, Household(start, end, sum(one.persons for one in there), since))
    return tuple(found)


def _append(found: list[Household], last: Household) -> None:
    """Append a stretch, or lengthen the one before when it is the same household."""
    if found and (found[-1].persons, found[-1].since) == (last.persons, last.since):
        found[-1] = replace(found[-1], valid_to=last.valid_to)
    else:
        found.append(last)


def household_at(stretches: Iterable[Household], moment: datetime) -> Household | None:
    """Return the household at a moment, None before anybody moved in."""
    return next((one for one in stretches if one.valid_from <= moment < one.valid_to), None)
