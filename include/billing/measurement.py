"""What was used in each segment of a period, register by register, meter by meter.

Pure. Source: docs/billing.md, Quantities. Cutting the period is `segments`, counters are `counters`, sharing
`TOTAL` among kinds of time is `windows`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from include.billing.counters import Counter, Profile, counter_at, readings_within
from include.billing.exact import exact, six
from include.billing.model import (
    KINDS,
    METHODS,
    ZERO,
    Before,
    Facts,
    Installation,
    Kind,
    Method,
    Parked,
    Period,
    Quantity,
    Reading,
    Register,
    TariffVersion,
)
from include.billing.segments import Segment, first_without_tariff, segments
from include.billing.windows import split


@dataclass(frozen=True, slots=True)
class MeasuredQuantity:
    """A quantity, and the worst method in it.

    :ivar method: of its two ends and, where `TOTAL` was split over windows, of the split
    :ivar profile_split: it was split, and usage spread over more than an hour for it
    """

    quantity: Quantity
    register: Register
    method: Method
    profile_split: bool

    @property
    def turned_over(self) -> bool:
        modulus = self.register.modulus
        return modulus is not None and self.quantity.opening // modulus != self.quantity.closing // modulus


@dataclass(frozen=True, slots=True)
class MeasuredSegment:
    """A segment and what was used in it, over all its meters."""

    segment: Segment
    rows: tuple[MeasuredQuantity, ...]
    total: Decimal

    def by_kind(self) -> dict[Kind, tuple[Decimal, Method]]:
        """Return the quantity and method of each kind, in the order in which they are printed."""
        rows = {kind: [row for row in self.rows if row.quantity.kind == kind] for kind in KINDS}
        return {
            kind: (sum((row.quantity.quantity for row in of_kind), ZERO), worst(of_kind))
            for kind, of_kind in rows.items()
            if of_kind
        }


@dataclass(frozen=True, slots=True)
class Measured:
    """What was used in a period.

    :ivar installation: the last one of the period
    :ivar opening: what its `TOTAL` register shows at the beginning of its time, where it is measured;
        `closing`: at the end
    :ivar estimates_in_a_row: bills up to this one that end at an estimate
    """

    segments: tuple[MeasuredSegment, ...]
    installation: Installation
    installations: int
    opening: Decimal | None
    closing: Decimal | None
    estimates_in_a_row: int


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A stretch with one segment and one installation."""

    segment: Segment
    installation: Installation
    start: datetime
    end: datetime


@exact
def measure(facts: Facts, period: Period, before: Before | None) -> Measured | Parked | None:
    """Return what was used, why that cannot be said, or None where nothing is installed in the period."""
    installed = installed_in(facts.installations, period.start, period.end)
    if not installed:
        return None
    for one in installed:
        missing = first_without_tariff(facts.tariff, *_clip(one, period.start, period.end))
        if missing is not None:
            return Parked("no_tariff", f"no tariff version is in force at {missing.isoformat()}")
    found = []
    for segment in segments(facts, period):
        rows = _measure_segment(facts, segment, installed)
        if isinstance(rows, Parked):
            return rows
        found.append(MeasuredSegment(segment, rows, sum((row.quantity.quantity for row in rows), ZERO)))
    in_a_row = _estimates_in_a_row(found, period.end, before)
    if in_a_row > facts.rules.estimates_in_a_row:
        return Parked("too_many_estimates", f"{in_a_row} bills in a row would end at an estimate")
    last = installed[-1]
    opening, closing = _displayed(found, last, *_clip(last, period.start, period.end))
    return Measured(tuple(found), last, len(installed), opening, closing, in_a_row)


def installed_in(installations: Sequence[Installation], start: datetime, end: datetime) -> list[Installation]:
    """Return the installations of `[start, end)`, the earliest first; none when it is empty."""
    there = [one for one in installations if max(one.valid_from, start) < min(one.valid_to, end)]
    return sorted(there, key=lambda one: one.valid_from)


def registers_for(version: TariffVersion, registers: Sequence[Register]) -> tuple[Register, ...]:
    """Return the registers that a version measures, by kind; none when it can use none."""
    by_kind = {register.kind: register for register in registers}
    if version.tou_prices and all(kind in by_kind for kind in version.tou_prices):
        return tuple(by_kind[kind] for kind in KINDS if kind in version.tou_prices)
    if "TOTAL" in by_kind:
        return (by_kind["TOTAL"],)
    return () if version.tou_prices else tuple(by_kind[kind] for kind in KINDS if kind in by_kind)


def worst(rows: Sequence[MeasuredQuantity]) -> Method:
    """Return the worst method of some quantities."""
    return _worst(*(row.method for row in rows))


def _worst(*methods: Method) -> Method:
    return methods[0] if len(set(methods)) == 1 else max(methods, key=METHODS.index)


def _clip(one: Installation, start: datetime, end: datetime) -> tuple[datetime, datetime]:
    return max(one.valid_from, start), min(one.valid_to, end)


def _measure_segment(
    facts: Facts, segment: Segment, installed: Sequence[Installation]
) -> tuple[MeasuredQuantity, ...] | Parked:
    rows: list[MeasuredQuantity] = []
    for installation in installed_in(installed, segment.start, segment.end):
        stretch = _Stretch(segment, installation, *_clip(installation, segment.start, segment.end))
        measured = _measure_stretch(facts, stretch)
        if isinstance(measured, Parked):
            return measured
        rows += measured
    return tuple(rows)


def _measure_stretch(facts: Facts, stretch: _Stretch) -> list[MeasuredQuantity] | Parked:
    registers = registers_for(stretch.segment.version, stretch.installation.registers)
    if not registers:
        device = stretch.installation.device_id
        return Parked("no_reading", f"{device} has no register that the tariff can use")
    rows: list[MeasuredQuantity] = []
    for register in registers:
        readings = stretch.installation.readings.get(register.id, ())
        profile = _profile(facts, register, len(registers))
        tolerance = facts.rules.boundary_tolerance
        opening = counter_at(readings, stretch.start, tolerance, profile)
        closing = counter_at(readings, stretch.end, tolerance, profile)
        if opening is None or closing is None:
            return _unknown(stretch, register, stretch.start if opening is None else stretch.end)
        rows += _rows(facts, stretch, register, opening, closing)
    return rows


def _unknown(stretch: _Stretch, register: Register, at: datetime) -> Parked:
    device = stretch.installation.device_id
    return Parked("no_reading", f"{register.kind} of {device} is not known at {at.isoformat()}")


def _rows(
    facts: Facts, stretch: _Stretch, register: Register, opening: Counter, closing: Counter
) -> list[MeasuredQuantity]:
    """Return the quantity of a register in a stretch: one row, or one for each kind of time."""
    whole = max(ZERO, six((closing.total - opening.total) * register.multiplier))
    method, coarse = _worst(opening.method, closing.method), False
    by_kind = {register.kind: whole}
    if stretch.segment.version.tou_prices and register.kind == "TOTAL":
        inside = readings_within(stretch.installation.readings[register.id], stretch.start, stretch.end)
        points = _points(stretch, opening, closing, inside)
        shared = split(points, whole, register.multiplier, stretch.segment.version, facts.rules.zone)
        by_kind, coarse = shared.by_kind, shared.coarse
        method = _worst(method, "profile_split" if coarse else "interval")
    return [
        MeasuredQuantity(
            Quantity(
                register.id,
                kind,
                stretch.start,
                stretch.end,
                opening.total,
                closing.total,
                quantity,
                opening.method,
                closing.method,
                opening.reading_id,
                closing.reading_id,
            ),
            register,
            method,
            coarse,
        )
        for kind, quantity in by_kind.items()
    ]


def _points(
    stretch: _Stretch, opening: Counter, closing: Counter, inside: Sequence[Reading]
) -> list[tuple[datetime, Decimal]]:
    return [
        (stretch.start, opening.total),
        *((reading.read_at, reading.total) for reading in inside),
        (stretch.end, closing.total),
    ]


def _profile(facts: Facts, register: Register, registers: int) -> Profile | None:
    if facts.daily_quantity is None:
        return None
    return Profile(facts.daily_quantity, register.multiplier * registers)


def _displayed(
    found: Sequence[MeasuredSegment], installation: Installation, start: datetime, end: datetime
) -> tuple[Decimal | None, Decimal | None]:
    """Return what `TOTAL` of a meter shows at both ends, None where it is not what is measured."""
    register = next((one for one in installation.registers if one.kind == "TOTAL"), None)
    rows = [row.quantity for one in found for row in one.rows if row.register is register]
    if register is None:
        return None, None
    opening = next((row.opening for row in rows if row.from_at == start), None)
    closing = next((row.closing for row in rows if row.to_at == end), None)
    if register.modulus is None:
        return opening, closing
    return (
        None if opening is None else opening % register.modulus,
        None if closing is None else closing % register.modulus,
    )


def _estimates_in_a_row(found: Sequence[MeasuredSegment], end: datetime, before: Before | None) -> int:
    estimated = any(
        row.quantity.to_at == end and row.quantity.closing_method.startswith("estimated")
        for row in (found[-1].rows if found else ())
    )
    if not estimated:
        return 0
    return 1 + (before.estimates_in_a_row if before is not None else 0)
