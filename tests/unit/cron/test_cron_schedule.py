"""The questions a schedule answers."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from time import perf_counter

import pytest

from include.cron import CronSchedule, parse_seconds_first
from include.errors import CronExpressionError

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def every(text: str, zone: str = "UTC") -> CronSchedule:
    return parse_seconds_first(text, zone=zone)


class TestBetween:
    def test_is_half_open(self):
        assert every("@hourly").between(START, START + 2 * HOUR) == [START + HOUR, START + 2 * HOUR]

    def test_stops_at_the_limit(self):
        assert every("@hourly").between(START, START + 9 * HOUR, limit=2) == [START + HOUR, START + 2 * HOUR]

    def test_is_empty_when_nothing_is_due(self):
        assert every("@yearly").between(START, START + HOUR) == []

    def test_takes_any_zone_and_answers_in_utc(self):
        beijing = timezone(8 * HOUR)
        found = every("@daily", "Asia/Shanghai").between(
            datetime(2026, 1, 1, tzinfo=beijing), datetime(2026, 1, 2, tzinfo=beijing)
        )
        assert found == [datetime(2026, 1, 1, 16, tzinfo=UTC)]
        assert found[0].tzinfo is UTC

    def test_a_day_of_seconds_is_quick(self):
        begin = perf_counter()
        found = every("* * * * * *", "America/New_York").between(START, START + 24 * HOUR)
        assert len(found) == 86_400
        assert perf_counter() - begin < 5  # 0.2 s; a slip to quadratic work would take minutes


class TestLastAtOrBefore:
    def test_includes_the_instant_itself(self):
        assert every("@hourly").last_at_or_before(START, not_before=START - HOUR) == START

    def test_includes_the_floor(self):
        assert every("@yearly").last_at_or_before(START + HOUR, not_before=START) == START

    def test_is_none_when_nothing_was_due(self):
        assert every("@yearly").last_at_or_before(START + 9 * HOUR, not_before=START + HOUR) is None

    def test_is_none_when_the_floor_is_later(self):
        assert every("@yearly").last_at_or_before(START, not_before=START + HOUR) is None

    def test_fractions_of_a_second_are_later_than_the_second(self):
        moment = START + timedelta(microseconds=1)
        assert every("* * * * * *").last_at_or_before(moment, not_before=START) == START

    def test_goes_back_over_years(self):
        schedule = every("0 0 0 29 2 */7", "America/New_York")
        found = schedule.last_at_or_before(
            datetime(2051, 1, 1, tzinfo=UTC), not_before=datetime(1990, 1, 1, tzinfo=UTC)
        )
        assert found == datetime(2032, 2, 29, 5, tzinfo=UTC)

    def test_does_not_walk_through_what_was_missed(self):
        schedule = every("* * * * * *", "Europe/London")
        begin = perf_counter()
        assert schedule.last_at_or_before(START, not_before=datetime(1990, 1, 1, tzinfo=UTC)) == START
        assert perf_counter() - begin < 2  # 36 years of seconds

    @pytest.mark.parametrize(
        ("text", "last"), [("@every 11s", START - timedelta(seconds=8)), ("@every 1h", START)]
    )
    def test_intervals(self, text, last):
        # 2026-01-01T00:00Z is 1,767,225,600 s after the epoch: 8 more than a multiple of 11.
        assert every(text).last_at_or_before(START, not_before=START - HOUR) == last

    def test_an_interval_that_was_not_due(self):
        assert every("@every 11s").last_at_or_before(START, not_before=START - timedelta(seconds=7)) is None


class TestEvery:
    def test_counts_from_the_epoch_in_every_zone(self):
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        for zone in ("UTC", "America/New_York"):
            assert every("@every 1h30m", zone).next_after(epoch) == epoch + 1.5 * HOUR

    def test_is_strictly_after(self):
        assert list(islice(every("@every 1h").iter_after(START), 2)) == [START + HOUR, START + 2 * HOUR]

    def test_is_an_interval(self):
        assert every("@every 1h").is_interval
        assert not every("@hourly").is_interval


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("@daily", (0,)),
        ("30,15 * * * * *", (15, 30)),
        ("*/20 * * * * *", (0, 20, 40)),
        ("@every 20s", (0, 20, 40)),
        ("@every 90s", (0, 30)),
        ("@every 2m", (0,)),
        ("@every 7s", tuple(range(60))),
    ],
)
def test_seconds_of_a_minute(text, seconds):
    assert every(text).seconds == seconds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("@every 1h30m", "Every 1 hour 30 minutes"),
        ("@every 2h1s", "Every 2 hours 1 second"),
        ("0 30 9 * * mon-fri", "At 09:30, Monday through Friday"),
        ("*/10 * * * * *", "Every 10 seconds"),
        ("0 0 0 L * *", "At 00:00, on the last day of the month"),
        ("0 0 9 * * 5L", "At 09:00, on the last Friday of the month"),
        ("0 0 9 * * 1#2", "At 09:00, on the second Monday of the month"),
        ("0 0 9 1 * 1", "At 09:00, on day 1 of the month, or on Monday"),
        (
            "0 0 9 * * 1#2,5L",
            "At 09:00, on the second Monday of the month or on the last Friday of the month",
        ),
        (
            "0 0 9 * 3 3,1#2",
            "At 09:00, only on Wednesday or on the second Monday of the month, only in March",
        ),
        ("0 0 9 1,15,L * *", "At 09:00, on day 1 and 15 of the month or on the last day of the month"),
        (
            "0 0 9 1,L * 1",
            "At 09:00, on day 1 of the month or on the last day of the month or only on Monday",
        ),
        (
            "0 0 9 */10,L * 1",
            "At 09:00, every 10 days or on the last day of the month and only on Monday",
        ),
    ],
)
def test_words(text, words):
    assert every(text).describe() == words


class TestEnds:
    """Instants without a zone, years beyond the calendar, schedules that run dry."""

    @pytest.mark.parametrize("text", ["@daily", "@every 1h"])
    def test_an_instant_needs_a_zone(self, text):
        naive = datetime(2026, 1, 1)
        with pytest.raises(ValueError, match="an instant needs a time zone"):
            every(text).next_after(naive)

    def test_the_ends_of_the_calendar(self):
        first = datetime.min.replace(tzinfo=UTC)
        assert every("@daily").next_after(first) == datetime(1900, 1, 3, tzinfo=UTC)
        last = datetime.max.replace(tzinfo=UTC)
        assert every("@daily").last_at_or_before(last, first) == datetime(9000, 1, 1, tzinfo=UTC)

    def test_a_date_that_does_not_exist(self):
        never = CronSchedule.from_canonical("0 0 0 30 2 *", "UTC")
        assert never.between(START, START + HOUR) == []
        assert never.last_at_or_before(START, START - HOUR) is None
        with pytest.raises(
            CronExpressionError, match=r"0 0 0 30 2 \* in UTC never fires after 2026-01-01T00:00:00"
        ):
            never.next_after(START)

    def test_a_wildcard_whose_times_are_always_skipped(self):
        # Clocks in New York go forward on this Sunday since 2007; in 2006 they went in April.
        schedule = CronSchedule.from_canonical("0 */30 2 * 3 0#2", "America/New_York")
        assert list(schedule.iter_after(START)) == []
        long_ago = datetime(2000, 1, 1, tzinfo=UTC)
        assert schedule.last_at_or_before(START, long_ago) == datetime(2006, 3, 12, 7, 30, tzinfo=UTC)


def test_a_schedule_can_be_pickled():
    schedule = every("0 30 9 * * *", "Asia/Shanghai")
    assert schedule.next_after(START) == datetime(2026, 1, 1, 1, 30, tzinfo=UTC)
    assert pickle.loads(pickle.dumps(schedule)) == schedule
