"""Cursors: they go there and back, and anything else is refused."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from api_plugin.common.pagination import (
    id_cursor,
    key_cursor,
    moment_cursor,
    page_of,
    read_id_cursor,
    read_moment_cursor,
)
from include.errors import InvalidInputError

MOMENT = datetime(2026, 11, 22, 1, 30, 0, 123456, tzinfo=UTC)


def cursor(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_cursors_are_read_back():
    assert read_id_cursor(id_cursor(7)) == 7
    assert read_id_cursor(None) == 0
    assert read_moment_cursor(moment_cursor(MOMENT, 7)) == (MOMENT, 7)
    assert read_moment_cursor(None) is None


@pytest.mark.parametrize(
    "bad", ["", "*", "AAA", "é", cursor(5), cursor([]), cursor(["x"]), cursor([-1]), cursor([2**63])]
)
def test_other_texts_are_no_id_cursor(bad: str):
    with pytest.raises(InvalidInputError) as caught:
        read_id_cursor(bad)
    assert caught.value.field == "cursor"


@pytest.mark.parametrize(
    "bad",
    [
        "", "x", cursor([1]), cursor(["x", 1]), cursor(["2026-11-22", 1]), cursor([MOMENT.isoformat(), -1]),
        cursor([MOMENT.isoformat()]), cursor([MOMENT.isoformat(), "1"]),
    ],
)  # fmt: skip
def test_other_texts_are_no_moment_cursor(bad: str):
    with pytest.raises(InvalidInputError) as caught:
        read_moment_cursor(bad)
    assert caught.value.field == "cursor"


def test_a_page_knows_whether_more_follow():
    def page(*keys: str) -> tuple[list[str], str | None]:
        found = page_of(keys, 2, str.upper, key_cursor)
        return found.items, found.next

    assert page("a", "b", "c") == (["A", "B"], key_cursor("b"))
    assert page("a", "b") == (["A", "B"], None)
    assert page() == ([], None)


def test_a_page_goes_on_by_id():
    rows = [SimpleNamespace(id=7), SimpleNamespace(id=8)]
    assert page_of(rows, 1, vars).next == id_cursor(7)
