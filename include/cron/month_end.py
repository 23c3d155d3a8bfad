"""Days that not every month has: the 29th, the 30th and the 31st.

Source: document 000 leaves them open; `research/billing_maintenance.md`, A5: a bill that skips February would
cover two months, so such a day means the last one of a shorter month.
"""

from __future__ import annotations

from typing import Final, Literal

from include.cron.fields import MONTH, FieldValue

#: `clamp`: the last day of a month that is too short; `skip`: no day of such a month.
MonthEnd = Literal["clamp", "skip"]

_FEBRUARY: Final = 2
_SHORT: Final = frozenset({2, 4, 6, 9, 11})


def clamped(day: FieldValue, month: FieldValue) -> list[tuple[FieldValue, FieldValue]]:
    """Return (day, month) fields that together are also due on the last day of months that lack a day.

    A field that begins with a star names no day: every second day stays every second day.
    """
    if day.starred or day.full:
        return [(day, month)]
    if 31 in day.numbers and month.numbers & _SHORT:
        return [(_with_last(day, frozenset({31})), month)]
    named = day.numbers & {29, 30} and "L" not in day.specials
    if not named or _FEBRUARY not in month.numbers:
        return [(day, month)]
    february = (_with_last(day, frozenset({29, 30})), FieldValue(MONTH, frozenset({_FEBRUARY})))
    others = month.numbers - {_FEBRUARY}
    return [(day, FieldValue(MONTH, others)), february] if others else [february]


def _with_last(day: FieldValue, instead_of: frozenset[int]) -> FieldValue:
    return FieldValue(day.spec, day.numbers - instead_of, day.specials | {"L"})
