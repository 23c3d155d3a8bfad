"""The batch demo: its pumps, its verdict, its words."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from api_plugin.iot_batch.package_schemas import PackageBody
from include.batch.requests import TaskRequest
from include.cli.live import showing
from include.demo.batch import Round, Story
from include.demo.batch_report import document, everything, lines, news, retried, table, totals, waves, wrong
from include.demo.pumps import (
    FAULTY,
    HEALED,
    VERSION,
    Pump,
    deletion_body,
    device_row,
    package_body,
    plan_pumps,
    task_body,
)
from include.devices.rows import DeviceRow

BEGAN = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)


def at(seconds: float) -> str:
    return (BEGAN + timedelta(seconds=seconds)).isoformat()


def progress(**counts: int) -> dict[str, int]:
    names = ("waitting", "processing", "success", "fail", "fail_wait_retry", "stopped", "removed")
    return {"total": sum(counts.values()), **dict.fromkeys(names, 0), **counts}


def wave(number: int, size: int, opened: float | None, **changes: Any) -> dict[str, Any]:
    opened_at = None if opened is None else at(opened)
    return {
        "wave": number,
        "size": size,
        "opened_at": opened_at,
        "open": 0,
        "succeeded": size,
        "failed": 0,
        **changes,
    }


def task(status: str, finished: float | None, counts: dict[str, int], *of: dict[str, Any]) -> dict[str, Any]:
    return {
        "project_id": "demo-x",
        "status": status,
        "status_desc": None,
        "finished_at": None if finished is None else at(finished),
        "progress": counts,
        "open_wave": sum(one["opened_at"] is not None for one in of),
        "waves": list(of),
        "dag_id": "batch.firmwareUpgrade",
        "runs": [{"run_id": "demo_pumps_01"}],
    }


def subtask(pump: Pump, number: int, finished: float, *, attempt: int = 1) -> dict[str, Any]:
    failed = bool(pump.code) and attempt == 1
    return {
        "wave": number,
        "attempt": attempt,
        "status": "Fail" if failed else "Success",
        "error_code": f"OTA.{100 + pump.code}" if failed else None,
        "error_msg": f"result {pump.code}" if failed else None,
        "finished_at": at(finished),
    }


@pytest.fixture(scope="module")
def pumps() -> list[Pump]:
    return plan_pumps("x", count=100)


@pytest.fixture
def story(pumps: list[Pump]) -> Story:
    """A hundred pumps, ten of them in the first wave, two failing: all as it should be."""
    numbers = {pump.device_id: 1 if place < 10 else 2 for place, pump in enumerate(pumps)}
    ended = {pump.device_id: 4.0 if numbers[pump.device_id] == 1 else 24.0 for pump in pumps}
    first = Round("upgrade", 100, BEGAN)
    first.task = task(
        *("PartialSuccess", 24.0, progress(success=98, fail=2)),
        *(wave(1, 10, 2.0), wave(2, 90, 4.0, succeeded=88, failed=2)),
    )
    first.subtasks = {
        pump.device_id: subtask(pump, numbers[pump.device_id], ended[pump.device_id]) for pump in pumps
    }
    again = Round("retry", 2, BEGAN + timedelta(seconds=25))
    again.task = task("Success", 30.0, progress(success=100), wave(1, 10, 2.0), wave(2, 90, 4.0))
    retries = {
        pump.device_id: subtask(pump, numbers[pump.device_id], 30.0, attempt=2) for pump in pumps if pump.code
    }
    again.subtasks = {**first.subtasks, **retries}
    return Story(
        pumps,
        "01",
        [first, again],
        counted={pump.device_id: {"upgrades": 2 if pump.code else 1, "notices": {"a": 1}} for pump in pumps},
        versions={pump.device_id: VERSION for pump in pumps},
    )


def printed(renderable: Any) -> str:
    console = Console(width=140)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


class TestPlan:
    def test_two_of_a_hundred_fail_in_every_wave(self) -> None:
        found = plan_pumps("x", count=3000)
        assert Counter(pump.code for pump in found) == {0: 2940, 5: 30, 7: 30}
        assert sum(pump.code > 0 for pump in found[:300]) == 6
        assert len({pump.device_id for pump in found}) == 3000

    def test_the_simulator_treats_them_as_planned(self, pumps: list[Pump]) -> None:
        for pump in pumps:
            assert FAULTY.result(pump.device_id) == pump.code
            assert HEALED.result(pump.device_id) == 0

    def test_what_is_sent_is_what_the_apis_take(self, pumps: list[Pump]) -> None:
        for pump in pumps:
            DeviceRow.model_validate(device_row(pump, "demo-x"))
        PackageBody.model_validate(package_body())
        away = TaskRequest.model_validate(deletion_body(["a", "b"])).new_task(
            "demo-x", created_by="", now=BEGAN
        )
        assert away.targets == ["a", "b"]
        new = TaskRequest.model_validate(task_body(pumps, "01")).new_task("demo-x", created_by="", now=BEGAN)
        assert new.targets is not None
        assert len(new.targets) == 100
        assert new.rollout == {
            "waves": [
                {"percent": 10.0, "approval": False, "success_percent": 90.0},
                {"rest": True, "approval": False},
            ]
        }


class TestVerdict:
    def test_all_is_well(self, story: Story) -> None:
        assert wrong(story) == []

    def test_an_upgrade_that_only_the_simulator_counted(self, story: Story) -> None:
        pump = story.pumps[3]
        story.counted[pump.device_id]["upgrades"] = 2
        assert wrong(story) == [
            "began 2 upgrades by the simulator's count, 1 by the task's: 1 pump, such as demo-x-00004"
        ]

    def test_upgrades_that_only_the_task_counted(self, story: Story) -> None:
        story.counted = {pump.device_id: story.counted[pump.device_id] for pump in story.pumps[2:]}
        [sentence] = wrong(story)
        assert sentence.startswith("began 0 upgrades by the simulator's count, 1 by the task's: 2 pumps")

    def test_one_that_should_have_failed_and_one_that_should_not(self, story: Story) -> None:
        first = story.rounds[0].subtasks
        failing = next(pump for pump in story.pumps if pump.code)
        first[failing.device_id].update(status="Success", error_code=None)
        first[story.pumps[0].device_id].update(status="Fail", error_code="OTA.003")
        assert [sentence.split(":")[0] for sentence in wrong(story)] == [
            "Fail OTA.003 at first instead of Success",
            # This pump is the same one at the end, when it has not been retried.
            "Fail OTA.003 in the end instead of Success",
            f"Success at first instead of Fail OTA.{100 + failing.code}",
        ]

    def test_the_registry_says_another_version(self, story: Story) -> None:
        story.versions = {**story.versions, story.pumps[0].device_id: "1.0.0"}
        assert wrong(story)[0].startswith("has the version 1.0.0 in the registry, not 2.0.0: 1 pump")

    def test_a_pump_that_the_task_has_not(self, story: Story) -> None:
        del story.rounds[0].subtasks[story.pumps[0].device_id]
        assert wrong(story) == ["is not in the task: 1 pump, such as demo-x-00001"]

    def test_a_wave_that_came_too_soon(self, story: Story) -> None:
        story.rounds[0].task["waves"][1]["opened_at"] = at(3.9)
        assert wrong(story) == ["wave 2 was opened before the one before it had ended"]

    def test_one_that_was_not_done_in_time(self, story: Story) -> None:
        del story.rounds[1]
        story.now.task |= {"status": "Processing", "finished_at": None, "status_desc": "wave 1 is held"}
        assert wrong(story)[:2] == [
            "the task is Processing after the upgrade, not PartialSuccess (wave 1 is held)",
            "nothing was retried",
        ]


class TestReport:
    def test_figures_of_waves_retry_and_all(self, story: Story) -> None:
        again = retried(story)
        assert again is not None
        assert [one.cells() for one in (*waves(story), again, everything(story))] == [
            ("wave 1", "10", "10", "0", "2.0", "5.0"),
            ("wave 2", "90", "88", "2", "20.0", "4.5"),
            ("retry", "2", "2", "0", "5.0", "0.4"),
            ("all", "100", "100", "0", "30.0", "3.3"),
        ]

    def test_of_what_has_not_ended_no_time_is_told(self, story: Story) -> None:
        open_one = next(iter(story.rounds[0].subtasks.values()))
        open_one |= {"status": "Processing", "finished_at": None}
        first = waves(story)[0]
        assert first.cells() == ("wave 1", "10", "9", "0", "", "")
        assert first.as_json() == {
            "devices": 10,
            "succeeded": 9,
            "failed": 0,
            "seconds": None,
            "devices_per_second": None,
        }

    def test_a_bar_for_each_state(self, story: Story) -> None:
        story.rounds = [Round("upgrade", 100, BEGAN)]
        story.now.task = task("Initializing", None, progress())
        assert "Upgrade of 100 pumps, 7 s: its run in Airflow begins" in shown(story)
        assert "100.0 %" in shown(story).splitlines()[1]
        counts = progress(waitting=60, processing=30, success=9, fail=1)
        story.now.task = task("Processing", None, counts, wave(1, 10, 2.0), wave(2, 90, 4.0))
        said = shown(story)
        assert "Upgrade of 100 pumps, 7 s: wave 2 of 2" in said
        bars = str.maketrans("", "", "━╸╺")
        assert [" ".join(line.translate(bars).split()) for line in said.splitlines()[1:]] == [
            "waiting 60 60.0 %",
            "upgrading 30 30.0 %",
            "to be retried 0 0.0 %",
            "succeeded 9 9.0 %",
            "failed 1 1.0 %",
        ]

    def test_bars_of_states_that_are_rare(self, story: Story) -> None:
        story.now.task |= {"status": "Stopped", "progress": progress(success=99, stopped=1)}
        said = shown(story)
        assert "Retry of 2 pumps, 5 s: Stopped" in said
        # Of a retry, its own pumps are shown.
        assert [line.split()[0] for line in said.splitlines() if "50.0 %" in line] == ["succeeded", "stopped"]

    def test_a_wave_that_is_held_is_told(self, story: Story) -> None:
        del story.rounds[1]
        story.now.task |= {"finished_at": None, "status_desc": "wave 1 waits for an approval"}
        assert "s: wave 1 waits for an approval" in shown(story)

    def test_lines_are_told_once(self, story: Story, capsys: pytest.CaptureFixture[str]) -> None:
        again = story.rounds.pop()
        with showing(lambda told: table(told, BEGAN), news, as_json=False) as show:
            show(story)
            show(story)
            story.rounds.append(again)
            show(story)
        assert capsys.readouterr().out.splitlines() == [
            "wave 1: 10 of 10 succeeded, 0 failed",
            "wave 2: 88 of 90 succeeded, 2 failed",
            "retry: 2 of 2 succeeded, 0 failed",
        ]

    def test_waves_that_are_open_or_wait_are_no_news(self, story: Story) -> None:
        story.rounds = [Round("upgrade", 100, BEGAN)]
        story.now.task = task(
            "Processing", None, progress(processing=100), wave(1, 10, 2.0, open=10), wave(2, 90, None)
        )
        assert list(news(story)) == []

    def test_the_end(self, story: Story) -> None:
        text = "\n".join(lines(story, "http://h"))
        assert "Failed at first: 1 OTA.105 result 5\nFailed at first: 1 OTA.107 result 7\n" in text
        assert (
            "The simulator counted 102 upgrades on 100 pumps, the task 102 attempts;"
            " 0 notices came more than once." in text
        )
        assert "http://h/dags/batch.firmwareUpgrade/runs/demo_pumps_01" in text
        assert "Not as expected" not in text
        assert totals(story).row_count == 4
        assert "wave 2" in printed(totals(story))

    def test_the_end_of_one_that_went_wrong(self, story: Story) -> None:
        for number, found in enumerate(story.counted.values()):
            found["upgrades"] = number + 5
        text = "\n".join(lines(story, "http://h"))
        assert text.count("Not as expected: began") == 10
        assert "Not as expected: 90 more, see --json." in text

    def test_the_document(self, story: Story) -> None:
        found = document(story, "http://h", 99.96)
        assert (found["seconds"], found["status"], found["not_as_expected"]) == (100.0, "Success", [])
        assert found["simulator"] == {"devices": 100, "upgrades": 102, "repeated_notices": 0}
        assert (found["attempts"], found["runs"]) == (102, ["demo_pumps_01"])
        assert found["retry"]["devices"] == 2
        assert found["failures"] == [
            {"error_code": "OTA.105", "error_msg": "result 5", "devices": 1},
            {"error_code": "OTA.107", "error_msg": "result 7", "devices": 1},
        ]
        json.dumps(found)


def shown(story: Story) -> str:
    return printed(table(story, BEGAN + timedelta(seconds=7)))
