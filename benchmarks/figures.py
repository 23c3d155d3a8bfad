"""The arithmetic of the benchmarks. Pure."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.receiver import Arrival
from include.kit.quantiles import quantile


@dataclass(frozen=True)
class Round:
    """What one round of one contender came to.

    :ivar early: arrivals before the instant
    :ivar twice: arrivals beyond the first of an id
    :ivar p50: milliseconds from the instant to the arrival; so p99 and most
    """

    expected: int
    came: int
    early: int
    twice: int
    least: float
    p50: float
    p99: float
    most: float


@dataclass(frozen=True)
class Result:
    """A contender's rounds on one subject; each figure of time is the median of the rounds.

    Of an even number it is the worse of the middle two: a mean of a good and a bad round never happened.
    """

    subject: str
    contender: str
    rounds: tuple[Round, ...]

    @property
    def came(self) -> int:
        """The fewest that came in a round."""
        return min(one.came for one in self.rounds)

    @property
    def expected(self) -> int:
        return self.rounds[0].expected

    @property
    def early(self) -> int:
        return sum(one.early for one in self.rounds)

    @property
    def twice(self) -> int:
        return sum(one.twice for one in self.rounds)

    def median(self, name: str) -> float:
        """Return the median of a figure over the rounds."""
        return float(statistics.median_high(getattr(one, name) for one in self.rounds))

    @property
    def has_p99(self) -> bool:
        """Whether a round has enough calls for one in a hundred of them to mean something."""
        return self.expected >= 100

    def ratio(self, floor: Result | None) -> float | None:
        """Return p99 against a floor's; None where a call is missing, since what was dropped is not late."""
        complete = floor is not None and self.came == self.expected and floor.came == floor.expected
        if floor is None or not complete or not self.has_p99:
            return None
        return self.median("p99") / floor.median("p99")

    def as_json(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "contender": self.contender,
            "expected": self.expected,
            "came": self.came,
            "early": self.early,
            "twice": self.twice,
            **{f"{name}_ms": round(self.median(name), 3) for name in ("least", "p50", "p99", "most")},
            "rounds": [asdict(one) for one in self.rounds],
        }


def summarise(arrivals: Sequence[Arrival], due: float, expected: int) -> Round:
    """Return the figures of one round.

    Lateness is of the first arrival of each id; one that is missing counts in `came` alone.

    :param due: the instant, seconds since the epoch
    """
    first: dict[str, float] = {}
    for arrival in sorted(arrivals, key=lambda one: one.at):
        first.setdefault(arrival.id, arrival.at)
    counts = Counter(arrival.id for arrival in arrivals)
    late = sorted((at - due) * 1000 for at in first.values())
    return Round(
        expected=expected,
        came=len(first),
        early=sum(arrival.at < due for arrival in arrivals),
        twice=sum(count - 1 for count in counts.values()),
        least=late[0] if late else math.nan,
        p50=quantile(late, 0.50),
        p99=quantile(late, 0.99),
        most=late[-1] if late else math.nan,
    )
