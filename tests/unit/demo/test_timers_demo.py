"""The timers demo: its lamps, its minutes, its verdict, its words."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from api_plugin.device_schedule.schemas import CreateBody
from include.cli import demo_timers
from include.cli.demo_timers import calling_all
from include.cli.instance import Instance
from include.cli.live import showing
from include.cli.main import main
from include.demo.api import for_each
from include.demo.lamps import POLICIES, Lamp, device_row, next_minutes, plan_lamps, timer_body
from include.demo.timers import Story
from include.demo.timers_report import document, figures, lines, news, row, table, wrong
from include.devices.rows import DeviceRow
from include.errors import StartupError
from include.timers.caller import SHADOWED, SKIPPED

ZONE = ZoneInfo("Asia/Shanghai")
DUES = tuple(datetime(2026, 11, 22, 11, minute, tzinfo=ZONE) for minute in (5, 6))


def execution(lamp: Lamp, number: int, **changes: Any) -> dict[str, Any]:
    """Return the execution of a timer as it should end."""
    states = {"skip": ("failed", SKIPPED), "shadow_desired": ("succeeded", SHADOWED)}
    state, reason = states.get(lamp.policy, ("succeeded", None)) if lamp.away else ("succeeded", None)
    late = 15_100 if lamp.expects == "acknowledged" and lamp.away else 40
    end = DUES[lamp.minute] + timedelta(milliseconds=late)
    return {
        "id": number,
        "state": state,
        "reason": reason,
        "attempts": 3 if late > 15_000 else 1,
        "lateness_ms": 1.0 + number / 10,
        "finished_at": end.astimezone(UTC).isoformat(),
        **changes,
    }


@pytest.fixture
def story() -> Story:
    """Twelve lamps, six of them away, all as it should be."""
    told = Story(plan_lamps("x", count=12, away=6, minutes=2), DUES)
    for number, lamp in enumerate(told.lamps, start=1):
        lamp.timer, lamp.executions = f"t{number}", [execution(lamp, number)]
        if lamp.expects == "acknowledged":
            id_ = f"exec_{number}"
            told.received[lamp.device_id] = {id_: 1}
            at = DUES[lamp.minute].timestamp() + 0.002
            told.arrivals[lamp.device_id] = [{"request_id": id_, "at": at, "paras": dict(lamp.paras)}]
        if lamp.away and lamp.policy == "shadow_desired":
            told.reported[lamp.device_id] = {"timer": dict(lamp.paras)}
    told.back_at = {0: DUES[0] + timedelta(seconds=6), 1: DUES[1] + timedelta(seconds=6)}
    told.dag_ids = ["timer.1105"]
    return told


def lamp_of(story: Story, policy: str, *, away: bool) -> Lamp:
    return next(lamp for lamp in story.lamps if (lamp.policy, lamp.away) == (policy, away))


class TestPlan:
    def test_every_minute_and_policy_has_as_many(self) -> None:
        lamps = plan_lamps("x", count=480, away=24, minutes=2)
        of_each = {(minute, policy): 80 for minute in (0, 1) for policy in POLICIES}
        assert Counter((lamp.minute, lamp.policy) for lamp in lamps) == of_each
        away = Counter((lamp.minute, lamp.policy) for lamp in lamps if lamp.away)
        assert away == dict.fromkeys(of_each, 4)
        assert sum(lamp.once for lamp in lamps) == 120
        assert {lamp.once for lamp in lamps if lamp.away} == {True, False}
        assert [lamp.minute for lamp in lamps] == sorted(lamp.minute for lamp in lamps)
        assert len({lamp.device_id for lamp in lamps}) == 480

    @pytest.mark.parametrize(("count", "away"), [(1, 0), (1, 1), (7, 7), (500, 25)])
    def test_any_number_will_do(self, count: int, away: int) -> None:
        lamps = plan_lamps("x", count=count, away=away, minutes=1)
        assert (len(lamps), sum(lamp.away for lamp in lamps)) == (count, away)
        assert {lamp.minute for lamp in lamps} == {0}

    def test_what_is_sent_is_what_the_apis_take(self) -> None:
        for lamp in plan_lamps("x", count=30, away=6, minutes=2):
            DeviceRow.model_validate(device_row(lamp, "demo-x"))
            body = CreateBody.model_validate(timer_body(lamp, DUES[lamp.minute], json.dumps(lamp.paras)))
            assert body.period == ("0000000" if lamp.once else "1111111")
            assert (body.tasks[0].hour, int(body.tasks[0].minute)) == ("11", 5 + lamp.minute)
            assert (body.timezone, body.offline) == ("Asia/Shanghai", lamp.policy)


class TestMinutes:
    @pytest.mark.parametrize(
        ("now", "timers", "first"),
        [
            ("03:04:05", 250, "11:05"),  # 24.5 s are needed
            ("03:04:35", 250, "11:05"),
            ("03:04:36", 250, "11:06"),
            ("03:04:46", 20, "11:05"),
            ("15:59:50", 20, "00:01"),  # the next day
        ],
    )
    def test_the_first_leaves_time_to_set_them(self, now: str, timers: int, first: str) -> None:
        moment = datetime.fromisoformat(f"2026-11-22T{now}+00:00")
        dues = next_minutes(moment, ZONE, timers=timers, minutes=2)
        assert f"{dues[0]:%H:%M}" == first
        assert dues[1] - dues[0] == timedelta(minutes=1)
        assert str(dues[0].tzinfo) == "Asia/Shanghai"


class TestOutcome:
    def test_open_ones_have_none(self) -> None:
        [lamp] = plan_lamps("x", count=1, away=0, minutes=1)
        assert (lamp.outcome, lamp.was_tried) == ("", False)
        lamp.executions = [execution(lamp, 1, state="running")]
        assert lamp.outcome == ""
        lamp.executions = [execution(lamp, 1, state="missed", reason="misfire: older than its grace")]
        assert lamp.outcome == "missed: misfire: older than its grace"

    def test_one_that_waits_is_tried_twice_before_it_comes_back(self, story: Story) -> None:
        lamp = lamp_of(story, "deliver_when_online", away=True)
        for state, attempts, tried in (
            ("retrying", 1, False),
            ("running", 2, False),  # it counts when it begins
            ("retrying", 2, True),
        ):
            lamp.executions = [execution(lamp, 1, state=state, attempts=attempts)]
            assert lamp.was_tried is tried
        assert lamp_of(story, "skip", away=True).was_tried

    def test_it_ends_when_all_came_back(self, story: Story) -> None:
        assert story.ended
        del story.back_at[1]
        assert not story.ended


class TestVerdict:
    def test_all_is_well(self, story: Story) -> None:
        assert wrong(story) == []

    def test_a_command_that_came_twice(self, story: Story) -> None:
        lamp = lamp_of(story, "skip", away=False)
        [(id_, _)] = story.received[lamp.device_id].items()
        story.received[lamp.device_id][id_] = 2
        assert wrong(story) == [
            f"got 2 commands by the simulator's count, 1 by the ledger: 1 lamp, such as {lamp.device_id}"
        ]

    def test_two_commands_under_two_ids(self, story: Story) -> None:
        story.received[lamp_of(story, "skip", away=False).device_id]["exec_999"] = 1
        assert wrong(story)[0].startswith("got 2 commands")

    def test_a_command_that_is_only_in_the_ledger(self, story: Story) -> None:
        for lamp in story.lamps[6:8]:
            story.received.pop(lamp.device_id, None)
        [sentence] = wrong(story)
        assert sentence.startswith("got 0 commands by the simulator's count, 1 by the ledger: ")

    def test_one_that_should_have_been_skipped(self, story: Story) -> None:
        lamp = lamp_of(story, "skip", away=True)
        lamp.executions[0] |= {"state": "succeeded", "reason": None}
        assert [sentence.split(":")[0] for sentence in wrong(story)] == [
            "acknowledged instead of skipped (skip, away)",
            "got 0 commands by the simulator's count, 1 by the ledger",
        ]

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"state": "running"}, "still running instead of acknowledged (there)"),
            ({"state": "failed", "reason": "timeout"}, "failed: timeout instead of acknowledged (there)"),
            ({"lateness_ms": -0.1}, "sent before its instant"),
        ],
    )
    def test_an_execution_that_went_wrong(self, story: Story, change: Any, sentence: str) -> None:
        lamp_of(story, "shadow_desired", away=False).executions[0] |= change
        assert wrong(story)[0].startswith(sentence)

    def test_timers_that_did_not_run_are_counted(self, story: Story) -> None:
        for lamp in story.lamps:
            lamp.executions = []
        assert wrong(story) == ["the timer has 0 executions, not one: 12 lamps, such as demo-x-0001"]

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"at": DUES[0].timestamp() - 0.001}, "got its command before its instant"),
            ({"paras": {"switch": 0}}, "got another command than its timer's"),
        ],
    )
    def test_what_arrived(self, story: Story, change: Any, sentence: str) -> None:
        story.arrivals[lamp_of(story, "skip", away=False).device_id][0] |= change
        assert [found.split(":")[0] for found in wrong(story)] == [sentence]

    @pytest.mark.parametrize("reported", [{}, {"timer": {"switch": 0}}])
    def test_a_shadow_that_did_not_arrive(self, story: Story, reported: Any) -> None:
        story.reported[lamp_of(story, "shadow_desired", away=True).device_id] = reported
        assert [sentence.split(":")[0] for sentence in wrong(story)] == [
            "came back and did not take what was left in its shadow"
        ]


class TestReport:
    def test_figures_of_a_group(self, story: Story) -> None:
        lamps = [lamp for lamp in story.lamps if (lamp.minute, lamp.policy) == (0, "deliver_when_online")]
        found = figures(story, lamps)
        assert row(found) == ["2", "2", "1", "1.2", "1.5", "1.5", "1", "1 acknowledged 15.1 s later"]
        assert found.as_json() == {
            "timers": 2,
            "sent": 2,
            "acknowledged": 1,
            "lateness_ms": {"p50": 1.2, "p99": 1.5, "max": 1.5},
            "away": 1,
            "fates": {"acknowledged": 1},
            "delivered_later_s": [15.1],
        }

    def test_before_anything_happened(self) -> None:
        told = Story(plan_lamps("x", count=12, away=6, minutes=2), DUES)
        assert row(figures(told, told.lamps)) == ["12", "0", "0", "", "", "", "6", "6 waiting"]
        assert list(news(told)) == []
        assert document(told, "http://h", 1.0)["all"]["lateness_ms"] == {
            "p50": None,
            "p99": None,
            "max": None,
        }

    def test_the_table_has_a_row_for_each_minute_and_policy_and_one_of_all(self, story: Story) -> None:
        console = Console(width=140)
        with console.capture() as captured:
            console.print(table(story, datetime(2026, 11, 22, 3, 6, 30, tzinfo=UTC)))
        said = captured.get()
        assert "Device timers at 11:06:30" in said
        assert said.count("deliver_when_online") == 2
        assert said.count("1 left in the shadow") == 2
        assert "│ all " in said

    def test_a_line_for_what_is_settled(self, story: Story) -> None:
        waiting = [lamp for lamp in story.lamps if lamp.away and lamp.policy == "deliver_when_online"]
        for lamp in waiting:
            lamp.executions[0]["state"] = "retrying"
        before = dict(news(story))
        assert before["11:05 skip there"] == (
            "11:05 skip: 1 of 1 acknowledged; late p50 1.1, p99 1.4, max 1.4 ms; 1 away"
        )
        assert before["11:05 skip away"] == "11:05 skip: of those away 1 skipped"
        assert "11:05 deliver_when_online away" not in before
        for lamp in waiting:
            lamp.executions[0]["state"] = "succeeded"
        assert dict(news(story))["11:05 deliver_when_online away"].endswith("1 acknowledged 15.1 s later")

    def test_the_end(self, story: Story) -> None:
        text = "\n".join(lines(story, "http://h"))
        assert (
            "12 timers, 0 of them one-shots: 6 acknowledged by lamps that were there;"
            " of 6 that were away 2 acknowledged 15.1 s later, 2 left in the shadow, 2 skipped." in text
        )
        assert "The simulator counted 8 commands on 8 lamps, 0 of them repeats." in text
        assert "http://h/dags/timer.1105" in text
        assert "Not as expected" not in text

    def test_the_end_of_one_that_went_wrong(self, story: Story) -> None:
        for number, lamp in enumerate(story.lamps):
            lamp.executions[0] |= {"state": "failed", "reason": f"reason {number}"}
        text = "\n".join(lines(story, "http://h"))
        assert "Not as expected: failed: reason 0 instead of skipped (skip, away): 1 lamp" in text
        assert text.count("Not as expected") == 11
        assert "more, see --json" in text

    def test_the_document(self, story: Story) -> None:
        found = document(story, "http://h", 99.96)
        assert (found["seconds"], found["not_as_expected"]) == (100.0, [])
        assert found["simulator"] == {"devices": 8, "commands": 8, "repeats": 0}
        assert [(one["due"][11:16], one["offline"], one["timers"]) for one in found["groups"]] == [
            (minute, policy, 2) for minute in ("11:05", "11:06") for policy in POLICIES
        ]
        json.dumps(found)


class TestForEach:
    async def test_the_first_ones_first_and_an_error_ends_it(self) -> None:
        called: list[int] = []

        async def call(number: int) -> None:
            await asyncio.sleep(0)
            if number == 20:
                raise ValueError("no")
            called.append(number)

        with pytest.raises(ValueError, match="no"):
            await for_each(range(1000), call)
        assert called[:8] == list(range(8))
        assert len(called) < 100

    async def test_what_is_under_way_is_waited_for_when_it_is_cancelled(self) -> None:
        begun, ended = set(), set()

        async def call(number: int) -> None:
            begun.add(number)
            await asyncio.sleep(0.1)
            ended.add(number)

        task = asyncio.create_task(for_each(range(1000), call))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert begun == ended == set(range(8))


async def test_a_gateway_of_ones_own_is_named() -> None:
    words = {field.name: "" for field in fields(Instance)}
    instance = Instance(**{**words, "processes": {}, "gateway_url": "https://iot.example"})
    with pytest.raises(StartupError, match=r"gateway of its own \(https://iot.example\)") as raised:
        async with calling_all(instance, project_id="demo-x", user="demo-x"):
            pytest.fail("its devices are not simulated")
    assert "start one without AIRFLOW_CONN_DEVICE_GATEWAY" in str(raised.value)


def test_lines_are_told_once(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    with showing(demo_timers.table, news, as_json=False) as show:
        show(story)
        show(story)
    assert capsys.readouterr().out.splitlines() == [line for _, line in news(story)]
    with showing(demo_timers.table, news, as_json=True) as show:
        show(story)
    assert capsys.readouterr().out == ""


def test_more_away_than_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "timers", "--devices", "5", "--offline", "6"]) == 2
    assert "--offline: 6 are more than the 5 devices" in capsys.readouterr().err
