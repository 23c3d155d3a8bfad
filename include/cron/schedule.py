"""A schedule: which instants an expression is due at, in its time zone.

`cronsim` finds the matching minutes on the plain calendar, which is all it is asked: its own clock-change
rules leave out expressions with a seconds field and assume changes of whole hours. Here every span of
constant distance to UTC is walked on its own, and the rules are where a span begins:

- an expression that names a time of day (neither minute nor hour begins with `*`): a local time that a clock
  change skips runs at the first instant after the gap, one that is repeated runs at its first occurrence;
- a wildcard expression (minute or hour begins with `*`) follows real elapsed time: every occurrence runs,
  skipped local times do not.

Source: Debian cron (`cron(8)`, "daylight saving time"); design, section 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from heapq import merge
from itertools import groupby, islice, takewhile
from math import gcd
from typing import Final

from cronsim import CronSim, CronSimError

from include.cron.canonical import EVERY, UNION, canonical_text
from include.cron.durations import parse_duration
from include.cron.fields import SECOND, parse_field
from include.cron.words import words_for_cron, words_for_interval, words_for_union
from include.cron.zones import Span, span_at
from include.errors import CronExpressionError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
# No zone is further from UTC than this, so a local time read as UTC is off by less.
_MARGIN: Final = timedelta(hours=24)

# Instants outside these years are not computed; it keeps date arithmetic away from the ends of the calendar.
_EARLIEST: Final = datetime(1900, 1, 2, tzinfo=UTC)
_LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)
# The longest wait of any expression that fires at all: 29 February on a given weekday, 40 years.
_PATIENCE: Final = timedelta(days=50 * 366)


@dataclass(frozen=True)
class CronSchedule:
    """The instants of a canonical expression in a time zone.

    Make one with a `parse_…` function of this package or with `from_canonical`.

    :ivar expression: canonical text: six fields, seconds first, or several of these joined by `|`, or
        `@every` and a duration
    :ivar zone: IANA name; it has no effect on `@every`, which counts from the Unix epoch
    """

    expression: str
    zone: str

    @classmethod
    def from_canonical(cls, expression: str, zone: str) -> CronSchedule:
        """Return the schedule of a stored `expression` and `zone`; cheap when asked again.

        Raises CronExpressionError when the text is not canonical.
        """
        return _from_canonical(expression, zone)

    @property
    def is_interval(self) -> bool:
        """Whether this is an `@every`."""
        return self._interval is not None

    @cached_property
    def seconds(self) -> tuple[int, ...]:
        """The seconds of a minute that are due, sorted.

        A local time that a clock change skips runs at second 0, whatever this says.
        """
        if self._members:
            return tuple(sorted({second for member in self._members for second in member.seconds}))
        if self._interval is not None:
            return tuple(range(0, 60, gcd(60, self._interval)))
        text = self.expression.partition(" ")[0]
        return tuple(sorted(parse_field(SECOND, text, field="expression").numbers))

    def next_after(self, instant: datetime) -> datetime:
        """Return the first instant (UTC) strictly after an aware `instant`.

        Raises CronExpressionError when there is none within 50 years.
        """
        for found in self.iter_after(instant):
            return found
        raise CronExpressionError(f"{self.expression} in {self.zone} never fires after {instant.isoformat()}")

    def iter_after(self, instant: datetime) -> Iterator[datetime]:
        """Yield the instants (UTC) strictly after an aware `instant`, in order, without end in practice."""
        after = _utc(instant)
        if self._members:
            return _merged(member.iter_after(after) for member in self._members)
        return self._cron_after(after) if self._interval is None else _multiples_after(self._interval, after)

    def between(self, start: datetime, end: datetime, limit: int | None = None) -> list[datetime]:
        """Return the instants (UTC) in `(start, end]`, in order, the first `limit` of them when given."""
        return list(islice(takewhile(lambda found: found <= end, self.iter_after(start)), limit))

    def last_at_or_before(self, instant: datetime, not_before: datetime) -> datetime | None:
        """Return the latest instant (UTC) in `[not_before, instant]`, None when there is none.

        The search goes backwards, so it costs the same however many instants lie in between.
        """
        before, floor = _utc(instant), _utc(not_before)
        if self._members:
            latest = (member.last_at_or_before(before, floor) for member in self._members)
            return max((found for found in latest if found is not None), default=None)
        if self._interval is None:
            found = self._cron_before(before, floor)
        else:
            found = _EPOCH + (before - _EPOCH) // _SECOND // self._interval * self._interval * _SECOND
        return found if found is not None and found >= floor else None

    def day_of(self, instant: datetime) -> date:
        """Return the local date that an instant of this schedule stands for.

        A local time that a clock change skips keeps its own date, though its instant may lie on the next.
        """
        moment = _utc(instant)
        span = span_at(self.zone, moment)
        local = _local(moment, span.offset)
        if moment == span.start and span.offset_before < span.offset and not self._is_composed:
            skipped = next(self._local_from(self._first_local(span)), local)
            return min(skipped, local).date()
        return local.date()

    def describe(self) -> str:
        """Return the schedule in English words, such as "At 09:30, Monday through Friday"."""
        if self._members:
            return words_for_union(member.describe() for member in self._members)
        if self._interval is None:
            return words_for_cron(self.expression)
        return words_for_interval(self._interval)

    @cached_property
    def _members(self) -> tuple[CronSchedule, ...]:
        """The schedules of a union; none where this is a single one."""
        texts = self.expression.split(UNION)
        return tuple(CronSchedule(text, self.zone) for text in texts) if len(texts) > 1 else ()

    @property
    def _is_composed(self) -> bool:
        """Whether local times cannot be asked of this expression itself."""
        return bool(self._members) or self._interval is not None

    @cached_property
    def _interval(self) -> int | None:
        word, _, rest = self.expression.partition(" ")
        return parse_duration(rest, field="expression") if word == EVERY else None

    @cached_property
    def _minutes_expression(self) -> str:
        return self.expression.partition(" ")[2]

    @cached_property
    def _names_a_time(self) -> bool:
        return not any(text.startswith("*") for text in self._minutes_expression.split()[:2])

    def _cron_after(self, after: datetime) -> Iterator[datetime]:
        last, cursor, horizon = after, after, after + _PATIENCE
        while cursor < horizon:
            span = span_at(self.zone, cursor)
            whole = cursor == span.start
            lower = self._first_local(span)
            if not whole:
                lower = max(lower, _local(cursor, span.offset))
            upper = _local(span.end, span.offset)
            for local in self._local_from(lower):
                if local >= upper:
                    break
                found = max(_instant(local, span.offset), span.start)
                if found > last:
                    last, horizon = found, found + _PATIENCE
                    yield found
            else:
                return
            # An expression that is rarely due skips the spans in which its next local time cannot lie. Not
            # when this span was entered midway: the next one may repeat local times from before that.
            cursor = max(span.end, _instant(local, _MARGIN)) if whole else span.end

    def _cron_before(self, before: datetime, floor: datetime) -> datetime | None:
        cursor = before
        while cursor >= floor:
            span = span_at(self.zone, cursor)
            whole = cursor == span.end - _SECOND
            local = next(self._local_back_from(_local(cursor, span.offset)), None)
            if local is None:
                return None
            if local >= self._first_local(span):
                return max(_instant(local, span.offset), span.start)
            cursor = min(span.start - _SECOND, _instant(local, -_MARGIN)) if whole else span.start - _SECOND
        return None

    def _first_local(self, span: Span) -> datetime:
        """Return where the local times that a span answers for begin.

        For an expression that names a time they go on where the clock stood before the change: so the local
        times of a gap belong to the span after it, and those that are repeated belong to the span before it.
        """
        return _local(span.start, span.offset_before if self._names_a_time else span.offset)

    def _local_from(self, lower: datetime) -> Iterator[datetime]:
        """Yield the matching local times from `lower` on; ends when there is none for 50 years."""
        for minute in self._simulate(lower.replace(second=0, microsecond=0) - _SECOND):
            for second in self.seconds:
                local = minute.replace(second=second)
                if local >= lower:
                    yield local

    def _local_back_from(self, upper: datetime) -> Iterator[datetime]:
        """Yield the matching local times from `upper` backwards; ends when there is none for 50 years."""
        for minute in self._simulate(upper.replace(second=0, microsecond=0) + _SECOND, reverse=True):
            for second in reversed(self.seconds):
                local = minute.replace(second=second)
                if local <= upper:
                    yield local

    def _simulate(self, start: datetime, *, reverse: bool = False) -> Iterator[datetime]:
        try:
            minutes: Iterator[datetime] = CronSim(self._minutes_expression, start, reverse)
        except CronSimError:
            # The fields were checked when they were read, so this is a date that does not exist: 30 February.
            return iter(())
        return minutes


@lru_cache(maxsize=8192)
def _from_canonical(expression: str, zone: str) -> CronSchedule:
    if canonical_text(expression, field="expression") != expression:
        raise CronExpressionError(f"{expression!r} is not in canonical form", field="expression")
    return CronSchedule(expression, zone)


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return min(max(instant, _EARLIEST), _LATEST).astimezone(UTC)


def _local(instant: datetime, offset: timedelta) -> datetime:
    """Return the naive wall clock time of a UTC instant."""
    return instant.replace(tzinfo=None) + offset


def _instant(local: datetime, offset: timedelta) -> datetime:
    return local.replace(tzinfo=UTC) - offset


def _merged(streams: Iterable[Iterator[datetime]]) -> Iterator[datetime]:
    """Yield the instants of several ordered streams in order, each once."""
    return (instant for instant, _ in groupby(merge(*streams)))


def _multiples_after(interval: int, after: datetime) -> Iterator[datetime]:
    step = timedelta(seconds=interval)
    found = _EPOCH + (after - _EPOCH) // step * step
    while True:
        found += step
        yield found
