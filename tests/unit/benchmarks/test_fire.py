"""The benchmarks: their arithmetic, and their receiver and peers with tiny numbers."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks import fire, report
from benchmarks.definitions import ZONE, far_away, same_instants
from benchmarks.figures import Result, Round, summarise
from benchmarks.plain import due_of
from benchmarks.processes import receiver, run_peer
from benchmarks.receiver import Arrival, drain
from include.cli.main import main
from include.cron import parse_seconds_first


def arrivals(*late_ms: float, due: float = 1000.0) -> list[Arrival]:
    return [Arrival(due + late / 1000, "/x", str(number)) for number, late in enumerate(late_ms)]


class TestSummarise:
    def test_figures(self) -> None:
        found = summarise(arrivals(*range(1, 101)), 1000.0, 100)
        assert (found.came, found.early, found.twice) == (100, 0, 0)
        assert found.least == pytest.approx(1)
        assert found.p50 == pytest.approx(50)
        assert found.p99 == pytest.approx(99)
        assert found.most == pytest.approx(100)

    def test_what_is_missing_early_or_doubled_shows(self) -> None:
        came = [*arrivals(-0.5, 3), Arrival(1000.2, "/x", "1")]
        found = summarise(came, 1000.0, 5)
        assert (found.expected, found.came, found.early, found.twice) == (5, 2, 1, 1)
        assert found.most == pytest.approx(3)  # the second of an id is no lateness of its own

    def test_nothing_came(self) -> None:
        found = summarise([], 1000.0, 3)
        assert (found.came, found.early, found.twice) == (0, 0, 0)
        assert math.isnan(found.p99)


def test_a_result_is_the_median_of_its_rounds() -> None:
    rounds = tuple(
        Round(10, came, early, 0, 0.1, p50, p50 * 2, p50 * 3)
        for came, early, p50 in [(10, 0, 5.0), (9, 1, 50.0), (10, 0, 4.0)]
    )
    found = Result("10 at once", "carillon", rounds)
    assert (found.came, found.early, found.median("p50")) == (9, 1, 5.0)
    assert found.as_json()["p99_ms"] == 10.0
    assert report.row(found, None, first=False)[7] == "10.0 / 100.0 / 8.0"


def result(contender: str, *p99s: float, count: int = 1000, came: int | None = None) -> Result:
    came = count if came is None else came
    return Result("x", contender, tuple(Round(count, came, 0, 0, 0.1, 1.0, p99, p99) for p99 in p99s))


def test_of_two_rounds_the_worse_one_counts() -> None:
    assert result("ours", 72.0, 13_060.0).median("p99") == 13_060.0


def test_a_ratio_needs_all_calls_and_enough_of_them() -> None:
    floor = result(report.FLOOR, 10.0)
    assert result("ours", 25.0).ratio(floor) == 2.5
    assert result("ours", 25.0, came=999).ratio(floor) is None  # what was dropped is not late
    assert result("ours", 25.0).ratio(result(report.FLOOR, 10.0, came=999)) is None
    assert result("ours", 25.0, count=1).ratio(result(report.FLOOR, 10.0, count=1)) is None
    assert result("ours", 25.0).ratio(None) is None
    assert report.row(result("ours", 25.0, count=1), None, first=True)[6] == ""
    assert report.lateness_table([result("ours", 25.0), floor], 1).row_count == 2


class TestCrontabs:
    def test_all_are_due_at_the_same_minutes_and_differ(self) -> None:
        first = datetime(2026, 11, 22, 15, 58, tzinfo=UTC)  # the third is after midnight in Shanghai
        moments = [first + timedelta(minutes=index) for index in range(3)]
        found = same_instants(moments, 250)
        assert len(set(found)) == 250
        for crontab in found[::25]:
            cron = parse_seconds_first(crontab, zone=ZONE.key)
            assert cron.between(first - timedelta(seconds=30), moments[-1] + timedelta(seconds=30)) == moments

    def test_three_hundred_can_be_made_on_most_days(self) -> None:
        assert len(same_instants([datetime(2026, 11, 22, 3, 0, tzinfo=UTC)], 300)) == 300

    def test_far_away_ones_are_far_away_and_differ(self) -> None:
        now = datetime(2026, 11, 22, tzinfo=UTC)
        found = far_away(2000, now) + far_away(10, now, skip=2000)
        assert len(set(found)) == 2010
        for crontab in found[::400]:
            assert parse_seconds_first(crontab, zone=ZONE.key).next_after(now) > now + timedelta(days=60)


def test_instants_of_a_second_of_the_minute() -> None:
    assert fire.next_minute_second(0, 120.0) == 120.0
    assert fire.next_minute_second(30, 120.0) == 150.0
    assert fire.next_minute_second(30, 155.0) == 210.0


def test_the_plain_dag_names_its_instant() -> None:
    arrival = Arrival(0.0, "/plain", "scheduled__2026-11-22T03:04:00+00:00")
    assert due_of(arrival) == datetime(2026, 11, 22, 3, 4, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("module", "way"),
    [
        ("bare", "sockets"),
        ("bare", "senders"),
        ("bare", "tasks"),
        ("apscheduler_memory", "asyncio"),
        ("apscheduler_memory", "threads"),
    ],
)
def test_every_peer_calls_once_each_and_never_early(module: str, way: str) -> None:
    with receiver() as port:
        due = asyncio.run(run_peer(module, way, 5, port))
        found = summarise([one for one in drain(port) if one.path in fire.PEER_PATHS], due, 5)
        assert (found.came, found.early, found.twice) == (5, 0, 0)
        assert found.most < 60_000
        assert drain(port) == []


def test_a_peer_that_breaks_is_told() -> None:
    with pytest.raises(RuntimeError, match="bare nonsense failed"):
        asyncio.run(run_peer("bare", "nonsense", 1, 1))


class TestCommandLine:
    def test_subjects(self) -> None:
        assert fire.parse(["--only", "1, live"]).only == ["1", "live"]
        assert fire.parse([]).only == list(fire.SUBJECTS)
        assert (fire.parse(["--quick"]).only, fire.parse(["--quick"]).rounds) == (["1", "1000"], 1)

    @pytest.mark.parametrize("words", [["--only", "7"], ["--rounds", "-1"]])
    def test_what_cannot_be(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            fire.parse(words)
        assert "--" in capsys.readouterr().err

    def test_bench_knows_its_subjects(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["bench", "water"]) == 2
        assert "subject: 'water' is not one of fire" in capsys.readouterr().err

    def test_every_subject_of_the_command_is_a_module(self) -> None:
        from include.cli.bench import SUBJECTS

        folder = Path(fire.__file__).parent
        assert [name for name in SUBJECTS if not (folder / f"{name}.py").exists()] == []
