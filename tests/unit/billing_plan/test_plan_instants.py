"""Which instants of a window are billed singly, and how many stand behind one row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.billing_plan.instants import Split, split
from include.billing_plan.planning import read_definition_ids
from include.errors import InvalidInputError

START = datetime(2026, 1, 1, tzinfo=UTC)
INSTANTS = [START + timedelta(days=n) for n in range(1, 41)]
BEFORE = START - timedelta(days=1)


@pytest.mark.parametrize(
    ("active_since", "most", "expected"),
    [
        (BEFORE, 36, Split(INSTANTS[4:], 4, INSTANTS[3])),
        (BEFORE, 40, Split(INSTANTS)),
        (BEFORE, 1, Split(INSTANTS[39:], 39, INSTANTS[38])),
        # An instant at the very moment at which a task became active is not its own.
        (INSTANTS[37], 36, Split(INSTANTS[38:])),
        (INSTANTS[2], 36, Split(INSTANTS[4:], 1, INSTANTS[3])),
        (INSTANTS[39], 36, Split([])),
    ],
)
def test_split(active_since: datetime, most: int, expected: Split) -> None:
    found = split(INSTANTS, active_since, most)
    assert (list(found.listed), found.older, found.latest_older) == (
        list(expected.listed),
        expected.older,
        expected.latest_older,
    )


def test_no_instants() -> None:
    assert split([], BEFORE, 36) == Split([])


@pytest.mark.parametrize("conf", [None, {}, {"other": 1}, {"definition_ids": None}])
def test_a_configuration_that_names_none_means_all(conf: object) -> None:
    assert read_definition_ids(conf) is None


def test_named_definitions() -> None:
    assert read_definition_ids({"definition_ids": [3, 1]}) == [3, 1]


@pytest.mark.parametrize("ids", [[], 3, "3", {"a": 1}, ["3"], [True], [0], [2**63], [1.5], [None]])
def test_names_that_cannot_be_read(ids: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_definition_ids({"definition_ids": ids})
    assert caught.value.field == "definition_ids"
