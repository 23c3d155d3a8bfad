"""The clock of maintenance, and how long notices are beside periods."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from include.maintenance import clock
from include.maintenance.cycles import fits
from include.maintenance.model import NoticeUnit, PeriodUnit
from include.settings import Settings, get_settings

EPOCH = datetime(2026, 11, 22, tzinfo=UTC)


class TestClock:
    def test_it_is_the_machines(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(clock, "system_clock", lambda: EPOCH)
        assert clock.maintenance_clock() == EPOCH

    def test_a_day_in_a_minute(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CARILLON_MAINTENANCE_SPEED", "1440")
        monkeypatch.setenv("CARILLON_MAINTENANCE_EPOCH", "2026-11-22T08:00:00+08:00")
        get_settings.cache_clear()
        monkeypatch.setattr(clock, "system_clock", lambda: EPOCH + timedelta(seconds=90))
        assert clock.maintenance_clock() == EPOCH + timedelta(days=1.5)

    def test_it_needs_a_moment_to_count_from(self) -> None:
        with pytest.raises(ValidationError, match="CARILLON_MAINTENANCE_EPOCH"):
            Settings(maintenance_speed=2)


@pytest.mark.parametrize(
    ("period", "notice", "expected"),
    [
        ((2, "日"), (1, "日"), True),
        ((2, "日"), (2, "日"), False),
        ((24, "小时"), (1, "日"), False),
        ((25, "小时"), (1, "日"), True),
        ((1, "周"), (6, "日"), True),
        ((1, "周"), (7, "日"), False),
        ((1, "月"), (27, "日"), True),
        ((1, "月"), (28, "日"), False),
        ((2, "月"), (1, "月"), True),
        ((1, "年"), (11, "月"), True),
        ((1, "年"), (12, "月"), False),
        ((1, "年"), (364, "日"), True),
        ((1, "年"), (365, "日"), False),
        ((31, "日"), (1, "月"), False),
        ((32, "日"), (1, "月"), True),
    ],
)
def test_a_notice_is_always_shorter(
    period: tuple[int, PeriodUnit], notice: tuple[int, NoticeUnit], expected: bool
) -> None:
    assert fits(*period, *notice) is expected
