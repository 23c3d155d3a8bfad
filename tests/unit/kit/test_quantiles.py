"""Quantiles."""

from __future__ import annotations

import math

import pytest

from include.kit.quantiles import quantile


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([7.0], 0.99, 7), ([1.0, 2.0], 0.5, 1), ([1.0, 2.0, 3.0], 0.5, 2), ([1.0, 2.0], 0.99, 2)],
)
def test_quantile(values: list[float], share: float, expected: float) -> None:
    assert quantile(values, share) == expected


def test_of_nothing() -> None:
    assert math.isnan(quantile([], 0.5))
