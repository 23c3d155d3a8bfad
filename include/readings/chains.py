"""Fitting new readings between those that are there: pure.

A chain is a register during an installation. Along it totals never decrease; a reading that would make them
is decreasing, and one that makes them jump beyond all measure is a spike. The chain goes on without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple

from include.readings.model import NewReading, Place, Placed, ReadingRules, Stored
from include.readings.turns import (
    Counted,
    changed_since,
    is_spike,
    may_spike,
    placed_total,
    plausible_step,
)


class Chain(NamedTuple):
    """The new readings of a chain and the stored ones around them, each in order of time.

    :ivar stored: the last good one before the first new one, all between, the first good one after the last
    """

    place: Place
    new: Sequence[NewReading]
    stored: Sequence[Stored]


def doubtful_since(chain: Chain, *, counts_down: bool = False) -> datetime | None:
    """Return when the last reading was taken before the display first went back or jumped; None: never.

    That is the moment whose history tells whether a turn is plausible, or a jump a spike.
    """
    if counts_down:
        return None
    turns = chain.place.register.modulus is not None
    shown = [(one.counted.read_at, one.counted.value) for one in chain.stored if one.good]
    shown += [(new.read_at, new.value) for new in chain.new]
    for (before, first), (after, second) in pairwise(sorted(shown, key=itemgetter(0))):
        if (second < first and turns) or may_spike(second - first, after - before):
            return before
    return None


def place_chain(
    chain: Chain, rules: ReadingRules, history: Counted | None = None, *, spikes: bool = False
) -> tuple[list[Placed], list[Placed]]:
    """Return the new readings that fit, and those that would make the counter decrease or jump.

    :param history: the earliest good reading of the 90 days before the display first went back or jumped
    :param spikes: whether to believe jumps of any size
    """
    walk = _Walk(chain, rules, history, spikes=spikes)
    fitting: list[Placed] = []
    unfit: list[Placed] = []
    for new in chain.new:
        placed = walk.place(new)
        (unfit if placed.fault else fitting).append(placed)
    return fitting, unfit


class _Walk:
    """Goes along a chain once, with the good readings so far behind it and the stored ones ahead."""

    def __init__(self, chain: Chain, rules: ReadingRules, history: Counted | None, *, spikes: bool) -> None:
        self.place_of = chain.place
        self.rules = rules
        self.spikes = spikes
        self.ahead = [one.counted for one in reversed(chain.stored) if one.good]
        self.behind: list[Counted] = [history] if history else []
        self.previous: Counted | None = None

    def place(self, new: NewReading) -> Placed:
        while self.ahead and self.ahead[-1].read_at <= new.read_at:
            self._pass(self.ahead.pop())
        installation = self.place_of.installation
        since = changed_since(self.previous, installation.valid_from, new.read_at)
        total = self._total(new)
        if total is None:
            return Placed(new, self.place_of, new.value, "suspect", since, "reverse_read")
        if not self.spikes and self._jumps(new, total):
            return Placed(new, self.place_of, new.value, "suspect", since, "spike")
        self._pass(Counted(new.read_at, new.value, total))
        billed_to = installation.billed_to
        late = new.quality == "ok" and billed_to is not None and new.read_at <= billed_to
        return Placed(new, self.place_of, total, "late" if late else new.quality, since)

    def _pass(self, counted: Counted) -> None:
        self.previous = counted
        self.behind.append(counted)

    def _total(self, new: NewReading) -> Decimal | None:
        previous, register = self.previous, self.place_of.register
        following = self.ahead[-1] if self.ahead else None
        plausible = None
        if previous is not None and register.modulus is not None and new.value < previous.value:
            plausible = self._plausible(previous, new)
        top_up = new.top_up if self.rules.counts_down else None
        return placed_total(previous, following, new.value, register.modulus, top_up, plausible)

    def _jumps(self, new: NewReading, total: Decimal) -> bool:
        previous, plausible = self.previous, None
        following = self.ahead[-1] if self.ahead else None
        if previous is not None and not self.rules.counts_down:
            span = new.read_at - previous.read_at
            plausible = self._plausible(previous, new) if may_spike(total - previous.total, span) else None
        return is_spike(previous, following, total, new.read_at, plausible)

    def _plausible(self, previous: Counted, new: NewReading) -> Decimal | None:
        return plausible_step(self.behind, previous, new.read_at, self.rules.plausibility_factor)


def is_late(placed: Placed) -> bool:
    """Return whether a bill should have known this reading, whatever else its quality says."""
    billed_to = placed.place.installation.billed_to
    return billed_to is not None and placed.new.read_at <= billed_to
