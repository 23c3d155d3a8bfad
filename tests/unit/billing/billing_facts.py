"""Short ways to write down meters, tariffs and bills; numbers as text, dates in Shanghai time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from include.billing.formula import price
from include.billing.households import FOREVER, households
from include.billing.model import (
    Before,
    Facts,
    FixedCharge,
    Installation,
    Kind,
    Occupancy,
    Parked,
    Period,
    PricedBill,
    ProjectRules,
    Reading,
    Register,
    TariffSpan,
    TariffVersion,
    TaxRule,
    Tier,
    TouWindow,
)
from include.billing.periods import months_between

SHANGHAI = ZoneInfo("Asia/Shanghai")
NEW_YORK = ZoneInfo("America/New_York")
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

#: Every day: 08:00 to 22:00 is PEAK, the rest VALLEY.
DAY_AND_NIGHT = (
    TouWindow(101, 1231, "any", 0, 480, "VALLEY"),
    TouWindow(101, 1231, "any", 480, 1320, "PEAK"),
    TouWindow(101, 1231, "any", 1320, 1440, "VALLEY"),
)


def d(text: str | int) -> Decimal:
    return Decimal(text)


def at(text: str, zone: ZoneInfo = SHANGHAI) -> datetime:
    """A local time in UTC: `2026-03-01` or `2026-03-01 08:30`."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def tiers(*steps: tuple[str | None, str], persons_step: str = "0") -> tuple[Tier, ...]:
    """Tiers of (upper limit, price); None is open."""
    return tuple(
        Tier(
            ordinal,
            None if limit is None else d(limit),
            d(rate),
            d("0" if limit is None else persons_step),
        )
        for ordinal, (limit, rate) in enumerate(steps, 1)
    )


#: Electricity as many provinces have it: 0.4883, from 240 kWh a month 0.05 more, from 400 kWh 0.30 more.
ELECTRICITY = tiers(("240", "0"), ("400", "0.05"), (None, "0.30"))
#: Water: full prices.
WATER = tiers(("15", "2"), ("25", "3"), (None, "6"))


def version(id_: int = 1, **fields: Any) -> TariffVersion:
    """A version that charges 0.50 a unit and nothing else, unless told otherwise."""
    wanted: dict[str, Any] = {"frame": "MONTH", "mode": "ADDER", "energy_price": d("0.5"), **fields}
    return TariffVersion(id_, 1, wanted.pop("effective_from", LONG_AGO), **wanted)


def fixed(name: str, basis: str, amount: str) -> FixedCharge:
    return FixedCharge(name, basis, d(amount))  # type: ignore[arg-type]


def tax(category: str, rate: str, *, inclusive: bool = False) -> TaxRule:
    return TaxRule(category, d(rate), inclusive)  # type: ignore[arg-type]


def tariff(*versions: TariffVersion) -> tuple[TariffSpan, ...]:
    """Versions one after the other, each from its `effective_from` on."""
    ends = [*(one.effective_from for one in versions[1:]), FOREVER]
    return tuple(TariffSpan(one, one.effective_from, end) for one, end in zip(versions, ends, strict=True))


def readings(
    *pairs: tuple[str, str | int], zone: ZoneInfo = SHANGHAI, first_id: int = 1
) -> tuple[Reading, ...]:
    """Readings of (local time, counter total), the earliest first."""
    return tuple(Reading(id_, at(text, zone), d(total)) for id_, (text, total) in enumerate(pairs, first_id))


def meter(
    *pairs: tuple[str, str | int],
    id_: int = 1,
    valid_from: str = "2020-01-01",
    valid_to: str | None = None,
    zone: ZoneInfo = SHANGHAI,
    multiplier: str = "1",
    modulus: str | None = None,
    unit: str = "kWh",
) -> Installation:
    """A meter with a `TOTAL` register and its readings."""
    register = Register(id_ * 10, "TOTAL", unit, d(multiplier), None if modulus is None else d(modulus))
    return Installation(
        id_,
        id_ + 100,
        f"meter-{id_}",
        at(valid_from, zone),
        FOREVER if valid_to is None else at(valid_to, zone),
        (register,),
        {register.id: readings(*pairs, zone=zone)},
    )


def meter_of_kinds(by_kind: Mapping[Kind, Sequence[tuple[str, str | int]]], id_: int = 1) -> Installation:
    """A meter with a register for each kind, with its readings."""
    registers = {
        Register(id_ * 10 + n, kind, "kWh"): pairs for n, (kind, pairs) in enumerate(by_kind.items())
    }
    return Installation(
        id_,
        id_ + 100,
        f"meter-{id_}",
        at("2020-01-01"),
        FOREVER,
        tuple(registers),
        {register.id: readings(*pairs) for register, pairs in registers.items()},
    )


def lives(
    party_id: int,
    valid_from: str = "2020-01-01",
    valid_to: str | None = None,
    persons: int = 1,
    weight: str = "1",
) -> Occupancy:
    end = FOREVER if valid_to is None else at(valid_to)
    return Occupancy(party_id, f"party {party_id}", f"138{party_id}", at(valid_from), end, persons, d(weight))


def facts(
    installations: Installation | Sequence[Installation],
    *versions: TariffVersion,
    occupants: Sequence[Occupancy] = (),
    daily: str | None = None,
    spans: tuple[TariffSpan, ...] | None = None,
    **rules: Any,
) -> Facts:
    placed = (installations,) if isinstance(installations, Installation) else tuple(installations)
    in_force = tariff(*(versions or (version(),))) if spans is None else spans
    usual = None if daily is None else d(daily)
    occupants = tuple(occupants)
    return Facts(1, ProjectRules(**rules), placed, in_force, occupants, households(occupants), usual)


def period(start: str, end: str, zone: ZoneInfo = SHANGHAI, coverage: str = "1") -> Period:
    """A period with its months; the coverage is that of a crontab that fits, unless told otherwise."""
    begin, until = at(start, zone), at(end, zone)
    return Period(begin, until, months_between(begin, until, zone), d(coverage))


MARCH = period("2026-03-01", "2026-04-01")
APRIL = period("2026-04-01", "2026-05-01")


def before(period_to: str, year_quantity: str = "0", quantity: str = "0", estimates: int = 0) -> Before:
    counted = at(period_to) - timedelta(microseconds=1)
    return Before(at(period_to), d(quantity), estimates, ((counted, d(year_quantity)),))


def bill(known: Facts, when: Period = MARCH, last: Before | None = None) -> PricedBill:
    """The bill, where there must be one."""
    priced = price(known, when, last)
    assert isinstance(priced, PricedBill), priced
    return priced


def parked(known: Facts, when: Period = MARCH, last: Before | None = None) -> str:
    """Why there is no bill, where there must be none."""
    priced = price(known, when, last)
    assert isinstance(priced, Parked), priced
    return priced.kind


def used(quantity: str, start: str = "2026-03-01", end: str = "2026-04-01") -> Installation:
    """A meter that counts this between two moments, read at both."""
    return meter((start, 0), (end, quantity))


def lines(priced: PricedBill) -> list[tuple[str, str, int | None, str, str, str]]:
    """The lines of a bill as (kind, label, tier, quantity, rate, amount), numbers as short as they can be."""
    return [
        (line.kind, line.label, line.tier, short(line.quantity), short(line.rate), f"{line.amount:.2f}")
        for line in priced.lines
    ]


def tier_quantities(priced: PricedBill) -> dict[int | None, str]:
    """What of a bill lies in each tier."""
    sums: dict[int | None, Decimal] = {}
    for line in priced.lines:
        if line.kind == "TIER":
            sums[line.tier] = sums.get(line.tier, Decimal(0)) + line.quantity
    return {tier: short(quantity) for tier, quantity in sums.items()}


def short(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def days_later(known: Reading, days: int) -> Reading:
    return replace(known, id=known.id + 1000, read_at=known.read_at + timedelta(days=days))
