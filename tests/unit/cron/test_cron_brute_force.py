"""2,000 random expressions against a model that walks every second."""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import date, timedelta
from functools import cache

from include.cron import CronSchedule, parse_seconds_first
from include.errors import CronExpressionError
from tests.unit.cron.brute_force import CHANGES, Expression, Stretch, random_expression

SEED = 20260308
COUNT = 2000
SECOND = timedelta(seconds=1)


@cache
def stretches() -> list[Stretch]:
    return [Stretch(change, hours=5) for change in CHANGES]


def check_forwards(schedule: CronSchedule, stretch: Stretch, due: list[int], wanted: Expression) -> None:
    end = stretch.start + stretch.length * SECOND - SECOND
    found = [(instant - stretch.start) // SECOND for instant in schedule.between(stretch.start - SECOND, end)]
    assert found == due, f"{wanted.text} in {stretch.zone} around {stretch.start}"


def check_next(schedule: CronSchedule, stretch: Stretch, due: list[int], position: int) -> None:
    found = schedule.next_after(stretch.start + position * SECOND)
    expected = next((n for n in due if n > position), stretch.length)
    assert min((found - stretch.start) // SECOND, stretch.length) == expected, (
        f"{schedule} after {position} s"
    )


def check_backwards(schedule: CronSchedule, stretch: Stretch, due: list[int], position: int) -> None:
    found = schedule.last_at_or_before(stretch.start + position * SECOND, not_before=stretch.start)
    expected = [stretch.start + n * SECOND for n in due if n <= position]
    assert found == (expected[-1] if expected else None), f"{schedule} at {stretch.start} + {position} s"


def draw(rng: random.Random, stretch: Stretch) -> tuple[Expression, CronSchedule]:
    """Draw an expression; one that is refused must have no date in the model either, and is drawn again."""
    while True:
        wanted = random_expression(rng, near=min(stretch.real.dates) + timedelta(days=rng.randint(0, 1)))
        with suppress(CronExpressionError):
            return wanted, parse_seconds_first(wanted.text, zone=stretch.zone)
        days = (date(2024, 1, 1) + timedelta(days=n) for n in range(40 * 366))
        assert not any(wanted.on(day) for day in days), wanted.text


def test_2000_random_expressions_are_due_at_the_seconds_of_the_model():
    rng = random.Random(SEED)
    fired = instants = 0
    for number in range(COUNT):
        stretch = stretches()[number % len(CHANGES)]
        wanted, schedule = draw(rng, stretch)
        due = stretch.due(wanted)
        check_forwards(schedule, stretch, due, wanted)
        for position in (
            *rng.choices(range(stretch.length), k=3),
            stretch.change_at - 300,
            stretch.change_at,
        ):
            check_backwards(schedule, stretch, due, position)
            check_next(schedule, stretch, due, position)
        fired, instants = fired + bool(due), instants + len(due)
    # Without these the comparison could be of empty lists.
    assert fired > COUNT / 4
    assert instants > 50 * COUNT
