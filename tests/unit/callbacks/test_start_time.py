"""`type`, `start_time` and `redo_param` of document 003."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.callbacks.model import misfire_grace, parse_redo_param
from include.callbacks.start_time import Start, TaskType, parse_start_time
from include.errors import InvalidInputError

NOW = datetime(2026, 3, 1, 8, 0, 0, tzinfo=UTC)
STAMP = int(NOW.timestamp())


def parse(type_: int, text: str, zone: str = "Asia/Shanghai") -> Start:
    return parse_start_time(TaskType(type_), text, timezone=zone, now=NOW)


class TestSingle:
    @pytest.mark.parametrize(
        ("text", "due_at"),
        [
            (str(STAMP + 90), NOW + timedelta(seconds=90)),
            (f" {STAMP + 90} ", NOW + timedelta(seconds=90)),
            (f"{STAMP}.25", NOW + timedelta(milliseconds=250)),
            (str(STAMP - 60), NOW - timedelta(seconds=60)),
            ("0 30 9 * * *", datetime(2026, 3, 2, 1, 30, tzinfo=UTC)),
            ("@daily", datetime(2026, 3, 1, 16, tzinfo=UTC)),
        ],
    )
    def test_once(self, text: str, due_at: datetime) -> None:
        start = parse(1, text)
        assert start.due_at == due_at
        assert start.cron is None

    @pytest.mark.parametrize(
        "text", [str(STAMP - 61), "0", "-5", f"{STAMP}000", "99999999999999999999", "tomorrow", "1e9"]
    )
    def test_refused(self, text: str) -> None:
        with pytest.raises(InvalidInputError) as error:
            parse(1, text)
        assert error.value.field == "start_time"


class TestCrontab:
    @pytest.mark.parametrize(
        ("type_", "text", "expression"),
        [
            (2, "30", "@every 30s"),
            (2, "5400", "@every 1h30m"),
            (2, "@every 90s", "@every 1m30s"),
            (2, "*/5 * * * * *", "*/5 * * * * *"),
            (3, "0 30 * * * ?", "0 30 * * * *"),
            (4, "0 30 9 * *", "0 30 9 * * *"),
            (5, "0 0 0 1 * ?", "0 0 0 1 * *"),
            (6, "@yearly", "0 0 0 1 1 *"),
            (7, "0 0 8 ? * MON-FRI", "0 0 8 * * 1-5"),
        ],
    )
    def test_accepted(self, type_: int, text: str, expression: str) -> None:
        start = parse(type_, text)
        assert start.due_at is None
        assert start.cron is not None
        assert (start.cron.expression, str(start.cron.zone)) == (expression, "Asia/Shanghai")

    def test_zone_in_the_expression_wins(self) -> None:
        start = parse(4, "CRON_TZ=Europe/London 0 0 9 * * *")
        assert start.cron is not None
        assert str(start.cron.zone) == "Europe/London"

    @pytest.mark.parametrize(
        ("type_", "text"),
        [
            (4, "30"),
            (2, "0"),
            (2, "-30"),
            (2, "1.5"),
            (4, "0 0 0 30 2 *"),
            (4, "61 * * * * *"),
            (7, ""),
            (7, "* *"),
        ],
    )
    def test_refused(self, type_: int, text: str) -> None:
        with pytest.raises(InvalidInputError) as error:
            parse(type_, text)
        assert error.value.field == "start_time"

    def test_unknown_zone_names_the_timezone(self) -> None:
        with pytest.raises(InvalidInputError) as error:
            parse(4, "@daily", zone="Asia/Peking")
        assert error.value.field == "timezone"


class TestRedoParam:
    @pytest.mark.parametrize(
        ("text", "delays"), [("2 4 8", [2, 4, 8]), ("", []), ("  0\t86400 ", [0, 86400]), ("7", [7])]
    )
    def test_accepted(self, text: str, delays: list[int]) -> None:
        assert parse_redo_param(text) == delays

    @pytest.mark.parametrize("text", ["-1", "2 x", "1.5", "86401", " ".join(["1"] * 21), "٣", "9" * 400])
    def test_refused(self, text: str) -> None:
        with pytest.raises(InvalidInputError) as error:
            parse_redo_param(text)
        assert error.value.field == "redo_param"


def test_grace_by_policy() -> None:
    assert misfire_grace("skip") == timedelta(minutes=1)
    assert misfire_grace("fire_once") == misfire_grace("fire_all") == timedelta(hours=1)
