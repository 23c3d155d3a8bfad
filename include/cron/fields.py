"""One cron field: its text read into a set of values, and the set written back as text.

The grammar is that of robfig/cron (what document 003 refers to as the "golang cron module"), with what the
library `cronsim` adds: weekday 7, `L`, `LW`, `5L` and `1#2`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NoReturn

from include.errors import CronExpressionError

#: Longer texts are refused unread; the longest useful expression (every value listed) is shorter.
MAX_LENGTH: Final = 1000

_ITEM = re.compile(r"(\*|[^-/*]+)(?:-([^-/*]+))?(?:/([0-9]+))?")
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


@dataclass(frozen=True)
class FieldSpec:
    """What one field may hold: its word in messages, its key in JSON objects, and its values."""

    word: str
    key: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many values the field has."""
        return self.high - self.low + 1

    @property
    def accepted_high(self) -> int:
        """The largest number read: weekday 7 is a second spelling of Sunday."""
        return 7 if self is WEEKDAY else self.high

    def stepped(self, step: int) -> frozenset[int]:
        """Return the values of `*/step`."""
        return frozenset(range(self.low, self.high + 1, step))


SECOND: Final = FieldSpec("second", "second", 0, 59)
MINUTE: Final = FieldSpec("minute", "minute", 0, 59)
HOUR: Final = FieldSpec("hour", "hour", 0, 23)
DAY: Final = FieldSpec("day of month", "day", 1, 31)
MONTH: Final = FieldSpec("month", "month", 1, 12, _MONTHS)
WEEKDAY: Final = FieldSpec("weekday", "weekday", 0, 6, _WEEKDAYS)

#: The order of a seconds-first expression.
SPECS: Final = (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY)


@dataclass(frozen=True)
class FieldValue:
    """A field that was read: numbers, `L`-like specials, and whether its text began with a star.

    The star is kept because Debian cron gives it a meaning of its own, see `include.cron.canonical`.
    """

    spec: FieldSpec
    numbers: frozenset[int]
    specials: frozenset[str] = frozenset()
    starred: bool = False

    @property
    def full(self) -> bool:
        """Whether every value matches."""
        return len(self.numbers) == self.spec.size

    @property
    def star_step(self) -> int:
        """The smallest n for which all of `*/n` is in the set; only for a set that holds the lowest value."""
        return next(n for n in range(1, self.spec.size + 1) if self.spec.stepped(n) <= self.numbers)

    @property
    def beyond_star(self) -> FieldValue:
        """What is left of the set when `*/star_step` is taken out."""
        return FieldValue(self.spec, self.numbers - self.spec.stepped(self.star_step), self.specials)

    def plain(self) -> str:
        """Return the sorted text without a leading star, such as `1,5-9,L`."""
        return ",".join([*_runs(sorted(self.numbers)), *sorted(self.specials)])

    def with_star(self) -> str:
        """Return the text with a leading star and step, such as `*/15` or `*/30,7`."""
        rest = self.beyond_star.plain()
        return f"*/{self.star_step},{rest}" if rest else f"*/{self.star_step}"

    def natural(self) -> str:
        """Return the text people would write, where a leading star does no harm.

        `0,15,30,45` becomes `*/15`, but Saturday and Sunday stay `0,6`, although `*/6` is the same set.
        """
        if self.full:
            return "*"
        return self.with_star() if self._evenly_stepped() else self.plain()

    def _evenly_stepped(self) -> bool:
        numbers, spec = self.numbers, self.spec
        if self.specials or len(numbers) < 2 or spec.low not in numbers:
            return False
        if numbers != spec.stepped(self.star_step):
            return False
        return len(numbers) > 2 or spec.size % self.star_step == 0


def parse_field(spec: FieldSpec, text: str, *, field: str) -> FieldValue:
    """Read the text of one field, such as `1,15-20/2` or `mon-fri`.

    `field` is the request field that errors carry. Raises CronExpressionError naming the cron field and the
    value.
    """
    return _FieldReader(spec, text, field).read()


def shortened(text: str) -> str:
    """Return the text quoted for a message, cut where it would drown the message."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _runs(numbers: list[int]) -> list[str]:
    """Write sorted numbers as items: three or more in a row become a range."""
    items: list[str] = []
    run: list[int] = []
    for number, following in pairwise([*numbers, -1]):
        run.append(number)
        if following == number + 1:
            continue
        items += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else [str(n) for n in run]
        run = []
    return items


class _FieldReader:
    """Reads one field; holds what every error message needs."""

    def __init__(self, spec: FieldSpec, text: str, field: str) -> None:
        self.spec = spec
        self.text = text.strip()
        self.field = field

    def read(self) -> FieldValue:
        if len(self.text) > MAX_LENGTH:
            self.refuse(f"it is longer than {MAX_LENGTH} characters")
        # `?` is robfig's second spelling of `*`; it may stand in every field.
        normal = self.text.upper().replace("?", "*")
        numbers: set[int] = set()
        specials: set[str] = set()
        for item in normal.split(","):
            special = self.special(item.strip())
            if special:
                specials.add(special)
            else:
                numbers |= self.numbers(item.strip())
        kept = frozenset() if len(numbers) == self.spec.size else frozenset(specials)
        return FieldValue(self.spec, frozenset(numbers), kept, normal.startswith("*"))

    def special(self, item: str) -> str | None:
        """Return the normal spelling of `L`, `LW`, `5L` or `1#2`, None for anything else."""
        if self.spec is DAY and item in ("L", "LW"):
            return item
        if self.spec is not WEEKDAY:
            return None
        if "#" in item:
            return self.nth_weekday(item)
        return f"{self.number(item[:-1]) % 7}L" if item.endswith("L") and len(item) > 1 else None

    def nth_weekday(self, item: str) -> str:
        weekday, _, nth = item.partition("#")
        if nth not in ("1", "2", "3", "4", "5"):
            self.refuse("the number after # must be 1 to 5")
        return f"{self.number(weekday) % 7}#{nth}"

    def numbers(self, item: str) -> set[int]:
        if not item:
            self.refuse("it is empty" if not self.text else "a list item is empty")
        match = _ITEM.fullmatch(item)
        if match is None or (match[1] == "*" and match[2]):
            self.refuse(f"{shortened(item)} is not of the form *, n, n-m, */step, n/step or n-m/step")
        first, last = self.bounds(match[1], match[2], stepped=match[3] is not None)
        step = int(match[3] or "1")
        if step < 1:
            self.refuse("the step must be at least 1")
        found = range(first, last + 1, step)
        return {n % 7 for n in found} if self.spec is WEEKDAY else set(found)

    def bounds(self, start: str, end: str | None, *, stepped: bool) -> tuple[int, int]:
        if start == "*":
            return self.spec.low, self.spec.high
        first = self.number(start)
        if end is None:
            # `n/step` means n to the highest value, as in robfig/cron.
            return first, max(first, self.spec.high) if stepped else first
        last = self.number(end)
        if last < first:
            self.refuse(f"the range {start}-{end} runs backwards")
        return first, last

    def number(self, word: str) -> int:
        if word in self.spec.names:
            return self.spec.names.index(word) + self.spec.low
        if re.fullmatch("[0-9]+", word) is None:
            self.refuse(f"{shortened(word)} is not a number" + (" or a name" if self.spec.names else ""))
        value = int(word)
        if not self.spec.low <= value <= self.spec.accepted_high:
            self.refuse(f"{word} is outside {self.spec.low} to {self.spec.accepted_high}")
        return value

    def refuse(self, reason: str) -> NoReturn:
        raise CronExpressionError(f"{self.spec.word} {shortened(self.text)}: {reason}", field=self.field)
