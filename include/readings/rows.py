"""Reading the rows of a batch: pure. Each thing that is wrong is told with its row and field."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, get_args

from include.billing.model import KINDS, ZERO
from include.readings.model import (
    CLIENT_QUALITIES,
    CLIENT_SOURCES,
    BadRow,
    NewReading,
    OnDecrease,
    OnDuplicate,
    OnSpike,
    Source,
)

#: How far a meter's clock may be ahead of ours.
FUTURE_TOLERANCE = timedelta(minutes=5)
NOTE_LONGEST = 500
DEVICE_LONGEST = 128
FIELDS = frozenset(("device_id", "register", "read_at", "value", "quality", "source", "top_up", "note"))
ON_DECREASE: tuple[OnDecrease, ...] = get_args(OnDecrease)
ON_DUPLICATE: tuple[OnDuplicate, ...] = get_args(OnDuplicate)
ON_SPIKE: tuple[OnSpike, ...] = get_args(OnSpike)

_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?")
#: Digits that a binary floating point number keeps.
_FLOAT_DIGITS = 15
_UNUSABLE_TEXT = re.compile("[\x00\ud800-\udfff]")


def read_rows(
    rows: Sequence[Any], *, zone: tzinfo, now: datetime, source: Source = "meter", counts_down: bool = False
) -> tuple[list[NewReading], list[BadRow]]:
    """Return the rows that can be read, and what is wrong with the others.

    :param zone: of moments that are given without an offset
    :param source: of rows that do not name one
    :param counts_down: whether the meters show what remains; only then there are top-ups
    """
    good: list[NewReading] = []
    problems: list[BadRow] = []
    latest = now + FUTURE_TOLERANCE

    def moment(given: Any) -> datetime:
        return _past(read_moment(given, zone), latest)

    def top_up(given: Any) -> Decimal:
        return ZERO if given is None else _top_up(given, counts_down)

    for number, raw in enumerate(rows):
        if not isinstance(raw, Mapping):
            problems.append(BadRow(number, "", "must be an object"))
            continue
        reader = _Reader(raw)
        reader.check_names()
        new = NewReading(
            row=number,
            device_id=reader.take("device_id", _device),
            kind=reader.take("register", _kind),
            read_at=reader.take("read_at", moment),
            value=reader.take("value", read_value),
            quality=reader.take("quality", _quality),
            source=reader.take("source", _source) if "source" in raw else source,
            top_up=reader.take("top_up", top_up),
            note=reader.take("note", _note),
        )
        if reader.problems:
            problems += [BadRow(number, field, message) for field, message in reader.problems]
        else:
            good.append(new)
    return good, problems


class _Reader:
    """The fields of one row; what is wrong with them gathers in `problems`."""

    __slots__ = ("problems", "raw")

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        self.problems: list[tuple[str, str]] = []

    def check_names(self) -> None:
        if not self.raw.keys() <= FIELDS:
            unknown = (name for name in self.raw if name not in FIELDS)
            self.problems += [(str(name)[:64], "is not a field of a reading") for name in unknown]

    def take(self, field: str, read: Any) -> Any:
        try:
            return read(self.raw.get(field))
        except ValueError as error:
            self.problems.append((field, str(error)))
            return None


def read_moment(given: Any, zone: tzinfo) -> datetime:
    """Return a moment in UTC; without an offset it is local time. Raises ValueError."""
    if given is None:
        raise ValueError("is required")
    moment = given if isinstance(given, datetime) else _parsed_moment(given)
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        raise ValueError("is too far away") from None


def _parsed_moment(given: Any) -> datetime:
    # A bare date would silently be its midnight.
    if isinstance(given, str) and 16 <= len(given) <= 40:
        try:
            return datetime.fromisoformat(given)
        except ValueError:
            pass
    raise ValueError("must be a moment in ISO 8601, such as 2026-11-22T09:30:00+08:00")


def _past(moment: datetime, latest: datetime) -> datetime:
    if moment > latest:
        raise ValueError("lies in the future")
    if moment.year < 1900:
        raise ValueError("lies before 1900")
    return moment


def read_value(given: Any) -> Decimal:
    """Return a quantity of at most 12 digits and 6 decimals, 0 or more. Raises ValueError."""
    if given is None:
        raise ValueError("is required")
    text = given
    if isinstance(given, float) and math.isfinite(given):
        text = _float_text(given)
    elif isinstance(given, Decimal | int) and not isinstance(given, bool):
        text = f"{given:f}" if isinstance(given, Decimal) else str(given)
    if isinstance(text, str) and _NUMBER.fullmatch(text):
        return Decimal(text)
    if isinstance(text, str) and text.startswith("-") and _NUMBER.fullmatch(text[1:]):
        raise ValueError("must be 0 or more")
    raise ValueError("must be a number of at most 12 digits before and 6 after the point")


def _float_text(given: float) -> str:
    written = Decimal(repr(given))
    if len(written.as_tuple().digits) > _FLOAT_DIGITS:
        raise ValueError("has more digits than a number keeps: send it as a string")
    text = f"{written:f}"
    return text.removesuffix(".0")


def _device(given: Any) -> str:
    if given is None:
        raise ValueError("is required")
    if not isinstance(given, str) or not 1 <= len(given) <= DEVICE_LONGEST or not given.isprintable():
        raise ValueError(f"must be a string of 1 to {DEVICE_LONGEST} printable characters")
    return given


def _kind(given: Any) -> str:
    return _one_of(given, KINDS, "TOTAL")


def _quality(given: Any) -> str:
    return _one_of(given, CLIENT_QUALITIES, "ok")


def _source(given: Any) -> str:
    return _one_of(given, CLIENT_SOURCES, "meter")


def _one_of(given: Any, known: Sequence[str], default: str) -> str:
    if given is None:
        return default
    if given not in known:
        raise ValueError(f"must be one of {', '.join(known)}")
    return str(given)


def _top_up(given: Any, counts_down: bool) -> Decimal:
    value = read_value(given)
    if value and not counts_down:
        raise ValueError("is for meters that show what remains (reading_mode remaining)")
    return value


def _note(given: Any) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str) or len(given) > NOTE_LONGEST or _UNUSABLE_TEXT.search(given):
        raise ValueError(f"must be a string of at most {NOTE_LONGEST} characters")
    return given or None


def plain(number: Decimal) -> str:
    """Return a number without trailing zeros."""
    return f"{number.normalize():f}"
