"""A bill in English words, line by line, for somebody who has to explain it at a counter.

Pure. Takes a bill as it was priced, or one that was stored: whatever has the attributes below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from include.billing.exact import cents, exact, six
from include.billing.model import ZERO, TariffVersion, Tier

_METHODS: Final = {
    "exact_read": "read",
    "interval": "between two readings at most a day apart",
    "day_weighted": "by days between two readings",
    "estimated_last_year": "estimated from the same days a year before",
    "estimated_average": "estimated from the average of 90 days",
    "estimated_profile": "estimated from what is usual for its class",
}
_FLAGS: Final = {
    "first": "This is the first bill.",
    "replaced": "The meter was replaced in the period; each was measured for its own time.",
    "rollover": "A register passed its highest number and went on from 0; that is counted.",
    "long_period": "The period is longer than usual; limits and charges are longer in proportion.",
    "profile_split": "Use between readings was spread evenly over time to share it among the kinds of time.",
    "split": "Tariff, year or household changed within the period; its parts are priced one by one.",
    "estimated": "The end is an estimate; the next bill settles what a reading shows to be different.",
    "zero_usage": "Nothing was used.",
}
_FRAMES: Final = {"MONTH": "a month", "YEAR": "a year", "PERIOD": "a period"}
_TAXED: Final = {"ENERGY": "energy", "FIXED": "fixed charges", "MINIMUM": "the minimum charge"}
_BASES: Final = {"DAY": "day", "PERIOD": "period"}


class QuantityLike(Protocol):
    """What is needed of `include.billing.model.Quantity`."""

    @property
    def register_id(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def from_at(self) -> datetime: ...
    @property
    def to_at(self) -> datetime: ...
    @property
    def opening(self) -> Decimal: ...
    @property
    def closing(self) -> Decimal: ...
    @property
    def quantity(self) -> Decimal: ...
    @property
    def opening_method(self) -> str: ...
    @property
    def closing_method(self) -> str: ...


class LineLike(Protocol):
    """What is needed of `include.billing.model.Line`."""

    @property
    def kind(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def tier(self) -> int | None: ...
    @property
    def quantity(self) -> Decimal: ...
    @property
    def rate(self) -> Decimal: ...
    @property
    def amount(self) -> Decimal: ...
    @property
    def included(self) -> bool: ...
    @property
    def from_at(self) -> datetime: ...
    @property
    def to_at(self) -> datetime: ...
    @property
    def tariff_version_id(self) -> int | None: ...


class BillLike(Protocol):
    """What is needed of `include.billing.model.PricedBill`."""

    @property
    def device_id(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def opening(self) -> Decimal | None: ...
    @property
    def closing(self) -> Decimal | None: ...
    @property
    def quantity(self) -> Decimal: ...
    @property
    def charge(self) -> Decimal: ...
    @property
    def rounding_delta(self) -> Decimal: ...
    @property
    def year_quantity(self) -> Decimal | None: ...
    @property
    def flags(self) -> Sequence[str]: ...
    @property
    def quantities(self) -> Sequence[QuantityLike]: ...
    @property
    def lines(self) -> Sequence[LineLike]: ...


@exact
def explain_bill(
    bill: BillLike,
    start: datetime,
    end: datetime,
    zone: ZoneInfo,
    currency: str,
    versions: Mapping[int, TariffVersion],
) -> tuple[str, ...]:
    """Return the sentences that derive a bill of `[start, end)`.

    :param versions: by id, those that the lines name
    """
    return (
        f"The bill is for {_span(start, end, zone)} ({zone.key}).",
        *_readings(bill, zone),
        *(sentence for flag, sentence in _FLAGS.items() if flag in bill.flags),
        *_count_of_year(bill, versions),
        *_lines(bill, start, end, zone, currency, versions),
        *_sum(bill, currency),
    )


def money(value: Decimal) -> str:
    """Return an amount or price with two decimals, or as many as it has."""
    text = f"{value:.2f}"
    return text if Decimal(text) == value else plain(value)


def plain(value: Decimal) -> str:
    """Return a number without trailing zeros."""
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _readings(bill: BillLike, zone: ZoneInfo) -> Iterator[str]:
    if bill.opening is not None and bill.closing is not None:
        yield f"Meter {bill.device_id} showed {plain(bill.opening)} and then {plain(bill.closing)}."
    for _, group in groupby(bill.quantities, key=lambda one: (one.register_id, one.from_at, one.to_at)):
        rows = list(group)
        first, used = rows[0], sum((one.quantity for one in rows), ZERO)
        kinds = ", ".join(f"{one.kind} {plain(one.quantity)} {bill.unit}" for one in rows)
        name = f"Register {first.kind}" if len(rows) == 1 else "The counter"
        opening = f"{plain(first.opening)} ({_METHODS[first.opening_method]})"
        closing = f"{plain(first.closing)} ({_METHODS[first.closing_method]})"
        when = _span(first.from_at, first.to_at, zone)
        yield f"{name} went from {opening} to {closing} in {when}{_times(first, used)}: {kinds}."
    yield f"Used in the period: {plain(bill.quantity)} {bill.unit}."


def _times(row: QuantityLike, used: Decimal) -> str:
    """Say by what a counter is multiplied, where that is not 1."""
    counted = row.closing - row.opening
    return f", times {plain(six(used / counted))}" if counted and counted != used else ""


def _count_of_year(bill: BillLike, versions: Mapping[int, TariffVersion]) -> Iterator[str]:
    tariffs = [_version(line, versions) for line in bill.lines if line.kind == "TIER"]
    if bill.year_quantity is None or not any(version and version.frame == "YEAR" for version in tariffs):
        return
    before = bill.year_quantity - bill.quantity
    counted = f"{plain(bill.year_quantity)} {bill.unit}"
    if before < 0:
        yield f"The count of the year began anew within the period; at its end it is {counted}."
    else:
        yield f"Counted before in the year: {plain(before)} {bill.unit}; with this bill {counted}."


def _lines(
    bill: BillLike,
    start: datetime,
    end: datetime,
    zone: ZoneInfo,
    currency: str,
    versions: Mapping[int, TariffVersion],
) -> Iterator[str]:
    so_far = ZERO
    for line in bill.lines:
        amount = f"{money(line.amount)} {currency}"
        if line.kind == "MINIMUM":
            text = _minimum(line, so_far, currency)
        elif line.kind == "TAX":
            text = _tax(line, currency)
        elif line.kind in ("ENERGY", "TIER", "FIXED"):
            subject = _subject(line, _version(line, versions), bill.unit)
            text = f"{subject} at {money(line.rate)} = {amount}."
        else:
            text = f"{line.label}, correction of an earlier bill: {amount}."
        so_far += ZERO if line.included else line.amount
        apart = (line.from_at, line.to_at) != (start, end)
        yield f"In {_span(line.from_at, line.to_at, zone)}: {text}" if apart else text


def _subject(line: LineLike, version: TariffVersion | None, unit: str) -> str:
    if line.kind == "ENERGY":
        return f"Energy {line.label}: {plain(line.quantity)} {unit}"
    if line.kind == "TIER":
        kind = "" if line.label == "TOTAL" else f" {line.label}"
        return f"Tier {line.tier}{kind}{_bounds(line, version)}: {plain(line.quantity)} {unit}"
    charges = version.fixed_charges if version is not None else ()
    basis = next((_BASES[charge.basis] for charge in charges if charge.name == line.label), "unit")
    plural = "" if line.quantity == 1 else "s"
    return f"{line.label}: {plain(line.quantity)} {basis}{plural}"


def _bounds(line: LineLike, version: TariffVersion | None) -> str:
    """Say between which limits a tier lies, as the tariff has them."""
    tiers: Sequence[Tier] = version.tiers if version is not None else ()
    at = next((index for index, tier in enumerate(tiers) if tier.ordinal == line.tier), None)
    if version is None or at is None or len(tiers) == 1:
        return ""
    lower = tiers[at - 1].upper_limit if at else None
    upper = tiers[at].upper_limit if at < len(tiers) - 1 else None
    bounds = [
        *([f"above {plain(lower)}"] if lower is not None else []),
        *([f"up to {plain(upper)}"] if upper is not None else []),
    ]
    persons = ", more for a large household" if version.counts_persons else ""
    return f" ({' '.join(bounds)} {_FRAMES[version.frame]}{persons})"


def _minimum(line: LineLike, so_far: Decimal, currency: str) -> str:
    return (
        f"The minimum charge is {money(so_far + line.amount)} {currency}, the lines before come to "
        f"{money(so_far)} {currency}: {money(line.amount)} {currency} are added."
    )


def _tax(line: LineLike, currency: str) -> str:
    rate = f"{plain(line.rate * 100)} %"
    taxed = f"{money(cents(line.quantity))} {currency}"
    subject, amount = _TAXED[line.label], f"{money(line.amount)} {currency}"
    if line.included:
        return f"Of the {taxed} for {subject}, {amount} are tax ({rate}) that the prices contain."
    return f"Tax on {subject}: {rate} of {taxed} = {amount}."


def _sum(bill: BillLike, currency: str) -> Iterator[str]:
    yield f"Together: {money(bill.charge)} {currency}."
    if bill.rounding_delta:
        difference = f"{plain(abs(bill.rounding_delta))} {currency}"
        more = "more" if bill.rounding_delta > 0 else "less"
        yield f"Each line is rounded to 0.01 {currency}; that makes {difference} {more} than unrounded."


def _version(line: LineLike, versions: Mapping[int, TariffVersion]) -> TariffVersion | None:
    return versions.get(line.tariff_version_id) if line.tariff_version_id is not None else None


def _span(start: datetime, end: datetime, zone: ZoneInfo) -> str:
    return f"{_moment(start, zone)} to {_moment(end, zone)}"


def _moment(moment: datetime, zone: ZoneInfo) -> str:
    local = moment.astimezone(zone)
    midnight = (local.hour, local.minute, local.second, local.microsecond) == (0, 0, 0, 0)
    return f"{local:%Y-%m-%d}" if midnight else f"{local:%Y-%m-%d %H:%M}"
