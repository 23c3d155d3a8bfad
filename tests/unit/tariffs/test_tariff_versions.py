"""What a tariff version must not contradict itself in."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from include.tariffs.model import VersionFields, make_version, version_problems
from include.tariffs.windows import in_season, minute_of_day, month_day

ZONE = ZoneInfo("Asia/Shanghai")
LADDER = [{"upper_limit": 2880, "price": 0}, {"upper_limit": 4800, "price": "0.05"}, {"price": "0.3"}]


def window(start: str, end: str, kind: str = "PEAK", **changes: Any) -> dict[str, Any]:
    return {"start": start, "end": end, "kind": kind, **changes}


def season(first: str, last: str, *windows: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**one, "season_from": first, "season_to": last} for one in windows]


def version(**changes: Any) -> dict[str, Any]:
    return {"effective_from": "2026-01-01", "frame": "YEAR", "mode": "ADDER", **changes}


def problems(**changes: Any) -> list[tuple[str, str]]:
    made = make_version(VersionFields.model_validate(version(**changes)), ZONE)
    return [(problem.field, problem.message) for problem in version_problems(made)]


PRICES = {"PEAK": "0.6", "VALLEY": "0.3"}
DAY = [window("08:00", "22:00"), window("22:00", "24:00", "VALLEY"), window("00:00", "08:00", "VALLEY")]


@pytest.mark.parametrize(
    "good",
    [
        {"energy_price": "0.4883"},
        {},
        {"energy_price": "0.4883", "tiers": LADDER},
        {"tou_prices": PRICES, "tou_windows": DAY, "tiers": LADDER},
        {"mode": "ABSOLUTE", "tiers": [{"price": 5}]},
        {
            "mode": "ABSOLUTE",
            "tou_prices": PRICES,
            "tou_windows": DAY,
            "tiers": [{"price": 5, "kind_prices": {"PEAK": 6}}],
        },
        {"tou_prices": PRICES, "tou_windows": [window("00:00", "24:00")]},
        {
            "tou_prices": PRICES,
            "tou_windows": [
                window("00:00", "24:00", "VALLEY", day_type="holiday"),
                *[{**one, "day_type": "weekday"} for one in DAY],
            ],
        },
        {
            "tou_prices": PRICES,
            "tou_windows": season("11-01", "03-31", *DAY)
            + season("04-01", "10-31", window("00:00", "24:00")),
        },
        {
            "tou_prices": PRICES,
            "tou_windows": season("02-29", "02-29", *DAY)
            + season("03-01", "02-28", window("00:00", "24:00")),
        },
        {"persons_base": 4, "tiers": [{"upper_limit": 10, "price": 0, "persons_step": 2}, {"price": 1}]},
        {
            "tax_rules": [
                {"category": c, "rate": 0, "inclusive": True} for c in ("ENERGY", "FIXED", "MINIMUM")
            ]
        },
    ],
)
def test_good_ones(good):
    assert problems(**good) == []


OPEN = "must be null: the last tier is open, so that all is billed"


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        ({"mode": "ABSOLUTE"}, [("tiers", "mode ABSOLUTE needs at least one tier")]),
        ({"tiers": [{"upper_limit": 10, "price": 1}]}, [("tiers.0.upper_limit", OPEN)]),
        (
            {"tiers": [{"upper_limit": 10, "price": 1}, {"upper_limit": 20, "price": 1}]},
            [("tiers.1.upper_limit", OPEN)],
        ),
        (
            {"tiers": [{"price": 1}, {"price": 1}]},
            [("tiers.0.upper_limit", "is required: only the last tier is open")],
        ),
        (
            {
                "tiers": [{"upper_limit": 9, "price": 1}, {"upper_limit": 10, "price": 1}]
                + [LADDER[0]] * 2
                + [LADDER[2]]
            },
            [("tiers.3.upper_limit", "must be above that of the tier before, 2880")],
        ),
        (
            {"tiers": [{"upper_limit": 9, "price": 1}, {"upper_limit": 8, "price": 1}, {"price": 1}]},
            [("tiers.1.upper_limit", "must be above that of the tier before, 9")],
        ),
        (
            {"tiers": [{"price": 1, "persons_step": 2}]},
            [("tiers.0.persons_step", "has no limit to be added to")],
        ),
        (
            {
                "tiers": [
                    {"upper_limit": 8, "price": 1, "persons_step": 2},
                    {"upper_limit": 9, "price": 1},
                    {"price": 1},
                ]
            },
            [
                (
                    "tiers.1.persons_step",
                    "must not be below that of the tier before: the limits of large households would cross",
                )
            ],
        ),
        (
            {"tiers": [{"price": 1, "kind_prices": {"PEAK": 1}}]},
            [("tiers.0.kind_prices", "needs mode ABSOLUTE and tou_prices")],
        ),
        (
            {
                "mode": "ABSOLUTE",
                "tou_prices": PRICES,
                "tou_windows": DAY,
                "tiers": [{"price": 1, "kind_prices": {"TIP": 1}}],
            },
            [("tiers.0.kind_prices.TIP", "is not a kind of tou_prices")],
        ),
        (
            {"mode": "ABSOLUTE", "tiers": [{"price": 1}], "energy_price": 1},
            [("energy_price", "is for mode ADDER without tou_prices; here it would not be used")],
        ),
        (
            {"tou_prices": PRICES, "tou_windows": DAY, "energy_price": 1},
            [("energy_price", "is for mode ADDER without tou_prices; here it would not be used")],
        ),
        (
            {"tax_rules": [{"category": "FIXED", "rate": 0, "inclusive": True}] * 2},
            [("tax_rules.1.category", "FIXED stands twice")],
        ),
        (
            {"tou_windows": [window("00:00", "24:00")]},
            [("tou_windows.0.kind", "PEAK has no price in tou_prices")],
        ),
        (
            {"tou_prices": PRICES, "tou_windows": [window("22:00", "06:00"), window("06:00", "06:00")]},
            [
                (f"tou_windows.{n}.end", "must be after start; a window over midnight is two windows")
                for n in (0, 1)
            ],
        ),
    ],
)
def test_bad_ones(bad, found):
    assert problems(**bad) == found


def uncovered(stretch: str, fault: str, *day_types: str) -> list[tuple[str, str]]:
    return [("tou_windows", f"{stretch}, {one}: {fault}") for one in day_types or ("weekday", "holiday")]


ALL_YEAR = "from 01-01 to 12-31"


@pytest.mark.parametrize(
    ("windows", "found"),
    [
        ([], uncovered(ALL_YEAR, "00:00-24:00 is in no window")),
        (DAY[:2], uncovered(ALL_YEAR, "00:00-08:00 is in no window")),
        ([*DAY, window("21:30", "22:30")], uncovered(ALL_YEAR, "21:30-22:30 is in 2 windows")),
        (
            [window("00:00", "08:00"), window("08:01", "24:00")],
            uncovered(ALL_YEAR, "08:00-08:01 is in no window"),
        ),
        (
            [*DAY, window("08:00", "09:00", day_type="holiday")],
            uncovered(ALL_YEAR, "08:00-09:00 is in 2 windows", "holiday"),
        ),
        (
            [{**one, "day_type": "weekday"} for one in DAY],
            uncovered(ALL_YEAR, "00:00-24:00 is in no window", "holiday"),
        ),
        (
            season("01-01", "06-30", *DAY) + season("07-02", "12-31", *DAY),
            uncovered("on 07-01", "00:00-24:00 is in no window"),
        ),
        (
            season("01-01", "02-28", *DAY) + season("03-01", "12-31", *DAY),
            uncovered("on 02-29", "00:00-24:00 is in no window"),
        ),
        (
            season("11-01", "03-31", *DAY) + season("03-30", "10-31", window("00:00", "24:00")),
            uncovered("from 03-30 to 03-31", "00:00-24:00 is in 2 windows"),
        ),
        (
            season("11-01", "03-01", *DAY),
            uncovered("from 03-02 to 10-31", "00:00-24:00 is in no window"),
        ),
    ],
)
def test_every_minute_is_in_one_window(windows, found):
    assert problems(tou_prices=PRICES, tou_windows=windows) == found


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"effective_from": "tomorrow"}, ("effective_from",)),
        ({"effective_from": "0001-01-01"}, ("effective_from",)),
        ({"frame": "WEEK"}, ("frame",)),
        ({"mode": "adder"}, ("mode",)),
        ({"energy_price": "-0.1"}, ("energy_price",)),
        ({"energy_price": "0.1234567"}, ("energy_price",)),
        ({"energy_price": 1_000_000}, ("energy_price",)),
        ({"energy_price": True}, ("energy_price",)),
        ({"energy_price": "NaN"}, ("energy_price",)),
        ({"energy_price": "Infinity"}, ("energy_price",)),
        ({"energy_price": None}, ("energy_price",)),
        ({"energy_price": 0.1 + 0.2}, ("energy_price",)),
        ({"persons_base": -1}, ("persons_base",)),
        ({"minimum_charge": "x"}, ("minimum_charge",)),
        ({"tiers": [{"upper_limit": 0, "price": 1}]}, ("tiers", 0, "upper_limit")),
        ({"tiers": [{"upper_limit": None}]}, ("tiers", 0, "price")),
        ({"tiers": [{"price": 1}] * 21}, ("tiers",)),
        ({"tiers": [{"price": 1, "colour": 1}]}, ("tiers", 0, "colour")),
        ({"tou_prices": {"TOTAL": 1}}, ("tou_prices", "TOTAL", "[key]")),
        ({"tou_windows": [window("8:00", "09:00")]}, ("tou_windows", 0, "start")),
        ({"tou_windows": [window("08:00", "24:01")]}, ("tou_windows", 0, "end")),
        ({"tou_windows": [window("08:60", "10:00")]}, ("tou_windows", 0, "start")),
        ({"tou_windows": [window("00:00", "24:00", season_from="02-30")]}, ("tou_windows", 0, "season_from")),
        ({"tou_windows": [window("00:00", "24:00", day_type="sunday")]}, ("tou_windows", 0, "day_type")),
        ({"holidays": ["2026-02-29"]}, ("holidays", 0)),
        ({"fixed_charges": [{"name": " ", "basis": "DAY", "amount": 1}]}, ("fixed_charges", 0, "name")),
        ({"fixed_charges": [{"name": "a", "basis": "YEAR", "amount": 1}]}, ("fixed_charges", 0, "basis")),
        ({"tax_rules": [{"category": "ENERGY", "rate": 1, "inclusive": True}]}, ("tax_rules", 0, "rate")),
    ],
)
def test_what_is_wrong_with_one_field(change, place):
    with pytest.raises(ValidationError) as caught:
        VersionFields.model_validate(version(**change))
    assert [error["loc"] for error in caught.value.errors()] == [place]


def test_days_and_minutes():
    assert (month_day("02-29"), month_day("12-31")) == (229, 1231)
    assert (minute_of_day("00:00"), minute_of_day("09:05"), minute_of_day("24:00")) == (0, 545, 1440)


@pytest.mark.parametrize(
    ("first", "last", "inside", "outside"),
    [
        ("07-01", "09-30", ["07-01", "08-15", "09-30"], ["06-30", "10-01"]),
        ("11-01", "03-31", ["11-01", "12-31", "01-01", "02-29", "03-31"], ["04-01", "10-31"]),
    ],
)
def test_seasons(first, last, inside, outside):
    made = make_version(
        VersionFields.model_validate(version(tou_windows=season(first, last, window("00:00", "24:00")))), ZONE
    ).tou_windows[0]
    assert [in_season(made, month_day(day)) for day in inside] == [True] * len(inside)
    assert [in_season(made, month_day(day)) for day in outside] == [False] * len(outside)
