"""The arithmetic of the maintenance benchmark. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

OURS, STATEMENT = "carillon", "statement"

#: What readers see of a contender.
NAMES = {OURS: "carillon", STATEMENT: "one statement"}


@dataclass(frozen=True)
class Round:
    """One tick of one contender.

    :ivar opened: tasks; `changed`: tasks that became due or overdue, or missed a point of their plan
    :ivar statements: without BEGIN and COMMIT
    :ivar rss_mb: most memory of its process; `backends_mb`: of the database's, without what they share
    :ivar load: of the machine when it began, over the last minute: what else was going on
    :ivar digest: what tasks and states say then
    """

    opened: int
    changed: int
    seconds: float
    statements: int
    rss_mb: float
    backends_mb: float
    load: float
    digest: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """A contender's rounds on one subject; figures are medians, of an even number the worse one."""

    cycle: str
    states: int
    contender: str
    rounds: tuple[Round, ...]

    @property
    def subject(self) -> tuple[str, int]:
        return self.cycle, self.states

    @property
    def seconds(self) -> float:
        return statistics.median_high(one.seconds for one in self.rounds)

    def most(self, name: str) -> float:
        """Return the largest of a figure over the rounds."""
        return float(max(getattr(one, name) for one in self.rounds))

    def ratio(self, peer: Result | None) -> float | None:
        """Return the median of the rounds' seconds against the peer's round just after; of two the worse."""
        if peer is None:
            return None
        pairs = zip(self.rounds, peer.rounds, strict=True)
        return statistics.median_high(ours.seconds / other.seconds for ours, other in pairs)

    def as_json(self, peer: Result | None) -> dict[str, Any]:
        ratio = self.ratio(peer)
        return {
            "cycle": self.cycle,
            "states": self.states,
            "contender": self.contender,
            "opened": self.rounds[0].opened,
            "changed": self.rounds[0].changed,
            "seconds": round(self.seconds, 4),
            "ratio_to_statement": None if ratio is None else round(ratio, 3),
            "statements": int(self.most("statements")),
            "rss_mb": self.most("rss_mb"),
            "backends_mb": self.most("backends_mb"),
            "rounds": [asdict(one) for one in self.rounds],
        }


def peer_of(result: Result, results: Sequence[Result]) -> Result | None:
    """Return the hand-written statement on the same subject."""
    same = (one for one in results if one.subject == result.subject and one.contender == STATEMENT)
    return next(same, None)


def differences(results: Sequence[Result]) -> list[str]:
    """Return where contenders did not do the same, a sentence each."""
    found = []
    for result in results:
        peer = peer_of(result, results)
        if peer is None or peer is result:
            continue
        ours, theirs = (
            {(one.opened, one.changed, *one.digest) for one in each.rounds} for each in (result, peer)
        )
        if len(ours | theirs) != 1:
            subject = f"{result.cycle}, {result.states:,} states"
            found.append(f"{subject}: carillon did {sorted(ours)}, one statement did {sorted(theirs)}")
    return found
