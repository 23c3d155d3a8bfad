"""Pure parts of device timers: what is sent, how long it is tried, when a group is due next."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from include.errors import InvalidInputError
from include.schedules.model import dag_id_for
from include.timers.model import LoadedTimer, Timer, TimerGroup, command_of, offline_delays, read_commands

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)  # Sunday, 10:00 in Shanghai
HOUR = timedelta(hours=1)

LOADED = LoadedTimer(1, "lamp-1", "ONLINE", '{"switch":1}', "skip", HOUR, timedelta(seconds=60))
TIMER = Timer(
    1, "a" * 32, "19", "15", "{}", "0 15 19 * * *", 1, True, 127, None, False, NOW - timedelta(days=9)
)
GROUP = TimerGroup(
    1,
    "b" * 32,
    "lamp-1",
    "p1",
    "1111111",
    "sunday",
    "Asia/Shanghai",
    True,
    False,
    "skip",
    HOUR,
    None,
    NOW,
    NOW,
    [TIMER],
)


class TestCommand:
    def of(self, commands: str):
        timer = replace(LOADED, commands=commands)
        return command_of(timer, "exec_1", service_id="timer", command_name="set", timeout=5)

    def test_an_object_is_the_parameters_of_the_default_command(self) -> None:
        found = self.of('{"switch":1}')
        assert (found.service_id, found.command_name, found.paras) == ("timer", "set", {"switch": 1})
        assert (found.device_id, found.request_id, found.timeout) == ("lamp-1", "exec_1", 5)

    def test_an_object_that_is_a_command_is_that_command(self) -> None:
        found = self.of('{"service_id":"light","command_name":"ON_OFF","paras":{"value":"ON"}}')
        assert (found.service_id, found.command_name, found.paras) == ("light", "ON_OFF", {"value": "ON"})

    @pytest.mark.parametrize(
        "commands",
        [
            '{"service_id":"light","paras":{}}',
            '{"service_id":1,"command_name":"x","paras":{}}',
            '{"service_id":"a","command_name":"x","paras":[]}',
        ],
    )
    def test_half_a_command_is_parameters(self, commands: str) -> None:
        assert self.of(commands).service_id == "timer"

    @pytest.mark.parametrize("text", ["", "x", "1", "[]", '"a"', "null", "{", "{}" + " " * 65536])
    def test_what_is_not_an_object_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidInputError) as caught:
            read_commands(text)
        assert caught.value.field == "commands"


@pytest.mark.parametrize(
    ("seconds", "delays"),
    [
        (1, ()),
        (5, (5,)),
        (34, (5, 10)),
        (35, (5, 10, 20)),
        (135, (5, 10, 20, 40, 60)),
        (200, (5, 10, 20, 40, 60, 60)),
    ],
)
def test_delays_grow_until_the_ttl(seconds: int, delays: tuple[int, ...]) -> None:
    assert offline_delays(timedelta(seconds=seconds)) == delays


def test_the_delays_of_the_longest_ttl_last_for_it() -> None:
    week = timedelta(days=7)
    assert week - timedelta(seconds=sum(offline_delays(week))) < timedelta(seconds=60)


class TestGroup:
    def test_the_earliest_of_its_timers(self) -> None:
        early = replace(TIMER, expression="0 0 12 * * *")
        assert replace(GROUP, timers=[TIMER, early]).next_run_at(NOW) == NOW + 2 * HOUR

    def test_on_its_days_only(self) -> None:
        monday = replace(TIMER, weekdays=1)
        assert replace(GROUP, timers=[monday]).next_run_at(NOW) == NOW + timedelta(hours=33, minutes=15)

    @pytest.mark.parametrize("change", [{"enabled": False}, {"paused": True}, {"timers": []}])
    def test_none_while_it_rests(self, change) -> None:
        assert replace(GROUP, **change).next_run_at(NOW) is None

    @pytest.mark.parametrize(
        ("due", "spent", "is_on", "next_run_at"),
        [
            (NOW + HOUR, False, True, NOW + HOUR),
            (NOW + HOUR, True, True, NOW + HOUR),
            (NOW - HOUR, True, False, None),
        ],
    )
    def test_a_one_shot_is_on_until_it_was(self, due, spent, is_on, next_run_at) -> None:
        group = replace(GROUP, timers=[replace(TIMER, weekdays=None, due_at=due, spent=spent)])
        assert (group.is_on(NOW), group.next_run_at(NOW)) == (is_on, next_run_at)

    def test_it_is_on_while_one_of_its_one_shots_is_to_come(self) -> None:
        was = replace(TIMER, weekdays=None, due_at=NOW - HOUR, spent=True)
        assert replace(GROUP, timers=[was, replace(was, due_at=NOW + HOUR)]).is_on(NOW)


@pytest.mark.parametrize(
    ("expression", "zone", "dag_id"),
    [
        ("0 30 7 * * *", "Asia/Shanghai", "timer.0730"),
        ("0 5 0 * * *", "Asia/Shanghai", "timer.0005"),
        ("0 59 23 * * *", "Europe/Berlin", "timer.2359.Europe-Berlin"),
        ("0 30 7 * * *", "Etc/GMT+8", "timer.0730.Etc-GMTplus8"),
        ("@once", "UTC", "timer.once"),
    ],
)
def test_dag_ids_are_times_of_day(expression: str, zone: str, dag_id: str) -> None:
    assert dag_id_for("timer", expression, zone) == dag_id


def test_dag_ids_of_other_kinds_stay() -> None:
    assert dag_id_for("callback", "0 30 7 * * *", "Asia/Shanghai") == "callback.0_30_7_x_x_x"
