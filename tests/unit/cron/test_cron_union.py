"""Unions, `expr|expr`: due whenever one of their members is."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from include.cron import CronSchedule, parse_seconds_first
from include.errors import CronExpressionError

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def read(text: str, zone: str = "UTC") -> CronSchedule:
    return parse_seconds_first(text, zone=zone)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0 0 0 L 2 *|0 0 0 30 1,3-12 *", "0 0 0 30 1,3-12 *|0 0 0 L 2 *"),
        (" 0 0 0 L * ? | @monthly ", "0 0 0 1 * *|0 0 0 L * *"),
        ("@daily|0 0 0 * * *", "0 0 0 * * *"),
        ("@daily|@hourly|@daily", "0 0 * * * *|0 0 0 * * *"),
    ],
)
def test_canonical_text(text, canonical):
    assert read(text).expression == canonical
    assert read(canonical) == CronSchedule.from_canonical(canonical, "UTC")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@daily|", "the expression is empty"),
        ("|", "the expression is empty"),
        ("@daily|@every 1h", "@every cannot be one of several expressions"),
        ("@daily|0 60 * * * *", "minute '60': 60 is outside 0 to 59"),
        ("0 0 0 30 2 *|0 0 0 31 4 *", "'0 0 0 30 2 *|0 0 0 31 4 *' never fires: there is no such date"),
        ("|".join(["@daily"] * 200), "the expression is longer than 1000 characters"),
    ],
)
def test_what_is_no_union(text, message):
    with pytest.raises(CronExpressionError) as caught:
        read(text)
    assert (caught.value.field, caught.value.message) == ("start_time", message)


@pytest.mark.parametrize(
    "text",
    [
        "0 0 0 L 2 *|0 0 0 30 1,3-12 *",  # not sorted
        "0 0 0 * * *|0 0 0 * * *",
        "0 0 0 * * * | 0 0 1 * * *",
        "0 0 0 * * *|@every 1h",
    ],
)
def test_only_the_canonical_text_is_read_back(text):
    with pytest.raises(CronExpressionError):
        CronSchedule.from_canonical(text, "UTC")


def test_words():
    assert read("0 0 1 L 2 *|0 0 1 30 1,3-12 *").describe() == (
        "At 01:00, on day 30 of the month, only in January and March through December; "
        "or at 01:00, on the last day of the month, only in February"
    )


def test_it_is_no_interval_and_has_the_seconds_of_all_members():
    union = read("0 * * * * *|*/30 0 * * * *|15 0 * * * *")
    assert not union.is_interval
    assert union.seconds == (0, 15, 30)


def test_a_member_that_never_fires_does_no_harm():
    union = read("0 0 0 30 2 *|0 0 0 1 1 *")
    assert union.next_after(START) == datetime(2027, 1, 1, tzinfo=UTC)
    assert union.last_at_or_before(START, START - DAY) == START
    assert union.last_at_or_before(START - DAY, START - 2 * DAY) is None


MEMBERS = [
    "0 */20 1 * * *", "0 0,40 1-3 * * *", "0 30 2 * * *", "0 0 * 8 3 *", "*/20 30 1 * * *", "0 0 12 L * *",
    "0 0 12 29 * *", "30 15 0 * * 0",
]  # fmt: skip


@pytest.mark.parametrize("zone", ["America/New_York", "Australia/Lord_Howe", "Asia/Shanghai"])
def test_it_answers_as_its_members_do_together(zone):
    rng = random.Random(20260308)
    for begin in (datetime(2026, 3, 7, tzinfo=UTC), datetime(2026, 10, 31, tzinfo=UTC)):
        for _ in range(40):
            texts = rng.sample(MEMBERS, k=rng.randint(2, 4))
            union, members = read("|".join(texts), zone), [read(text, zone) for text in texts]
            due = sorted(
                {instant for member in members for instant in member.between(begin, begin + 3 * DAY)}
            )
            assert union.between(begin, begin + 3 * DAY) == due
            assert list(islice(union.iter_after(begin), len(due))) == due
            for moment in rng.choices(due or [begin + DAY], k=5):
                step = timedelta(seconds=rng.choice([-1, 0, 1]))
                later = [instant for instant in due if instant > moment + step]
                earlier = [instant for instant in due if instant <= moment + step]
                assert union.next_after(moment + step) == (later or [union.next_after(begin + 3 * DAY)])[0]
                assert union.last_at_or_before(moment + step, begin + timedelta(seconds=1)) == (
                    earlier[-1] if earlier else None
                )
