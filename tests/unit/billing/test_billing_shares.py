"""Shares: always to the cent, by who lived there how long."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.billing.model import Occupancy
from include.billing.shares import ShareKey, split
from tests.unit.billing.billing_facts import MARCH, at, d, lives


def amounts(charge: str, people: list[Occupancy], key: ShareKey = "weight") -> dict[int, str]:
    found = split(d(charge), people, MARCH.start, MARCH.end, key)
    return {share.party_id: f"{share.amount:.2f}" for share in found}


def test_nobody() -> None:
    assert split(d("100.00"), (), MARCH.start, MARCH.end, "weight") == ()
    assert amounts("100.00", [lives(1, valid_to="2026-03-01"), lives(2, valid_from="2026-04-01")]) == {}


def test_one() -> None:
    (share,) = split(d("100.00"), [lives(7)], MARCH.start, MARCH.end, "weight")
    assert (share.name, share.cellphone, share.amount) == ("party 7", "1387", d("100.00"))
    assert share.weight == 31 * 86400


def test_a_hundred_by_three() -> None:
    """The cent that is left over goes to the lowest id."""
    assert amounts("100.00", [lives(3), lives(1), lives(2)]) == {1: "33.34", 2: "33.33", 3: "33.33"}
    assert amounts("100.01", [lives(3), lives(1), lives(2)]) == {1: "33.34", 2: "33.34", 3: "33.33"}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("equal", {1: "50.00", 2: "50.00"}),
        ("persons", {1: "25.00", 2: "75.00"}),
        ("weight", {1: "66.67", 2: "33.33"}),
    ],
)
def test_keys(key: ShareKey, expected: dict[int, str]) -> None:
    people = [lives(1, persons=1, weight="1"), lives(2, persons=3, weight="0.5")]
    assert amounts("100.00", people, key) == expected


def test_by_the_time_within_the_period() -> None:
    """15 and 16 of 31 days: 48.387 and 51.613; the larger remainder gets the cent."""
    people = [lives(1, valid_to="2026-03-16"), lives(2, valid_from="2026-03-16")]
    assert amounts("100.00", people) == {1: "48.39", 2: "51.61"}


def test_who_comes_back_has_one_share() -> None:
    people = [lives(1, valid_to="2026-03-11"), lives(1, valid_from="2026-03-22"), lives(2)]
    found = split(d("51.00"), people, MARCH.start, MARCH.end, "equal")
    # 20 of 51 party-days.
    assert [(share.party_id, share.amount) for share in found] == [(1, d("20.00")), (2, d("31.00"))]


def test_nobody_counts_then_all_do() -> None:
    assert amounts("10.01", [lives(2, weight="0"), lives(1, weight="0")]) == {1: "5.01", 2: "5.00"}


def test_who_counts_nothing_pays_nothing() -> None:
    assert amounts("10.01", [lives(1, weight="0"), lives(2)]) == {1: "0.00", 2: "10.01"}


def test_credit() -> None:
    """-3.333… each: down to -3.34, and the two cents that are too many back to the lowest ids."""
    assert amounts("-10.00", [lives(1), lives(2), lives(3)]) == {1: "-3.33", 2: "-3.33", 3: "-3.34"}


@given(
    st.integers(-10_000_000, 10_000_000),
    st.lists(
        st.tuples(
            st.integers(1, 5),
            st.integers(0, 40),
            st.integers(1, 40),
            st.integers(0, 9),
            st.integers(0, 10**6).map(lambda n: Decimal(n).scaleb(-6)),
        ),
        max_size=6,
    ),
    st.sampled_from(["equal", "persons", "weight"]),
)
def test_shares_add_up_to_the_cent(
    cents: int, people: list[tuple[int, int, int, int, Decimal]], key: ShareKey
) -> None:
    start = at("2026-02-25")
    day = at("2026-02-26") - start
    there = [
        Occupancy(id_, "", "", start + begin * day, start + (begin + days) * day, persons, weight)
        for id_, begin, days, persons, weight in people
    ]
    charge = Decimal(cents).scaleb(-2)
    found = split(charge, there, MARCH.start, MARCH.end, key)
    assert sum(share.amount for share in found) == (charge if found else 0)
    assert all(share.amount == 0 or (share.amount > 0) == (charge > 0) for share in found)
    assert [share.party_id for share in found] == sorted({share.party_id for share in found})
