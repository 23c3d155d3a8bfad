"""When the last attempt of a task would be begun."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from include.batch.rollout import Every, Rate, Rollout, Wave, Window, predicted_end

BEGIN = datetime(2026, 11, 22, 1, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
SIXTY = Rate(per_minute=60)
NIGHT = Window("02:00", "04:00")


def end_of(rollout: Rollout, zones: Mapping[str, int] | None = None) -> datetime | None:
    return predicted_end(rollout, begins_at=BEGIN, zones={"UTC": 600} if zones is None else zones)


@pytest.mark.parametrize(
    ("rollout", "zones"),
    [
        (Rollout(), {"UTC": 5}),
        (Rollout(max_in_flight=1, waves=(Wave(rest=True),)), {"UTC": 5}),
        (Rollout(rate=SIXTY), {}),
        (Rollout(rate=SIXTY), {"UTC": 0}),
        (Rollout(rate=SIXTY, waves=(Wave(count=1, approval=True), Wave(rest=True))), {"UTC": 5}),
        (Rollout(rate=Rate(per_minute=1)), {"UTC": 600_000}),
        (Rollout(rate=Rate(per_minute=1), window=NIGHT), {"UTC": 100_000}),
    ],
)
def test_what_cannot_be_said(rollout: Rollout, zones: Mapping[str, int]) -> None:
    assert end_of(rollout, zones) is None


@pytest.mark.parametrize(
    ("rollout", "zones", "after"),
    [
        (Rollout(spread_seconds=600), {"UTC": 5}, 10 * MINUTE),
        (Rollout(rate=SIXTY), {"UTC": 600}, 10 * MINUTE),
        (Rollout(rate=SIXTY, spread_seconds=3600), {"UTC": 600}, HOUR),
        (Rollout(window=NIGHT), {"UTC": 5}, HOUR),
        (Rollout(window=NIGHT), {"UTC": 5, "America/New_York": 1}, 6 * HOUR),
        (Rollout(window=NIGHT, spread_seconds=600), {"UTC": 5}, HOUR + 10 * MINUTE),
        (Rollout(window=NIGHT, spread_seconds=86_400), {"UTC": 5}, 3 * HOUR),
        (Rollout(rate=SIXTY, window=NIGHT), {"UTC": 600}, HOUR + 10 * MINUTE),
        # Two hours a night: 7,200 the first, the rest the second.
        (Rollout(rate=SIXTY, window=NIGHT), {"UTC": 7_800}, 25 * HOUR + 10 * MINUTE),
        # 120 minutes in UTC, then the zone two hours further west; its targets do not wait for the others.
        (Rollout(rate=SIXTY, window=NIGHT), {"UTC": 60, "Etc/GMT+2": 60}, 3 * HOUR + MINUTE),
        # One hour in common: who closes first goes first.
        (
            Rollout(rate=SIXTY, window=NIGHT),
            {"Etc/GMT+1": 3600, "UTC": 7200},
            3 * HOUR + HOUR,
        ),
        # A ramp: 50 at 50 a minute, 50 at 100, the last 100 at its ceiling of 120.
        (
            Rollout(
                rate=Rate(base_per_minute=50, factor=Decimal(2), every=Every(succeeded=50), per_minute=120)
            ),
            {"UTC": 200},
            MINUTE + MINUTE / 2 + 50 * MINUTE / 60,
        ),
    ],
)
def test_when_it_ends(rollout: Rollout, zones: Mapping[str, int], after: timedelta) -> None:
    found = end_of(rollout, zones)
    assert found is not None
    assert abs(found - BEGIN - after) <= timedelta(seconds=1)
