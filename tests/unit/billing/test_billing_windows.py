"""Time of use: local windows over real time, clock changes and holidays, and the shares of a counter."""

from __future__ import annotations

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest

from include.billing.model import TouWindow
from include.billing.windows import TouSpan, split, tou_spans
from tests.unit.billing.billing_facts import DAY_AND_NIGHT, NEW_YORK, SHANGHAI, at, d, version

HAVANA = ZoneInfo("America/Havana")
TWO = version(tou_windows=DAY_AND_NIGHT, tou_prices={"PEAK": d("0.6"), "VALLEY": d("0.3")})


def hours(spans: tuple[TouSpan, ...]) -> dict[str, float]:
    sums: dict[str, timedelta] = {}
    for span in spans:
        sums[span.kind] = sums.get(span.kind, timedelta()) + (span.end - span.start)
    return {kind: length / timedelta(hours=1) for kind, length in sums.items()}


class TestSpans:
    def test_of_part_of_a_day(self) -> None:
        assert tou_spans(TWO, SHANGHAI, at("2026-03-01 07:00"), at("2026-03-01 22:30")) == (
            TouSpan("VALLEY", at("2026-03-01 07:00"), at("2026-03-01 08:00")),
            TouSpan("PEAK", at("2026-03-01 08:00"), at("2026-03-01 22:00")),
            TouSpan("VALLEY", at("2026-03-01 22:00"), at("2026-03-01 22:30")),
        )

    @pytest.mark.parametrize(
        ("day", "after", "expected"),
        [
            ("2026-03-07", "2026-03-08", {"VALLEY": 10, "PEAK": 14}),
            ("2026-03-08", "2026-03-09", {"VALLEY": 9, "PEAK": 14}),  # 02:00 to 03:00 is skipped
            ("2026-11-01", "2026-11-02", {"VALLEY": 11, "PEAK": 14}),  # 01:00 to 02:00 comes twice
        ],
    )
    def test_over_a_clock_change(self, day: str, after: str, expected: dict[str, float]) -> None:
        assert hours(tou_spans(TWO, NEW_YORK, at(day, NEW_YORK), at(after, NEW_YORK))) == expected

    @pytest.mark.parametrize(
        ("day", "after", "minute", "expected"),
        [
            # 00:00 to the second 01:30: 2.5 hours.
            ("2026-11-01", "2026-11-02", 90, {"VALLEY": 2.5, "PEAK": 22.5}),
            # 02:30 is skipped: two and a half hours after midnight, which the clock calls 03:30.
            ("2026-03-08", "2026-03-09", 150, {"VALLEY": 2.5, "PEAK": 20.5}),
        ],
    )
    def test_that_end_within_a_clock_change(
        self, day: str, after: str, minute: int, expected: dict[str, float]
    ) -> None:
        windows = (
            TouWindow(101, 1231, "any", 0, minute, "VALLEY"),
            TouWindow(101, 1231, "any", minute, 1440, "PEAK"),
        )
        odd = version(tou_windows=windows)
        assert hours(tou_spans(odd, NEW_YORK, at(day, NEW_YORK), at(after, NEW_YORK))) == expected

    def test_without_a_gap_where_midnight_comes_twice(self) -> None:
        """In Havana 01:00 of 1 November 2026 is 00:00 again: until then it is the day before."""
        start, end = at("2026-11-01", HAVANA), at("2026-11-01 12:00", HAVANA)
        spans = tou_spans(TWO, HAVANA, start, end)
        assert hours(spans) == {"VALLEY": 9, "PEAK": 4}
        assert (spans[0].start, spans[-1].end) == (start, end)

    def test_of_weekdays_and_holidays(self) -> None:
        windows = (
            TouWindow(101, 1231, "weekday", 0, 1440, "PEAK"),
            TouWindow(101, 1231, "holiday", 0, 1440, "VALLEY"),
        )
        # 1 October 2026 is a Thursday.
        start, end = at("2026-09-28"), at("2026-10-05")
        listed = version(tou_windows=windows, holidays=frozenset({date(2026, 10, 1)}))
        assert hours(tou_spans(listed, SHANGHAI, start, end)) == {"PEAK": 6 * 24, "VALLEY": 24}
        weekends = version(
            tou_windows=windows, holidays=frozenset({date(2026, 10, 1)}), weekend_is_holiday=True
        )
        assert hours(tou_spans(weekends, SHANGHAI, start, end)) == {"PEAK": 4 * 24, "VALLEY": 3 * 24}

    def test_of_seasons(self) -> None:
        windows = (
            TouWindow(1201, 228, "any", 0, 1440, "PEAK"),  # over the new year; both ends belong to it
            TouWindow(301, 1130, "any", 0, 1440, "FLAT"),
        )
        seasons = version(tou_windows=windows)
        assert hours(tou_spans(seasons, SHANGHAI, at("2025-11-30"), at("2025-12-02"))) == {
            "FLAT": 24,
            "PEAK": 24,
        }
        assert hours(tou_spans(seasons, SHANGHAI, at("2026-02-28"), at("2026-03-02"))) == {
            "PEAK": 24,
            "FLAT": 24,
        }
        assert hours(tou_spans(seasons, SHANGHAI, at("2025-12-31"), at("2026-01-02"))) == {"PEAK": 48}


class TestSplit:
    def test_spreads_evenly_between_readings(self) -> None:
        """2 kWh an hour until noon, then 1: VALLEY 8 x 2 + 2 x 1, PEAK 4 x 2 + 10 x 1."""
        points = [(at("2026-03-01"), d(0)), (at("2026-03-01 12:00"), d(24)), (at("2026-03-02"), d(36))]
        found = split(points, d(36), d(1), TWO, SHANGHAI)
        assert found.by_kind == {"PEAK": d(18), "VALLEY": d(18)}
        assert found.coarse

    def test_by_the_hour_is_no_guess(self) -> None:
        points = [(at("2026-03-01 07:00") + timedelta(hours=n), d(n * n)) for n in range(4)]
        found = split(points, d(9), d(1), TWO, SHANGHAI)
        assert found.by_kind == {"PEAK": d(8), "VALLEY": d(1)}
        assert not found.coarse
        points[-1] = (points[-1][0] + timedelta(seconds=1), d(9))
        assert split(points, d(9), d(1), TWO, SHANGHAI).coarse

    def test_what_is_left_goes_to_the_largest(self) -> None:
        """PEAK is 14 of 24 hours, VALLEY 10."""
        day = [(at("2026-03-01"), d(0)), (at("2026-03-02"), d(1))]
        assert split(day, d(1), d(1), TWO, SHANGHAI).by_kind == {
            "PEAK": d("0.583333"),
            "VALLEY": d("0.416667"),
        }
        # 3.5 and 2.5 millionths are 4 and 3, one too many.
        six = [(at("2026-03-01"), d(0)), (at("2026-03-02"), d("0.000006"))]
        assert split(six, d("0.000006"), d(1), TWO, SHANGHAI).by_kind == {
            "PEAK": d("0.000003"),
            "VALLEY": d("0.000003"),
        }

    def test_of_equals_the_first_kind_takes_what_is_left(self) -> None:
        halves = version(
            tou_windows=(
                TouWindow(101, 1231, "any", 0, 720, "VALLEY"),
                TouWindow(101, 1231, "any", 720, 1440, "PEAK"),
            ),
            tou_prices={"PEAK": d(1), "VALLEY": d(1)},
        )
        day = [(at("2026-03-01"), d(0)), (at("2026-03-02"), d("0.000003"))]
        # 1.5 millionths each are 2 and 2, one too many.
        assert split(day, d("0.000003"), d(1), halves, SHANGHAI).by_kind == {
            "PEAK": d("0.000001"),
            "VALLEY": d("0.000002"),
        }

    def test_thirds_of_a_day(self) -> None:
        kinds = ("TIP", "PEAK", "FLAT")
        thirds = version(
            tou_windows=tuple(
                TouWindow(101, 1231, "any", n * 480, n * 480 + 480, kind) for n, kind in enumerate(kinds)
            ),
            tou_prices=dict.fromkeys(kinds, d(1)),
        )
        day = [(at("2026-03-01"), d(0)), (at("2026-03-02"), d(1))]
        assert split(day, d(1), d(1), thirds, SHANGHAI).by_kind == {
            "TIP": d("0.333334"),
            "PEAK": d("0.333333"),
            "FLAT": d("0.333333"),
        }

    def test_multiplies_before_it_rounds(self) -> None:
        """40 x 1/24 a VALLEY hour: 10 hours of 40 / 24 = 16.666667, not 40 x 0.416667."""
        day = [(at("2026-03-01"), d(0)), (at("2026-03-02"), d(1))]
        assert split(day, d(40), d(40), TWO, SHANGHAI).by_kind == {
            "PEAK": d("23.333333"),
            "VALLEY": d("16.666667"),
        }

    def test_kinds_out_of_season_have_no_quantity(self) -> None:
        windows = (*DAY_AND_NIGHT, TouWindow(701, 831, "any", 0, 1440, "TIP"))
        seasonal = version(tou_windows=windows, tou_prices={"TIP": d(1), "PEAK": d(1), "VALLEY": d(1)})
        day = [(at("2026-03-01"), d(0)), (at("2026-03-02"), d(24))]
        assert split(day, d(24), d(1), seasonal, SHANGHAI).by_kind == {"PEAK": d(14), "VALLEY": d(10)}

    def test_without_windows_all_is_of_the_first_kind(self) -> None:
        bare = version(tou_prices={"VALLEY": d(1), "PEAK": d(1)})
        day = [(at("2026-03-01"), d(0)), (at("2026-03-02"), d(24))]
        assert split(day, d(24), d(1), bare, SHANGHAI).by_kind == {"PEAK": d(24)}
