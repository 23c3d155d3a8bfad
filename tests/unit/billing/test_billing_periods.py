"""Lengths: months by the calendar, periods of a crontab, local days, parts of a period."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.billing.periods import (
    coverage,
    local_days,
    midnight,
    months_between,
    part,
    period_end,
    year_start,
)
from include.cron import CronSchedule
from include.errors import CronExpressionError
from tests.unit.billing.billing_facts import MARCH, NEW_YORK, SHANGHAI, at, d, period

MONTHLY = CronSchedule.from_canonical("0 0 0 1 * *", "Asia/Shanghai")


def cron(expression: str, zone: str = "Asia/Shanghai") -> CronSchedule:
    return CronSchedule(expression, zone)


class TestMonths:
    @pytest.mark.parametrize(
        ("start", "end", "months"),
        [
            ("2026-01-01", "2026-01-01", "0"),
            ("2026-01-01", "2026-02-01", "1"),
            ("2026-01-01 09:30", "2027-01-01 09:30", "12"),
            # A task of the 31st, and one of the 30th, where months are too short for them.
            ("2026-01-31", "2026-02-28", "1"),
            ("2026-02-28", "2026-03-31", "1"),
            ("2026-03-31", "2026-04-30", "1"),
            ("2026-04-30", "2026-05-31", "1"),
            ("2026-01-30", "2026-02-28", "1"),
            ("2026-02-28", "2026-03-30", "1"),
            ("2026-01-31", "2026-03-31", "2"),
            ("2028-02-29", "2029-02-28", "12"),
            # 17 of the 31 days from 15 January.
            ("2026-01-15", "2026-02-01", "0.5483870968"),
            # A month, and 14.5 of the 30 days from 1 April.
            ("2026-03-01", "2026-04-15 12:00", "1.4833333333"),
            # 28 February, and 1 of the 31 days from there to 31 March.
            ("2026-01-31", "2026-03-01", "1.0322580645"),
            # Not the same time of day: 27.5 of the 28 days from 31 January.
            ("2026-01-31", "2026-02-27 12:00", "0.9821428571"),
        ],
    )
    def test_by_the_calendar(self, start: str, end: str, months: str) -> None:
        assert months_between(at(start), at(end), SHANGHAI) == d(months)

    def test_are_those_of_the_local_calendar(self) -> None:
        start, end = at("2026-03-01"), at("2026-03-16")
        assert months_between(start, end, SHANGHAI) == d("0.4838709677")  # 15 / 31
        assert months_between(start, end, ZoneInfo("UTC")) == d(
            "0.5357142857"
        )  # 15 / 28: from 28 February 16:00

    def test_do_not_see_a_change_of_clocks(self) -> None:
        assert months_between(at("2026-03-01", NEW_YORK), at("2026-04-01", NEW_YORK), NEW_YORK) == 1

    def test_are_never_negative(self) -> None:
        # 01:45 EDT to 01:15 EST, half an hour later.
        start = datetime(2026, 11, 1, 5, 45, tzinfo=UTC)
        assert months_between(start, start + timedelta(minutes=30), NEW_YORK) == 0


class TestCoverage:
    @pytest.mark.parametrize(
        ("start", "end", "expected"),
        [
            ("2026-03-01", "2026-03-01", "0"),
            ("2026-03-01", "2026-04-01", "1"),
            ("2026-03-01", "2026-05-01", "2"),
            ("2026-03-15", "2026-04-01", "0.5483870968"),  # 17 / 31
            ("2026-03-15", "2026-03-16", "0.0322580645"),  # 1 / 31
            ("2026-03-15", "2026-04-11", "0.8817204301"),  # 17 / 31 + 10 / 30
            ("2025-12-17", "2026-04-11", "3.8172043011"),  # 15 / 31 + 3 + 10 / 30
        ],
    )
    def test_of_a_monthly_task(self, start: str, end: str, expected: str) -> None:
        assert coverage(at(start), at(end), MONTHLY) == d(expected)

    @pytest.mark.parametrize(
        ("expression", "zone", "start", "expected"),
        [
            # Three years with a leap day: 1096 days.
            ("0 * * * * *", "Asia/Shanghai", "2023-01-01", 1096 * 1440),
            ("*/30 */5 * * * *", "Asia/Shanghai", "2023-01-01", 1096 * 24 * 12 * 2),
            ("@every 60s", "Asia/Shanghai", "2023-01-01", 1096 * 1440),
            # Real minutes: clocks that change back and forth leave their number alone.
            ("0 * * * * *", "America/New_York", "2025-01-01", 365 * 1440),
            # Weekdays of 2025: 261.
            ("0 * * * * 1-5", "America/New_York", "2025-01-01", 261 * 1440),
            # The minutes from 01:00 come twice on 2 November, those from 02:00 never on 9 March.
            ("0 * 1,2 * * *", "America/New_York", "2025-01-01 01:00", 365 * 120),
        ],
    )
    def test_of_many_instants(self, expression: str, zone: str, start: str, expected: int) -> None:
        begin = at(start, ZoneInfo(zone))
        end = at(f"2026-01-01{start[10:]}", ZoneInfo(zone))
        assert coverage(begin, end, cron(expression, zone)) == expected

    @settings(deadline=None, max_examples=40)
    @given(
        st.sampled_from(["*/5 * * * * *", "*/3 */2 0-3 * * *", "*/5 * * * * 1-5", "*/2 * 1-3 * * *"]),
        st.sampled_from(["America/New_York", "Australia/Lord_Howe", "Asia/Shanghai"]),
        st.integers(0, 364 * 24),
        st.integers(1, 120),
    )
    def test_counts_by_days_as_it_counts_one_by_one(
        self, expression: str, zone: str, hours: int, length: int
    ) -> None:
        dense = cron(expression, zone)
        start = dense.next_after(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours))
        end = dense.next_after(start + timedelta(hours=length))
        assert coverage(start, end, dense) == len(dense.between(start, end))

    def test_with_midnights_for_instants(self) -> None:
        late = cron("0 30 9 1 * *")
        assert coverage(at("2026-03-01"), at("2026-04-01"), late, SHANGHAI) == 1
        assert coverage(at("2026-03-15"), at("2026-05-11"), late, SHANGHAI) == d(
            "1.8709677419"
        )  # 17/31 + 1 + 10/31
        assert coverage(at("2026-03-01"), at("2026-04-01"), late) != 1

    def test_with_midnights_of_which_one_day_has_many(self) -> None:
        assert coverage(at("2026-03-01"), at("2026-03-08"), cron("0 0 */6 * * *"), SHANGHAI) == 7

    def test_of_a_crontab_that_never_fires(self) -> None:
        with pytest.raises(CronExpressionError, match="never fires before"):
            coverage(at("2026-03-01"), at("2026-04-01"), cron("0 0 0 30 2 *"))

    def test_is_additive_over_the_instants(self) -> None:
        weekly = cron("0 0 3 * * 1")
        edges = [at("2026-03-03"), *weekly.between(at("2026-03-03"), at("2026-05-01")), at("2026-05-01")]
        whole = coverage(edges[0], edges[-1], weekly)
        pieces = sum(coverage(a, b, weekly) for a, b in pairwise(edges))
        assert abs(whole - pieces) <= d("0.0000000001")


class TestParts:
    def test_are_of_real_time(self) -> None:
        # 45 days of which the first 15: a third.
        when = period("2026-03-01", "2026-04-15")
        assert part(d("1.5"), when.start, at("2026-03-16"), when) == d("0.5")
        assert part(d(1), when.start, at("2026-03-16"), when) == d("0.3333333333")
        assert part(d(1), at("2026-03-16"), when.end, when) == d("0.6666666667")

    def test_of_everything_is_everything(self) -> None:
        assert part(d("1.4833333333"), MARCH.start, MARCH.end, MARCH) == d("1.4833333333")

    def test_of_a_day_that_is_shorter(self) -> None:
        when = period("2026-03-08", "2026-03-10", NEW_YORK)
        assert part(d(47), when.start, at("2026-03-09", NEW_YORK), when) == 23


class TestDays:
    def test_are_those_of_the_clock(self) -> None:
        assert local_days(at("2026-03-08", NEW_YORK), at("2026-03-09", NEW_YORK), NEW_YORK) == 1
        assert local_days(at("2026-03-01"), at("2026-03-02 12:00"), SHANGHAI) == d("1.5")
        assert local_days(at("2026-03-01"), at("2026-03-01 08:00"), SHANGHAI) == d("0.333333")

    def test_begin_at_local_midnight(self) -> None:
        moment = at("2026-03-01 07:00")
        assert midnight(moment, SHANGHAI) == at("2026-03-01")
        assert midnight(moment, SHANGHAI, 1) == at("2026-03-02")

    def test_year_begins_at_local_midnight(self) -> None:
        assert year_start(at("2026-01-01"), SHANGHAI) == at("2026-01-01")
        assert year_start(at("2026-01-01") - timedelta(seconds=1), SHANGHAI) == at("2025-01-01")
        assert year_start(at("2025-07-01"), SHANGHAI, 2) == at("2027-01-01")

    def test_bills_end_at_the_instant_or_the_midnight_before(self) -> None:
        instant = at("2026-03-01 09:30")
        assert period_end(instant, SHANGHAI, "instant") == instant
        assert period_end(instant, SHANGHAI, "midnight") == at("2026-03-01")
        assert period_end(at("2026-03-01"), SHANGHAI, "midnight") == at("2026-03-01")
