"""Tiers: boundaries, frames, households, the year."""

from __future__ import annotations

from itertools import pairwise

import pytest

from include.billing.model import PricedBill, Tier
from include.billing.tiers import slices, split_by_kind
from tests.unit.billing.billing_facts import (
    ELECTRICITY,
    MARCH,
    WATER,
    at,
    before,
    bill,
    d,
    facts,
    lives,
    meter,
    period,
    tier_quantities,
    tiers,
    used,
    version,
)

YEARLY = tiers(("2880", "0"), ("4800", "0.05"), (None, "0.30"))


class TestBoundaries:
    """A peer compared what remained with the upper limit, and let equality fall into the next tier."""

    TABLE = (
        # quantity, by tier
        ("239.999", {1: "239.999"}),
        ("240", {1: "240"}),
        ("240.001", {1: "240", 2: "0.001"}),
        ("399.999", {1: "240", 2: "159.999"}),
        ("400", {1: "240", 2: "160"}),
        ("400.001", {1: "240", 2: "160", 3: "0.001"}),
        # Nothing above the last limit is lost.
        ("100000", {1: "240", 2: "160", 3: "99600"}),
    )

    @pytest.mark.parametrize("frame", ["MONTH", "PERIOD"])
    @pytest.mark.parametrize(("quantity", "expected"), TABLE)
    def test_of_a_month_and_a_period(self, frame: str, quantity: str, expected: dict[int, str]) -> None:
        known = facts(used(quantity), version(frame=frame, tiers=ELECTRICITY))
        assert tier_quantities(bill(known)) == expected

    @pytest.mark.parametrize(
        ("counted", "quantity", "expected"),
        [
            ("2780", "99.999", {1: "99.999"}),
            ("2780", "100", {1: "100"}),
            ("2780", "100.001", {1: "100", 2: "0.001"}),
            ("2880", "0.001", {2: "0.001"}),
            ("4700", "99.999", {2: "99.999"}),
            ("4700", "100", {2: "100"}),
            ("4700", "100.001", {2: "100", 3: "0.001"}),
            ("4800", "0.001", {3: "0.001"}),
            ("2780", "2120.001", {1: "100", 2: "1920", 3: "100.001"}),
        ],
    )
    def test_of_a_year(self, counted: str, quantity: str, expected: dict[int, str]) -> None:
        known = facts(used(quantity), version(frame="YEAR", tiers=YEARLY))
        assert tier_quantities(bill(known, MARCH, before("2026-03-01", counted))) == expected


class TestSlices:
    def test_first_tier_has_no_lower_end(self) -> None:
        """Credits of the year before can make what was counted negative."""
        steps = tiers(("10", "1"), (None, "2"))
        assert [part.quantity for part in slices(steps, (d(10), None), d(-5), d(20))] == [15, 5]

    def test_limit_below_the_one_before_takes_nothing(self) -> None:
        steps = tiers(("10", "1"), ("8", "2"), (None, "3"))
        found = slices(steps, (d(10), d(8), None), d(0), d(20))
        assert [(part.tier.ordinal, part.quantity) for part in found] == [(1, 10), (3, 10)]

    def test_last_tier_is_open_whatever_its_limit(self) -> None:
        """A peer left what was above the last limit unbilled."""
        closed = (Tier(1, d(100), d(1)), Tier(2, d(200), d(2)))
        known = facts(used("300"), version(mode="ABSOLUTE", tiers=closed))
        assert tier_quantities(bill(known)) == {1: "100", 2: "200"}


class TestByKind:
    def test_parts_add_up(self) -> None:
        """100 x 1/3, 2/3, 3/3: 33.333333, 66.666667 and 100, one minus the other."""
        kinds = {"PEAK": d(7), "FLAT": d(7), "VALLEY": d(7)}
        assert split_by_kind(d(100), kinds) == [  # type: ignore[arg-type]
            ("PEAK", d("33.333333")),
            ("FLAT", d("33.333334")),
            ("VALLEY", d("33.333333")),
        ]

    def test_leaves_out_what_is_nothing(self) -> None:
        assert split_by_kind(d(5), {"PEAK": d(0), "FLAT": d(7), "DEEP": d(0)}) == [("FLAT", d(5))]  # type: ignore[arg-type]


class TestFrames:
    """45 days from 1 March: a month and 14 of 30 days, 1.4666666667 months."""

    WHEN = period("2026-03-01", "2026-04-15")

    def test_month_grows_with_the_period(self) -> None:
        """240 x 1.4666666667 = 352.000000008, to 6 decimals 352; 400 x … = 586.666667."""
        known = facts(used("700", end="2026-04-15"), version(tiers=ELECTRICITY))
        assert tier_quantities(bill(known, self.WHEN)) == {1: "352", 2: "234.666667", 3: "113.333333"}

    def test_period_does_not(self) -> None:
        known = facts(used("700", end="2026-04-15"), version(frame="PERIOD", tiers=ELECTRICITY))
        assert tier_quantities(bill(known, self.WHEN)) == {1: "240", 2: "160", 3: "300"}

    def test_period_is_divided_among_segments(self) -> None:
        """The version changes after 15 of 45 days: 240 x 0.3333333333 = 80, then 240 x 0.6666666667 = 160."""
        first = version(1, frame="PERIOD", tiers=ELECTRICITY)
        second = version(2, frame="PERIOD", tiers=ELECTRICITY, effective_from=at("2026-03-16"))
        pairs = (("2026-03-01", 0), ("2026-03-16", 100), ("2026-04-15", 300))
        priced = bill(facts(meter(*pairs), first, second), self.WHEN)
        assert [(line.tier, line.quantity) for line in priced.lines if line.kind == "TIER"] == [
            (1, d(80)),
            (2, d(20)),
            (1, d(160)),
            (2, d(40)),
        ]


class TestYear:
    def test_twelve_bills(self) -> None:
        """430 kWh a month: 2880 are reached in July (2580 + 300), 4800 in December (4730 + 70)."""
        edges = [f"2026-{month:02}-01" for month in range(1, 13)] + ["2027-01-01", "2027-02-01"]
        known = facts(
            meter(*((edge, 430 * n) for n, edge in enumerate(edges))), version(frame="YEAR", tiers=YEARLY)
        )
        found, last, bills = [], None, []
        for start, end in pairwise(edges):
            priced = bill(known, period(start, end), last)
            bills.append(priced)
            found.append(tier_quantities(priced))
            last = before(end, str(priced.year_quantity))
        assert found == [
            *({1: "430"} for _ in range(6)),
            {1: "300", 2: "130"},
            *({2: "430"} for _ in range(4)),
            {2: "70", 3: "360"},
            {1: "430"},
        ]
        assert [one.year_quantity for one in bills] == [*(430 * n for n in range(1, 13)), 430]

    def test_new_year_within_a_period(self) -> None:
        """160 in the 16 days of December after 4700, 150 in January."""
        known = facts(
            meter(("2025-12-16", 0), ("2026-01-01", 160), ("2026-01-16", 310)),
            version(frame="YEAR", tiers=YEARLY),
        )
        priced = bill(known, period("2025-12-16", "2026-01-16"), before("2025-12-16", "4700"))
        assert _parts(priced) == [(2, "100"), (3, "60"), (1, "150")]
        assert priced.year_quantity == 150
        assert "split" in priced.flags

    def test_several_new_years(self) -> None:
        known = facts(
            meter(("2024-07-01", 0), ("2025-01-01", 3000), ("2026-01-01", 8000), ("2026-02-01", 8100)),
            version(frame="YEAR", tiers=YEARLY),
        )
        priced = bill(known, period("2024-07-01", "2026-02-01"))
        assert _parts(priced) == [(1, "2880"), (2, "120"), (1, "2880"), (2, "1920"), (3, "200"), (1, "100")]

    def test_what_was_counted_up_to_new_year_does_not_count(self) -> None:
        known = facts(used("100", "2026-01-01", "2026-02-01"), version(frame="YEAR", tiers=YEARLY))
        assert (
            bill(known, period("2026-01-01", "2026-02-01"), before("2026-01-01", "9999")).year_quantity == 100
        )

    @pytest.mark.parametrize(
        ("start", "end", "expected"),
        [
            ("2025-12-31 23:00", "2026-01-05", [(1, "10"), (1, "20")]),
            ("2025-12-01", "2026-01-01 00:00:01", [(1, "10"), (1, "20")]),
            ("2025-12-01", "2026-01-01", [(1, "10")]),
            ("2026-01-01", "2026-02-01", [(1, "20")]),
        ],
    )
    def test_new_year_near_an_end(self, start: str, end: str, expected: list[tuple[int, str]]) -> None:
        pairs = {start: 0, end: 30} | {"2026-01-01": 10}
        known = facts(meter(*sorted(pairs.items())), version(frame="YEAR", tiers=YEARLY))
        assert _parts(bill(known, period(start, end))) == expected

    def test_version_change_counts_on_from_the_first_day_of_the_year(self) -> None:
        """2700 in the segment that begins with the scope: they count in the next one."""
        first = version(1, frame="YEAR", tiers=YEARLY)
        second = version(2, frame="YEAR", tiers=YEARLY, effective_from=at("2026-01-16"))
        known = facts(meter(("2026-01-01", 0), ("2026-01-16", 2700), ("2026-02-01", 2900)), first, second)
        priced = bill(known, period("2026-01-01", "2026-02-01"), before("2026-01-01", "9999"))
        assert _parts(priced) == [(1, "2700"), (1, "180"), (2, "20")]
        assert priced.year_quantity == 2900

    def test_version_change_counts_on(self) -> None:
        """100 before, 2800 with the first version, then 80 + 20 with the second."""
        first = version(1, frame="YEAR", tiers=YEARLY)
        second = version(2, frame="YEAR", tiers=YEARLY, effective_from=at("2026-03-16"))
        known = facts(meter(("2026-03-01", 0), ("2026-03-16", 2700), ("2026-04-01", 2800)), first, second)
        priced = bill(known, MARCH, before("2026-03-01", "100"))
        assert _parts(priced) == [(1, "2700"), (1, "80"), (2, "20")]
        assert priced.year_quantity == 2900


class TestHouseholdOfSix:
    """Water as in Wuxi: 6 tonnes a month more on each limit for everybody above four."""

    TIERS = tiers(("15", "2"), ("25", "3"), (None, "6"), persons_step="6")
    BY_MONTH = version(mode="ABSOLUTE", tiers=TIERS, persons_base=4)
    BY_YEAR = version(
        mode="ABSOLUTE",
        frame="YEAR",
        persons_base=4,
        tiers=tiers(("180", "2"), ("300", "3"), (None, "6"), persons_step="6"),
    )

    @pytest.mark.parametrize(
        ("persons", "expected"),
        [
            (0, {1: "15", 2: "10", 3: "15"}),
            (4, {1: "15", 2: "10", 3: "15"}),
            (5, {1: "21", 2: "10", 3: "9"}),
            (6, {1: "27", 2: "10", 3: "3"}),
        ],
    )
    def test_of_a_month(self, persons: int, expected: dict[int, str]) -> None:
        known = facts(used("40"), self.BY_MONTH, occupants=[lives(1, persons=persons)])
        assert tier_quantities(bill(known)) == expected

    def test_without_a_step_there_is_no_more(self) -> None:
        known = facts(used("40"), version(mode="ABSOLUTE", tiers=WATER), occupants=[lives(1, persons=6)])
        assert tier_quantities(bill(known)) == {1: "15", 2: "10", 3: "15"}

    def test_of_a_period(self) -> None:
        """Two periods of a month: limits stay, persons count by months, 2 x 6 x 2 = 24."""
        two = period("2026-03-01", "2026-05-01", coverage="2")
        known = facts(
            used("60", end="2026-05-01"),
            version(mode="ABSOLUTE", frame="PERIOD", tiers=self.TIERS, persons_base=4),
            occupants=[lives(1, persons=6)],
        )
        assert tier_quantities(bill(known, two)) == {1: "39", 2: "10", 3: "11"}

    def test_of_a_year(self) -> None:
        """180 + 12 x 2 x 6 = 324, 300 + 144 = 444."""
        known = facts(used("200"), self.BY_YEAR, occupants=[lives(1, persons=6)])
        assert tier_quantities(bill(known, MARCH, before("2026-03-01", "300"))) == {
            1: "24",
            2: "120",
            3: "56",
        }

    def test_who_moves_in_during_the_year_counts_from_then_on(self) -> None:
        """Two more from July: 6 months x 2 x 6 = 72, so 252; the months before keep what they were."""
        people = [lives(1, persons=4), lives(2, "2026-07-01", persons=2)]
        known = facts(used("60", "2026-07-01", "2026-08-01"), self.BY_YEAR, occupants=people)
        july = period("2026-07-01", "2026-08-01")
        assert tier_quantities(bill(known, july, before("2026-07-01", "200"))) == {1: "52", 2: "8"}

    def test_who_moves_in_within_a_month_cuts_the_period(self) -> None:
        """Up to 16 March 4 live there and the limit is 180. Then 6: April to December 9 x 2 x 6 = 108 more,
        March counts as it began. 185 are counted then: 103 up to 288, 7 above."""
        people = [lives(1, persons=4), lives(2, "2026-03-16", persons=2)]
        pairs = (("2026-03-01", 0), ("2026-03-16", 10), ("2026-04-01", 120))
        priced = bill(
            facts(meter(*pairs), self.BY_YEAR, occupants=people), MARCH, before("2026-03-01", "175")
        )
        assert _parts(priced) == [(1, "5"), (2, "5"), (1, "103"), (2, "7")]


class TestOccupantChange:
    """150 kWh up to 16 March, 160 after; others live there then."""

    PAIRS = (("2026-03-01", 0), ("2026-03-16", 150), ("2026-04-01", 310))
    OTHERS = (lives(1, "2020-01-01", "2026-03-16"), lives(2, "2026-03-16"))

    def test_by_month_reset(self) -> None:
        """240 x 15/31 = 116.129032 and 240 x 16/31 = 123.870968."""
        priced = bill(facts(meter(*self.PAIRS), version(tiers=ELECTRICITY), occupants=self.OTHERS))
        assert _parts(priced) == [(1, "116.129032"), (2, "33.870968"), (1, "123.870968"), (2, "36.129032")]
        assert priced.flags == ("first", "split")

    def test_by_month_continue(self) -> None:
        known = facts(
            meter(*self.PAIRS),
            version(tiers=ELECTRICITY, on_occupant_change="CONTINUE"),
            occupants=self.OTHERS,
        )
        assert _parts(bill(known)) == [(1, "240"), (2, "70")]

    def test_by_year_reset(self) -> None:
        """2900 before: the old ones are in the second tier, the new ones begin at 0 with 10 months to go."""
        known = facts(meter(*self.PAIRS), version(frame="YEAR", tiers=YEARLY), occupants=self.OTHERS)
        priced = bill(known, MARCH, before("2026-03-01", "2900"))
        assert _parts(priced) == [(2, "150"), (1, "160")]
        assert priced.year_quantity == 160

    def test_by_year_reset_scales_the_limits(self) -> None:
        """2880 x 0.8333333333 = 2400."""
        pairs = (("2026-03-01", 0), ("2026-03-16", 0), ("2026-04-01", 2500))
        known = facts(meter(*pairs), version(frame="YEAR", tiers=YEARLY), occupants=self.OTHERS)
        assert _parts(bill(known)) == [(1, "2400"), (2, "100")]

    def test_by_year_continue(self) -> None:
        known = facts(
            meter(*self.PAIRS),
            version(frame="YEAR", tiers=YEARLY, on_occupant_change="CONTINUE"),
            occupants=self.OTHERS,
        )
        priced = bill(known, MARCH, before("2026-03-01", "2800"))
        assert _parts(priced) == [(1, "80"), (2, "230")]
        assert priced.year_quantity == 3110

    def test_change_on_the_day_of_the_bill(self) -> None:
        """What the last bill counted was the others'."""
        known = facts(
            used("100"),
            version(frame="YEAR", tiers=YEARLY),
            occupants=[lives(1, valid_to="2026-03-01"), lives(2, "2026-03-01")],
        )
        assert bill(known, MARCH, before("2026-03-01", "2900")).year_quantity == 100

    def test_who_joins_or_leaves_resets_nothing(self) -> None:
        people = [lives(1), lives(2, "2026-03-16"), lives(3, valid_to="2026-03-20")]
        priced = bill(facts(meter(*self.PAIRS), version(tiers=ELECTRICITY), occupants=people))
        assert _parts(priced) == [(1, "240"), (2, "70")]

    def test_first_to_move_in_begin_anew(self) -> None:
        known = facts(
            meter(*self.PAIRS), version(frame="YEAR", tiers=YEARLY), occupants=[lives(2, "2026-03-16")]
        )
        assert bill(known, MARCH, before("2026-03-01", "2900")).year_quantity == 160

    def test_reset_of_a_later_version_reaches_back(self) -> None:
        """The change was in February, when the tariff did not look at it: the new one counts all of March."""
        first = version(1, frame="YEAR", tiers=YEARLY, on_occupant_change="CONTINUE")
        second = version(2, frame="YEAR", tiers=YEARLY, effective_from=at("2026-03-16"))
        people = [lives(1, valid_to="2026-02-15"), lives(2, "2026-02-15")]
        priced = bill(facts(meter(*self.PAIRS), first, second, occupants=people), MARCH)
        assert priced.year_quantity == 310

    def test_persons_of_a_household_before_the_change_do_not_count(self) -> None:
        """From 16 March on 10 months of 5 persons: 180 x 10/12 + 10 x 6 = 210."""
        water = version(
            mode="ABSOLUTE",
            frame="YEAR",
            persons_base=4,
            tiers=tiers(("180", "2"), (None, "3"), persons_step="6"),
        )
        people = [lives(1, valid_to="2026-03-16", persons=9), lives(2, "2026-03-16", persons=5)]
        known = facts(meter(("2026-03-16", 0), ("2026-04-01", 300)), water, occupants=people)
        assert _parts(bill(known, period("2026-03-16", "2026-04-01"))) == [(1, "210"), (2, "90")]


def _parts(priced: PricedBill) -> list[tuple[int | None, str]]:
    return [(line.tier, f"{line.quantity.normalize():f}") for line in priced.lines if line.kind == "TIER"]
