"""The batch benchmark: its arithmetic, its tables, its command line, and that the peer sends what we send."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import batch
from benchmarks.batch import parse, task_body
from benchmarks.fleets import lists, report
from benchmarks.fleets.figures import AIOHTTP, OURS, Result, Round, TaskRun, count, incomplete, peer_of
from benchmarks.fleets.lists import LARGE, QUICK, SMALL, Timing, calls, items_of
from benchmarks.peers import gateway as peer
from benchmarks.receiver import Arrival
from include.batch.commands import _command
from include.batch.requests import TaskRequest
from include.gateway.http import HttpGateway
from include.gateway.model import GatewaySettings
from include.kit.clock import system_clock


def rounded(seconds: float, *, came: int = 1000, twice: int = 0, run: TaskRun | None = None) -> Round:
    return Round(came, twice, seconds, 2.0, 150.0, 1.5, run)


def ours(seconds: float, *, came: int = 1000, recorded: float = 1.0) -> Round:
    return rounded(seconds, came=came, run=TaskRun(recorded, 5.0, 6, 100, {"postgres": 1.0}))


def result(contender: str, *rounds: Round, targets: int = 1000) -> Result:
    return Result(targets, contender, rounds)


class TestFigures:
    def test_arrivals_are_counted_by_device(self) -> None:
        arrivals = [Arrival(5.0, "a", "1"), Arrival(7.0, "b", "2"), Arrival(6.0, "a", "1")]
        assert count(arrivals) == (2, 1, 2.0)
        assert count([]) == (0, 0, 0.0)

    def test_speeds(self) -> None:
        one = ours(0.5, recorded=2.0)
        assert (one.a_second, one.recorded_a_second) == (2000, 500)
        assert rounded(0.5).recorded_a_second == 2000
        assert rounded(0.0).a_second == 0

    def test_figures_are_medians_and_of_two_the_worse(self) -> None:
        found = result(OURS, ours(0.5), ours(1.0), ours(4.0))
        assert found.speed() == 1000
        assert result(OURS, ours(0.5), ours(1.0)).speed() == 1000
        assert (found.run("task_instances"), found.run("statements")) == (6, 100)
        assert result(AIOHTTP, rounded(1.0)).run("statements") is None

    def test_the_ratio_is_that_of_rounds_beside_each_other(self) -> None:
        """A quiet minute of the one is not held against a noisy one of the other."""
        mine = result(OURS, ours(1.0), ours(8.0), ours(1.0))
        other = result(AIOHTTP, rounded(0.5), rounded(4.0), rounded(2.0))
        assert mine.ratio(other) == 0.5
        assert mine.ratio(other, "recorded_a_second") == 2.0
        assert other.ratio(other) == 1.0
        assert mine.ratio(None) is None

    def test_who_left_a_device_out_has_no_ratio_and_is_told(self) -> None:
        whole, part = result(AIOHTTP, rounded(1.0)), result(OURS, ours(1.0, came=999))
        assert part.ratio(whole) is None
        assert whole.ratio(part) is None
        doubled = result(AIOHTTP, rounded(1.0, twice=3))
        assert incomplete([whole, part, doubled]) == [
            "1,000 targets, carillon: 999 came, 0 twice",
            "1,000 targets, aiohttp: 1,000 came, 3 twice",
        ]

    def test_the_peer_is_aiohttp_with_as_many(self) -> None:
        mine, few = result(OURS, ours(1.0)), result(AIOHTTP, rounded(1.0), targets=10)
        same = result(AIOHTTP, rounded(2.0))
        assert peer_of(mine, [few, mine, same]) is same
        assert peer_of(mine, [few, mine]) is None

    def test_json(self) -> None:
        found = result(OURS, ours(0.5)).as_json(result(AIOHTTP, rounded(1.0)))
        rounds = found.pop("rounds")
        assert found == {
            "targets": 1000,
            "contender": "carillon",
            "came": 1000,
            "twice": 0,
            "devices_per_second": 2000.0,
            "recorded_per_second": 1000.0,
            "ratio_to_aiohttp": 2.0,
            "recorded_ratio_to_aiohttp": 1.0,
            "recorded_seconds": 1.0,
            "whole_seconds": 5.0,
            "task_instances": 6.0,
            "statements": 100.0,
            "cpu_seconds": 2.0,
            "rss_mb": 150.0,
        }
        assert json.loads(json.dumps(rounds))[0]["run"]["cpu_by_process"] == {"postgres": 1.0}


class TestReport:
    def test_a_row_a_contender(self) -> None:
        mine, other = result(OURS, ours(0.5), ours(1.0)), result(AIOHTTP, rounded(2.0), rounded(2.0))
        assert report.row(mine, other, first=True) == [
            *("1,000", "carillon", "1,000", "1,000", "2,000 / 1,000", "2.00", "1,000", "2.00"),
            *("5.0", "6", "100", "2.0"),
        ]
        assert report.row(other, None, first=False) == [
            *("", "aiohttp", "1,000", "500", "500 / 500", "", "500", "", "", "", "", "2.0")
        ]
        assert len(report.COLUMNS) == 12
        assert report.table([mine, other], 2, 512).row_count == 2

    def test_what_is_printed(self, capsys: pytest.CaptureFixture[str]) -> None:
        machine = dict.fromkeys(("cores", "cpu", "airflow", "postgres", "python"), "x")
        document = {"machine": {**machine, "load_before": [7.0]}, "failures": ["no luck"]}
        report.show(
            [result(OURS, ours(1.0))], {**document, "rounds": 1, "in_flight": 512}, Path("results-file")
        )
        sizes = {"few": {"tasks": 10, "subtasks": 20}, "many": {"tasks": 1000, "subtasks": 2000}}
        timing = Timing("show", 50, 1.0, 2.0, 1.5, 3.0)
        report.show_lists([timing], {**document, **sizes, "calls": 9}, Path("lists-file"))
        said = capsys.readouterr().out
        assert "512 in flight" in said
        assert "load of the rounds 1.5 to 1.5" in said
        assert "load before 7.0" in said
        assert "1,000 tasks, 2,000 sub-tasks; 9 calls each" in said
        assert [line.split("│")[-2].strip() for line in said.splitlines() if "show" in line] == ["1.50"]
        assert said.count("failed: no luck") == 2
        assert "lists-file" in said


class TestLists:
    @pytest.mark.parametrize("size", [SMALL, QUICK, LARGE])
    def test_the_sizes_can_be_filled(self, size: lists.Size) -> None:
        assert size.shown <= size.subtasks
        assert size.shown + 2 * size.before == size.subtasks

    def test_both_sides_make_the_same_calls(self) -> None:
        assert [(name, path) for name, (path, _) in calls(SMALL).items()] == [
            (name, path) for name, (path, _) in calls(LARGE).items()
        ]

    def test_items(self) -> None:
        assert items_of({"items": [1, 2], "next": None}) == 2
        assert items_of({"batchtask": {}, "task_details": [1], "page": {}}) == 1
        assert items_of({"batchtasks": [], "page": {}}) == 0


class TestPeer:
    def test_it_sends_what_a_batch_task_sends(self) -> None:
        """The same path and the same body, to the byte: else the comparison is none."""
        now = system_clock()
        new = TaskRequest.model_validate(task_body(3)).new_task("bench", created_by="x", now=now)
        assert new.targets is not None
        assert list(new.targets) == [peer.device_id(number) for number in range(3)]
        subtask: Any = SimpleNamespace(target=new.targets[0], request_id=lambda task_id: f"{task_id}-1")
        task: Any = SimpleNamespace(asked=new, task_id="0" * 24)
        command = _command(task, subtask, 20.0)
        ours: Any = HttpGateway(GatewaySettings("http", "http://g:1"), SimpleNamespace()).prepare(command)
        assert ours.request.target.request_target == peer.path(0)
        assert ours.request.body == peer.body(0)


class TestCommandLine:
    def test_what_is_measured(self) -> None:
        assert (parse([]).targets, parse([]).rounds, parse([]).lists) == ([1000, 10_000, 30_000], 3, False)
        assert (parse(["--quick"]).targets, parse(["--quick"]).rounds) == ([1000], 1)
        assert parse(["--targets", "2_000, 5"]).targets == [5, 2000]
        assert parse(["--lists"]).lists

    @pytest.mark.parametrize(
        "words", [["--targets", "x"], ["--targets", "0"], ["--targets", "30001"], ["--rounds", "-1"]]
    )
    def test_what_cannot_be(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            parse(words)
        assert words[0] in capsys.readouterr().err


async def test_one_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = batch.Bench(*[SimpleNamespace()] * 4, 1, 512, lambda _: None)  # type: ignore[arg-type]

    async def fail(targets: int) -> None:
        raise RuntimeError("too slow")

    monkeypatch.setattr(bench, "register", fail)
    await bench.measure(1000)
    assert (bench.results, bench.failures) == ([], ["1,000 targets: too slow"])
