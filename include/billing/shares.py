"""What of a bill falls to each occupant. Pure. Source: docs/billing.md, Shares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from include.billing.exact import CONTEXT, exact, micros, six
from include.billing.model import Occupancy, Share

ShareKey = Literal["equal", "persons", "weight"]


@exact
def split(
    charge: Decimal, occupancies: Iterable[Occupancy], start: datetime, end: datetime, share_key: ShareKey
) -> tuple[Share, ...]:
    """Split a charge of whole cents among those who lived there in `[start, end)`, by party id.

    The amounts always add up to the charge: cents go to the largest remainders, of equals to the lower id.
    Nobody lived there: nothing.
    """
    there = [one for one in occupancies if one.valid_from < end and one.valid_to > start]
    parties = {one.party_id: one for one in sorted(there, key=lambda one: (one.party_id, one.valid_from))}
    weights: dict[int, Fraction] = {}
    for one in there:
        lived = micros(min(one.valid_to, end) - max(one.valid_from, start))
        weight = weights.get(one.party_id, Fraction()) + _key(one, share_key) * lived / 1_000_000
        weights[one.party_id] = weight
    amounts = _largest_remainder(int(charge.scaleb(2)), weights)
    return tuple(
        Share(id_, one.name, one.cellphone, six(_decimal(weights[id_])), Decimal(amounts[id_]).scaleb(-2))
        for id_, one in parties.items()
    )


def _key(one: Occupancy, share_key: ShareKey) -> Fraction:
    if share_key == "weight":
        return Fraction(one.weight)
    return Fraction(one.persons if share_key == "persons" else 1)


def _largest_remainder(total: int, weights: Mapping[int, Fraction]) -> dict[int, int]:
    if not any(weights.values()):
        weights = dict.fromkeys(weights, Fraction(1))
    whole = sum(weights.values(), Fraction())
    exact_parts = {id_: total * weight / whole for id_, weight in weights.items()}
    amounts = {id_: value.__floor__() for id_, value in exact_parts.items()}
    by_remainder = sorted(exact_parts, key=lambda id_: (amounts[id_] - exact_parts[id_], id_))
    for id_ in by_remainder[: total - sum(amounts.values())]:
        amounts[id_] += 1
    return amounts


def _decimal(value: Fraction) -> Decimal:
    return CONTEXT.divide(Decimal(value.numerator), Decimal(value.denominator))
