"""Decimal arithmetic without silent rounding: 60 digits inside, and the three ways to round on purpose."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, DivisionByZero, InvalidOperation, Overflow, localcontext
from functools import wraps
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

#: Quantities have 6 decimals, prices 6, factors 10: no product of them comes near 60 digits.
CONTEXT: Final = Context(prec=60, rounding=ROUND_HALF_UP, traps=[InvalidOperation, DivisionByZero, Overflow])

_CENT: Final = Decimal("0.01")
_SIX: Final = Decimal("0.000001")
_TEN: Final = Decimal("0.0000000001")


def exact(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function with `CONTEXT`, whatever the caller's own context is."""

    @wraps(function)
    def within(*args: P.args, **kwargs: P.kwargs) -> R:
        with localcontext(CONTEXT):
            return function(*args, **kwargs)

    return within


def cents(value: Decimal) -> Decimal:
    """Round to 2 decimals, half up; within `exact`."""
    return value.quantize(_CENT)


def six(value: Decimal) -> Decimal:
    """Round to 6 decimals, half up: quantities and limits; within `exact`."""
    return value.quantize(_SIX)


def ten(value: Decimal) -> Decimal:
    """Round to 10 decimals, half up: factors; within `exact`."""
    return value.quantize(_TEN)


def micros(length: timedelta) -> int:
    """Return a length in microseconds, which are the smallest that a moment has."""
    return (length.days * 86_400 + length.seconds) * 1_000_000 + length.microseconds
