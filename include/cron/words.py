"""Schedules in English words, for people: DAG names, tables, API answers."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from include.cron.durations import duration_parts

_MIDNIGHT = "At 00:00"


@lru_cache(maxsize=8192)
def words_for_cron(expression: str) -> str:
    """Return the words for a canonical six-field expression."""
    second, minute, hour, day, month, weekday = expression.split()
    if not _mixed(day) and not _mixed(weekday):
        return _describe(expression)
    # cron-descriptor reads `1#2,3#2` and `1,5L` wrongly, so each item is described by itself.
    both = day.startswith("*") or weekday.startswith("*")
    dates = [
        _any_of(f"{item} * *" for item in _items(day)),
        _any_of(f"* * {item}" for item in _items(weekday)),
    ]
    chosen = (" and " if both else " or ").join(text for text in dates if text)
    months = _describe(f"0 0 0 * {month} *").removeprefix(_MIDNIGHT)
    return f"{_describe(f'{second} {minute} {hour} * * *')}, {chosen}{months}"


def words_for_interval(seconds: int) -> str:
    """Return the words for `@every`, such as "Every 1 hour 30 minutes"."""
    parts = (f"{amount} {unit}{'' if amount == 1 else 's'}" for amount, unit in duration_parts(seconds))
    return f"Every {' '.join(parts)}"


def words_for_union(texts: Iterable[str]) -> str:
    """Return the words for several schedules, described each, of which any one is enough."""
    first, *others = texts
    return "; or ".join([first, *(text[0].lower() + text[1:] for text in others)])


def _mixed(text: str) -> bool:
    """Whether a day field lists `L` or `#` items beside others."""
    return "," in text and ("L" in text or "#" in text)


def _items(text: str) -> list[str]:
    """Split a day field into what can be described at once: its numbers, and each special."""
    items = text.split(",")
    specials = [item for item in items if "L" in item or "#" in item]
    numbers = ",".join(item for item in items if item not in specials)
    return [numbers, *specials] if numbers else specials


def _any_of(dates: Iterable[str]) -> str:
    """Describe alternatives for day of month, month and weekday, leaving out "every day"."""
    texts = (_describe(f"0 0 0 {date}").removeprefix(_MIDNIGHT).removeprefix(", ") for date in dates)
    return " or ".join(text for text in texts if text)


def _describe(expression: str) -> str:
    # Imported here: a DAG file and the API server need words for few of the schedules they load.
    from cron_descriptor import ExpressionDescriptor, Options  # type: ignore[import-untyped]

    options = Options(locale_code="en_US", use_24hour_time_format=True)
    return str(ExpressionDescriptor(expression, options).get_description())
