"""The price of a bill: its lines, what they add up to, and what is worth knowing about it.

Pure: readings, tariff and occupants come in, a bill goes out. `queries.sql` has the same arithmetic for many
bills at once. Source: docs/billing.md, Price.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final, Literal

from include.billing.exact import cents, exact, six, ten
from include.billing.measurement import Measured, MeasuredSegment, measure, worst
from include.billing.model import (
    ZERO,
    Before,
    Facts,
    FixedCharge,
    Kind,
    Line,
    LineKind,
    Parked,
    Period,
    PricedBill,
    TaxRule,
)
from include.billing.periods import local_days
from include.billing.segments import Segment
from include.billing.tiers import TierPart, limits, slices, split_by_kind

Category = Literal["ENERGY", "FIXED", "MINIMUM"]

#: Taxes are printed in this order.
_CATEGORIES: Final[tuple[Category, ...]] = ("ENERGY", "FIXED", "MINIMUM")
_CATEGORY_OF: Final[dict[LineKind, Category]] = {
    "ENERGY": "ENERGY",
    "TIER": "ENERGY",
    "FIXED": "FIXED",
    "MINIMUM": "MINIMUM",
}
_LONG: Final = Decimal("1.5")
_TWELVE: Final = Decimal("0.000000000001")


@exact
def price(facts: Facts, period: Period, before: Before | None) -> PricedBill | Parked | None:
    """Return the bill of a period, why there is none, or None where there is nothing to bill.

    :param before: the last bill that is not void, None for the first one
    """
    measured = measure(facts, period, before)
    if not isinstance(measured, Measured):
        return measured
    lines = _lines(facts, period, before, measured)
    charge = sum((line.amount for line in lines if not line.included), ZERO)
    unrounded = sum((line.unrounded for line in lines if not line.included), ZERO)
    quantity = sum((one.total for one in measured.segments), ZERO)
    rows = [row for one in measured.segments for row in one.rows]
    return PricedBill(
        meter_id=measured.installation.meter_id,
        device_id=measured.installation.device_id,
        unit=rows[0].register.unit,
        opening=measured.opening,
        closing=measured.closing,
        quantity=quantity,
        charge=cents(charge),
        rounding_delta=(charge - unrounded).quantize(_TWELVE),
        year_quantity=_year_quantity(measured, before),
        estimates_in_a_row=measured.estimates_in_a_row,
        flags=_flags(measured, period, before, lines),
        quantities=tuple(row.quantity for row in rows),
        lines=lines,
    )


def _lines(facts: Facts, period: Period, before: Before | None, measured: Measured) -> tuple[Line, ...]:
    of_segments = []
    for index, one in enumerate(measured.segments):
        counted = _counted_before(measured, index, before)
        energy = [*_energy_lines(one), *_tier_lines(facts, period, one, counted)]
        of_segments.append([*energy, *_fixed_lines(facts, one.segment)])
    lines = [line for of_segment in of_segments for line in of_segment]
    minimum = _minimum_line(period, [one.segment for one in measured.segments], lines)
    taxes: list[Line] = []
    for one, of_segment in zip(measured.segments, of_segments, strict=True):
        taxed = [*of_segment, *minimum] if one is measured.segments[-1] else of_segment
        taxes += _tax_lines(one.segment, taxed)
    return (*lines, *minimum, *taxes)


def _counted_before(measured: Measured, index: int, before: Before | None) -> Decimal:
    """Return what was used in the scope of a segment before it began."""
    scope_start = measured.segments[index].segment.scope_start
    pieces = before.counted if before is not None else ()
    counted = sum((quantity for at, quantity in pieces if at >= scope_start), ZERO)
    earlier = (one for one in measured.segments[:index] if one.segment.start >= scope_start)
    return counted + sum((one.total for one in earlier), ZERO)


def _year_quantity(measured: Measured, before: Before | None) -> Decimal | None:
    last = measured.segments[-1]
    if last.segment.version.frame != "YEAR":
        return None
    return _counted_before(measured, len(measured.segments) - 1, before) + last.total


def _energy_lines(one: MeasuredSegment) -> Iterator[Line]:
    """Price each kind on its own; in mode `ABSOLUTE` the tiers do."""
    version = one.segment.version
    if version.mode == "ABSOLUTE":
        return
    for kind, (quantity, method) in one.by_kind().items():
        if quantity:
            rate = version.tou_prices.get(kind, version.energy_price)
            yield _line(one.segment, "ENERGY", kind, quantity, rate, method)


def _tier_lines(facts: Facts, period: Period, one: MeasuredSegment, counted: Decimal) -> Iterator[Line]:
    if not one.total:
        return
    segment, version = one.segment, one.segment.version
    upper = limits(segment, period, facts.households, facts.rules.zone)
    parts = slices(version.tiers, upper, counted if version.frame == "YEAR" else ZERO, one.total)
    if version.mode == "ABSOLUTE" and version.tou_prices:
        yield from _tiers_by_kind(one, parts)
        return
    method = worst(one.rows)
    for part in parts:
        yield _line(segment, "TIER", "TOTAL", part.quantity, part.tier.price, method, part.tier.ordinal)


def _tiers_by_kind(one: MeasuredSegment, parts: Iterable[TierPart]) -> Iterator[Line]:
    kinds = one.by_kind()
    quantities: dict[Kind, Decimal] = {kind: quantity for kind, (quantity, _) in kinds.items()}
    for part in parts:
        for kind, quantity in split_by_kind(part.quantity, quantities):
            rate = part.tier.kind_prices.get(kind, part.tier.price)
            yield _line(one.segment, "TIER", kind, quantity, rate, kinds[kind][1], part.tier.ordinal)


def _fixed_lines(facts: Facts, segment: Segment) -> Iterator[Line]:
    for charge in segment.version.fixed_charges:
        quantity = _fixed_quantity(facts, segment, charge)
        if quantity:
            yield _line(segment, "FIXED", charge.name, quantity, charge.amount, "days")


def _fixed_quantity(facts: Facts, segment: Segment, charge: FixedCharge) -> Decimal:
    if charge.basis == "DAY":
        return local_days(segment.start, segment.end, facts.rules.zone)
    return six(segment.coverage)


def _minimum_line(period: Period, segments: list[Segment], lines: list[Line]) -> list[Line]:
    """Return what the lines fall short of the minimum charge, if they do."""
    least = cents(sum((one.version.minimum_charge * one.coverage for one in segments), ZERO))
    short = least - sum((line.amount for line in lines), ZERO)
    if short <= 0:
        return []
    version_id = segments[-1].version.id
    return [
        Line(
            "MINIMUM",
            "MINIMUM",
            None,
            Decimal(1),
            short,
            short,
            short,
            False,
            period.start,
            period.end,
            "minimum",
            version_id,
        )
    ]


def _tax_lines(segment: Segment, lines: list[Line]) -> Iterator[Line]:
    rules = {rule.category: rule for rule in segment.version.tax_rules}
    for category in _CATEGORIES:
        taxed = sum((line.unrounded for line in lines if _CATEGORY_OF[line.kind] == category), ZERO)
        if taxed and category in rules:
            yield _tax_line(segment, rules[category], taxed)


def _tax_line(segment: Segment, rule: TaxRule, taxed: Decimal) -> Line:
    tax = ten(taxed * rule.rate / (1 + rule.rate)) if rule.inclusive else taxed * rule.rate
    return Line(
        "TAX",
        rule.category,
        None,
        six(taxed),
        rule.rate,
        cents(tax),
        tax,
        rule.inclusive,
        segment.start,
        segment.end,
        "tax",
        segment.version.id,
    )


def _line(
    segment: Segment,
    kind: LineKind,
    label: str,
    quantity: Decimal,
    rate: Decimal,
    method: str,
    tier: int | None = None,
) -> Line:
    amount = quantity * rate
    return Line(
        kind,
        label,
        tier,
        quantity,
        rate,
        cents(amount),
        amount,
        False,
        segment.start,
        segment.end,
        method,
        segment.version.id,
    )


def _flags(
    measured: Measured, period: Period, before: Before | None, lines: Iterable[Line]
) -> tuple[str, ...]:
    rows = [row for one in measured.segments for row in one.rows]
    true = {
        "estimated": measured.estimates_in_a_row > 0,
        "first": before is None,
        "long_period": period.coverage > _LONG,
        "minimum": any(line.kind == "MINIMUM" for line in lines),
        "profile_split": any(row.profile_split for row in rows),
        "replaced": measured.installations > 1,
        "rollover": any(row.turned_over for row in rows),
        "split": len(measured.segments) > 1,
        "zero_usage": not any(one.total for one in measured.segments),
    }
    return tuple(sorted(flag for flag, holds in true.items() if holds))
