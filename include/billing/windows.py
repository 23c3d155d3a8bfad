"""Time of use: which kind of time a stretch is made of, and what of a counter's usage falls to each kind.

Pure. Windows are local times of day, stretches real time. Source: docs/billing.md, Quantities.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from include.billing.exact import exact, micros, six
from include.billing.model import KINDS, ZERO, Kind, TariffVersion, TouWindow

_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class TouSpan:
    """A stretch of real time of one kind."""

    kind: Kind
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Split:
    """A quantity by kind, 6 decimals each, adding up to the whole.

    :ivar coarse: usage had to be spread over more than an hour
    """

    by_kind: dict[Kind, Decimal]
    coarse: bool


def tou_spans(version: TariffVersion, zone: ZoneInfo, start: datetime, end: datetime) -> tuple[TouSpan, ...]:
    """Return the spans of `[start, end)` by the version's windows, the earliest first."""
    found = []
    day, last = start.astimezone(zone).date(), end.astimezone(zone).date()
    # A window of the day before reaches into `start` where a clock change moved its end.
    day -= _DAY
    while day <= last:
        found += _spans_of_day(version, zone, day)
        day += _DAY
    return tuple(
        TouSpan(span.kind, max(span.start, start), min(span.end, end))
        for span in found
        if span.start < end and span.end > start
    )


@exact
def split(
    points: Sequence[tuple[datetime, Decimal]],
    whole: Decimal,
    multiplier: Decimal,
    version: TariffVersion,
    zone: ZoneInfo,
) -> Split:
    """Share a quantity among the kinds of time that it was used in.

    :param points: the counter at both ends of the stretch and at the readings inside, the earliest first
    :param whole: what it counted times the multiplier, 6 decimals
    """
    spans = tou_spans(version, zone, points[0][0], points[-1][0])
    exact_shares = _shares(points, spans)
    present = {span.kind for span in spans}
    kinds = [kind for kind in KINDS if kind in present] or [
        kind for kind in KINDS if kind in version.tou_prices
    ][:1]
    by_kind = {kind: six(exact_shares[kind] * multiplier) for kind in kinds}
    largest = max(by_kind, key=lambda kind: by_kind[kind])
    by_kind[largest] += whole - sum(by_kind.values(), ZERO)
    return Split(by_kind, any(b[0] - a[0] > _HOUR for a, b in pairwise(points)))


def _shares(
    points: Sequence[tuple[datetime, Decimal]], spans: Sequence[TouSpan]
) -> defaultdict[Kind, Decimal]:
    """Return the usage between points by kind; summed by length of piece, so that little is divided."""
    by_length: defaultdict[int, defaultdict[Kind, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    at = 0
    for (start, opening), (end, closing) in pairwise(points):
        used, length = closing - opening, micros(end - start)
        while at < len(spans) and spans[at].end <= start:
            at += 1
        for span in _overlapping(spans, at, end):
            covered = micros(min(end, span.end) - max(start, span.start))
            by_length[length][span.kind] += used * covered
    shares: defaultdict[Kind, Decimal] = defaultdict(Decimal)
    for length, kinds in by_length.items():
        for kind, sum_of_products in kinds.items():
            shares[kind] += sum_of_products / length
    return shares


def _overlapping(spans: Sequence[TouSpan], at: int, end: datetime) -> Iterator[TouSpan]:
    while at < len(spans) and spans[at].start < end:
        yield spans[at]
        at += 1


def _spans_of_day(version: TariffVersion, zone: ZoneInfo, day: date) -> list[TouSpan]:
    begin, after = _utc(day, 0, zone), _utc(day, 1440, zone)
    # On nearly every day minutes of the clock are minutes of the day.
    plain = after - begin == _DAY
    spans = [
        TouSpan(
            window.kind,
            begin + window.start_minute * _MINUTE if plain else _utc(day, window.start_minute, zone),
            begin + window.end_minute * _MINUTE if plain else _utc(day, window.end_minute, zone),
        )
        for window in version.tou_windows
        if _holds(window, version, day)
    ]
    return sorted((span for span in spans if span.start < span.end), key=lambda span: span.start)


def _holds(window: TouWindow, version: TariffVersion, day: date) -> bool:
    """Return whether a window is one of the season and type of a day."""
    month_day = day.month * 100 + day.day
    if window.season_from <= window.season_to:
        in_season = window.season_from <= month_day <= window.season_to
    else:
        in_season = month_day >= window.season_from or month_day <= window.season_to
    if not in_season or window.day_type == "any":
        return in_season
    holiday = day in version.holidays or (version.weekend_is_holiday and day.weekday() >= 5)
    return holiday == (window.day_type == "holiday")


def _utc(day: date, minute: int, zone: ZoneInfo) -> datetime:
    """Return a local time like Postgres: a repeated one is the second, a skipped one counts from before."""
    local = datetime.combine(day, time(), zone) + minute * _MINUTE
    return max(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
