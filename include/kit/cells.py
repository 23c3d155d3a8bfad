"""Cells of spreadsheets as they would stand in a CSV file. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

#: The day before which 1900's calendar of spreadsheets, which has a 29th of February, is one behind.
_FIRST_OF_MARCH = 61


def number_text(value: float) -> str:
    """Return a number: 000090502121 typed as one comes as 90502121.0, and 0.1 is meant, not its 55 digits.

    :raises ValueError: it is not finite
    """
    if value.is_integer():
        return str(int(value))
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"{value} is not a number")
    return f"{Decimal(repr(value)):f}"


def moment_text(days: float, *, since_1904: bool) -> str:
    """Return a date and time, or a time of day alone, by its days since the beginning of the calendar.

    :raises ValueError: it is no moment
    """
    first = datetime(1904, 1, 1) if since_1904 else datetime(1899, 12, 30)  # noqa: DTZ001 # has no zone
    if not since_1904 and days < _FIRST_OF_MARCH:
        first += timedelta(days=1)
    try:
        moment = first + timedelta(seconds=round(days * 86_400))
    except (OverflowError, ValueError):
        raise ValueError(f"{days} is not a date") from None
    return moment.time().isoformat() if 0 <= days < 1 else moment.isoformat(" ")
