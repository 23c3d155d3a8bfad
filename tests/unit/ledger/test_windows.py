"""Windows of a schedule: contiguous, armed ahead, one for all that was missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.cron import CronSchedule, parse_seconds_first
from include.ledger.windows import (
    DENSE_SHIFT,
    Planned,
    Window,
    from_interval,
    is_dense,
    plan_cron,
    plan_once,
    to_interval,
)

LEAD = timedelta(seconds=15)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def cron(text: str, zone: str = "UTC") -> CronSchedule:
    return parse_seconds_first(text, zone=zone)


class TestPlanCron:
    def test_next_instant_ends_the_window(self) -> None:
        planned = plan_cron(cron("0 30 9 * * *"), at("2026-03-01T09:30"), at("2026-03-01T09:29:45"), LEAD)
        assert planned == Planned(
            Window(at("2026-03-01T09:30"), at("2026-03-02T09:30")), at("2026-03-02T09:29:45")
        )

    def test_one_run_serves_the_instants_of_a_minute(self) -> None:
        planned = plan_cron(
            cron("*/20 * * * * *"), at("2026-03-01T09:30:40"), at("2026-03-01T09:30:41"), LEAD
        )
        assert planned == Planned(
            Window(at("2026-03-01T09:30:40"), at("2026-03-01T09:31:40")), at("2026-03-01T09:30:45")
        )

    def test_sixty_instants(self) -> None:
        every_second = cron("* * * * * *")
        planned = plan_cron(every_second, at("2026-03-01T09:30:59"), at("2026-03-01T09:30:30"), LEAD)
        assert planned.window.end == at("2026-03-01T09:31:59")
        assert len(every_second.between(planned.window.start, planned.window.end)) == 60

    def test_short_intervals_share_a_run(self) -> None:
        planned = plan_cron(cron("@every 25s"), at("1970-01-01T00:00:00"), at("1970-01-01T00:00:01"), LEAD)
        assert planned.window.end == at("1970-01-01T00:00:50")

    def test_first_window_starts_when_the_schedule_became_active(self) -> None:
        since = at("2026-03-01T09:29:59.400")
        planned = plan_cron(cron("0 30 9 * * *"), since, since, LEAD)
        assert planned.window == Window(since, at("2026-03-01T09:30"))
        assert planned.run_after < since  # at once

    @pytest.mark.parametrize("down", [timedelta(minutes=3, seconds=20), timedelta(days=400)])
    def test_after_downtime_one_run_ends_at_the_latest_missed_instant(self, down: timedelta) -> None:
        previous, minutely = at("2026-03-01T09:45"), cron("0 * * * * *")
        now = previous + down
        planned = plan_cron(minutely, previous, now, LEAD)
        assert planned.window == Window(previous, now.replace(second=0))
        assert planned.run_after <= now

    def test_an_instant_at_the_previous_end_is_not_missed(self) -> None:
        planned = plan_cron(cron("0 0 * * * *"), at("2026-03-01T09:00"), at("2026-03-01T09:00"), LEAD)
        assert planned.window.end == at("2026-03-01T10:00")

    def test_spring_and_autumn_in_new_york(self) -> None:
        half_past_two = cron("0 30 2 * * *", "America/New_York")
        end, ends = at("2026-03-07T12:00"), []
        for _ in range(3):
            end = plan_cron(half_past_two, end, end, LEAD).window.end
            ends.append(end.astimezone(ZoneInfo("America/New_York")).isoformat())
        assert ends == [
            "2026-03-08T03:00:00-04:00",
            "2026-03-09T02:30:00-04:00",
            "2026-03-10T02:30:00-04:00",
        ]


class TestPlanOnce:
    def test_minutes_touch(self) -> None:
        first = plan_once(at("2026-03-01T09:30:12.5"), at("2026-03-01T09:30:13"), LEAD)
        assert first.window.end == at("2026-03-01T09:31")
        second = plan_once(first.window.end, at("2026-03-01T09:30:13"), LEAD)
        assert second == Planned(
            Window(at("2026-03-01T09:31"), at("2026-03-01T09:32")), at("2026-03-01T09:30:45")
        )

    def test_a_pause_is_one_window(self) -> None:
        now = at("2026-03-04T17:11:12")
        assert plan_once(at("2026-03-01T09:30"), now, LEAD).window == Window(at("2026-03-01T09:30"), now)


class TestDense:
    @pytest.mark.parametrize(
        ("expression", "dense"),
        [
            ("0 30 9 * * *", False),
            ("0 * * * * *", False),
            ("0,30 * * * * *", True),
            ("0,50 * * * * *", True),
            ("* * * * * *", True),
            ("@every 5s", True),
            ("@every 15s", True),
            ("@every 60s", False),
            ("@every 1h", False),
        ],
    )
    def test_whether_a_window_may_be_armed_before_it_starts(self, expression: str, dense: bool) -> None:
        assert is_dense(cron(expression)) is dense

    @pytest.mark.parametrize("dense", [True, False])
    def test_interval_and_window_are_inverse(self, dense: bool) -> None:
        window = Window(at("2026-03-01T09:30"), at("2026-03-01T09:31"))
        assert from_interval(to_interval(window, dense=dense), dense=dense) == window
        assert (to_interval(window, dense=dense) == window) is not dense

    def test_a_changed_lead_leaves_no_gap(self) -> None:
        assert timedelta(seconds=45) < DENSE_SHIFT


EXPRESSIONS = st.sampled_from(
    [
        *("* * * * * *", "*/7 * * * * *", "0,50 */3 * * * *", "30 0 9 * * *", "0 30 2 * * *", "0 0 0 29 2 *"),
        *(
            "15 10,20 * * * *",
            "@every 1s",
            "@every 7s",
            "@every 90s",
            "@every 36h",
            "0 0 0 L * *",
            "58 59 * * * 1-5",
        ),
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    expression=EXPRESSIONS,
    zone=st.sampled_from(["UTC", "Asia/Shanghai", "America/New_York", "Australia/Lord_Howe"]),
    start=st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),
    pauses=st.lists(st.integers(min_value=0, max_value=400_000), min_size=1, max_size=6),
)
def test_windows_touch_and_cover_every_instant_once(
    expression: str, zone: str, start: datetime, pauses: list[int]
) -> None:
    """Whenever the scheduler looks, no instant falls between two windows and none belongs to two."""
    schedule = cron(expression, zone)
    end = since = start.replace(tzinfo=UTC)
    now, windows = since, []
    for pause in pauses:
        planned = plan_cron(schedule, end, now, LEAD)
        dense = is_dense(schedule)
        created = max(planned.run_after, now)
        assert to_interval(planned.window, dense=dense).start <= created or windows == []
        windows.append(planned.window)
        end, now = planned.window.end, created + timedelta(seconds=pause)
    assert all(left.end == right.start for left, right in pairwise(windows))
    assert all(window.start < window.end for window in windows)
    served = [i for w in windows[:3] for i in schedule.between(w.start, w.end, 2000)]
    assert served[:2000] == schedule.between(since, windows[:3][-1].end, 2000)[: len(served[:2000])]
