"""The counter at a moment: every rung of the ladder from a reading down to nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from include.billing.counters import Counter, Profile, counter_at, readings_within
from include.billing.model import Reading
from tests.unit.billing.billing_facts import at, d, readings

TWO_HOURS = timedelta(hours=2)


def counter(
    moment: str, *pairs: tuple[str, str | int], profile: Profile | None = None
) -> tuple[str, str, int] | None:
    found = counter_at(readings(*pairs), at(moment), TWO_HOURS, profile)
    return None if found is None else (f"{found.total:f}", found.method, found.reading_id)


class TestRead:
    def test_at_the_moment(self) -> None:
        assert counter("2026-03-01", ("2026-03-01", 7)) == ("7", "exact_read", 1)

    def test_within_the_tolerance_before(self) -> None:
        assert counter("2026-03-01 02:00", ("2026-03-01", 7), ("2026-03-01 02:01", 9)) == (
            "7",
            "exact_read",
            1,
        )

    def test_not_after(self) -> None:
        assert counter("2026-03-01", ("2026-03-01 00:01", 7)) is None

    def test_of_several_at_one_moment_the_highest_id(self) -> None:
        twice = (*readings(("2026-03-01", 7)), Reading(5, at("2026-03-01"), d(8)))
        assert counter_at(twice, at("2026-03-01"), TWO_HOURS, None) == Counter(d(8), "exact_read", 5)
        later = (*readings(("2026-02-28 20:00", 4)), *twice)
        # Half way to 8, not to 7.
        assert counter_at(later, at("2026-02-28 22:00:01"), timedelta(0), None) == Counter(
            d("6.000278"), "interval", 1
        )


class TestBetweenReadings:
    def test_a_day_apart(self) -> None:
        """6 of 24 hours after 100 on the way to 101."""
        pairs = (("2026-03-01", 100), ("2026-03-02", 101))
        assert counter("2026-03-01 06:00", *pairs) == ("100.250000", "interval", 1)

    def test_more_than_a_day_apart(self) -> None:
        """15 of 45 days on the way to 100."""
        pairs = (("2026-03-01", 0), ("2026-04-15", 100))
        assert counter("2026-03-16", *pairs) == ("33.333333", "day_weighted", 1)
        pairs = (("2026-03-01", 0), ("2026-03-02 00:00:01", 100))
        assert counter("2026-03-01 12:00", *pairs)[1] == "day_weighted"  # type: ignore[index]


class TestEstimated:
    #: A year ago 20 a day in March; now 10 a day up to 1 March.
    LAST_YEAR = (("2025-03-01", 1000), ("2025-04-01", 1620), ("2026-02-01", 5000), ("2026-03-01", 5280))

    def test_as_last_year(self) -> None:
        """365 days before: 1 March to 1 April 2025, 620."""
        assert counter("2026-04-01", *self.LAST_YEAR) == ("5900", "estimated_last_year", 4)

    def test_as_last_year_between_readings_there(self) -> None:
        """To 11 March: 10 of 31 days of 620 = 200."""
        assert counter("2026-03-11", *self.LAST_YEAR) == ("5480.000000", "estimated_last_year", 4)
        shifted = (("2025-02-01", 440), *self.LAST_YEAR[1:3], ("2026-03-02", 5290))
        # From 2 March 2025 (29 of 59 days of 1180: 1020) to 11 March (38 of 59: 1200).
        assert counter("2026-03-11", *shifted) == ("5470.000000", "estimated_last_year", 4)

    def test_not_as_last_year_where_readings_end_before(self) -> None:
        """No reading at or before 2 February 2025, where the span begins."""
        pairs = (("2025-03-01", 1000), ("2025-12-01", 1620), ("2026-02-02", 2000))
        assert counter("2026-02-12", *pairs)[1] == "estimated_average"  # type: ignore[index]

    def test_not_as_last_year_when_the_gap_is_longer_than_a_year(self) -> None:
        pairs = (("2023-01-01", 0), ("2024-01-01", 365), ("2024-01-11", 375))
        assert counter("2026-01-11", *pairs)[1] == "estimated_average"  # type: ignore[index]

    def test_by_the_average_of_90_days(self) -> None:
        """280 in the 28 days before 1 March: 31 days more are 310."""
        pairs = (("2026-02-01", 0), ("2026-03-01", 280))
        assert counter("2026-04-01", *pairs) == ("590.000000", "estimated_average", 2)

    def test_by_the_average_of_no_more_than_90_days(self) -> None:
        """1 December is 90 days before 1 March and counts; a second before it does not."""
        within = (("2025-12-01", 0), ("2026-02-01", 500), ("2026-03-01", 900))
        assert counter("2026-03-02", *within) == ("910.000000", "estimated_average", 3)  # 900 / 90
        beyond = (("2025-11-30 23:59:59", 0), ("2026-02-01", 500), ("2026-03-01", 920))
        assert counter("2026-03-02", *beyond) == ("935.000000", "estimated_average", 3)  # 420 / 28

    def test_not_by_the_average_of_less_than_a_day(self) -> None:
        short = (("2026-02-28 00:00:01", 0), ("2026-03-01", 280))
        assert counter("2026-04-01", *short) is None
        enough = (("2026-02-28", 0), ("2026-03-01", 10))
        assert counter("2026-03-02", *enough) == ("20.000000", "estimated_average", 2)

    def test_by_what_is_usual_for_the_class(self) -> None:
        """8 a day, a multiplier of 40: 31 days are 248, which the counter sees as 6.2."""
        profile = Profile(d(8), d(40))
        assert counter("2026-04-01", ("2026-03-01", 100), profile=profile) == (
            "106.200000",
            "estimated_profile",
            1,
        )

    def test_not_at_all(self) -> None:
        assert counter("2026-04-01", ("2026-03-01", 100)) is None
        assert counter("2026-04-01") is None
        assert counter("2026-04-01", ("2026-05-01", 100), profile=Profile(d(8), d(1))) is None

    @pytest.mark.parametrize(
        ("later", "expected"),
        [
            (None, ("590.000000", "estimated_average")),
            # The next reading is below the estimate: the counter was between the two, never above.
            (("2026-05-01", 500), ("391.803279", "day_weighted")),
        ],
    )
    def test_an_estimate_gives_way_to_what_is_read(
        self, later: tuple[str, int] | None, expected: tuple[str, str]
    ) -> None:
        """280 + 220 x 31 / 61 = 391.803279."""
        pairs = [("2026-02-01", 0), ("2026-03-01", 280), *([later] if later else [])]
        assert counter("2026-04-01", *pairs)[:2] == expected  # type: ignore[index]


def test_readings_within_leaves_out_the_ends() -> None:
    known = readings(("2026-03-01", 0), ("2026-03-02", 1), ("2026-03-02", 2), ("2026-03-03", 3))
    assert [one.id for one in readings_within(known, at("2026-03-01"), at("2026-03-03"))] == [3]
