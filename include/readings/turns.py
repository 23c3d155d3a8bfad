"""What a counter has counted, turns included: pure, of displayed values and known totals.

A counter that shows `modulus - 1` shows 0 next. `total` goes on where the display starts again, so it never
decreases. Meters that show what remains (project setting `reading_mode = remaining`) count down what was
bought; their total is what was used.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

#: Without history a turn is believed only of a counter near its end (research A4, the rollover threshold of
#: Oracle's meter data management) ...
NEAR_END = Decimal("0.7")
#: ... that then counted little.
SMALL_STEP = Decimal("0.3")

#: A spike is so many times what is plausible for the time it took ...
SPIKE_TIMES = 100
#: ... and more than any register counts a day: 42 MW, the water of a city. So an idle plant may start again.
SPIKE_LEAST = Decimal(1_000_000)

#: A total that the columns of bills cannot be relied on to price.
TOTAL_MOST = Decimal(10) ** 11

HISTORY = timedelta(days=90)
ONE_DAY = timedelta(days=1)


class Counted(NamedTuple):
    """A good reading as the reckoning of turns needs it: what it displayed, what was counted by then."""

    read_at: datetime
    value: Decimal
    total: Decimal


def following_total(
    previous_total: Decimal,
    previous_value: Decimal,
    value: Decimal,
    modulus: Decimal | None = None,
    top_up: Decimal | None = None,
    plausible: Decimal | None = None,
) -> Decimal | None:
    """Return what a counter has counted when after a reading it shows `value`; None where that cannot be.

    :param modulus: it shows 0 again at this; None where it never turns over
    :param top_up: given for meters that show what remains: what was bought since the previous reading
    :param plausible: the most it can have counted since, for a turn to be believed; None without history
    """
    if top_up is not None:
        used = previous_value + top_up - value
        return previous_total + used if used >= 0 else None
    if value >= previous_value:
        return previous_total + (value - previous_value)
    if modulus is None:
        return None
    step = value + modulus - previous_value
    if plausible is None:
        believed = previous_value >= NEAR_END * modulus and step <= SMALL_STEP * modulus
    else:
        believed = step <= plausible
    return previous_total + step if believed else None


def changed_since(previous: Counted | None, installed_at: datetime, at: datetime) -> datetime:
    """Return since when bills may change by a reading: before its moment, where another has the same one."""
    if previous is None:
        return installed_at
    return min(previous.read_at, at - timedelta(microseconds=1))


def placed_total(
    previous: Counted | None,
    following: Counted | None,
    value: Decimal,
    modulus: Decimal | None = None,
    top_up: Decimal | None = None,
    plausible: Decimal | None = None,
) -> Decimal | None:
    """Return what the counter had counted at a reading between two known ones; None where it fits neither.

    Between two known ones a turn needs no plausibility: the total must lie between theirs.
    """
    if previous is None:
        return value if following is None else _total_before(following, value, top_up)
    if following is None or top_up is not None:
        total = following_total(previous.total, previous.value, value, modulus, top_up, plausible)
    else:
        step = value - previous.value
        if step < 0 and modulus is not None:
            step += modulus
        total = previous.total + step if step >= 0 else None
    if total is None or (following is not None and total > following.total):
        return None
    return total


def _total_before(following: Counted, value: Decimal, top_up: Decimal | None) -> Decimal | None:
    """Return the total of a reading before the first known one, which counted on without a turn."""
    if top_up is not None:
        # What was bought in between is not known for this reading, so it may show less as well as more.
        return following.total - max(Decimal(0), value - following.value)
    total = following.total - (following.value - value)
    return total if total <= following.total else None


def plausible_step(
    history: Sequence[Counted], previous: Counted, at: datetime, factor: Decimal
) -> Decimal | None:
    """Return the most that a counter can have counted from `previous` to `at`; None without a day of history.

    It is `factor` times its average since the earliest of the readings of the 90 days before `previous`. Less
    than a day counts as one: within a day usage comes and goes.

    :param history: good readings, the earliest first
    """
    place = bisect_left(history, previous.read_at - HISTORY, key=lambda one: one.read_at)
    if place == len(history) or previous.read_at - history[place].read_at < ONE_DAY:
        return None
    start = history[place]
    average = (previous.total - start.total) / _days(previous.read_at - start.read_at)
    return factor * average * _days(max(at - previous.read_at, ONE_DAY))


def may_spike(step: Decimal, span: timedelta) -> bool:
    """Return whether a step is so large that only history can tell whether it is a spike."""
    return step > SPIKE_LEAST and step > SPIKE_LEAST * _days(max(span, ONE_DAY))


def is_spike(
    previous: Counted | None,
    following: Counted | None,
    total: Decimal,
    at: datetime,
    plausible: Decimal | None,
) -> bool:
    """Return whether a counter cannot honestly have come to a total at a moment.

    Between two known readings nothing is a spike: the counter is known to come there.

    :param plausible: as of `plausible_step`; without history only a total that cannot be priced is a spike
    """
    if following is not None:
        return False
    if total >= TOTAL_MOST and (previous is None or previous.total < TOTAL_MOST):
        return True
    if previous is None or plausible is None:
        return False
    step = total - previous.total
    return may_spike(step, at - previous.read_at) and step > SPIKE_TIMES * plausible


def _days(span: timedelta) -> Decimal:
    return Decimal(span // timedelta(microseconds=1)) / Decimal(86_400_000_000)
