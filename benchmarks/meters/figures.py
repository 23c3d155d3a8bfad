"""The arithmetic of the billing benchmark. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

OURS, STATEMENT, BARE, LOOP = "carillon", "statement", "bare", "loop"

#: What readers see of a contender.
NAMES = {
    OURS: "carillon",
    STATEMENT: "one statement",
    BARE: "  into bare tables",
    LOOP: "loop, row by row",
}


@dataclass(frozen=True)
class Round:
    """One contender, once.

    :ivar digest: what the bills say, see `digest_bills`; None where it was not asked for
    :ivar rss_mb: most memory of our process; the others are of the backends together, `own_mb` without what
        they share
    """

    bills: int
    charge: str
    seconds: float
    rss_mb: float
    backends: int
    backends_mb: float
    own_mb: float
    digest: tuple[Any, ...] | None = None

    @property
    def bills_a_second(self) -> float:
        return self.bills / self.seconds


@dataclass(frozen=True)
class Result:
    """A contender's rounds on one subject.

    :ivar durable: whether the server flushes to disk
    """

    tariff: str
    meters: int
    durable: bool
    contender: str
    rounds: tuple[Round, ...]

    @property
    def subject(self) -> tuple[str, int, bool]:
        return self.tariff, self.meters, self.durable

    @property
    def bills_a_second(self) -> float:
        """The median of the rounds; of an even number the worse of the middle two."""
        return statistics.median_low(one.bills_a_second for one in self.rounds)

    def most(self, name: str) -> float:
        """Return the largest of a figure over the rounds."""
        return float(max(getattr(one, name) for one in self.rounds))

    def ratio(self, peer: Result | None) -> float | None:
        """Return bills a second against a peer's."""
        return None if peer is None else self.bills_a_second / peer.bills_a_second

    def as_json(self, peer: Result | None) -> dict[str, Any]:
        ratio = self.ratio(peer)
        return {
            "tariff": self.tariff,
            "meters": self.meters,
            "durable": self.durable,
            "contender": self.contender,
            "bills_per_second": round(self.bills_a_second),
            "ratio_to_statement": None if ratio is None else round(ratio, 3),
            "rss_mb": self.most("rss_mb"),
            "backends": int(self.most("backends")),
            "backends_rss_mb": self.most("backends_mb"),
            "backends_own_mb": self.most("own_mb"),
            "rounds": [
                {"bills": one.bills, "charge": one.charge, "seconds": round(one.seconds, 3)}
                for one in self.rounds
            ],
        }


def peer_of(result: Result, results: Sequence[Result]) -> Result | None:
    """Return the hand-written statement on the same subject."""
    same = (one for one in results if one.subject == result.subject and one.contender == STATEMENT)
    return next(same, None)


def differences(results: Sequence[Result]) -> list[str]:
    """Return where contenders did not make the same bills, a sentence each."""
    found = []
    for result in results:
        if result.contender == STATEMENT or (peer := peer_of(result, results)) is None:
            continue
        ours, theirs = _told(result), _told(peer)
        if len(ours | theirs) != 1:
            subject = f"{result.tariff}, {result.meters:,} meters"
            found.append(f"{subject}: {NAMES[result.contender]} made {ours}, one statement made {theirs}")
    return found


def _told(result: Result) -> set[tuple[Any, ...]]:
    return {(one.bills, one.charge, *(one.digest or ())) for one in result.rounds}


def durable_meters(sizes: Sequence[int], wanted: int | None) -> int | None:
    """Return the size that is measured once more with a server that flushes; None for none.

    :param wanted: by the user, 0 for none; None: the largest of the sizes that is not above 100,000
    """
    if wanted is not None:
        return wanted or None
    return max((size for size in sizes if size <= 100_000), default=min(sizes))
