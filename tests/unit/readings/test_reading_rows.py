"""Reading the rows of a batch: what can be used, and what is said of the rest."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from include.readings.rows import read_rows, read_value

ZONE = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
ROW = {"device_id": "000090502121", "read_at": "2026-11-22T09:30:00", "value": "12.5"}


def read(*rows, counts_down=False):
    return read_rows(rows, zone=ZONE, now=NOW, counts_down=counts_down)


def test_what_is_left_out_has_its_default():
    [new], problems = read(ROW)
    assert problems == []
    assert (new.row, new.device_id, new.kind, new.quality, new.source, new.top_up, new.note) == (
        0,
        "000090502121",
        "TOTAL",
        "ok",
        "meter",
        0,
        None,
    )
    assert new.read_at == datetime(2026, 11, 22, 1, 30, tzinfo=UTC)
    assert new.value == Decimal("12.5")


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("2026-11-22T09:30:00+08:00", datetime(2026, 11, 22, 1, 30, tzinfo=UTC)),
        ("2026-11-22T01:30:00Z", datetime(2026, 11, 22, 1, 30, tzinfo=UTC)),
        ("2026-11-22 09:30", datetime(2026, 11, 22, 1, 30, tzinfo=UTC)),
        ("2026-11-22T12:05:00", datetime(2026, 11, 22, 4, 5, tzinfo=UTC)),
        (datetime(2026, 11, 22, 9, 30), datetime(2026, 11, 22, 1, 30, tzinfo=UTC)),
    ],
)
def test_moments(given, moment):
    [new], problems = read({**ROW, "read_at": given})
    assert (new.read_at, problems) == (moment, [])


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("0", "0"),
        ("007.10", "7.10"),
        (3, "3"),
        (3.25, "3.25"),
        (1e-6, "0.000001"),
        (1e11, "100000000000"),
        (Decimal("1.5"), "1.5"),
        ("123456789012.123456", "123456789012.123456"),
    ],
)
def test_values(given, value):
    assert read_value(given) == Decimal(value)


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"device_id": None}, "device_id", "is required"),
        ({"device_id": 7}, "device_id", "must be a string of 1 to 128 printable characters"),
        ({"device_id": ""}, "device_id", "must be a string of 1 to 128 printable characters"),
        ({"device_id": "a\x00"}, "device_id", "must be a string of 1 to 128 printable characters"),
        ({"device_id": "\ud800"}, "device_id", "must be a string of 1 to 128 printable characters"),
        ({"device_id": "x" * 129}, "device_id", "must be a string of 1 to 128 printable characters"),
        ({"register": "SUM"}, "register", "must be one of TOTAL, TIP, PEAK, FLAT, VALLEY, DEEP"),
        ({"register": ["TOTAL"]}, "register", "must be one of TOTAL, TIP, PEAK, FLAT, VALLEY, DEEP"),
        ({"read_at": None}, "read_at", "is required"),
        ({"read_at": "2026-11-22T12:05:01"}, "read_at", "lies in the future"),
        ({"read_at": "1899-12-31T00:00:00Z"}, "read_at", "lies before 1900"),
        ({"read_at": "0001-01-01T00:00:00+14:00"}, "read_at", "is too far away"),
        *(
            (
                {"read_at": given},
                "read_at",
                "must be a moment in ISO 8601, such as 2026-11-22T09:30:00+08:00",
            )
            for given in ("yesterday", "2026-11-22", "2026-02-30T00:00:00", 1763775000, "", "9" * 50)
        ),
        ({"value": None}, "value", "is required"),
        ({"value": "-1"}, "value", "must be 0 or more"),
        ({"value": -0.5}, "value", "must be 0 or more"),
        ({"value": 0.1 + 0.2}, "value", "has more digits than a number keeps: send it as a string"),
        *(
            ({"value": given}, "value", "must be a number of at most 12 digits before and 6 after the point")
            for given in ("", "1e3", "1.", ".5", "1,5", "٣", "1.1234567", "1" * 13, True, [], {}, 10**12)
        ),
        (
            {"value": float("nan")},
            "value",
            "must be a number of at most 12 digits before and 6 after the point",
        ),
        ({"quality": "late"}, "quality", "must be one of ok, estimated"),
        ({"source": "correction"}, "source", "must be one of meter, manual, import, pull"),
        ({"top_up": "5"}, "top_up", "is for meters that show what remains (reading_mode remaining)"),
        ({"note": 5}, "note", "must be a string of at most 500 characters"),
        ({"note": "\x00"}, "note", "must be a string of at most 500 characters"),
        ({"note": "n" * 501}, "note", "must be a string of at most 500 characters"),
        ({"colour": "red"}, "colour", "is not a field of a reading"),
    ],
)
def test_what_cannot_be_used(change, field, message):
    good, problems = read({**ROW, **change})
    assert good == []
    assert [(named(one), one.message) for one in problems] == [(f"row 1 {field}", message)]


def named(one):
    problem = one.problem()
    return f"row {problem.row} {problem.field}"


def test_every_problem_of_every_row_is_named():
    good, problems = read(ROW, {"value": "x"}, 7, ROW)
    assert [new.row for new in good] == [0, 3]
    assert [named(one) for one in problems] == [
        "row 2 device_id",
        "row 2 read_at",
        "row 2 value",
        "row 3 ",
    ]


def test_top_ups_of_meters_that_show_what_remains():
    [new], problems = read({**ROW, "top_up": "50.5"}, counts_down=True)
    assert (new.top_up, problems) == (Decimal("50.5"), [])
