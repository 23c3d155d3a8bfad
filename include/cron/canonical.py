"""The one text that stands for all spellings of a schedule.

Two expressions that are due at the same instants should share one schedule, hence one text. Sets are sorted,
names become numbers, and a star is written where it is natural, except where Debian cron (and so `cronsim`)
reads a leading star as more than "every value":

- minute and hour: when one of the two begins with `*`, the schedule follows real elapsed time through a clock
  change; otherwise it names a time of day, which runs once a day whatever the clock does;
- day of month and weekday: when one of the two begins with `*`, both must match; otherwise either is enough.

So each of these pairs is written with a leading star exactly when it was read with one.

What no single expression can say is a union, `expr|expr`: due whenever one of its members is, at an instant
that several share only once. Its members are canonical, sorted, each there once, and none is an `@every`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from include.cron.durations import format_duration, parse_duration
from include.cron.fields import MAX_LENGTH, SPECS, FieldValue, parse_field, shortened
from include.errors import CronExpressionError

EVERY: Final = "@every"
UNION: Final = "|"

#: robfig/cron v3 documents these; `@midnight` and `@annually` are its second names.
DESCRIPTORS: Final = {
    "@hourly": "0 0 * * * *",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@weekly": "0 0 0 * * 0",
    "@monthly": "0 0 0 1 * *",
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
}


def canonical_text(text: str, *, field: str) -> str:
    """Return the canonical text of a seconds-first expression, a descriptor, `@every`, or a union of them.

    Raises CronExpressionError, carrying `field`, when the text cannot be read.
    """
    if len(text) > MAX_LENGTH:
        raise CronExpressionError(f"the expression is longer than {MAX_LENGTH} characters", field=field)
    members = [_single(member, field) for member in text.split(UNION)]
    if len(members) > 1 and any(member.startswith(EVERY) for member in members):
        raise CronExpressionError(f"{EVERY} cannot be one of several expressions", field=field)
    return union_text(members)


def union_text(members: Iterable[str]) -> str:
    """Return the text of a schedule that is due whenever one of these canonical expressions is."""
    return UNION.join(sorted(set(members)))


def _single(text: str, field: str) -> str:
    parts = text.split()
    if not parts:
        raise CronExpressionError("the expression is empty", field=field)
    if parts[0].startswith("@"):
        return _descriptor(parts, field)
    if len(parts) not in (5, 6):
        message = (
            f"{shortened(text)} has {len(parts)} fields: give second, minute, hour, day of month and month"
        )
        raise CronExpressionError(f"{message}, and weekday if needed", field=field)
    # Document 003's scheduler reads five fields as seconds-first with the weekday left out.
    parts = [*parts, "*"][:6]
    return canonical_fields(
        [parse_field(spec, part, field=field) for spec, part in zip(SPECS, parts, strict=True)]
    )


def canonical_fields(values: Sequence[FieldValue]) -> str:
    """Return the canonical text of six fields that were read, seconds first."""
    second, minute, hour, day, month, weekday = values
    minute_text, hour_text = _time_pair(minute, hour)
    day_text, weekday_text = _day_pair(day, weekday)
    return " ".join([second.natural(), minute_text, hour_text, day_text, month.natural(), weekday_text])


def _descriptor(parts: list[str], field: str) -> str:
    word = parts[0].lower()
    if word == EVERY and len(parts) == 2:
        return f"{EVERY} {format_duration(parse_duration(parts[1], field=field))}"
    if len(parts) == 1 and word in DESCRIPTORS:
        return DESCRIPTORS[word]
    known = ", ".join(DESCRIPTORS)
    raise CronExpressionError(
        f"{shortened(' '.join(parts))} is not a descriptor: use one of {known}, or @every with a duration",
        field=field,
    )


def _time_pair(minute: FieldValue, hour: FieldValue) -> tuple[str, str]:
    if minute.starred or hour.starred:
        return _starred_pair(minute, hour)
    return minute.plain(), hour.plain()


def _day_pair(day: FieldValue, weekday: FieldValue) -> tuple[str, str]:
    if day.starred or weekday.starred:
        return _starred_pair(day, weekday)
    if day.full or weekday.full:
        # Either is enough and one always matches: every day.
        return "*", "*"
    return day.plain(), weekday.plain()


def _starred_pair(one: FieldValue, other: FieldValue) -> tuple[str, str]:
    """Write two fields so that at least one begins with a star; which one depends on the sets alone."""
    texts = one.natural(), other.natural()
    if any(text.startswith("*") for text in texts):
        return texts
    return (
        (one.with_star(), texts[1]) if _star_cost(one) <= _star_cost(other) else (texts[0], other.with_star())
    )


def _star_cost(value: FieldValue) -> tuple[bool, int, int]:
    """How clumsy the text with a forced star is; a set without the lowest value cannot have one at all."""
    if value.spec.low not in value.numbers:
        return True, 0, 0
    rest = value.beyond_star
    return False, len(rest.numbers) + len(rest.specials), value.star_step
