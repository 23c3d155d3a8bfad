"""When maintenance windows are open, by clocks that change, and where a spread puts whom."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.batch.rollout import Opening, Rollout, Window, opening_at, slot_of, zone_of
from include.batch.rollout.model import DAYS

TASK_ID = "0" * 24


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# Clock changes: Berlin forward 2026-03-29 01:00 UTC (02:00 -> 03:00), back 2026-10-25 01:00 UTC;
# New York forward 2026-03-08 07:00 UTC; Lord Howe forward 2026-10-03 15:30 UTC (02:00 -> 02:30), back
# 2026-04-04 15:00 UTC (02:00 -> 01:30); Santiago forward at midnight, 2026-09-06 04:00 UTC (00:00 -> 01:00);
# Samoa left 2011-12-30 out.
@pytest.mark.parametrize(
    ("zone", "start", "end", "at", "opens", "closes"),
    [
        ("UTC", "02:00", "04:00", "2026-11-22 01:00", "2026-11-22 02:00", "2026-11-22 04:00"),
        ("UTC", "02:00", "04:00", "2026-11-22 02:00", "2026-11-22 02:00", "2026-11-22 04:00"),
        ("UTC", "02:00", "04:00", "2026-11-22 03:59:59.999999", "2026-11-22 02:00", "2026-11-22 04:00"),
        ("UTC", "02:00", "04:00", "2026-11-22 04:00", "2026-11-23 02:00", "2026-11-23 04:00"),
        ("UTC", "22:00", "04:00", "2026-11-22 03:00", "2026-11-21 22:00", "2026-11-22 04:00"),
        ("UTC", "22:00", "24:00", "2026-11-22 23:30", "2026-11-22 22:00", "2026-11-23 00:00"),
        ("UTC", "22:00", "22:00", "2026-11-22 21:00", "2026-11-21 22:00", "2026-11-22 22:00"),
        ("UTC", "00:00", "24:00", "2026-11-22 00:00", "2026-11-22 00:00", "2026-11-23 00:00"),
        ("Asia/Shanghai", "02:00", "04:00", "2026-11-22 12:00", "2026-11-22 18:00", "2026-11-22 20:00"),
        ("Asia/Kathmandu", "02:00", "04:00", "2026-11-22 12:00", "2026-11-22 20:15", "2026-11-22 22:15"),
        ("Pacific/Kiritimati", "02:00", "04:00", "2026-11-22 13:00", "2026-11-22 12:00", "2026-11-22 14:00"),
        # The day before, the day of, and the day after a change forward: the hour from 02:00 is left out.
        ("Europe/Berlin", "02:00", "04:00", "2026-03-28 00:00", "2026-03-28 01:00", "2026-03-28 03:00"),
        ("Europe/Berlin", "02:00", "04:00", "2026-03-29 00:00", "2026-03-29 01:00", "2026-03-29 02:00"),
        ("Europe/Berlin", "02:00", "04:00", "2026-03-30 00:00", "2026-03-30 00:00", "2026-03-30 02:00"),
        ("Europe/Berlin", "01:30", "02:30", "2026-03-29 00:00", "2026-03-29 00:30", "2026-03-29 01:00"),
        ("Europe/Berlin", "02:30", "03:30", "2026-03-29 00:00", "2026-03-29 01:00", "2026-03-29 01:30"),
        # Both ends in the gap: not held that day.
        ("Europe/Berlin", "02:10", "02:50", "2026-03-29 00:00", "2026-03-30 00:10", "2026-03-30 00:50"),
        ("America/New_York", "02:00", "03:00", "2026-03-08 06:00", "2026-03-09 06:00", "2026-03-09 07:00"),
        # A change back: what comes twice counts the first time.
        ("Europe/Berlin", "02:00", "04:00", "2026-10-25 00:00", "2026-10-25 00:00", "2026-10-25 03:00"),
        ("Europe/Berlin", "01:30", "02:30", "2026-10-24 23:00", "2026-10-24 23:30", "2026-10-25 00:30"),
        ("Europe/Berlin", "02:10", "02:50", "2026-10-25 00:00", "2026-10-25 00:10", "2026-10-25 00:50"),
        ("Europe/Berlin", "02:10", "02:50", "2026-10-25 01:20", "2026-10-26 01:10", "2026-10-26 01:50"),
        ("Europe/Berlin", "22:00", "02:30", "2026-10-24 21:00", "2026-10-24 20:00", "2026-10-25 00:30"),
        ("Australia/Lord_Howe", "02:00", "02:45", "2026-10-03 15:00", "2026-10-03 15:30", "2026-10-03 15:45"),
        ("Australia/Lord_Howe", "01:30", "02:00", "2026-04-04 14:00", "2026-04-04 14:30", "2026-04-04 15:30"),
        ("America/Santiago", "00:00", "02:00", "2026-09-06 02:00", "2026-09-06 04:00", "2026-09-06 05:00"),
        # Friday the 30th was not: its window is not held, that from Thursday over it ends where it began.
        ("Pacific/Apia", "02:00", "04:00", "2011-12-29 15:00", "2011-12-30 12:00", "2011-12-30 14:00"),
        ("Pacific/Apia", "22:00", "04:00", "2011-12-30 09:00", "2011-12-30 08:00", "2011-12-30 10:00"),
    ],
)  # fmt: skip
def test_openings(zone: str, start: str, end: str, at: str, opens: str, closes: str) -> None:
    assert opening_at(Window(start, end), zone, utc(at)) == Opening(utc(opens), utc(closes))


@pytest.mark.parametrize(
    ("days", "at", "opens"),
    [
        (("sat", "sun"), "2026-11-22 05:00", "2026-11-28 02:00"),  # the 22nd is a Sunday
        (("mon",), "2026-11-22 05:00", "2026-11-23 02:00"),
        (("sun",), "2026-11-22 03:00", "2026-11-22 02:00"),
        (("sun",), "2026-11-22 04:00", "2026-11-29 02:00"),
    ],
)
def test_days_are_those_on_which_it_starts(days, at: str, opens: str) -> None:
    assert opening_at(Window("02:00", "04:00", days), "UTC", utc(at)).start == utc(opens)


def test_a_window_over_midnight_belongs_to_the_day_of_its_start() -> None:
    window = Window("22:00", "04:00", ("sun",))
    assert opening_at(window, "UTC", utc("2026-11-23 03:00")).start == utc("2026-11-22 22:00")
    assert opening_at(window, "UTC", utc("2026-11-22 03:00")).start == utc("2026-11-22 22:00")


def test_the_one_day_of_a_week_that_was_left_out_comes_the_week_after() -> None:
    window = Window("02:00", "04:00", ("fri",))
    assert opening_at(window, "Pacific/Apia", utc("2011-12-29 15:00")).start == utc("2012-01-05 12:00")


ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe",
    "Africa/Casablanca", "Pacific/Apia", "Pacific/Chatham", "Asia/Shanghai",
]  # fmt: skip
zones = st.sampled_from(ZONES)
moments = st.datetimes(datetime(2010, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))
clocks = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
windows = st.builds(
    Window, clocks, clocks, st.sets(st.sampled_from(DAYS), min_size=1).map(lambda days: tuple(sorted(days)))
)


@given(windows, zones, moments)
def test_an_opening_holds_the_moment_or_follows_it(window: Window, zone: str, moment: datetime) -> None:
    opening = opening_at(window, zone, moment)
    assert opening.start < opening.end <= opening.start + timedelta(hours=26)
    assert moment < opening.end
    local = opening.start.astimezone(ZoneInfo(zone))
    if f"{local:%H:%M}" == window.start:
        assert DAYS[local.weekday()] in window.days
    else:
        before = (opening.start - timedelta(seconds=1)).astimezone(ZoneInfo(zone))
        assert f"{before:%H:%M}" < window.start < f"{local:%H:%M}" or before.date() < local.date(), "a gap"


@given(windows, zones, moments)
def test_none_is_passed_over(window: Window, zone: str, moment: datetime) -> None:
    following = opening_at(window, zone, moment)
    inside = following.start + (following.end - following.start) / 2
    assert opening_at(window, zone, inside) == following
    later = opening_at(window, zone, following.end)
    assert later.start >= following.end
    assert later.start - following.start < timedelta(days=15)


def test_whose_clocks_count() -> None:
    device, fixed = Window("02:00", "04:00"), Window("02:00", "04:00", timezone="Europe/Berlin")
    assert zone_of(device, "America/New_York", "Asia/Shanghai") == "America/New_York"
    assert zone_of(device, None, "Asia/Shanghai") == "Asia/Shanghai"
    assert zone_of(fixed, "America/New_York", "Asia/Shanghai") == "Europe/Berlin"


class TestSlots:
    AFTER = utc("2026-11-22 03:00")

    def slots(self, rollout: Rollout, after: datetime = AFTER, count: int = 2000):
        return [
            slot_of(rollout, task_id=TASK_ID, target=f"lamp-{n}", after=after, zone="UTC")
            for n in range(count)
        ]

    def test_without_window_or_spread_it_is_now(self) -> None:
        assert {(slot.wake_at, slot.window_ends_at) for slot in self.slots(Rollout())} == {(self.AFTER, None)}

    def test_a_spread_is_even_and_the_same_on_every_run(self) -> None:
        rollout = Rollout(spread_seconds=600)
        slots = self.slots(rollout)
        assert slots == self.slots(rollout)
        assert slots != [
            slot_of(rollout, task_id="1" * 24, target=f"lamp-{n}", after=self.AFTER, zone="UTC")
            for n in range(2000)
        ], "another task spreads otherwise"
        assert all(self.AFTER <= one.wake_at < self.AFTER + timedelta(seconds=600) for one in slots)
        tenths = [(one.wake_at - self.AFTER) // timedelta(seconds=60) for one in slots]
        assert all(150 < tenths.count(tenth) < 250 for tenth in range(10))

    def test_a_window_that_is_open_spreads_over_what_is_left_of_it(self) -> None:
        rollout = Rollout(window=Window("02:00", "03:10"), spread_seconds=3600)
        slots = self.slots(rollout)
        closes = utc("2026-11-22 03:10")
        assert {slot.window_ends_at for slot in slots} == {closes}
        assert all(self.AFTER <= slot.wake_at < closes for slot in slots)
        assert max(slot.wake_at for slot in slots) > closes - timedelta(seconds=5)

    def test_a_window_that_is_closed_spreads_from_its_next_start(self) -> None:
        rollout = Rollout(window=Window("04:00", "06:00"), spread_seconds=60)
        slots = self.slots(rollout)
        assert min(slot.wake_at for slot in slots) >= utc("2026-11-22 04:00")
        assert max(slot.wake_at for slot in slots) < utc("2026-11-22 04:01")
        assert {slot.window_ends_at for slot in slots} == {utc("2026-11-22 06:00")}

    @given(windows, zones, moments, st.integers(1, 86_400), st.text(max_size=5))
    def test_no_slot_lies_outside_its_window(
        self, window: Window, zone: str, after: datetime, spread: int, target: str
    ) -> None:
        rollout = Rollout(window=window, spread_seconds=spread)
        slot = slot_of(rollout, task_id=TASK_ID, target=target, after=after, zone=zone)
        opening = opening_at(window, zone, after)
        assert max(after, opening.start) <= slot.wake_at < opening.end == slot.window_ends_at
