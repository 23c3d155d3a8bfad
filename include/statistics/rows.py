"""Reading the samples of a request: pure. Each thing that is wrong is told with its row and field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Any

from include.maintenance.objects import check_object_id
from include.metering.problems import Problems
from include.readings.rows import plain, read_moment, read_value
from include.statistics.model import FUTURE_TOLERANCE, NewSample

FIELDS = frozenset(("object_id", "at", "value"))


def read_samples(rows: Sequence[Any], *, zone: tzinfo, now: datetime) -> tuple[list[NewSample], int]:
    """Return the samples, and how many rows repeat another one.

    :param zone: of moments that are given without an offset
    :raises InvalidRowsError: names each row that cannot be used
    """
    problems = Problems()
    samples: dict[tuple[str, datetime], NewSample] = {}
    latest = now + FUTURE_TOLERANCE
    repeated = 0
    for number, raw in enumerate(rows):
        sample = _read(number, raw, zone, latest, problems)
        if sample is None:
            continue
        first = samples.setdefault((sample.object_id, sample.at), sample)
        if first is sample:
            continue
        repeated += 1
        if first.value != sample.value:
            problems.refuse(number, "at", f"row {first.row + 1} says {plain(first.value)} of this moment")
    problems.check()
    return list(samples.values()), repeated


def _read(number: int, raw: Any, zone: tzinfo, latest: datetime, problems: Problems) -> NewSample | None:
    if not isinstance(raw, Mapping):
        problems.refuse(number, "", "must be an object")
        return None
    before = len(problems.invalid)
    for name in raw.keys() - FIELDS:
        problems.refuse(number, str(name)[:64], "is not a field of a sample")

    def take(field: str, read: Any) -> Any:
        try:
            return read(raw.get(field))
        except ValueError as error:
            problems.refuse(number, field, str(error))
            return None

    object_id: str = take("object_id", check_object_id)
    at: datetime = take("at", lambda given: _past(read_moment(given, zone), latest))
    value: Decimal = take("value", read_value)
    return NewSample(number, object_id, at, value) if len(problems.invalid) == before else None


def _past(moment: datetime, latest: datetime) -> datetime:
    if moment > latest:
        raise ValueError("lies in the future")
    if moment.year < 1970:
        raise ValueError("lies before 1970")
    return moment
