"""A bill in words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

import pytest

from include.billing.model import Facts, FixedCharge, Line, Period, PricedBill, TaxRule, TouWindow
from include.billing.words import explain_bill, money, plain
from tests.unit.billing.billing_facts import (
    DAY_AND_NIGHT,
    ELECTRICITY,
    MARCH,
    SHANGHAI,
    at,
    before,
    bill,
    d,
    facts,
    fixed,
    lives,
    meter,
    period,
    tax,
    tiers,
    used,
    version,
)


def words(known: Facts, priced: PricedBill, when: Period = MARCH) -> list[str]:
    versions = {span.version.id: span.version for span in known.tariff}
    return list(explain_bill(priced, when.start, when.end, SHANGHAI, "CNY", versions))


def test_every_mechanism() -> None:
    charged = version(
        frame="YEAR",
        energy_price=d("0.4883"),
        tiers=tiers(("2880", "0"), ("4800", "0.05"), (None, "0.30")),
        fixed_charges=(fixed("Service", "DAY", "0.05"), fixed("Lamp", "PERIOD", "1")),
        minimum_charge=d(100),
        tax_rules=(tax("ENERGY", "0.13", inclusive=True), tax("FIXED", "0.06"), tax("MINIMUM", "0.06")),
    )
    known = facts(meter(("2026-03-01", "1234.5"), ("2026-04-01", "1384.75")), charged)
    assert words(known, bill(known, MARCH, before("2026-03-01", "2800"))) == [
        "The bill is for 2026-03-01 to 2026-04-01 (Asia/Shanghai).",
        "Meter meter-1 showed 1234.5 and then 1384.75.",
        "Register TOTAL went from 1234.5 (read) to 1384.75 (read) in 2026-03-01 to 2026-04-01: "
        "TOTAL 150.25 kWh.",
        "Used in the period: 150.25 kWh.",
        "Counted before in the year: 2800 kWh; with this bill 2950.25 kWh.",
        "Energy TOTAL: 150.25 kWh at 0.4883 = 73.37 CNY.",
        "Tier 1 (up to 2880 a year): 80 kWh at 0.00 = 0.00 CNY.",
        "Tier 2 (above 2880 up to 4800 a year): 70.25 kWh at 0.05 = 3.51 CNY.",
        "Service: 31 days at 0.05 = 1.55 CNY.",
        "Lamp: 1 period at 1.00 = 1.00 CNY.",
        "The minimum charge is 100.00 CNY, the lines before come to 79.43 CNY: 20.57 CNY are added.",
        "Of the 76.88 CNY for energy, 8.84 CNY are tax (13 %) that the prices contain.",
        "Tax on fixed charges: 6 % of 2.55 CNY = 0.15 CNY.",
        "Tax on the minimum charge: 6 % of 20.57 CNY = 1.23 CNY.",
        "Together: 101.38 CNY.",
        # 73.37 - 73.367075, 3.51 - 3.5125, 0.15 - 0.153, 1.23 - 1.2342
        "Each line is rounded to 0.01 CNY; that makes 0.006775 CNY less than unrounded.",
    ]


def test_segments_name_their_time() -> None:
    known = facts(
        meter(("2026-03-01", 0), ("2026-03-16", 150), ("2026-04-01", 310)),
        version(tiers=ELECTRICITY, energy_price=d(0)),
        occupants=[lives(1, valid_to="2026-03-16"), lives(2, "2026-03-16")],
    )
    found = words(known, bill(known))
    assert found[2:4] == [
        "Register TOTAL went from 0 (read) to 150 (read) in 2026-03-01 to 2026-03-16: TOTAL 150 kWh.",
        "Register TOTAL went from 150 (read) to 310 (read) in 2026-03-16 to 2026-04-01: TOTAL 160 kWh.",
    ]
    assert (
        "In 2026-03-01 to 2026-03-16: Tier 2 (above 240 up to 400 a month): 33.870968 kWh at 0.05 = 1.69 CNY."
        in found
    )
    assert "Tariff, year or household changed within the period; its parts are priced one by one." in found


def test_time_of_use_is_shared_out() -> None:
    known = facts(
        meter(("2026-03-01", 0), ("2026-04-01", "18.6"), multiplier="40"),
        version(tou_prices={"PEAK": d("0.6"), "VALLEY": d("0.3")}, tou_windows=DAY_AND_NIGHT),
    )
    assert words(known, bill(known))[2:-2] == [
        "The counter went from 0 (read) to 18.6 (read) in 2026-03-01 to 2026-04-01, times 40: "
        "PEAK 434 kWh, VALLEY 310 kWh.",
        "Used in the period: 744 kWh.",
        "This is the first bill.",
        "Use between readings was spread evenly over time to share it among the kinds of time.",
        "Energy PEAK: 434 kWh at 0.60 = 260.40 CNY.",
    ]


def test_absolute_tiers_by_kind_for_large_households() -> None:
    charged = version(
        mode="ABSOLUTE",
        tiers=tiers(("100", "0.5"), (None, "0.75"), persons_step="10"),
        tou_prices={"FLAT": d(0)},
        tou_windows=(TouWindow(101, 1231, "any", 0, 1440, "FLAT"),),
    )
    known = facts(used("110"), charged)
    assert words(known, bill(known))[-3:-1] == [
        "Tier 1 FLAT (up to 100 a month, more for a large household): 100 kWh at 0.50 = 50.00 CNY.",
        "Tier 2 FLAT (above 100 a month, more for a large household): 10 kWh at 0.75 = 7.50 CNY.",
    ]


def test_flags_are_said() -> None:
    old = meter(("2026-03-01", 9990), ("2026-03-10", 10050), valid_to="2026-03-10", modulus="10000")
    new = meter(("2026-03-10", 0), ("2026-03-20", 40), id_=2, valid_from="2026-03-10")
    known = facts([old, new], version())
    found = words(known, bill(known, replace(MARCH, coverage=d(2))))
    assert found[2:8] == [
        "Register TOTAL went from 9990 (read) to 10050 (read) in 2026-03-01 to 2026-03-10: TOTAL 60 kWh.",
        "Register TOTAL went from 0 (read) to 88 (estimated from the average of 90 days) in 2026-03-10 to "
        "2026-04-01: TOTAL 88 kWh.",
        "Used in the period: 148 kWh.",
        "This is the first bill.",
        "The meter was replaced in the period; each was measured for its own time.",
        "A register passed its highest number and went on from 0; that is counted.",
    ]
    assert found[8].startswith("The period is longer than usual")
    assert found[9].startswith("The end is an estimate")


def test_zero_usage_and_times_of_day() -> None:
    when = period("2026-03-01 09:30", "2026-04-01 09:30")
    known = facts(used("0", "2026-03-01 09:30", "2026-04-01 09:30"))
    assert words(known, bill(known, when), when) == [
        "The bill is for 2026-03-01 09:30 to 2026-04-01 09:30 (Asia/Shanghai).",
        "Meter meter-1 showed 0 and then 0.",
        "Register TOTAL went from 0 (read) to 0 (read) in 2026-03-01 09:30 to 2026-04-01 09:30: TOTAL 0 kWh.",
        "Used in the period: 0 kWh.",
        "This is the first bill.",
        "Nothing was used.",
        "Together: 0.00 CNY.",
    ]


def test_a_new_year_within_the_period() -> None:
    when = period("2025-12-16", "2026-01-16")
    known = facts(
        meter(("2025-12-16", 0), ("2026-01-01", 160), ("2026-01-16", 310)),
        version(frame="YEAR", tiers=tiers((None, "1"))),
    )
    found = words(known, bill(known, when, before("2025-12-16", "4700")), when)
    assert "The count of the year began anew within the period; at its end it is 150 kWh." in found
    # There is but one tier: it has no limits to speak of.
    assert "In 2025-12-16 to 2026-01-01: Tier 1: 160 kWh at 1.00 = 160.00 CNY." in found


@dataclass(frozen=True)
class StoredLine:
    """A line as the database has it: what is exact is gone, corrections are there."""

    kind: str
    label: str
    tier: int | None
    quantity: Decimal
    rate: Decimal
    amount: Decimal
    included: bool
    from_at: datetime
    to_at: datetime
    tariff_version_id: int | None


def test_a_stored_bill() -> None:
    """Without its tariff, with a correction, without a display."""
    known = facts(used("100"), version(tiers=tiers(("10", "1"), (None, "2"))))
    priced = bill(known)

    def stored(line: Line, **changes: object) -> StoredLine:
        fields = {name: getattr(line, name) for name in StoredLine.__annotations__}
        return StoredLine(**{**fields, **changes})  # type: ignore[arg-type]

    @dataclass(frozen=True)
    class Stored:
        device_id = "m"
        unit = "t"
        opening = None
        closing = None
        quantity = priced.quantity
        charge = Decimal("95.00")
        rounding_delta = Decimal("0.003")
        year_quantity = priced.year_quantity
        flags = ("corrected",)
        quantities = priced.quantities
        lines = (
            stored(priced.lines[1], tariff_version_id=None),
            stored(priced.lines[0], kind="FIXED", label="Lamp", quantity=Decimal(2)),
            stored(
                priced.lines[0],
                kind="TRUE_UP",
                label="TRUE_UP",
                amount=Decimal("-5.00"),
                from_at=at("2026-02-01"),
                to_at=at("2026-03-01"),
            ),
        )

    assert list(explain_bill(Stored(), MARCH.start, MARCH.end, SHANGHAI, "CNY", {}))[1:] == [
        "Register TOTAL went from 0 (read) to 100 (read) in 2026-03-01 to 2026-04-01: TOTAL 100 t.",
        "Used in the period: 100 t.",
        "Tier 1: 10 t at 1.00 = 10.00 CNY.",
        "Lamp: 2 units at 0.50 = 50.00 CNY.",
        "In 2026-02-01 to 2026-03-01: TRUE_UP, correction of an earlier bill: -5.00 CNY.",
        "Together: 95.00 CNY.",
        "Each line is rounded to 0.01 CNY; that makes 0.003 CNY more than unrounded.",
    ]


@pytest.mark.parametrize(
    ("value", "as_money", "as_number"),
    [
        ("0", "0.00", "0"),
        ("-0.00", "-0.00", "0"),
        ("5", "5.00", "5"),
        ("0.5000", "0.50", "0.5"),
        ("0.4883", "0.4883", "0.4883"),
        ("0.488300", "0.4883", "0.4883"),
        ("1E+3", "1000.00", "1000"),
        ("-12.340000", "-12.34", "-12.34"),
    ],
)
def test_numbers(value: str, as_money: str, as_number: str) -> None:
    assert (money(d(value)), plain(d(value))) == (as_money, as_number)


def test_names_of_charges_are_found_in_their_version() -> None:
    """Two versions in one bill, each with its own basis for the same name."""
    charges = (FixedCharge("Lamp", "DAY", d(1)),)
    first = version(1, fixed_charges=charges, tax_rules=(TaxRule("FIXED", d("0.005"), False),))
    second = version(2, fixed_charges=(fixed("Lamp", "PERIOD", "1"),), effective_from=at("2026-03-31"))
    known = facts(used("0"), first, second)
    found = words(known, bill(known))
    assert "In 2026-03-01 to 2026-03-31: Lamp: 30 days at 1.00 = 30.00 CNY." in found
    assert "In 2026-03-31 to 2026-04-01: Lamp: 0.032258 periods at 1.00 = 0.03 CNY." in found
    assert "In 2026-03-01 to 2026-03-31: Tax on fixed charges: 0.5 % of 30.00 CNY = 0.15 CNY." in found
