"""How many attempts may be begun: no minute sees more than the rate, and nothing is made up for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.batch.model import NewTask, Progress, Task
from include.batch.rollout import Allowance, Every, Rate, Rollout, allowance, paced_until
from include.batch.rollout.rate import Bucket, rate_now

START = datetime(2026, 11, 22, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TASK = Task(
    id=1,
    task_id="0" * 24,
    asked=NewTask("p", "lamps", "createCommands"),
    status="Processing",
    status_desc=None,
    progress=Progress(),
    paused_at=None,
    pause_reason=None,
    dispatched=0,
    paced_until=None,
    judged_success=0,
    judged_fail=0,
    open_wave=1,
    runs_wanted=1,
    runs_started=1,
    created_at=START,
    started_at=START,
    finished_at=None,
)


def begin(rollout: Rollout, task: Task, now: datetime, wanted: int) -> tuple[Task, Allowance]:
    """Do what a claim does: begin what may be begun."""
    allowed = allowance(rollout, task, now, wanted=wanted)
    until = paced_until(rollout, task, now, begun=allowed.count)
    return replace(task, dispatched=task.dispatched + allowed.count, paced_until=until), allowed


def play(per_minute: int, looks: Sequence[tuple[timedelta, int]]) -> list[datetime]:
    """Return when attempts were begun, of a claim after each pause."""
    rollout, task, now = Rollout(rate=Rate(per_minute=per_minute)), TASK, START
    begun: list[datetime] = []
    for pause, wanted in looks:
        now += pause
        task, allowed = begin(rollout, task, now, wanted)
        begun += [now] * allowed.count
    return begun


def busiest_minute(begun: Sequence[datetime]) -> int:
    """Return the most that were begun within 60 seconds, wherever they are taken."""
    return max((bisect_left(begun, at + MINUTE) - place for place, at in enumerate(begun)), default=0)


# Pauses of all sizes, so that the bucket is found empty, full and in between.
pauses = st.sampled_from([1, 1000, 20_000, 61_000, 250_000, 10**6, 7 * 10**6, 61 * 10**6]).flatmap(
    lambda most: st.integers(0, most).map(lambda us: timedelta(microseconds=us))
)


@given(st.integers(1, 3000), st.lists(st.tuples(pauses, st.integers(1, 5000)), max_size=60))
def test_no_minute_sees_more_than_the_rate(per_minute: int, looks: list[tuple[timedelta, int]]) -> None:
    assert busiest_minute(play(per_minute, looks)) <= per_minute


@given(st.integers(1, 3000), st.integers(0, 120), st.integers(20, 700))
def test_nor_does_one_that_begins_with_a_full_bucket(per_minute: int, idle: int, pause: int) -> None:
    step = timedelta(milliseconds=pause)
    looks = [(timedelta(0), 1), (timedelta(seconds=idle), 10**9)]
    assert busiest_minute(play(per_minute, [*looks, *[(step, 10**9)] * (61_000 // pause)])) <= per_minute


@pytest.mark.parametrize("per_minute", [1, 7, 60, 119, 120, 600, 1000, 60_000, 1_000_000])
def test_who_looks_when_told_to_gets_nearly_all_of_it(per_minute: int) -> None:
    rollout, task, now = Rollout(rate=Rate(per_minute=per_minute)), TASK, START
    looks = 0
    while now < START + 2 * MINUTE:
        task, allowed = begin(rollout, task, now, 10**9)
        assert allowed.again_at is not None
        assert allowed.again_at > now
        now, looks = allowed.again_at + timedelta(milliseconds=20), looks + 1
    # A slow look costs at most itself; the bucket fills at most one percent slower than the rate says.
    slow = 0.95 if per_minute <= 120 else 0.98
    assert 2 * per_minute * slow - 1 <= task.dispatched <= 2 * per_minute + max(1, per_minute // 120)
    assert looks < 1000


@given(st.integers(1, 100_000), st.integers(1, 10**6), st.integers(0, 7 * 86_400))
def test_what_a_pause_would_have_allowed_is_gone(per_minute: int, wanted: int, idle: int) -> None:
    rollout = Rollout(rate=Rate(per_minute=per_minute))
    task, _ = begin(rollout, TASK, START, 10**9)
    _, allowed = begin(rollout, task, START + timedelta(seconds=idle), wanted)
    assert allowed.count <= max(1, per_minute // 120), "half a second's worth, however long nobody looked"


def test_paused_tasks_and_tasks_without_limits() -> None:
    rollout = Rollout(rate=Rate(per_minute=60), max_in_flight=3)
    assert allowance(rollout, replace(TASK, paused_at=START), START, wanted=5) == Allowance(0)
    assert allowance(None, replace(TASK, paused_at=START), START, wanted=5) == Allowance(0)
    assert allowance(None, TASK, START, wanted=5) == Allowance(5)
    assert allowance(Rollout(), TASK, START, wanted=5) == Allowance(5)


def test_as_many_go_as_are_not_in_flight() -> None:
    rollout = Rollout(max_in_flight=3)
    for processing, expected in ((0, 3), (2, 1), (3, 0), (4, 0)):
        task = replace(TASK, progress=Progress(total=9, waitting=9 - processing, processing=processing))
        assert allowance(rollout, task, START, wanted=5) == Allowance(expected)
    full = replace(TASK, progress=Progress(total=3, processing=3))
    both = Rollout(rate=Rate(per_minute=600), max_in_flight=3)
    assert allowance(both, full, START, wanted=5) == Allowance(0), (
        "room comes when one ends, not by the clock"
    )


def test_nothing_is_stored_without_a_rate_or_an_attempt() -> None:
    paced = replace(TASK, paced_until=START)
    assert paced_until(None, paced, START, begun=5) == START
    assert paced_until(Rollout(max_in_flight=3), paced, START, begun=5) == START
    assert paced_until(Rollout(rate=Rate(per_minute=60)), paced, START, begun=0) == START
    assert paced_until(Rollout(rate=Rate(per_minute=60)), paced, START + MINUTE, begun=1) == START + MINUTE


RAMP = Rate(base_per_minute=50, factor=Decimal("1.5"), every=Every(succeeded=100), per_minute=200)


@pytest.mark.parametrize(
    ("rate", "begun", "succeeded", "expected"),
    [
        (Rate(per_minute=70), 10**6, 10**6, 70),
        (RAMP, 1000, 0, 50),
        (RAMP, 1000, 99, 50),
        (RAMP, 1000, 100, 75),
        (RAMP, 1000, 200, 112),
        (RAMP, 1000, 399, 168),
        (RAMP, 1000, 400, 200),
        (RAMP, 1000, 10**9, 200),
        (Rate(base_per_minute=1, factor=Decimal(5), every=Every(begun=2)), 3, 0, 5),
        (Rate(base_per_minute=1, factor=Decimal(5), every=Every(begun=2)), 10**9, 0, 1_000_000),
    ],
)
def test_a_ramp_grows_with_what_it_counts(rate: Rate, begun: int, succeeded: int, expected: int) -> None:
    assert rate_now(rate, begun=begun, succeeded=succeeded) == expected


def test_a_ramp_paces_by_how_far_the_task_has_come() -> None:
    rollout = Rollout(rate=RAMP)
    task = replace(TASK, dispatched=100, progress=Progress(total=500, waitting=300, success=200))
    now, begun = START, 0
    while now < START + MINUTE:
        task, allowed = begin(rollout, task, now, 1000)
        begun += allowed.count
        now = allowed.again_at or START + MINUTE
    assert begun == 112


@given(st.integers(1, 1_000_000), st.integers(1, 10_000))
def test_tokens_and_times_agree(per_minute: int, tokens: int) -> None:
    bucket = Bucket.of_rate(per_minute)
    filled = bucket.filled_at(START, tokens)
    assert bucket.tokens(filled - START) in (tokens, tokens + 1)
    assert bucket.tokens(filled - START - timedelta(microseconds=1)) < tokens + 1
    assert bucket.tokens(-MINUTE) == 0
