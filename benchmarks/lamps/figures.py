"""The arithmetic of the timers benchmark. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.figures import Round

OURS, AIOHTTP, SOCKETS = "carillon", "aiohttp, 32 senders", "bare sockets, 32 senders"


@dataclass(frozen=True)
class Burst:
    """One contender's commands of one instant.

    :ivar figures: when they came, by the simulator's clock
    :ivar seconds: from the first send to the last acknowledgement, by the sender's clock
    :ivar cpu_seconds: of the sender: the triggerers from before they arm, or the whole process of a peer
    :ivar rss_mb: most memory of the sender
    :ivar cpu_by_process: of a whole instance meanwhile; empty for a peer
    :ivar load: of the machine when it began, over the last minute: what else was going on
    """

    figures: Round
    seconds: float
    cpu_seconds: float
    rss_mb: float
    cpu_by_process: dict[str, float]
    load: float

    @property
    def a_second(self) -> float:
        return self.figures.came / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Result:
    """A contender's rounds with so many timers; figures are medians, of an even number the worse one."""

    timers: int
    contender: str
    rounds: tuple[Burst, ...]

    @property
    def came(self) -> int:
        """The fewest that came in a round."""
        return min(one.figures.came for one in self.rounds)

    @property
    def complete(self) -> bool:
        return self.came == self.timers

    @property
    def a_second(self) -> float:
        return statistics.median_low(one.a_second for one in self.rounds)

    def late(self, name: str) -> float:
        """Return a figure of lateness in milliseconds."""
        return float(statistics.median_high(getattr(one.figures, name) for one in self.rounds))

    def total(self, name: str) -> int:
        """Return how many came early, or twice, over all rounds."""
        return sum(int(getattr(one.figures, name)) for one in self.rounds)

    def spent(self, name: str) -> float:
        """Return a figure of what the sender needed."""
        return float(statistics.median_high(getattr(one, name) for one in self.rounds))

    def ratio(self, peer: Result | None) -> float | None:
        """Return commands a second against a peer's; None where one is missing: what is left out is quick."""
        if peer is None or not self.complete or not peer.complete:
            return None
        return self.a_second / peer.a_second

    def as_json(self, peer: Result | None) -> dict[str, Any]:
        ratio = self.ratio(peer)
        return {
            "timers": self.timers,
            "contender": self.contender,
            "came": self.came,
            "early": self.total("early"),
            "twice": self.total("twice"),
            **{f"{name}_ms": round(self.late(name), 3) for name in ("least", "p50", "p99", "most")},
            "commands_per_second": round(self.a_second, 1),
            "ratio_to_aiohttp": None if ratio is None else round(ratio, 3),
            "cpu_seconds": round(self.spent("cpu_seconds"), 2),
            "rss_mb": round(self.spent("rss_mb"), 1),
            "rounds": [asdict(one) for one in self.rounds],
        }


def peer_of(result: Result, results: Sequence[Result]) -> Result | None:
    """Return aiohttp with as many commands."""
    same = (one for one in results if one.timers == result.timers and one.contender == AIOHTTP)
    return next(same, None)


def incomplete(results: Sequence[Result]) -> list[str]:
    """Return which contender left something out, sent it early or twice, a sentence each."""
    found = []
    for one in results:
        early, twice = one.total("early"), one.total("twice")
        if not one.complete or early or twice:
            found.append(
                f"{one.timers:,} timers, {one.contender}: {one.came:,} came, {early} early, {twice} twice"
            )
    return found
