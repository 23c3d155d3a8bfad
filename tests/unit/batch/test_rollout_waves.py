"""Waves and aborts: how large, whether the next one opens, when too many failed."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.batch.rollout import Abort, Sample, Wave, abort_reason, hold_reason, wave_sizes

TENTH, HUNDRED, REST = Wave(percent=Decimal(10)), Wave(count=100), Wave(rest=True)


@pytest.mark.parametrize(
    ("waves", "total", "sizes"),
    [
        ([TENTH, REST], 1000, [100, 900]),
        ([TENTH, REST], 3, [1, 2]),
        ([TENTH, REST], 0, [0, 0]),
        ([TENTH, HUNDRED, REST], 1001, [101, 100, 800]),
        ([TENTH, HUNDRED, REST], 105, [11, 94, 0]),
        ([HUNDRED, HUNDRED], 1000, [100, 900]),
        ([Wave(percent=Decimal("0.01")), REST], 30_000, [3, 29_997]),
        ([Wave(percent=Decimal(50)), Wave(percent=Decimal(50))], 5, [3, 2]),
        ([REST], 7, [7]),
    ],
)
def test_sizes(waves: list[Wave], total: int, sizes: list[int]) -> None:
    assert wave_sizes(waves, total) == sizes


any_wave = st.builds(Wave, count=st.integers(1, 500)) | st.builds(
    Wave, percent=st.decimals(Decimal("0.01"), Decimal(100), places=2)
)


@given(st.lists(any_wave, min_size=1, max_size=20), st.integers(0, 10**6))
def test_every_target_is_in_one_wave(waves: list[Wave], total: int) -> None:
    sizes = wave_sizes(waves, total)
    assert sum(sizes) == total
    assert len(sizes) == len(waves)
    assert min(sizes) >= 0


@pytest.mark.parametrize(
    ("wave", "succeeded", "approved", "reason"),
    [
        (TENTH, 0, False, None),
        (Wave(count=20, success_percent=Decimal(95)), 19, False, None),
        (
            Wave(count=20, success_percent=Decimal("95.10")),
            19,
            True,
            "wave 2 ended with 19 of 20 successful, 95.1 % are asked for",
        ),
        (Wave(count=20, approval=True), 0, False, "wave 2 waits for an approval"),
        (Wave(count=20, approval=True), 0, True, None),
        (Wave(count=20, success_percent=Decimal(50), approval=True), 10, True, None),
    ],
)
def test_whether_the_next_wave_opens(wave: Wave, succeeded: int, approved: bool, reason: str | None) -> None:
    assert hold_reason(wave, number=2, size=20, succeeded=succeeded, approved=approved) == reason


@pytest.mark.parametrize(
    ("succeeded", "failed", "reason"),
    [
        (0, 49, None),
        (46, 4, "8 % of 50 failed, the limit is 7.5 %"),
        (47, 3, None),
        (37, 3, None),
        (185, 15, "7.5 % of 200 failed, the limit is 7.5 %"),
        (186, 15, None),
        (0, 50, "100 % of 50 failed, the limit is 7.5 %"),
        (29_000, 2999, "9.372 % of 31999 failed, the limit is 7.5 %"),
    ],
)
def test_whether_too_many_failed(succeeded: int, failed: int, reason: str | None) -> None:
    assert abort_reason(Abort(Decimal("7.50"), 50), Sample(succeeded, failed)) == reason
    assert abort_reason(None, Sample(succeeded, failed)) is None
