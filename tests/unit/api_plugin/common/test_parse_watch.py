"""Asking for a parse until there was one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api_plugin.common.parse_watch import ASKED_MOST, LastParse, ParseWatch

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def parse(began: float, took: float = 0.0) -> LastParse:
    return LastParse(after(began), timedelta(seconds=took))


@pytest.fixture
def watch() -> ParseWatch:
    watch = ParseWatch()
    watch.changed(NOW)
    return watch


def test_nothing_changed_nothing_is_asked():
    assert not ParseWatch().wants(NOW, None)


@pytest.mark.parametrize("last", [None, parse(-1), parse(-3600)])
def test_without_a_parse_one_asks_every_two_seconds(watch, last):
    asked = [second for second in range(1, 10) if watch.wants(after(second), last)]
    assert asked == [2, 4, 6, 8]


def test_a_parse_that_may_have_begun_before_is_followed_by_one_that_did_not(watch):
    asked = [second for second in range(1, 20) if watch.wants(after(second), parse(0.5, took=3))]
    assert asked[0] == 8
    assert not watch.wants(after(20), parse(8.5, took=3))
    assert watch.changed_at is None


def test_a_parse_well_after_the_change_ends_it(watch):
    assert not watch.wants(after(3), parse(2.5))
    assert watch.changed_at is None


def test_another_change_begins_anew(watch):
    watch.wants(after(3), parse(2.5))
    watch.changed(after(10))
    assert watch.wants(after(12), parse(2.5))


def test_it_gives_up_where_no_parse_ever_shows(watch):
    asked = [second for second in range(1, 200) if watch.wants(after(second), None)]
    assert len(asked) == ASKED_MOST - 1
    assert watch.changed_at is None
