"""How many attempts may be begun now: rate, ramp and those in flight.

The rate is a bucket of tokens that fills evenly and holds what half a second brings. Only when it was last
empty is stored, `paced_until`; so nothing that was not used, in a pause, between windows or while nobody was
there, is made up for later. The bucket fills so much slower than the rate says that its whole content and
what a minute brings are together no more than the rate: no minute, wherever it begins, sees more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from include.batch.model import Task
from include.batch.rollout.model import PER_MINUTE_MOST, Rate, Rollout

_MINUTE: Final = 60_000_000  # microseconds
#: Attempts that may be begun at once, in terms of time: a claim for each alone would be one every 60 µs.
_BURST: Final = 500_000
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many attempts may be begun now.

    :ivar again_at: when more may be; None: not before something ends or changes
    """

    count: int
    again_at: datetime | None = None


def allowance(rollout: Rollout | None, task: Task, now: datetime, *, wanted: int) -> Allowance:
    """Return how many attempts of a task, of those that are wanted, may be begun now."""
    if task.paused_at is not None:
        return Allowance(0)
    if rollout is None:
        return Allowance(wanted)
    if rollout.max_in_flight is not None:
        wanted = min(wanted, max(0, rollout.max_in_flight - task.progress.processing))
    if rollout.rate is None or wanted == 0:
        return Allowance(wanted)
    bucket = Bucket.of(rollout.rate, task)
    empty_at = bucket.last_empty(task.paced_until, now)
    count = min(wanted, bucket.tokens(now - empty_at))
    # Half a bucket is waited for: a claim a moment late must not find it full, and lose what came since.
    return Allowance(count, bucket.filled_at(empty_at, count + max(1, bucket.size // 2)))


def paced_until(rollout: Rollout | None, task: Task, now: datetime, *, begun: int) -> datetime | None:
    """Return what to store after this many attempts were begun under an allowance for `now`."""
    if rollout is None or rollout.rate is None or begun == 0:
        return task.paced_until
    bucket = Bucket.of(rollout.rate, task)
    return bucket.filled_at(bucket.last_empty(task.paced_until, now), begun)


def rate_now(rate: Rate, *, begun: int, succeeded: int) -> int:
    """Return the attempts a minute of a task that has come so far."""
    if rate.base_per_minute is None or rate.factor is None or rate.every is None:
        return rate.per_minute or PER_MINUTE_MOST
    most = rate.per_minute or PER_MINUTE_MOST
    grown = succeeded // rate.every.succeeded if rate.every.succeeded else begun // (rate.every.begun or 1)
    now = Decimal(rate.base_per_minute)
    while grown and now < most:
        now, grown = now * rate.factor, grown - 1
    return min(most, int(now))


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of tokens.

    :ivar size: tokens that it holds
    :ivar inflow: tokens a minute
    """

    size: int
    inflow: int

    @classmethod
    def of(cls, rate: Rate, task: Task) -> Bucket:
        """Return the bucket of a task that has come so far."""
        return cls.of_rate(rate_now(rate, begun=task.dispatched, succeeded=task.progress.success))

    @classmethod
    def of_rate(cls, per_minute: int) -> Bucket:
        """Return the bucket of which no minute sees more than these."""
        size = max(1, per_minute * _BURST // _MINUTE)
        return cls(size, per_minute - size + 1)

    def last_empty(self, stored: datetime | None, now: datetime) -> datetime:
        """Return since when it has been filling; of what would not fit nothing is left."""
        full_since = now - self._filling(self.size)
        return max(stored, full_since) if stored else full_since

    def tokens(self, filling: timedelta) -> int:
        """Return the whole tokens that came in a time."""
        return max(0, filling // _MICROSECOND * self.inflow // _MINUTE)

    def filled_at(self, empty_at: datetime, tokens: int) -> datetime:
        """Return when this many tokens have come."""
        return empty_at + self._filling(tokens)

    def _filling(self, tokens: int) -> timedelta:
        return -(-tokens * _MINUTE // self.inflow) * _MICROSECOND
