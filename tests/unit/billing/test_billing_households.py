"""Households: from who lives where when to stretches with the same persons and generation."""

from __future__ import annotations

from include.billing.households import FOREVER, household_at, households
from include.billing.model import Household
from tests.unit.billing.billing_facts import at, lives


def stretch(start: str, end: str | None, persons: int, since: str) -> Household:
    return Household(at(start), FOREVER if end is None else at(end), persons, at(since))


def test_nobody() -> None:
    assert households(()) == ()


def test_one_party_for_good() -> None:
    assert households([lives(1, persons=2)]) == (stretch("2020-01-01", None, 2, "2020-01-01"),)


def test_persons_are_summed_and_somebody_who_joins_changes_no_generation() -> None:
    assert households(
        [lives(1, "2026-01-01", persons=2), lives(2, "2026-03-01", "2026-05-01", persons=3)]
    ) == (
        stretch("2026-01-01", "2026-03-01", 2, "2026-01-01"),
        stretch("2026-03-01", "2026-05-01", 5, "2026-01-01"),
        stretch("2026-05-01", None, 2, "2026-01-01"),
    )


def test_when_nobody_of_before_is_left_a_generation_begins() -> None:
    assert households([lives(1, "2026-01-01", "2026-03-01"), lives(2, "2026-03-01")]) == (
        stretch("2026-01-01", "2026-03-01", 1, "2026-01-01"),
        stretch("2026-03-01", None, 1, "2026-03-01"),
    )


def test_generations_overlap() -> None:
    """1, then 1 and 2, then 2, then 2 and 3, then 3: always somebody of before stays."""
    people = [
        lives(1, "2026-01-01", "2026-03-01"),
        lives(2, "2026-02-01", "2026-05-01"),
        lives(3, "2026-04-01"),
    ]
    assert households(people) == (
        stretch("2026-01-01", "2026-02-01", 1, "2026-01-01"),
        stretch("2026-02-01", "2026-03-01", 2, "2026-01-01"),
        stretch("2026-03-01", "2026-04-01", 1, "2026-01-01"),
        stretch("2026-04-01", "2026-05-01", 2, "2026-01-01"),
        stretch("2026-05-01", None, 1, "2026-01-01"),
    )


def test_vacancy_belongs_to_the_generation_before() -> None:
    assert households([lives(1, "2026-01-01", "2026-03-01"), lives(2, "2026-04-01", "2026-06-01")]) == (
        stretch("2026-01-01", "2026-03-01", 1, "2026-01-01"),
        stretch("2026-03-01", "2026-04-01", 0, "2026-01-01"),
        stretch("2026-04-01", "2026-06-01", 1, "2026-04-01"),
        stretch("2026-06-01", None, 0, "2026-04-01"),
    )


def test_who_comes_back_is_the_same_generation() -> None:
    people = [lives(1, "2026-01-01", "2026-03-01"), lives(1, "2026-04-01")]
    assert {one.since for one in households(people)} == {at("2026-01-01")}


def test_stretches_that_do_not_differ_are_one() -> None:
    """2 takes over from 3 beside 1: as many persons, the same generation."""
    people = [lives(1, "2026-01-01"), lives(2, "2026-01-01", "2026-03-01"), lives(3, "2026-03-01")]
    assert households(people) == (stretch("2026-01-01", None, 2, "2026-01-01"),)


def test_order_does_not_matter() -> None:
    people = [lives(2, "2026-03-01"), lives(1, "2026-01-01", "2026-03-01")]
    assert households(people) == households(reversed(people))


def test_household_at() -> None:
    found = households([lives(1, "2026-01-01", "2026-03-01")])
    assert household_at(found, at("2025-12-31")) is None
    assert household_at(found, at("2026-01-01")) is found[0]
    assert household_at(found, at("2026-03-01")) is found[1]
