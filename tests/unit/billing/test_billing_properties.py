"""What holds for every bill, whatever the tariff, the meter and the household."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from include.billing.households import FOREVER
from include.billing.measurement import Measured, measure
from include.billing.model import (
    Before,
    Facts,
    FixedCharge,
    Installation,
    Kind,
    Occupancy,
    Period,
    PricedBill,
    Reading,
    Register,
    TariffVersion,
    TaxRule,
    Tier,
    TouWindow,
)
from include.billing.periods import months_between
from tests.unit.billing.billing_facts import LONG_AGO, SHANGHAI, at, bill, facts

START = at("2025-11-20")
HOUR = timedelta(hours=1)
KINDS: tuple[Kind, ...] = ("TIP", "PEAK", "FLAT", "VALLEY", "DEEP")


def decimals(least: int, most: int, places: int = 6) -> st.SearchStrategy[Decimal]:
    scale = 10**places
    return st.integers(least * scale, most * scale).map(lambda n: Decimal(n).scaleb(-places))


@st.composite
def windows(draw: st.DrawFn, kinds: tuple[Kind, ...]) -> tuple[TouWindow, ...]:
    """Windows that cover each day once, other ones on holidays."""
    found = []
    for day_type in draw(st.sampled_from([("any",), ("weekday", "holiday")])):
        cuts = sorted(draw(st.sets(st.integers(1, 1439), max_size=4)))
        for start, end in pairwise([0, *cuts, 1440]):
            found.append(TouWindow(101, 1231, day_type, start, end, draw(st.sampled_from(kinds))))
    return tuple(found)


@st.composite
def versions(draw: st.DrawFn, id_: int = 1, *, plain_taxes: bool = False) -> TariffVersion:
    mode = draw(st.sampled_from(["ADDER", "ABSOLUTE"]))
    limits = sorted(draw(st.sets(decimals(1, 3000), max_size=3)))
    if mode == "ADDER" and draw(st.booleans()):
        steps: list[Decimal | None] = []
    else:
        steps = [*limits, None]
    prices = sorted(draw(st.lists(decimals(0, 3), min_size=len(steps), max_size=len(steps))))
    step = draw(st.sampled_from([Decimal(0), Decimal(6)]))
    kinds = draw(st.sampled_from([(), ("PEAK", "VALLEY"), KINDS]))
    rates = st.sampled_from([Decimal("0.06"), Decimal("0.13")])
    categories = (
        ["ENERGY"]
        if plain_taxes
        else draw(st.lists(st.sampled_from(["ENERGY", "FIXED", "MINIMUM"]), unique=True))
    )
    return TariffVersion(
        id_,
        1,
        LONG_AGO,
        frame=draw(st.sampled_from(["MONTH", "YEAR", "PERIOD"])),
        mode=mode,
        on_occupant_change=draw(st.sampled_from(["RESET", "CONTINUE"])),
        energy_price=draw(decimals(0, 2)),
        persons_base=draw(st.integers(0, 4)),
        minimum_charge=draw(decimals(0, 300)),
        tiers=tuple(
            Tier(ordinal, limit, price, step if limit is not None else Decimal(0))
            for ordinal, (limit, price) in enumerate(zip(steps, prices, strict=True), 1)
        ),
        tou_prices={kind: draw(decimals(0, 2)) for kind in kinds},
        tou_windows=draw(windows(kinds)) if kinds else (),
        weekend_is_holiday=draw(st.booleans()),
        fixed_charges=draw(st.sampled_from([(), (FixedCharge("a", "DAY", Decimal("0.123456")),)])),
        tax_rules=tuple(
            TaxRule(category, draw(rates), not plain_taxes and draw(st.booleans()))  # type: ignore[arg-type]
            for category in categories
        ),
    )


@st.composite
def occupants(draw: st.DrawFn) -> list[Occupancy]:
    found = []
    for party in range(draw(st.integers(0, 3))):
        begin = START + draw(st.integers(-2000, 2000)) * HOUR
        end = draw(st.sampled_from([FOREVER, begin + draw(st.integers(1, 2000)) * HOUR]))
        found.append(Occupancy(party, "", "", begin, end, draw(st.integers(0, 5))))
    return found


@st.composite
def meters(draw: st.DrawFn, hours: int) -> list[Installation]:
    """One meter or two, one after the other, read at both ends and a few times between."""
    change = draw(st.sampled_from([0, hours // 2 or 1])) or hours + 1
    ends = [-1, hours + 1] if change > hours else [-1, change, hours + 1]
    multiplier = draw(st.sampled_from([Decimal(1), Decimal(40), Decimal("0.5")]))
    found = []
    for id_, (begin, end) in enumerate(pairwise(ends), 1):
        moments = sorted({begin, end, *draw(st.lists(st.integers(begin, end), max_size=5))})
        total, readings = draw(decimals(0, 10**5)), []
        for n, moment in enumerate(moments):
            readings.append(Reading(id_ * 100 + n, START + moment * HOUR, total))
            total += draw(decimals(0, 2000))
        register = Register(id_, "TOTAL", "kWh", multiplier, Decimal(10**5))
        start, stop = START + begin * HOUR, START + end * HOUR
        found.append(Installation(id_, id_, f"m{id_}", start, stop, (register,), {id_: tuple(readings)}))
    return found


@st.composite
def cases(draw: st.DrawFn) -> tuple[Facts, Period, Before | None]:
    hours = draw(st.integers(1, 24 * 100))
    end = START + hours * HOUR
    first, second = draw(versions(1)), draw(versions(2))
    changed = replace(second, effective_from=START + draw(st.integers(1, 24 * 100)) * HOUR)
    in_force = (first,) if draw(st.booleans()) else (first, changed)
    counted = ((START - HOUR, draw(decimals(0, 6000))),)
    last = Before(START, Decimal(0), 0, counted) if draw(st.booleans()) else None
    when = Period(START, end, months_between(START, end, SHANGHAI), draw(decimals(0, 4)))
    return facts(draw(meters(hours)), *in_force, occupants=draw(occupants())), when, last


@given(cases())
@settings(deadline=None, max_examples=200)
def test_lines_add_up(case: tuple[Facts, Period, Before | None]) -> None:
    known, when, last = case
    priced = bill(known, when, last)
    printed = [line.amount for line in priced.lines if not line.included]
    assert priced.charge == sum(printed)
    assert all(amount == amount.quantize(Decimal("0.01")) for amount in printed)
    unrounded = sum(line.unrounded for line in priced.lines if not line.included)
    assert abs(priced.charge - unrounded - priced.rounding_delta) <= Decimal("5e-13")
    assert priced.quantity == sum(one.quantity for one in priced.quantities)
    _check_lines(priced)
    _check_tiers(priced, known, when, last)


def _check_lines(priced: PricedBill) -> None:
    for line in priced.lines:
        assert line.quantity or line.kind == "TAX"  # which shows 6 decimals of a sum with 12
        assert line.quantity == line.quantity.quantize(Decimal("0.000001"))
        if line.kind != "TAX":
            # A peer rounded the quantity that it showed and not the one that it priced.
            assert line.unrounded == line.quantity * line.rate
        assert abs(line.amount - line.unrounded) <= Decimal("0.005")


def _check_tiers(priced: PricedBill, known: Facts, when: Period, last: Before | None) -> None:
    """In each segment the tiers hold all that was used, and so do the kinds."""
    measured = measure(known, when, last)
    assert isinstance(measured, Measured)
    by_span: dict[Any, dict[str, Decimal]] = {}
    for line in priced.lines:
        sums = by_span.setdefault(line.from_at, {})
        sums[line.kind] = sums.get(line.kind, Decimal(0)) + line.quantity
    for one in measured.segments:
        sums, charged = by_span.get(one.segment.start, {}), one.segment.version
        if charged.tiers:
            assert sums.get("TIER", 0) == one.total
        if charged.mode == "ADDER":
            assert sums.get("ENERGY", 0) == one.total
        assert one.total == sum(quantity for quantity, _ in one.by_kind().values())


@given(cases(), st.data())
@settings(deadline=None, max_examples=200)
def test_quantities_are_additive_where_the_cut_was_read(
    case: tuple[Facts, Period, Before | None], data: st.DataObject
) -> None:
    """To the last decimal, but where a multiplier makes half millionths, which both sides round up."""
    known, when, last = case
    inside = sorted(
        reading.read_at
        for one in known.installations
        for readings in one.readings.values()
        for reading in readings
        if when.start < reading.read_at < when.end
    )
    if not inside:
        return
    cut = data.draw(st.sampled_from(inside))
    tolerance = {Decimal("0.5"): Decimal("0.00001")}.get(
        known.installations[0].registers[0].multiplier, Decimal(0)
    )
    whole = bill(known, when, last).quantity
    parts = [
        bill(
            known, replace(when, start=start, end=end, months=Decimal(1), coverage=Decimal(1)), last
        ).quantity
        for start, end in ((when.start, cut), (cut, when.end))
    ]
    assert abs(sum(parts) - whole) <= tolerance


@given(versions(plain_taxes=True), decimals(0, 5000), decimals(0, 5000), decimals(0, 5000))
@settings(deadline=None, max_examples=200)
def test_more_never_costs_less(
    charged: TariffVersion, one: Decimal, other: Decimal, counted: Decimal
) -> None:
    """With prices that are not negative; without kinds, whose parts trade millionths by rounding."""
    charged = replace(charged, tou_prices={}, tou_windows=())
    last = Before(START, Decimal(0), 0, ((START - HOUR, counted),))
    when = Period(START, at("2025-12-20"), Decimal(1), Decimal(1))
    charges = [
        bill(facts(_read(quantity, when), charged), when, last).charge for quantity in sorted((one, other))
    ]
    assert charges[0] <= charges[1]


def _read(quantity: Decimal, when: Period) -> Installation:
    readings = (Reading(1, when.start, Decimal(0)), Reading(2, when.end, quantity))
    return Installation(1, 1, "m", when.start, when.end, (Register(1, "TOTAL", "kWh"),), {1: readings})
