"""`where_and`, `where_or` and `where_in` of document 002: what they may say. `conditions.py` has the SQL.

Source: research `billing_maintenance.md` C. A list has triples `[field, operator, value]`, as an array or as
the JSON text of one. Tolerances that the document's own samples need: `=` with `%` at an end is `like`, and a
number may be written as text. Everything else that is not understood is refused, with the triple at fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo

import orjson

from include.errors import InvalidInputError

TRIPLES_MOST, VALUES_MOST, VALUE_LONGEST, BYTES_MOST = 20, 200, 256, 16_384
#: How much of a triple is repeated where it is refused.
_SHOWN = 200

Kind = Literal["text", "number", "moment", "list"]
Operator = Literal["=", ">", ">=", "<", "<=", "like", "in", "between", "empty"]
Value = str | Decimal | datetime

#: What is written, and what is meant: an operator, and whether it is negated.
_OPERATORS: Mapping[str, tuple[Operator, bool]] = {
    "=": ("=", False),
    "==": ("=", False),
    "!=": ("=", True),
    "<>": ("=", True),
    ">": (">", False),
    ">=": (">=", False),
    "<": ("<", False),
    "<=": ("<=", False),
    "like": ("like", False),
    "not like": ("like", True),
    "in": ("in", False),
    "not in": ("in", True),
    "between": ("between", False),
    "not between": ("between", True),
    "is null": ("empty", False),
    "is not null": ("empty", True),
}
_COMPARISONS: frozenset[Operator] = frozenset({"=", ">", ">=", "<", "<=", "in", "between", "empty"})
_ALLOWED: Mapping[Kind, frozenset[Operator]] = {
    "text": _COMPARISONS | {"like"},
    "number": _COMPARISONS,
    "moment": _COMPARISONS,
    "list": frozenset({"=", "like", "in", "empty"}),
}
#: How many values an operator takes; the others take one.
_LISTED: frozenset[Operator] = frozenset({"in", "between"})

_NUMBER = re.compile(r"[+-]?\d{1,20}(\.\d{1,20})?", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}:\d{2})?", re.ASCII)
_YEARS = range(1900, 9000)


@dataclass(frozen=True, slots=True)
class Condition:
    """What is asked of a field.

    :ivar operator: for a field of kind `list`, `=` and `in` ask for a member; `empty`: nothing is in it
    :ivar values: of the field's kind; of `like` the pattern in Postgres's own spelling
    """

    field: str
    operator: Operator
    negated: bool
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """All of `every`, and one of `any` where that has some."""

    every: tuple[Condition, ...] = ()
    any: tuple[Condition, ...] = ()

    def names(self, field: str) -> bool:
        """Whether a field is asked for anywhere."""
        return any(condition.field == field for condition in (*self.every, *self.any))


def read_filter(
    where_and: Any, where_or: Any, where_in: Any, fields: Mapping[str, Kind], zone: ZoneInfo
) -> Filter:
    """Return what the three lists say; null and empty text are none.

    :param fields: those that may be asked for
    :param zone: whose clocks moments are read by
    :raises InvalidInputError: names the list, the place in it and the triple
    """
    reader = _Reader(fields, zone)
    every = [*reader.read("where_and", where_and), *reader.read("where_in", where_in)]
    return Filter(tuple(every), tuple(reader.read("where_or", where_or)))


def like_pattern(text: str) -> str:
    r"""Return a pattern in Postgres's spelling: `%` is any text, `_` itself, and `\%` a percent sign."""
    return "".join("%" if mark == "%" else _escaped(mark) for mark in _marks(text))


class _Reader:
    def __init__(self, fields: Mapping[str, Kind], zone: ZoneInfo) -> None:
        self.fields = fields
        self.zone = zone

    def read(self, name: str, raw: Any) -> Iterable[Condition]:
        triples = _triples(name, raw)
        conditions = []
        for place, triple in enumerate(triples):
            try:
                conditions.append(self._condition(triple, members=name == "where_in"))
            except ValueError as error:
                raise InvalidInputError(f"{_shown(triple)}: {error}", field=f"{name}.{place}") from None
        if sum(len(condition.values) for condition in conditions) > VALUES_MOST:
            raise InvalidInputError(f"must have at most {VALUES_MOST} values", field=name)
        return conditions

    def _condition(self, triple: Any, *, members: bool) -> Condition:
        field, operator, negated, value = _parts(triple, members=members)
        kind = self.fields.get(field)
        if kind is None:
            raise ValueError(f"there is no such field, but {', '.join(self.fields)}")
        if operator not in _ALLOWED[kind]:
            raise ValueError(f"{field} cannot be asked for so")
        if operator == "=" and kind in ("text", "list") and isinstance(value, str) and _is_pattern(value):
            operator = "like"
        values = () if operator == "empty" else self._values(kind, operator, value)
        if operator == "=" and values == ("",):
            operator, values = "empty", ()
        return Condition(field, operator, negated, values)

    def _values(self, kind: Kind, operator: Operator, raw: Any) -> tuple[Value, ...]:
        if operator not in _LISTED:
            if isinstance(raw, list | dict):
                raise ValueError("takes one value")
            value = self._value(kind, raw)
            if isinstance(value, str):
                return (like_pattern(value) if operator == "like" else _unescaped(value),)
            return (value,)
        if not isinstance(raw, list):
            raise ValueError("takes a list of values")
        if operator == "between" and len(raw) != 2:
            raise ValueError("takes two values")
        return tuple(self._value(kind, one) for one in raw)

    def _value(self, kind: Kind, raw: Any) -> Value:
        if isinstance(raw, str) and len(raw) > VALUE_LONGEST:
            raise ValueError(f"a value must have at most {VALUE_LONGEST} characters")
        match kind:
            case "number":
                return _number(raw)
            case "moment":
                return _moment(raw, self.zone)
            case _:
                return _text(raw)


def _triples(name: str, raw: Any) -> Sequence[Any]:
    if raw is None or (isinstance(raw, str) and not raw.strip()):
        return []
    try:
        written = raw.encode() if isinstance(raw, str) else orjson.dumps(raw)
        if len(written) > BYTES_MOST:
            raise InvalidInputError(f"must have at most {BYTES_MOST} bytes", field=name)
        found = orjson.loads(written)
    except (UnicodeEncodeError, orjson.JSONEncodeError, orjson.JSONDecodeError):
        raise InvalidInputError("is not JSON", field=name) from None
    if not isinstance(found, list):
        raise InvalidInputError("must be a list of [field, operator, value]", field=name)
    if len(found) > TRIPLES_MOST:
        raise InvalidInputError(f"must have at most {TRIPLES_MOST} conditions", field=name)
    return found


def _parts(triple: Any, *, members: bool) -> tuple[str, Operator, bool, Any]:
    """Return field, operator, whether it is negated, and what stands for the value."""
    form = "[field, [values]]" if members else "[field, operator, value]"
    match triple:
        case [str(field), list(values)] if members:
            return field, "in", False, values
        case [str(field), str(word)] if _word(word) in ("is null", "is not null"):
            value = None
        case [str(field), str(word), value]:
            pass
        case _:
            raise ValueError(f"must be {form}")
    if _word(word) not in _OPERATORS:
        raise ValueError(f"there is no such operator, but {', '.join(_OPERATORS)}")
    operator, negated = _OPERATORS[_word(word)]
    if members and operator != "in":
        raise ValueError(f"must be {form}")
    if operator == "empty" and value not in (None, ""):
        raise ValueError("takes no value")
    return field, operator, negated, value


def _word(word: str) -> str:
    return " ".join(word.lower().split())


def _text(raw: Any) -> str:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float | None):
        raise ValueError("takes texts")
    text = "" if raw is None else str(raw)
    if "\0" in text:
        raise ValueError("a value must not contain NUL characters")
    return text


def _number(raw: Any) -> Decimal:
    if isinstance(raw, int | float):
        number = Decimal(repr(raw + 0))  # of a boolean 0 or 1
        if abs(number) < 10**20:
            return number
    elif isinstance(raw, str) and _NUMBER.fullmatch(raw.strip()):
        return Decimal(raw.strip())
    raise ValueError("takes numbers")


def _moment(raw: Any, zone: ZoneInfo) -> datetime:
    if isinstance(raw, str) and _MOMENT.fullmatch(raw):
        with suppress(ValueError):
            moment = datetime.fromisoformat(raw)
            if moment.year in _YEARS:
                return moment.replace(tzinfo=zone).astimezone(UTC)
    raise ValueError("takes moments, YYYY-MM-DD HH:MM:SS")


def _marks(text: str) -> Iterable[str]:
    r"""Yield the marks of a pattern: `%` for any text, a percent sign as `\%`, other characters."""
    place = 0
    while place < len(text):
        step = 2 if text[place] == "\\" and text[place + 1 : place + 2] in ("%", "_", "\\") else 1
        yield text[place : place + step]
        place += step


def _escaped(mark: str) -> str:
    """Write one character for Postgres."""
    character = mark[-1]
    return f"\\{character}" if character in "%_\\" else character


def _is_pattern(text: str) -> bool:
    marks = list(_marks(text))
    return bool(marks) and "%" in (marks[0], marks[-1])


def _unescaped(text: str) -> str:
    return text.replace("\\%", "%")


def _shown(triple: Any) -> str:
    text = orjson.dumps(triple).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
