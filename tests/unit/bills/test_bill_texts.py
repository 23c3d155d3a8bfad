"""How bills are named and their numbers written."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from include.bills.model import all_decimals, bill_key, read_bill_key, two_decimals

MIDNIGHT = datetime(2019, 10, 31, 16, tzinfo=UTC)


def test_a_key_begins_with_the_second_of_the_bill():
    """Document 000: 5dbb0500… was made at 2019-11-01T00:00:00 in Shanghai."""
    assert bill_key(MIDNIGHT, 0x152D9A01C13C2FEE) == "5dbb0500152d9a01c13c2fee"
    assert bill_key(MIDNIGHT.replace(microsecond=999_999), 1) == "5dbb05000000000000000001"


@pytest.mark.parametrize("number", [1, 2**31, 2**63 - 1])
def test_a_key_can_be_read_back(number):
    assert read_bill_key(bill_key(MIDNIGHT, number)) == (MIDNIGHT, number)


@pytest.mark.parametrize(
    "key",
    ["", "5dbb0500", "5DBB05000000000000000001", "5dbb0500000000000000000g", "5dbb05000000000000000001 ",
     "5dbb0500a90d784b33b9002c", "5dbb050000000000000000011"],
)  # fmt: skip
def test_what_is_no_key(key):
    assert read_bill_key(key) is None


@pytest.mark.parametrize(
    ("value", "two", "full"),
    [
        ("0", "0.00", "0.00"),
        ("63.790000", "63.79", "63.79"),
        ("63.795000", "63.80", "63.795"),
        ("114.954999", "114.95", "114.954999"),
        ("-0.005", "-0.01", "-0.005"),
        ("1E+3", "1000.00", "1000.00"),
        ("99999999999999.999999", "100000000000000.00", "99999999999999.999999"),
    ],
)
def test_numbers(value, two, full):
    assert two_decimals(Decimal(value)) == two
    assert all_decimals(Decimal(value)) == full
