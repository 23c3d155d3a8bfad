"""`carillon schedule next`."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from include.cli import schedule
from include.settings import get_settings

AFTER = "2026-03-08T00:30:00-05:00"


def run(*arguments: str):
    return CliRunner().invoke(schedule.app, ["next", *arguments], env={"COLUMNS": "120"})


def test_json_alone():
    result = run("0 0 * * * *", "-n", "2", "--tz", "America/New_York", "--after", AFTER, "--json")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert json.loads(result.stdout) == {
        "expression": "0 0 * * * *",
        "zone": "America/New_York",
        "description": "Every hour",
        "instants": [
            {"local": "2026-03-08T01:00:00-05:00", "utc": "2026-03-08T06:00:00+00:00", "in_seconds": 1800.0},
            {"local": "2026-03-08T03:00:00-04:00", "utc": "2026-03-08T07:00:00+00:00", "in_seconds": 5400.0},
        ],
    }


def test_table():
    result = run("0 30 9 * * mon", "-n", "1", "--tz", "Asia/Shanghai", "--after", "2026-03-08T00:00")
    assert result.exit_code == 0
    assert "0 30 9 * * 1  (Asia/Shanghai)" in result.stdout
    assert "At 09:30, only on Monday" in result.stdout
    assert "2026-03-09 09:30:00+08:00" in result.stdout
    assert "2026-03-09 01:30:00" in result.stdout
    assert "1 d 9 h" in result.stdout


def test_ten_from_now_in_the_zone_of_the_settings(monkeypatch):
    monkeypatch.setenv("CARILLON_TIMEZONE", "Europe/London")
    get_settings.cache_clear()
    try:
        document = json.loads(run("@every 1h", "--json").stdout)
    finally:
        get_settings.cache_clear()
    assert document["zone"] == "Europe/London"
    assert len(document["instants"]) == 10
    assert 0 < document["instants"][0]["in_seconds"] <= 3600


def test_a_zone_in_the_expression_wins():
    result = run("TZ=Asia/Tokyo @daily", "--tz", "UTC", "--after", "2026-03-08T00:00", "-n", "1", "--json")
    assert json.loads(result.stdout)["instants"][0]["local"] == "2026-03-09T00:00:00+09:00"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["0 61 * * * *"], "EXPR: minute '61': 61 is outside 0 to 59\n"),
        (["@daily", "--tz", "Mars"], "EXPR: the time zone 'Mars' is not known\n"),
        (["@daily", "--after", "soon"], "--after: 'soon' is not an ISO date and time\n"),
    ],
)
def test_errors_are_a_sentence_and_exit_code_2(arguments, message):
    result = run(*arguments)
    assert (result.exit_code, result.stderr, result.stdout) == (2, message, "")


def test_the_count_has_bounds():
    assert run("@daily", "-n", "0").exit_code == 2


@pytest.mark.parametrize(
    ("start", "distance"), [("23:59:30", "30 s"), ("23:00:00", "1 h 0 min"), ("23:57:55", "2 min 5 s")]
)
def test_distances(start, distance):
    result = run("@daily", "-n", "1", "--tz", "UTC", "--after", f"2026-03-08T{start}")
    assert distance in result.stdout
