"""When the last attempt of a task would be begun, if each succeeded at once: for a dry run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from include.batch.rollout.model import PER_MINUTE_MOST, Rate, Rollout, Window
from include.batch.rollout.rate import Bucket, rate_now
from include.batch.rollout.windows import Opening, opening_at

#: What lies further ahead is not predicted.
HORIZON: Final = timedelta(days=366)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


def predicted_end(rollout: Rollout, *, begins_at: datetime, zones: Mapping[str, int]) -> datetime | None:
    """Return when the last attempt would be begun; None where nothing says, or more than a year ahead.

    How many may be in flight says nothing here: how long a device takes is not known. Nor does a wave that a
    person must approve.

    :param begins_at: when the first might be begun (aware)
    :param zones: how many targets there are by the zone of their window, whatever it is without a window
    """
    zones = {zone: count for zone, count in zones.items() if count}
    said = rollout.rate or rollout.window or rollout.spread_seconds
    if not said or not zones or any(wave.approval for wave in rollout.waves or ()):
        return None
    spread = timedelta(seconds=rollout.spread_seconds or 0)
    openings = [_opening(rollout.window, zone, begins_at) for zone in zones]
    last = max(min(one.start + spread, one.end) for one in openings)
    if rollout.rate is None:
        return last
    paced = _paced_end(rollout.rate, rollout.window, begins_at, zones)
    return max(last, paced) if paced else None


def _paced_end(
    rate: Rate, window: Window | None, moment: datetime, zones: Mapping[str, int]
) -> datetime | None:
    """Walk from one opening or closing of a zone's window to the next."""
    left, begun, horizon = dict(zones), 0, moment + HORIZON
    while moment < horizon:
        openings = {zone: _opening(window, zone, moment) for zone in left}
        # Whose window closes first goes first.
        now_open = sorted((one.end, zone) for zone, one in openings.items() if one.start <= moment)
        edge = min(one.end if one.start <= moment else one.start for one in openings.values())
        ready = sum(left[zone] for _, zone in now_open)
        count, moment = _begin(rate, begun, ready, moment, edge)
        begun += count
        for _, zone in now_open:
            gone = min(left[zone], count)
            count -= gone
            left[zone] -= gone
        left = {zone: rest for zone, rest in left.items() if rest}
        if not left:
            return moment if moment < horizon else None
        moment = moment if ready and moment < edge else edge
    return None


def _begin(rate: Rate, begun: int, ready: int, moment: datetime, edge: datetime) -> tuple[int, datetime]:
    """Return how many of those that are ready are begun before an edge, and when the last one was."""
    count = 0
    while count < ready:
        so_far = begun + count
        now = rate_now(rate, begun=so_far, succeeded=so_far)
        bucket = Bucket.of_rate(now)
        step = min(ready - count, _until_growth(rate, now, so_far))
        fit = bucket.tokens(edge - moment)
        if fit < step:
            return count + fit, edge
        count, moment = count + step, bucket.filled_at(moment, step)
    return count, moment


def _until_growth(rate: Rate, now: int, so_far: int) -> int:
    if rate.every is None or now == (rate.per_minute or PER_MINUTE_MOST):
        return PER_MINUTE_MOST
    every = rate.every.succeeded or rate.every.begun or 1
    return every - so_far % every


def _opening(window: Window | None, zone: str, moment: datetime) -> Opening:
    """Return the opening that matters next, what has passed of it left out."""
    if window is None:
        return Opening(moment, _NEVER)
    opening = opening_at(window, zone, moment)
    return Opening(max(moment, opening.start), opening.end)
