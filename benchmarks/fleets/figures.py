"""The arithmetic of the batch benchmark. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.receiver import Arrival

OURS, AIOHTTP = "carillon", "aiohttp"


@dataclass(frozen=True)
class TaskRun:
    """What an instance did for one batch task.

    :ivar recorded_seconds: from the first command's arrival until the task had finished, all results stored
    :ivar whole_seconds: from the moment the task was asked for until then
    :ivar task_instances: of the task's run in Airflow
    :ivar statements: that the database `carillon` got meanwhile, of all processes
    :ivar cpu_by_process: of all processes, from the request until the run had ended
    """

    recorded_seconds: float
    whole_seconds: float
    task_instances: int
    statements: int
    cpu_by_process: dict[str, float]


@dataclass(frozen=True)
class Round:
    """One contender's commands for so many devices, once.

    :ivar came: devices that got their command
    :ivar twice: arrivals beyond the first of a device
    :ivar seconds: from the first arrival to the last, by the simulator's clock, which answers at once
    :ivar cpu_seconds: of the sender: the triggerers, or the whole process of a peer
    :ivar rss_mb: most memory of the sender
    :ivar load: of the machine when it began, over the last minute: what else was going on
    :ivar run: None of a peer
    """

    came: int
    twice: int
    seconds: float
    cpu_seconds: float
    rss_mb: float
    load: float
    run: TaskRun | None = None

    @property
    def a_second(self) -> float:
        return self.came / self.seconds if self.seconds else 0.0

    @property
    def recorded_a_second(self) -> float:
        """Devices a second until the last result was stored; of a peer, which stores none, until it came."""
        return self.came / self.run.recorded_seconds if self.run else self.a_second


@dataclass(frozen=True)
class Result:
    """A contender's rounds with so many targets; figures are medians, of an even number the worse one."""

    targets: int
    contender: str
    rounds: tuple[Round, ...]

    @property
    def came(self) -> int:
        """The fewest that came in a round."""
        return min(one.came for one in self.rounds)

    @property
    def twice(self) -> int:
        return sum(one.twice for one in self.rounds)

    @property
    def complete(self) -> bool:
        return self.came == self.targets

    def speed(self, name: str = "a_second") -> float:
        """Return devices a second."""
        return statistics.median_low(float(getattr(one, name)) for one in self.rounds)

    def spent(self, name: str) -> float:
        """Return a figure of what the sender needed."""
        return float(statistics.median_high(getattr(one, name) for one in self.rounds))

    def run(self, name: str) -> float | None:
        """Return a figure of the task's run; None of a peer."""
        found = [float(getattr(one.run, name)) for one in self.rounds if one.run]
        return statistics.median_high(found) if found else None

    def ratio(self, peer: Result | None, name: str = "a_second") -> float | None:
        """Return the median of the rounds' ratios to the peer's round just after; of two the worse.

        None where a command is missing: what is left out is quick.
        """
        if peer is None or not self.complete or not peer.complete:
            return None
        pairs = zip(self.rounds, peer.rounds, strict=True)
        return statistics.median_low(float(getattr(ours, name)) / other.a_second for ours, other in pairs)

    def as_json(self, peer: Result | None) -> dict[str, Any]:
        ratios = {name: self.ratio(peer, name) for name in ("a_second", "recorded_a_second")}
        figures = ("recorded_seconds", "whole_seconds", "task_instances", "statements")
        return {
            "targets": self.targets,
            "contender": self.contender,
            "came": self.came,
            "twice": self.twice,
            "devices_per_second": round(self.speed(), 1),
            "recorded_per_second": round(self.speed("recorded_a_second"), 1),
            "ratio_to_aiohttp": _rounded(ratios["a_second"]),
            "recorded_ratio_to_aiohttp": _rounded(ratios["recorded_a_second"]),
            **{name: _rounded(self.run(name)) for name in figures},
            "cpu_seconds": round(self.spent("cpu_seconds"), 2),
            "rss_mb": round(self.spent("rss_mb"), 1),
            "rounds": [asdict(one) for one in self.rounds],
        }


def count(arrivals: Sequence[Arrival]) -> tuple[int, int, float]:
    """Return how many devices got a command, how many commands were one too many, and the seconds it took."""
    devices = Counter(one.path for one in arrivals)
    moments = [one.at for one in arrivals]
    span = max(moments) - min(moments) if moments else 0.0
    return len(devices), len(arrivals) - len(devices), span


def peer_of(result: Result, results: Sequence[Result]) -> Result | None:
    """Return aiohttp with as many targets."""
    same = (one for one in results if one.targets == result.targets and one.contender == AIOHTTP)
    return next(same, None)


def incomplete(results: Sequence[Result]) -> list[str]:
    """Return which contender left a device out or told one twice, a sentence each."""
    return [
        f"{one.targets:,} targets, {one.contender}: {one.came:,} came, {one.twice} twice"
        for one in results
        if not one.complete or one.twice
    ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
