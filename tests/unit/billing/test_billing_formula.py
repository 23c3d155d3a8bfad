"""Whole bills: quantities, lines, minimum, taxes, rounding, flags, and why there is none."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal, getcontext, localcontext
from itertools import pairwise

import pytest

from include.billing.formula import price
from include.billing.model import Quantity, TariffSpan, Tier, TouWindow
from tests.unit.billing.billing_facts import (
    APRIL,
    DAY_AND_NIGHT,
    ELECTRICITY,
    LONG_AGO,
    MARCH,
    NEW_YORK,
    SHANGHAI,
    at,
    before,
    bill,
    d,
    facts,
    fixed,
    lines,
    lives,
    meter,
    meter_of_kinds,
    parked,
    period,
    tax,
    tiers,
    used,
    version,
)

TOU_PRICES = {"PEAK": d("0.6"), "VALLEY": d("0.3")}
TOU = version(tou_prices=TOU_PRICES, tou_windows=DAY_AND_NIGHT)


class TestEnergy:
    def test_flat(self) -> None:
        assert lines(bill(facts(used("100")))) == [("ENERGY", "TOTAL", None, "100", "0.5", "50.00")]

    def test_tiers_are_added_to_the_price(self) -> None:
        """500 x 0.4883 = 244.15, 160 x 0.05 = 8, 100 x 0.30 = 30."""
        priced = bill(facts(used("500"), version(energy_price=d("0.4883"), tiers=ELECTRICITY)))
        assert lines(priced) == [
            ("ENERGY", "TOTAL", None, "500", "0.4883", "244.15"),
            ("TIER", "TOTAL", 1, "240", "0", "0.00"),
            ("TIER", "TOTAL", 2, "160", "0.05", "8.00"),
            ("TIER", "TOTAL", 3, "100", "0.3", "30.00"),
        ]
        assert (priced.charge, priced.rounding_delta) == (d("282.15"), 0)

    def test_tiers_have_full_prices(self) -> None:
        priced = bill(facts(used("20"), version(mode="ABSOLUTE", tiers=tiers(("15", "2"), (None, "3")))))
        assert lines(priced) == [
            ("TIER", "TOTAL", 1, "15", "2", "30.00"),
            ("TIER", "TOTAL", 2, "5", "3", "15.00"),
        ]

    def test_multiplier(self) -> None:
        """0.123457 on the counter of a transformer of 1:40 are 4.93828 kWh."""
        priced = bill(facts(meter(("2026-03-01", "10"), ("2026-04-01", "10.123457"), multiplier="40")))
        assert (priced.quantity, priced.charge) == (d("4.93828"), d("2.47"))

    def test_quantity_is_rounded_half_up(self) -> None:
        priced = bill(facts(meter(("2026-03-01", "0"), ("2026-04-01", "0.000001"), multiplier="0.5")))
        assert priced.quantity == d("0.000001")

    def test_a_counter_never_counts_backwards(self) -> None:
        """Readings never do, but a correction in the same moment can."""
        priced = bill(facts(meter(("2026-03-01", "10"), ("2026-04-01", "9"))))
        assert priced.quantity == 0

    def test_zero_usage(self) -> None:
        charged = version(tiers=ELECTRICITY, fixed_charges=(fixed("basic", "PERIOD", "5"),))
        priced = bill(facts(used("0"), charged))
        assert lines(priced) == [("FIXED", "basic", None, "1", "5", "5.00")]
        assert priced.flags == ("first", "zero_usage")

    def test_nothing_at_all(self) -> None:
        priced = bill(facts(used("0")))
        assert (priced.lines, f"{priced.charge}") == ((), "0.00")

    def test_does_not_depend_on_the_context_of_the_caller(self) -> None:
        known = facts(used("123456789.123456"), version(energy_price=d("123456.123456")))
        with localcontext() as context:
            context.prec = 6
            charge = bill(known).charge
        assert charge == d("15241496599506.74")
        assert getcontext().prec == 28


class TestTimeOfUse:
    def test_registers_of_their_own(self) -> None:
        known = facts(
            meter_of_kinds(
                {
                    "VALLEY": (("2026-03-01", 5), ("2026-04-01", 45)),
                    "PEAK": (("2026-03-01", 7), ("2026-04-01", 67)),
                    "TOTAL": (("2026-03-01", 112), ("2026-04-01", 212)),
                }
            ),
            version(tou_prices=TOU_PRICES, tou_windows=DAY_AND_NIGHT, tiers=ELECTRICITY[:1]),
        )
        priced = bill(known)
        assert lines(priced) == [
            ("ENERGY", "PEAK", None, "60", "0.6", "36.00"),
            ("ENERGY", "VALLEY", None, "40", "0.3", "12.00"),
            ("TIER", "TOTAL", 1, "100", "0", "0.00"),
        ]
        # TOTAL is not what is measured: its display would not add up with the lines.
        assert (priced.opening, priced.closing, priced.quantity) == (None, None, 100)
        assert {line.method for line in priced.lines} == {"exact_read"}

    def test_hourly_readings(self) -> None:
        """31 days of 1 kWh an hour."""
        edges = [(MARCH.start + timedelta(hours=n)).astimezone(SHANGHAI) for n in range(31 * 24 + 1)]
        hourly = meter(*((f"{edge:%Y-%m-%d %H:%M}", n) for n, edge in enumerate(edges)))
        priced = bill(facts(hourly, TOU))
        assert [(line.label, line.quantity, line.method) for line in priced.lines] == [
            ("PEAK", 31 * 14, "interval"),
            ("VALLEY", 31 * 10, "interval"),
        ]
        assert priced.flags == ("first",)
        assert [one.closing_method for one in priced.quantities] == ["exact_read", "exact_read"]

    def test_a_monthly_reading_is_split_by_profile(self) -> None:
        """744 in 744 hours."""
        priced = bill(facts(used("744"), TOU))
        assert [(line.label, line.quantity, line.method) for line in priced.lines] == [
            ("PEAK", 434, "profile_split"),
            ("VALLEY", 310, "profile_split"),
        ]
        assert priced.flags == ("first", "profile_split")
        assert (priced.opening, priced.closing) == (0, 744)

    def test_a_holiday(self) -> None:
        """1 October is all VALLEY, 30 September and 2 October are all PEAK; 10, 20 and 40 kWh."""
        windows = (
            TouWindow(101, 1231, "weekday", 0, 1440, "PEAK"),
            TouWindow(101, 1231, "holiday", 0, 1440, "VALLEY"),
        )
        festive = version(tou_prices=TOU_PRICES, tou_windows=windows, holidays=frozenset({date(2026, 10, 1)}))
        pairs = (("2026-09-30", 0), ("2026-10-01", 10), ("2026-10-02", 30), ("2026-10-03", 70))
        priced = bill(facts(meter(*pairs), festive), period("2026-09-30", "2026-10-03"))
        assert [(line.label, line.quantity) for line in priced.lines] == [("PEAK", 50), ("VALLEY", 20)]

    @pytest.mark.parametrize(
        ("start", "end", "used_up", "peak", "valley"),
        [
            ("2026-11-01", "2026-11-02", 25, 14, 11),  # 25 hours
            ("2026-03-08", "2026-03-09", 23, 14, 9),  # 23 hours
        ],
    )
    def test_a_clock_change(self, start: str, end: str, used_up: int, peak: int, valley: int) -> None:
        known = facts(meter((start, 0), (end, used_up), zone=NEW_YORK), TOU, timezone="America/New_York")
        priced = bill(known, period(start, end, NEW_YORK))
        assert [(line.label, line.quantity) for line in priced.lines] == [("PEAK", peak), ("VALLEY", valley)]

    def test_absolute_tiers_are_split_over_the_kinds(self) -> None:
        """Of each tier 2/3 are PEAK, 1/3 VALLEY, which has no price of its own in the second."""
        steps = (
            Tier(1, d(100), d("0.5"), kind_prices={"PEAK": d("0.6"), "VALLEY": d("0.3")}),
            Tier(2, None, d("0.9"), kind_prices={"PEAK": d("1.2")}),
        )
        known = facts(
            meter_of_kinds(
                {
                    "PEAK": (("2026-03-01", 0), ("2026-04-01", 100)),
                    "VALLEY": (("2026-03-01", 0), ("2026-04-01", 50)),
                }
            ),
            version(mode="ABSOLUTE", tiers=steps, tou_prices=TOU_PRICES),
        )
        priced = bill(known)
        assert lines(priced) == [
            ("TIER", "PEAK", 1, "66.666667", "0.6", "40.00"),
            ("TIER", "VALLEY", 1, "33.333333", "0.3", "10.00"),
            ("TIER", "PEAK", 2, "33.333333", "1.2", "40.00"),
            ("TIER", "VALLEY", 2, "16.666667", "0.9", "15.00"),
        ]
        assert sum(line.quantity for line in priced.lines) == 150
        assert (priced.opening, priced.closing) == (None, None)

    def test_all_registers_where_there_is_no_time_of_use_and_no_total(self) -> None:
        known = facts(
            meter_of_kinds(
                {
                    "VALLEY": (("2026-03-01", 0), ("2026-04-01", 0)),
                    "PEAK": (("2026-03-01", 0), ("2026-04-01", 60)),
                    "FLAT": (("2026-03-01", 0), ("2026-04-01", 40)),
                }
            ),
            version(tiers=tiers((None, "1"))),
        )
        assert lines(bill(known)) == [
            ("ENERGY", "PEAK", None, "60", "0.5", "30.00"),
            ("ENERGY", "FLAT", None, "40", "0.5", "20.00"),
            ("TIER", "TOTAL", 1, "100", "1", "100.00"),
        ]


class TestVersions:
    def test_change_within_the_period(self) -> None:
        """100 kWh in 45 days, the change after 15: 33.333333 x 0.5 and 66.666667 x 0.6."""
        dearer = version(2, energy_price=d("0.6"), effective_from=at("2026-03-16"))
        known = facts(used("100", end="2026-04-15"), version(), dearer)
        priced = bill(known, period("2026-03-01", "2026-04-15"))
        assert lines(priced) == [
            ("ENERGY", "TOTAL", None, "33.333333", "0.5", "16.67"),
            ("ENERGY", "TOTAL", None, "66.666667", "0.6", "40.00"),
        ]
        assert [(line.from_at, line.to_at, line.tariff_version_id) for line in priced.lines] == [
            (at("2026-03-01"), at("2026-03-16"), 1),
            (at("2026-03-16"), at("2026-04-15"), 2),
        ]
        assert [line.method for line in priced.lines] == ["day_weighted", "day_weighted"]
        assert priced.flags == ("first", "split")
        # 56.67 - (16.6666665 + 40.0000002)
        assert priced.rounding_delta == d("0.0033333")

    def test_order_of_lines(self) -> None:
        both = {"tiers": tiers((None, "0.1")), "fixed_charges": (fixed("basic", "PERIOD", "6.2"),)}
        first = version(1, **both, tax_rules=(tax("FIXED", "0.1"), tax("ENERGY", "0.2")))
        second = version(
            2,
            **both,
            minimum_charge=d(1000),
            tax_rules=(tax("MINIMUM", "0.5"), tax("ENERGY", "0.2")),
            effective_from=at("2026-03-16"),
        )
        priced = bill(facts(used("310"), first, second))
        assert [(line.kind, line.label, line.tariff_version_id) for line in priced.lines] == [
            ("ENERGY", "TOTAL", 1),
            ("TIER", "TOTAL", 1),
            ("FIXED", "basic", 1),
            ("ENERGY", "TOTAL", 2),
            ("TIER", "TOTAL", 2),
            ("FIXED", "basic", 2),
            ("MINIMUM", "MINIMUM", 2),
            ("TAX", "ENERGY", 1),
            ("TAX", "FIXED", 1),
            ("TAX", "ENERGY", 2),
            ("TAX", "MINIMUM", 2),
        ]

    def test_spans_of_one_version_that_touch_are_one(self) -> None:
        """As when a tariff is assigned anew."""
        same = version(tiers=ELECTRICITY)
        spans = (
            TariffSpan(same, LONG_AGO, at("2026-03-16")),
            TariffSpan(same, at("2026-03-16"), at("2027-01-01")),
        )
        priced = bill(facts(used("300"), spans=spans))
        assert [(line.kind, line.quantity) for line in priced.lines] == [
            ("ENERGY", 300),
            ("TIER", 240),
            ("TIER", 60),
        ]
        assert priced.flags == ("first",)


class TestMeters:
    def test_replaced_within_the_period(self) -> None:
        """60 with the old one, 40 with the new one: one tariff, so one line."""
        old = meter(("2026-03-01", 0), ("2026-03-10", 60), id_=1, valid_to="2026-03-10")
        new = meter(("2026-03-10", 1000), ("2026-04-01", 1040), id_=2, valid_from="2026-03-10", unit="MWh")
        priced = bill(facts([new, old], version(tiers=tiers(("70", "1"), (None, "2")))))
        assert lines(priced) == [
            ("ENERGY", "TOTAL", None, "100", "0.5", "50.00"),
            ("TIER", "TOTAL", 1, "70", "1", "70.00"),
            ("TIER", "TOTAL", 2, "30", "2", "60.00"),
        ]
        assert (priced.meter_id, priced.device_id, priced.unit) == (102, "meter-2", "kWh")
        assert (priced.opening, priced.closing, priced.quantity) == (1000, 1040, 100)
        assert priced.flags == ("first", "replaced")
        assert [one.quantity for one in priced.quantities] == [60, 40]

    def test_replaced_after_a_while_without(self) -> None:
        old = meter(("2026-03-01", 0), ("2026-03-10", 60), id_=1, valid_to="2026-03-10")
        new = meter(("2026-03-20", 0), ("2026-04-01", 40), id_=2, valid_from="2026-03-20")
        spans = (
            TariffSpan(version(), LONG_AGO, at("2026-03-15")),
            TariffSpan(version(2), at("2026-03-18"), at("2027-01-01")),
        )
        # From 15 to 18 March there is no tariff, but no meter either.
        priced = bill(facts([old, new], spans=spans))
        assert [line.quantity for line in priced.lines] == [60, 40]

    def test_removed_within_the_period(self) -> None:
        """Nothing is charged for the time without a meter."""
        gone = meter(("2026-03-01", 0), ("2026-03-10", 60), valid_to="2026-03-10")
        charged = version(fixed_charges=(fixed("basic", "DAY", "1"),))
        priced = bill(facts(gone, charged))
        assert lines(priced) == [
            ("ENERGY", "TOTAL", None, "60", "0.5", "30.00"),
            ("FIXED", "basic", None, "9", "1", "9.00"),
        ]
        assert priced.estimates_in_a_row == 0

    def test_rollover(self) -> None:
        priced = bill(facts(meter(("2026-03-01", 9900), ("2026-04-01", 10100), modulus="10000")))
        assert (priced.opening, priced.closing, priced.quantity) == (9900, 100, 200)
        assert priced.flags == ("first", "rollover")
        assert priced.quantities[0].closing == 10100

    def test_no_rollover(self) -> None:
        priced = bill(facts(meter(("2026-03-01", 10000), ("2026-04-01", 19999), modulus="10000")))
        assert (priced.opening, priced.closing) == (0, 9999)
        assert priced.flags == ("first",)

    def test_display_of_a_total_that_was_never_read(self) -> None:
        known = facts(
            meter_of_kinds(
                {
                    "TOTAL": (),
                    "PEAK": (("2026-03-01", 0), ("2026-04-01", 60)),
                    "VALLEY": (("2026-03-01", 0), ("2026-04-01", 40)),
                }
            ),
            TOU,
        )
        assert (bill(known).opening, bill(known).closing) == (None, None)

    def test_quantities_name_their_readings(self) -> None:
        known = facts(meter(("2026-03-01", 0), ("2026-03-20", 60), ("2026-04-10", 81)))
        assert bill(known).quantities == (
            Quantity(
                10, "TOTAL", MARCH.start, MARCH.end, d(0), d(72), d(72), "exact_read", "day_weighted", 1, 2
            ),
        )


class TestEstimates:
    PAIRS = (("2026-02-01", 0), ("2026-03-01", 280))

    def test_month_without_a_reading(self) -> None:
        """10 a day, as in February."""
        priced = bill(facts(meter(*self.PAIRS)))
        assert (priced.quantity, priced.estimates_in_a_row) == (310, 1)
        assert priced.flags == ("estimated", "first")
        assert priced.lines[0].method == "estimated_average"
        assert priced.closing == 590

    def test_month_after_with_a_reading_below_the_estimate(self) -> None:
        """500 on 1 May: 220 in 61 days are 111.803279 and 108.196721, whatever was estimated."""
        known = facts(meter(*self.PAIRS, ("2026-05-01", 500)))
        again, now = bill(known), bill(known, APRIL, before("2026-04-01", "590", estimates=1))
        assert (again.quantity, now.quantity) == (d("111.803279"), d("108.196721"))
        assert again.quantity + now.quantity == 220
        assert (again.estimates_in_a_row, now.estimates_in_a_row, now.flags) == (0, 0, ())

    def test_estimate_after_estimate(self) -> None:
        known = facts(meter(*self.PAIRS))
        assert bill(known, APRIL, before("2026-04-01", estimates=2)).estimates_in_a_row == 3
        assert parked(known, APRIL, before("2026-04-01", estimates=3)) == "too_many_estimates"

    def test_no_estimates_allowed(self) -> None:
        assert parked(facts(meter(*self.PAIRS), estimates_in_a_row=0)) == "too_many_estimates"

    def test_one_register_of_several_is_enough(self) -> None:
        known = facts(
            meter_of_kinds({"PEAK": (("2026-03-01", 0), ("2026-04-01", 60)), "VALLEY": (("2026-03-01", 0),)}),
            TOU,
            daily="4",
        )
        priced = bill(known)
        # 4 a day for two registers: 31 x 2.
        assert [(line.label, line.quantity, line.method) for line in priced.lines] == [
            ("PEAK", 60, "exact_read"),
            ("VALLEY", 62, "estimated_profile"),
        ]
        assert "estimated" in priced.flags

    def test_only_the_end_of_the_bill_counts(self) -> None:
        """The old meter was not read when it went: 9 days of 10. The new one was, and that is what lasts."""
        old = meter(*self.PAIRS, valid_to="2026-03-10")
        new = meter(("2026-03-10", 0), ("2026-04-01", 40), id_=2, valid_from="2026-03-10")
        for installations, quantity in (([old], 90), ([old, new], 130)):
            priced = bill(facts(installations), MARCH, before("2026-03-01", estimates=3))
            assert (priced.quantity, priced.estimates_in_a_row) == (quantity, 0)
            assert "estimated" not in priced.flags
            assert priced.lines[0].method == "estimated_average"

    def test_split_of_an_estimate(self) -> None:
        """744 in 31 days of 24: as an estimate it is worse than as a split."""
        priced = bill(facts(meter(("2026-03-01", 0)), TOU, daily="24"))
        assert [(line.quantity, line.method) for line in priced.lines] == [
            (434, "estimated_profile"),
            (310, "estimated_profile"),
        ]
        assert priced.flags == ("estimated", "first", "profile_split")


class TestFixed:
    def test_by_the_day_and_by_the_period(self) -> None:
        """31 days; 17/31 of a period to 6 decimals."""
        charges = (fixed("basic", "DAY", "0.33"), fixed("lamp", "PERIOD", "3.1"))
        priced = bill(
            facts(used("0"), version(fixed_charges=charges)),
            period("2026-03-01", "2026-04-01", coverage="0.5483870968"),
        )
        assert lines(priced) == [
            ("FIXED", "basic", None, "31", "0.33", "10.23"),
            ("FIXED", "lamp", None, "0.548387", "3.1", "1.70"),
        ]
        assert {line.method for line in priced.lines} == {"days"}

    def test_two_periods(self) -> None:
        """One was skipped."""
        charged = version(fixed_charges=(fixed("lamp", "PERIOD", "3"),))
        priced = bill(
            facts(used("0", end="2026-05-01"), charged), period("2026-03-01", "2026-05-01", coverage="2")
        )
        assert lines(priced) == [("FIXED", "lamp", None, "2", "3", "6.00")]
        assert "long_period" in priced.flags

    @pytest.mark.parametrize(("coverage", "long"), [("1.5", False), ("1.5000000001", True)])
    def test_long_period(self, coverage: str, long: bool) -> None:
        priced = bill(facts(used("1")), period("2026-03-01", "2026-04-01", coverage=coverage))
        assert ("long_period" in priced.flags) == long

    def test_is_divided_among_segments(self) -> None:
        """15 and 16 of 31 days."""
        charges = (fixed("basic", "DAY", "1"), fixed("lamp", "PERIOD", "31"))
        first = version(1, fixed_charges=charges)
        second = version(2, fixed_charges=charges, effective_from=at("2026-03-16"))
        assert lines(bill(facts(used("0"), first, second))) == [
            ("FIXED", "basic", None, "15", "1", "15.00"),
            ("FIXED", "lamp", None, "0.483871", "31", "15.00"),
            ("FIXED", "basic", None, "16", "1", "16.00"),
            ("FIXED", "lamp", None, "0.516129", "31", "16.00"),
        ]

    def test_part_of_a_day_too_short_to_count(self) -> None:
        start = at("2026-03-01")
        blink = period("2026-03-01", "2026-03-01 00:00:00.000001", coverage="0")
        assert blink.end - start == timedelta(microseconds=1)
        priced = bill(facts(used("0"), version(fixed_charges=(fixed("basic", "DAY", "1"),))), blink)
        assert priced.lines == ()


class TestMinimum:
    def test_of_a_part_month(self) -> None:
        """20 x 0.5483870968 = 10.967741936, to 2 decimals 10.97; 5 kWh are 2.50."""
        known = facts(used("5", "2026-03-15", "2026-04-01"), version(minimum_charge=d(20)))
        priced = bill(known, period("2026-03-15", "2026-04-01", coverage="0.5483870968"))
        assert lines(priced)[1] == ("MINIMUM", "MINIMUM", None, "1", "8.47", "8.47")
        assert (priced.lines[1].method, priced.charge) == ("minimum", d("10.97"))
        assert priced.flags == ("first", "minimum")
        assert priced.rounding_delta == 0

    @pytest.mark.parametrize(
        ("quantity", "charge", "flags"), [("39.98", "20", 1), ("40", "20", 0), ("41", "20.5", 0)]
    )
    def test_is_no_more_than_it_takes(self, quantity: str, charge: str, flags: int) -> None:
        priced = bill(facts(used(quantity), version(minimum_charge=d(20))))
        assert (priced.charge, "minimum" in priced.flags) == (d(charge), bool(flags))

    def test_counts_fixed_charges(self) -> None:
        charged = version(minimum_charge=d(20), fixed_charges=(fixed("basic", "PERIOD", "12"),))
        assert lines(bill(facts(used("6"), charged)))[-1][-1] == "5.00"

    def test_is_the_sum_over_segments(self) -> None:
        """15.5 x 15/31 + 31 x 16/31 = 7.5 + 16."""
        first = version(1, minimum_charge=d("15.5"))
        second = version(2, minimum_charge=d(31), effective_from=at("2026-03-16"))
        priced = bill(facts(used("0"), first, second))
        assert priced.charge == d("23.50")
        assert (priced.lines[0].from_at, priced.lines[0].to_at) == (MARCH.start, MARCH.end)


class TestTax:
    def test_exclusive(self) -> None:
        """48.83 x 0.13 = 6.3479."""
        taxed = version(energy_price=d("0.4883"), tax_rules=(tax("ENERGY", "0.13"),))
        priced = bill(facts(used("100"), taxed))
        assert lines(priced)[-1] == ("TAX", "ENERGY", None, "48.83", "0.13", "6.35")
        assert (priced.charge, priced.rounding_delta) == (d("55.18"), d("0.0021"))
        assert (priced.lines[-1].method, priced.lines[-1].included) == ("tax", False)

    def test_inclusive(self) -> None:
        """48.83 x 0.13 / 1.13 = 5.6176106195: said, not added."""
        taxed = version(energy_price=d("0.4883"), tax_rules=(tax("ENERGY", "0.13", inclusive=True),))
        priced = bill(facts(used("100"), taxed))
        assert lines(priced)[-1] == ("TAX", "ENERGY", None, "48.83", "0.13", "5.62")
        assert priced.lines[-1].included
        assert priced.lines[-1].unrounded == d("5.6176106195")
        assert (priced.charge, priced.rounding_delta) == (d("48.83"), 0)

    def test_is_on_what_is_not_rounded(self) -> None:
        """Three times 1.004 are 3.012, half of it 1.506 and not 1.50."""
        charges = tuple(fixed(name, "PERIOD", "1.004") for name in "abc")
        priced = bill(facts(used("0"), version(fixed_charges=charges, tax_rules=(tax("FIXED", "0.5"),))))
        assert lines(priced)[-1] == ("TAX", "FIXED", None, "3.012", "0.5", "1.51")
        assert (priced.charge, priced.rounding_delta) == (d("4.51"), d("-0.008"))

    def test_of_each_category(self) -> None:
        taxed = version(
            tiers=tiers((None, "0.5")),
            fixed_charges=(fixed("basic", "PERIOD", "10"),),
            minimum_charge=d(100),
            tax_rules=(tax("MINIMUM", "0.3"), tax("FIXED", "0.2"), tax("ENERGY", "0.1")),
        )
        assert lines(bill(facts(used("20"), taxed)))[-3:] == [
            ("TAX", "ENERGY", None, "20", "0.1", "2.00"),
            ("TAX", "FIXED", None, "10", "0.2", "2.00"),
            ("TAX", "MINIMUM", None, "70", "0.3", "21.00"),
        ]

    def test_of_nothing_has_no_line(self) -> None:
        taxed = version(fixed_charges=(fixed("basic", "PERIOD", "10"),), tax_rules=(tax("ENERGY", "0.1"),))
        assert [line.kind for line in bill(facts(used("0"), taxed)).lines] == ["FIXED"]

    def test_of_a_zero_rate_has_a_line(self) -> None:
        assert lines(bill(facts(used("2"), version(tax_rules=(tax("ENERGY", "0"),)))))[-1] == (
            "TAX",
            "ENERGY",
            None,
            "1",
            "0",
            "0.00",
        )


class TestRounding:
    def test_half_up(self) -> None:
        """0.01 x 0.5 = 0.005."""
        priced = bill(facts(used("0.01")))
        assert (priced.charge, priced.rounding_delta) == (d("0.01"), d("0.005"))

    def test_delta_has_12_decimals(self) -> None:
        """1 x 10^-12, and 0.500001 x 10^-12 of tax: 18 decimals, of which 12 remain."""
        taxed = version(energy_price=d("0.000001"), tax_rules=(tax("ENERGY", "0.500001"),))
        assert bill(facts(used("0.000001"), taxed)).rounding_delta == d("-0.000000000002")


class TestNoBill:
    def test_period_of_length_zero(self) -> None:
        assert price(facts(used("1")), period("2026-03-01", "2026-03-01"), None) is None

    def test_nothing_installed(self) -> None:
        before_and_after = [
            meter(valid_to="2026-03-01"),
            meter(id_=2, valid_from="2026-04-01"),
        ]
        assert price(facts(before_and_after), MARCH, None) is None
        assert price(facts([]), MARCH, None) is None

    @pytest.mark.parametrize(
        "spans",
        [
            (),
            (TariffSpan(version(), at("2026-03-02"), at("2027-01-01")),),
            (TariffSpan(version(), LONG_AGO, at("2026-03-31")),),
            (
                TariffSpan(version(), LONG_AGO, at("2026-03-15")),
                TariffSpan(version(), at("2026-03-16"), at("2027-01-01")),
            ),
        ],
        ids=["none", "late", "short", "gap"],
    )
    def test_no_tariff(self, spans: tuple[TariffSpan, ...]) -> None:
        """A peer skipped hours without a tariff and never came back to them."""
        assert parked(facts(used("100"), spans=spans)) == "no_tariff"

    def test_no_tariff_comes_before_no_reading(self) -> None:
        assert parked(facts(meter(), spans=())) == "no_tariff"

    @pytest.mark.parametrize(
        "pairs", [(), (("2026-03-10", 0),), (("2026-03-01", 0),)], ids=["none", "late", "no estimate"]
    )
    def test_no_reading(self, pairs: tuple[tuple[str, int], ...]) -> None:
        assert parked(facts(meter(*pairs))) == "no_reading"

    def test_no_reading_comes_before_too_many_estimates(self) -> None:
        assert (
            parked(facts(meter(("2026-03-01", 0))), MARCH, before("2026-03-01", estimates=9)) == "no_reading"
        )

    def test_no_register_of_the_kinds(self) -> None:
        known = facts(meter_of_kinds({"PEAK": (("2026-03-01", 0), ("2026-04-01", 60))}), TOU)
        assert parked(known) == "no_reading"

    def test_no_register(self) -> None:
        assert parked(facts(meter_of_kinds({}))) == "no_reading"

    def test_says_since_when(self) -> None:
        priced = price(facts(meter(("2026-03-01", 0))), MARCH, None)
        assert priced is not None
        assert priced.detail == "TOTAL of meter-1 is not known at 2026-03-31T16:00:00+00:00"  # type: ignore[union-attr]


class TestChain:
    def test_bills_carry_on(self) -> None:
        """Each is made from the one before: estimates are counted, the year is, and the first is only one."""
        yearly = version(frame="YEAR", tiers=ELECTRICITY)
        known = facts(meter(("2026-01-01", 0), ("2026-03-01", 590)), yearly, occupants=[lives(1)])
        last, bills = None, []
        for start, end in pairwise(["2026-01-01", "2026-02-01", "2026-03-01", "2026-04-01", "2026-05-01"]):
            priced = bill(known, period(start, end), last)
            last = before(end, str(priced.year_quantity), str(priced.quantity), priced.estimates_in_a_row)
            bills.append(priced)
        assert [one.quantity for one in bills] == [310, 280, 310, 300]
        assert [one.year_quantity for one in bills] == [310, 590, 900, 1200]
        assert [one.estimates_in_a_row for one in bills] == [0, 0, 1, 2]
        assert [one.flags for one in bills] == [("first",), (), ("estimated",), ("estimated",)]
        assert bills[1].closing == bills[2].opening


def test_moments_stay_in_utc() -> None:
    def moments(value: object) -> list[datetime]:
        return [found for name in value.__slots__ if isinstance(found := getattr(value, name), datetime)]  # type: ignore[attr-defined]

    priced = bill(facts(used("100"), TOU))
    for part in (*priced.lines, *priced.quantities):
        assert all(moment.utcoffset() == timedelta(0) for moment in moments(part))
        assert all(not isinstance(getattr(part, name), float) for name in part.__slots__)
    assert isinstance(priced.charge, Decimal)
