"""What a counter has counted, turns included."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.readings.turns import Counted, following_total, placed_total, plausible_step

D = Decimal
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def counted(value: object, total: object | None = None, days: float = 0) -> Counted:
    return Counted(NOON + timedelta(days=days), D(str(value)), D(str(value if total is None else total)))


@pytest.mark.parametrize(
    ("previous", "value", "modulus", "plausible", "total"),
    [
        ((5, 5), 8, None, None, 8),
        ((5, 5), 5, None, None, 5),
        ((5, 105), 8, 100, None, 108),
        ((5, 5), 4, None, None, None),
        ((5, 5), 4, None, 1000, None),
        # without history: near the end, and a small step
        ((90, 90), 10, 100, None, 110),
        ((70, 70), 0, 100, None, 100),
        ((69, 69), 0, 100, None, None),
        ((80, 80), 10, 100, None, 110),
        ((80, 80), 11, 100, None, None),
        # with history: what is plausible
        ((50, 50), 0, 100, 50, 100),
        ((50, 50), 0, 100, D("49.999999"), None),
        ((99, 99), 1, 100, 0, None),
        ((99, 1099), 1, 100, 2, 1101),
    ],
)
def test_following_total(previous, value, modulus, plausible, total):
    shown, before = map(D, previous)
    found = following_total(
        before,
        shown,
        D(value),
        None if modulus is None else D(modulus),
        None,
        None if plausible is None else D(plausible),
    )
    assert found == (None if total is None else D(total))


@pytest.mark.parametrize(
    ("previous", "top_up", "value", "total"),
    [
        ((100, 0), 0, 70, 30),
        ((100, 7), 50, 120, 37),
        ((100, 7), 50, 150, 7),
        ((100, 7), 50, 151, None),
        ((100, 7), 0, 101, None),
    ],
)
def test_meters_that_show_what_remains(previous, top_up, value, total):
    shown, before = map(D, previous)
    found = following_total(before, shown, D(value), None, D(top_up), None)
    assert found == (None if total is None else D(total))


@pytest.mark.parametrize(
    ("previous", "following", "value", "modulus", "total"),
    [
        (None, None, 42, 100, 42),
        (counted(10), counted(20), 15, None, 15),
        (counted(10), counted(20), 10, None, 10),
        (counted(10), counted(20), 20, None, 20),
        (counted(10), counted(20), 21, None, None),
        (counted(10), counted(20), 9, None, None),
        # between two known ones a turn needs no plausibility
        (counted(90), counted(30, 130), 95, 100, 95),
        (counted(90), counted(30, 130), 5, 100, 105),
        (counted(90), counted(30, 130), 31, 100, None),
        (counted(90), counted(95), 5, 100, None),
        (None, counted(20), 15, None, 15),
        (None, counted(20, 220), 15, 100, 215),
        (None, counted(20), 25, 100, None),
    ],
)
def test_placed_total(previous, following, value, modulus, total):
    found = placed_total(previous, following, D(value), None if modulus is None else D(modulus))
    assert found == (None if total is None else D(total))


@pytest.mark.parametrize(
    ("previous", "following", "top_up", "value", "total"),
    [
        (counted(100, 0), counted(60, 40), 0, 80, 20),
        (counted(100, 0), counted(60, 40), 0, 59, None),
        (counted(100, 0), counted(60, 40), 0, 101, None),
        (counted(100, 0), counted(100, 50), 50, 120, 30),
        (None, counted(60, 40), 0, 70, 30),
        (None, counted(60, 40), 0, 50, 40),
    ],
)
def test_placed_total_of_what_remains(previous, following, top_up, value, total):
    found = placed_total(previous, following, D(value), None, D(top_up))
    assert found == (None if total is None else D(total))


class TestPlausibleStep:
    def test_it_is_a_multiple_of_the_average(self):
        history = [counted(0, days=-10), counted(50, days=-5)]
        assert plausible_step(history, counted(100), NOON + timedelta(days=2), D(3)) == 60

    def test_only_ninety_days_count(self):
        history = [counted(0, days=-91), counted(1000, days=-90)]
        assert plausible_step(history, counted(1900), NOON + timedelta(days=1), D(1)) == 10

    def test_less_than_a_day_counts_as_one(self):
        history = [counted(0, days=-10)]
        assert plausible_step(history, counted(100), NOON + timedelta(hours=1), D(3)) == 30

    @pytest.mark.parametrize("history", [[], [counted(0, days=-0.99)], [counted(0, days=-100)]])
    def test_none_without_a_day_of_history(self, history):
        assert plausible_step(history, counted(100), NOON + timedelta(days=2), D(3)) is None


amounts = st.decimals(min_value=0, max_value=29, places=6)


class TestAgainstACounter:
    @given(start=amounts, steps=st.lists(amounts, max_size=60), modulus=st.sampled_from([100, 128, 1000]))
    def test_totals_follow_it_over_every_turn(self, start, steps, modulus):
        """A counter that turns over never counts more than the plausible 29 between two readings."""
        truth = total = shown = start
        for step in steps:
            truth += step
            value = truth % modulus
            total = following_total(total, shown, value, D(modulus), None, D(29))
            assert total == truth
            shown = value

    @given(start=amounts, steps=st.lists(amounts, min_size=2, max_size=20), data=st.data())
    def test_a_late_reading_gets_the_total_it_would_have_had(self, start, steps, data):
        modulus, readings, truth = D(100), [], start
        for step in steps:
            truth += step
            readings.append(Counted(NOON, truth % modulus, truth))
        hidden = data.draw(st.integers(0, len(readings) - 1))
        previous = readings[hidden - 1] if hidden else None
        following = readings[hidden + 1] if hidden + 1 < len(readings) else None
        found = placed_total(previous, following, readings[hidden].value, modulus, None, D(29))
        if previous is not None:
            assert found == readings[hidden].total

    @given(steps=st.lists(st.tuples(amounts, amounts), max_size=40))
    def test_what_remains_counts_down_what_was_bought(self, steps):
        remaining, used, total = D(1000), D(0), D(0)
        for bought, consumed in steps:
            before = remaining
            consumed = min(consumed, remaining + bought)
            remaining = remaining + bought - consumed
            used += consumed
            total = following_total(total, before, remaining, None, bought, None)
            assert total == used

    @given(
        previous=amounts,
        value=amounts,
        modulus=st.none() | st.just(D(30)),
        plausible=st.none() | amounts,
        total=st.decimals(min_value=0, max_value=1000, places=6),
    )
    def test_a_total_never_decreases(self, previous, value, modulus, plausible, total):
        found = following_total(total, previous, value, modulus, None, plausible)
        assert found is None or found >= total
