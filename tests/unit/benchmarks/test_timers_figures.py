"""The timers benchmark: its arithmetic, its table, its command line, and that peers send what we send."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from api_plugin.device_schedule.schemas import CreateBody
from benchmarks import timers
from benchmarks.figures import Round
from benchmarks.lamps import report
from benchmarks.lamps.figures import AIOHTTP, OURS, SOCKETS, Burst, Result, incomplete, peer_of
from benchmarks.peers import gateway as peer
from benchmarks.timers import minutes_after, parse, timer_body
from include.gateway.http import HttpGateway
from include.gateway.model import GatewaySettings
from include.kit.targets import parse_url
from include.settings import get_settings
from include.timers.model import LoadedTimer, command_of


def burst(
    seconds: float, *, came: int = 1000, early: int = 0, twice: int = 0, p99: float = 9.0, load: float = 1.0
) -> Burst:
    return Burst(Round(1000, came, early, twice, 0.5, 5.0, p99, p99 + 1), seconds, 2.0, 150.0, {}, load)


def result(contender: str, *bursts: Burst, count: int = 1000) -> Result:
    return Result(count, contender, bursts)


class TestFigures:
    def test_commands_a_second_are_the_median_and_of_two_the_worse(self) -> None:
        assert burst(0.5).a_second == 2000
        assert result(OURS, burst(0.5), burst(1.0), burst(2.0)).a_second == 1000
        two = result(OURS, burst(0.5, p99=8.0), burst(1.0, p99=80.0))
        assert (two.a_second, two.late("p99")) == (1000, 80.0)

    def test_the_ratio_is_against_aiohttp_with_as_many(self) -> None:
        ours, few = result(OURS, burst(1.0)), result(AIOHTTP, burst(0.1), count=10)
        other, sockets = result(AIOHTTP, burst(2.0)), result(SOCKETS, burst(0.25))
        assert peer_of(ours, [few, sockets, ours, other]) is other
        assert peer_of(ours, [few, sockets, ours]) is None
        assert (ours.ratio(other), sockets.ratio(other), ours.ratio(None)) == (2.0, 8.0, None)

    def test_who_left_something_out_has_no_ratio(self) -> None:
        whole, part = result(AIOHTTP, burst(1.0)), result(OURS, burst(1.0), burst(1.0, came=999))
        assert part.ratio(whole) is None
        assert whole.ratio(part) is None
        assert part.came == 999

    def test_what_is_missing_early_or_doubled_is_told(self) -> None:
        good = result(AIOHTTP, burst(1.0), burst(1.0))
        bad = result(OURS, burst(1.0, early=1), burst(1.0, came=998, twice=2))
        assert incomplete([good, bad]) == ["1,000 timers, carillon: 998 came, 1 early, 2 twice"]

    def test_json(self) -> None:
        found = result(OURS, burst(0.5)).as_json(result(AIOHTTP, burst(1.0)))
        rounds = found.pop("rounds")
        assert found == {
            "timers": 1000,
            "contender": "carillon",
            "came": 1000,
            "early": 0,
            "twice": 0,
            "least_ms": 0.5,
            "p50_ms": 5.0,
            "p99_ms": 9.0,
            "most_ms": 10.0,
            "commands_per_second": 2000.0,
            "ratio_to_aiohttp": 2.0,
            "cpu_seconds": 2.0,
            "rss_mb": 150.0,
        }
        assert [(one["seconds"], one["load"], one["figures"]["came"]) for one in rounds] == [(0.5, 1.0, 1000)]
        json.dumps(rounds)


class TestReport:
    def test_a_row_a_contender(self) -> None:
        ours, other = result(OURS, burst(0.5), burst(1.0)), result(AIOHTTP, burst(2.0))
        assert report.row(ours, other, first=True) == [
            *("1,000", "carillon", "1,000", "0", "0", "5", "9", "10"),
            *("1,000", "2,000 / 1,000", "2.00", "2.0", "150"),
        ]
        assert report.row(ours, None, first=False)[0] == ""
        assert report.row(ours, None, first=False)[10] == ""
        assert report.table([ours, other], 2).row_count == 2

    def test_failures_and_the_load_are_shown(self, capsys: pytest.CaptureFixture[str]) -> None:
        machine = dict.fromkeys(("cores", "cpu", "airflow", "postgres", "python"), "x")
        document = {"machine": {**machine, "load_before": [7.0]}, "rounds": 1, "failures": ["no luck"]}
        report.show([result(OURS, burst(1.0, load=2.5))], document, Path("f"))
        report.show([], document, Path("f"))
        said = capsys.readouterr().out
        assert "failed: no luck" in said
        assert "load of the rounds 2.5 to 2.5" in said
        assert "load before 7.0" in said


class TestMinutes:
    def test_they_are_full_and_apart(self) -> None:
        found = minutes_after(datetime(2026, 11, 22, 15, 58, 40, tzinfo=UTC), 3)
        assert [f"{due:%H:%M:%S}" for due in found] == ["15:59:00", "16:01:00", "16:03:00"]

    def test_the_body_is_one_of_document_001(self) -> None:
        dues = minutes_after(datetime(2026, 11, 22, 15, 58, 40, tzinfo=UTC), 2)
        body = CreateBody.model_validate(timer_body(7, dues))
        assert [(task.hour, task.minute) for task in body.tasks] == [("23", "59"), ("00", "01")]
        assert (body.device_id, body.period, body.timezone) == ("bench-00007", "1111111", "Asia/Shanghai")


class TestPeers:
    def test_they_send_what_our_gateway_sends(self) -> None:
        """The same path and the same body, to the byte: else the comparison is none."""
        settings = get_settings()
        span = timedelta(seconds=60)
        timer = LoadedTimer(1, peer.device_id(7), None, json.dumps(peer.paras(7)), "skip", span, span)
        command = command_of(
            timer,
            "exec_1",
            service_id=settings.timer_service_id,
            command_name=settings.timer_command_name,
            timeout=settings.timer_timeout_seconds,
        )
        ours: Any = HttpGateway(GatewaySettings("http", "http://g:1"), SimpleNamespace()).prepare(command)
        assert ours.request.target == parse_url(f"http://g:1{peer.path(7)}")
        assert ours.request.body == peer.body(7)

    @pytest.mark.parametrize("response", [{"result_code": 1}, {"result_code": None}])
    def test_they_look_whether_it_was_done(self, response: dict[str, Any]) -> None:
        peer._check({"response": {"result_code": 0}})
        with pytest.raises(RuntimeError, match="refused"):
            peer._check({"response": response})


class TestCommandLine:
    def test_what_is_measured(self) -> None:
        assert (parse([]).timers, parse([]).rounds) == ([1000, 10_000], 3)
        assert (parse(["--quick"]).timers, parse(["--quick"]).rounds) == ([1000], 1)
        assert parse(["--timers", "2_000, 5"]).timers == [5, 2000]

    @pytest.mark.parametrize(
        "words", [["--timers", "x"], ["--timers", "0"], ["--timers", "10001"], ["--rounds", "-1"]]
    )
    def test_what_cannot_be(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            parse(words)
        assert words[0] in capsys.readouterr().err


async def test_one_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = timers.Bench(*[SimpleNamespace()] * 5, 1, lambda _: None)  # type: ignore[arg-type]

    async def fail(count: int) -> list[datetime]:
        raise RuntimeError("too slow")

    monkeypatch.setattr(bench, "set_timers", fail)
    await bench.measure(1000)
    assert (bench.results, bench.failures) == ([], ["1,000 timers: too slow"])
