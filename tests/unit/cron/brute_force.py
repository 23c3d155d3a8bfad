"""A second implementation of cron, slow and obvious, to check the first one against.

It knows the clock changes from the table below (not from a time zone library) and expressions from the sets
they were generated from (not from their text). Every UTC second of a stretch is walked once and filed under
its local second, minute, hour and date; a set of seconds is an integer with one bit each, so that matching an
expression is a few AND and OR operations on whole stretches.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

HOUR = 3600


@dataclass(frozen=True)
class Change:
    """A clock change: at `at` (UTC) the distance to UTC goes from `before` to `after`, in minutes."""

    zone: str
    at: str
    before: int
    after: int


# Sources: US Energy Policy Act 2005; EU directive 2000/84/EC; NSW Standard Time Act; PRC State Council 1986.
CHANGES = (
    Change("America/New_York", "2026-03-08T07:00", -300, -240),
    Change("America/New_York", "2026-11-01T06:00", -240, -300),
    Change("Europe/London", "2026-03-29T01:00", 0, 60),
    Change("Europe/London", "2026-10-25T01:00", 60, 0),
    Change("Australia/Lord_Howe", "2026-04-04T15:00", 660, 630),
    Change("Australia/Lord_Howe", "2026-10-03T15:30", 630, 660),
    Change("Asia/Shanghai", "1988-04-16T18:00", 480, 540),
    Change("Asia/Shanghai", "1988-09-10T17:00", 540, 480),
    # Ordinary times: the leap day, and the turn of a year and of a short month.
    Change("America/New_York", "2028-02-29T05:00", -300, -300),
    Change("Europe/London", "2027-01-01T00:00", 0, 0),
    Change("Australia/Lord_Howe", "2026-12-31T13:00", 660, 660),
    Change("Asia/Shanghai", "2026-02-28T16:00", 480, 480),
    Change("Asia/Shanghai", "2028-02-29T16:00", 480, 480),
)


@dataclass(frozen=True)
class Expression:
    """A random expression: its text, and the sets and date rules it was made from."""

    text: str
    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    day_rules: tuple[Callable[[date], bool], ...]
    months: frozenset[int]
    weekday_rules: tuple[Callable[[date], bool], ...]

    @property
    def wildcard(self) -> bool:
        _, minute, hour, *_ = self.text.split()
        return minute[0] in "*?" or hour[0] in "*?"

    def on(self, day: date) -> bool:
        """Return whether the expression is due on a local date at all."""
        _, _, _, day_text, _, weekday_text = self.text.split()
        in_day = any(rule(day) for rule in self.day_rules)
        in_week = any(rule(day) for rule in self.weekday_rules)
        both = day_text[0] in "*?" or weekday_text[0] in "*?"
        return day.month in self.months and (in_day and in_week if both else in_day or in_week)


@dataclass
class Clock:
    """Bit sets of positions by what a wall clock shows there."""

    seconds: dict[int, int] = field(default_factory=dict)
    minutes: dict[int, int] = field(default_factory=dict)
    hours: dict[int, int] = field(default_factory=dict)
    dates: dict[date, int] = field(default_factory=dict)

    def file(self, position: int, local: datetime) -> None:
        for shelf, key in (
            (self.seconds, local.second),
            (self.minutes, local.minute),
            (self.hours, local.hour),
        ):
            shelf[key] = shelf.get(key, 0) | 1 << position
        self.dates[local.date()] = self.dates.get(local.date(), 0) | 1 << position

    def matches(self, wanted: Expression) -> int:
        dates = sum(bits for day, bits in self.dates.items() if wanted.on(day))
        return (
            dates
            & sum(self.hours.get(n, 0) for n in wanted.hours)
            & sum(self.minutes.get(n, 0) for n in wanted.minutes)
            & sum(self.seconds.get(n, 0) for n in wanted.seconds)
        )


class Stretch:
    """The UTC seconds from `hours` before a change to `hours` after it."""

    def __init__(self, change: Change, hours: int) -> None:
        self.zone = change.zone
        middle = datetime.fromisoformat(change.at).replace(tzinfo=UTC)
        self.start = middle - timedelta(hours=hours)
        self.length = 2 * hours * HOUR
        self.change_at = hours * HOUR
        self.real, self.skipped, self.repeated = Clock(), Clock(), 0
        naive = self.start.replace(tzinfo=None)
        for position in range(self.length):
            offset = change.before if position < self.change_at else change.after
            self.real.file(position, naive + timedelta(seconds=position, minutes=offset))
        moved = (change.after - change.before) * 60
        for number in range(moved):
            wall = naive + timedelta(seconds=self.change_at + number, minutes=change.before)
            self.skipped.file(number, wall)
        for number in range(-moved):
            self.repeated |= 1 << self.change_at + number

    def due(self, wanted: Expression) -> list[int]:
        """Return the seconds after `start` at which the expression is due."""
        bits = self.real.matches(wanted)
        if not wanted.wildcard:
            bits &= ~self.repeated
            if self.skipped.matches(wanted):
                bits |= 1 << self.change_at
        return [position for position, bit in enumerate(bin(bits)[:1:-1]) if bit == "1"]


Part = tuple[str, frozenset[int]]


def random_expression(rng: random.Random, near: date) -> Expression:
    """Return an expression whose date fields have a good chance to match on `near` and the day after."""
    second = rng.choice([_second, _list, _range])(rng, 0, 59)
    minute = rng.choice([_star, _step, _from, _list, _range, _list])(rng, 0, 59)
    hour = rng.choice([_star, _step, _from, _list, _range, _range])(rng, 0, 23)
    month = rng.choice([_star, _star, _star, _step, _range, _list])(rng, 1, 12)
    day_text, day_rules = _day(rng, near)
    weekday_text, weekday_rules = _weekday(rng, near)
    text = " ".join([second[0], minute[0], hour[0], day_text, month[0], weekday_text])
    return Expression(text, second[1], minute[1], hour[1], day_rules, month[1], weekday_rules)


def _second(rng: random.Random, low: int, high: int) -> Part:
    return rng.choice([("0", frozenset({0})), ("30", frozenset({30})), _step(rng, low, high)])


def _star(rng: random.Random, low: int, high: int) -> Part:
    return rng.choice("*?"), frozenset(range(low, high + 1))


def _step(rng: random.Random, low: int, high: int) -> Part:
    step = rng.choice([2, 3, 5, 7, 10, 15, 20, 30])
    return f"*/{step}", frozenset(n for n in range(low, high + 1) if (n - low) % step == 0)


def _from(rng: random.Random, low: int, high: int) -> Part:
    first, step = rng.randint(low, high), rng.randint(1, 20)
    return f"{first}/{step}", frozenset(n for n in range(first, high + 1) if (n - first) % step == 0)


def _range(rng: random.Random, low: int, high: int) -> Part:
    first, last = sorted(rng.choices(range(low, high + 1), k=2))
    step = rng.choice([1, 1, 2, 3])
    numbers = frozenset(n for n in range(first, last + 1) if (n - first) % step == 0)
    return f"{first}-{last}" + (f"/{step}" if step > 1 else ""), numbers


def _list(rng: random.Random, low: int, high: int) -> Part:
    # Low numbers come up more often: the hours around clock changes.
    numbers = [
        rng.choice([rng.randint(low, high), rng.randint(low, low + 3)]) for _ in range(rng.randint(1, 4))
    ]
    text, extra = (
        rng.choice([("", frozenset()), _step(rng, low, high)]) if rng.random() < 0.3 else ("", frozenset())
    )
    items = [*map(str, numbers), *([text] if text else [])]
    return ",".join(items), frozenset(numbers) | extra


def _last_day(day: date) -> bool:
    return (day + timedelta(days=1)).month != day.month


def _last_workday(day: date) -> bool:
    rest = [day + timedelta(days=n) for n in range(1, 4)]
    later = [d for d in rest if d.month == day.month and d.isoweekday() <= 5]
    return day.isoweekday() <= 5 and not later and (day + timedelta(days=3)).month != day.month


def _day(rng: random.Random, near: date) -> tuple[str, tuple[Callable[[date], bool], ...]]:
    other, step = rng.randint(1, 31), rng.randint(2, 9)
    return rng.choice(
        [
            ("*", (lambda day: True,)),
            ("?", (lambda day: True,)),
            (f"*/{step}", (lambda day: (day.day - 1) % step == 0,)),
            (f"{near.day},{other}", (lambda day: day.day in (near.day, other),)),
            ("1-31", (lambda day: True,)),
            ("L", (_last_day,)),
            (f"LW,{other}", (_last_workday, lambda day: day.day == other)),
            (f"{near.day}/{step}", (lambda day: day.day >= near.day and (day.day - near.day) % step == 0,)),
        ]
    )


def _weekday(rng: random.Random, near: date) -> tuple[str, tuple[Callable[[date], bool], ...]]:
    number, other, nth = near.isoweekday(), rng.randint(0, 6), (near.day + 6) // 7
    name = near.strftime("%a")
    return rng.choice(
        [
            ("*", (lambda day: True,)),
            ("?", (lambda day: True,)),
            ("*/2", (lambda day: day.isoweekday() in (7, 2, 4, 6),)),
            (f"{name},{other}", (lambda day: day.isoweekday() % 7 in (number % 7, other),)),
            ("mon-FRI", (lambda day: day.isoweekday() <= 5,)),
            ("5-7", (lambda day: day.isoweekday() >= 5,)),
            (
                f"{number}#{nth}",
                (lambda day: day.isoweekday() == number and 7 * (nth - 1) < day.day <= 7 * nth,),
            ),
            (
                f"{number}L,{other}",
                (
                    lambda day: day.isoweekday() == number and (day + timedelta(days=7)).month != day.month,
                    lambda day: day.isoweekday() % 7 == other,
                ),
            ),
        ]
    )
