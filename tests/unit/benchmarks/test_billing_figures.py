"""The billing benchmark: its arithmetic, its table and its command line."""

from __future__ import annotations

import os

import psutil
import pytest

from benchmarks import billing
from benchmarks.billing import contenders_of, parse, subjects
from benchmarks.memory import Memory, peak_rss_kb
from benchmarks.meters import report
from benchmarks.meters.contender import CONTENDERS
from benchmarks.meters.data import BOUNDARIES, Dataset
from benchmarks.meters.figures import (
    BARE,
    LOOP,
    NAMES,
    OURS,
    STATEMENT,
    Result,
    Round,
    differences,
    durable_meters,
    peer_of,
)
from benchmarks.meters.loop import PERIOD


def once(seconds: float, bills: int = 1000, charge: str = "10.00", digest: int | None = 7) -> Round:
    told = None if digest is None else (str(bills), charge, str(digest))
    return Round(bills, charge, seconds, 50.0, 2, 300.0, 120.0, told)


def result(contender: str, *seconds: float, meters: int = 1000, durable: bool = False) -> Result:
    return Result("tiers", meters, durable, contender, tuple(map(once, seconds)))


class TestFigures:
    def test_the_median_of_the_rounds_counts(self) -> None:
        assert result(OURS, 1.0, 2.0, 4.0).bills_a_second == 500
        assert result(OURS, 1.0, 2.0).bills_a_second == 500  # of two the worse

    def test_a_ratio_is_against_the_statement_on_the_same_subject(self) -> None:
        ours, other, peer = result(OURS, 2.0), result(STATEMENT, 1.0, durable=True), result(STATEMENT, 1.5)
        assert peer_of(ours, [ours, other, peer]) is peer
        assert ours.ratio(peer) == 0.75
        assert peer_of(ours, [ours, other]) is None
        assert ours.ratio(None) is None

    def test_json(self) -> None:
        assert result(OURS, 2.0, 2.5).as_json(result(STATEMENT, 1.0)) == {
            "tariff": "tiers",
            "meters": 1000,
            "durable": False,
            "contender": "carillon",
            "bills_per_second": 400,
            "ratio_to_statement": 0.4,
            "rss_mb": 50.0,
            "backends": 2,
            "backends_rss_mb": 300.0,
            "backends_own_mb": 120.0,
            "rounds": [
                {"bills": 1000, "charge": "10.00", "seconds": 2.0},
                {"bills": 1000, "charge": "10.00", "seconds": 2.5},
            ],
        }

    @pytest.mark.parametrize("wrong", [{"charge": "10.01"}, {"bills": 999}, {"digest": 8}])
    def test_other_bills_are_told(self, wrong: dict[str, object]) -> None:
        same, peer = result(OURS, 1.0), result(STATEMENT, 1.0)
        assert differences([same, peer]) == []
        ours = Result("tiers", 1000, False, OURS, (once(1.0), once(1.0, **wrong)))  # type: ignore[arg-type]
        [sentence] = differences([ours, peer])
        assert sentence.startswith("tiers, 1,000 meters: carillon made")

    @pytest.mark.parametrize(
        ("sizes", "wanted", "expected"),
        [
            ([10_000, 100_000, 1_000_000], None, 100_000),
            ([1_000_000], None, 1_000_000),
            ([10_000], 500, 500),
            ([10_000], 0, None),
        ],
    )
    def test_what_is_measured_with_a_server_that_flushes(
        self, sizes: list[int], wanted: int | None, expected: int | None
    ) -> None:
        assert durable_meters(sizes, wanted) == expected


class TestReport:
    def test_a_row_a_contender(self) -> None:
        ours, peer = result(OURS, 2.0, 1.0), result(STATEMENT, 0.5)
        assert report.row(ours, peer, first=True) == [
            *("tiers", "1,000", "carillon", "500", "500 / 1,000", "0.25", "50", "300", "120")
        ]
        assert report.row(result(LOOP, 1.0, durable=True), None, first=True)[0] == "tiers, flushed"
        assert report.row(peer, peer, first=False)[:3] == ["", "", "one statement"]
        assert report.table([ours, peer], 2).row_count == 2

    def test_backends_that_were_not_seen_are_left_out(self) -> None:
        unseen = Result("tiers", 10, False, BARE, (Round(10, "1.00", 0.01, 50.0, 0, 0.0, 0.0),))
        assert report.row(unseen, None, first=False)[-3:] == ["50", "", ""]


class TestMemory:
    def test_the_most_at_one_time_counts(self) -> None:
        memory = Memory()
        for sizes in ([(100, 40), (50, 40)], [(120, 40)], []):
            memory.note(sizes)
        assert (memory.rss, memory.own, memory.processes) == (150, 80, 2)

    def test_of_this_process(self) -> None:
        assert peak_rss_kb() * 1024 >= psutil.Process(os.getpid()).memory_info().rss * 0.9


class TestCommandLine:
    def test_everything(self) -> None:
        options = parse([])
        assert options.meters == [10_000, 100_000, 1_000_000]
        assert [(one.tariff, one.meters) for one in subjects(options)] == [
            ("tiers", 10_000),
            ("tiers", 100_000),
            ("tiers", 1_000_000),
            ("tiers x kinds", 10_000),
            ("tiers x kinds", 100_000),
        ]
        assert Dataset("tiers x kinds", 1_000_000) in list(subjects(parse(["--all"])))

    def test_some(self) -> None:
        options = parse(
            ["--meters", "100_000, 10000", "--tariffs", "kinds", "--rounds", "1", "--durable", "0"]
        )
        assert [(one.tariff, one.meters) for one in subjects(options)] == [
            ("tiers x kinds", 10_000),
            ("tiers x kinds", 100_000),
        ]
        assert (options.rounds, options.durable) == (1, 0)

    @pytest.mark.parametrize(
        "words",
        [
            ["--meters", "0"],
            ["--meters", "many"],
            ["--meters", ""],
            ["--tariffs", "gas"],
            ["--tariffs", ""],
            ["--rounds", "0"],
            ["--durable", "-1"],
        ],
    )
    def test_what_cannot_be(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            parse(words)
        assert words[0] in capsys.readouterr().err

    def test_every_contender_has_a_name_and_can_run(self) -> None:
        assert contenders_of(Dataset("tiers", 10_000)) == [OURS, STATEMENT, BARE, LOOP]
        assert contenders_of(Dataset("tiers", 10_001)) == [OURS, STATEMENT, BARE]
        assert set(CONTENDERS) == {*NAMES, "warm-up"}


def test_the_month_that_is_measured_is_one() -> None:
    assert (PERIOD.start, PERIOD.end) == BOUNDARIES[1:]
    assert (PERIOD.months, PERIOD.coverage) == (1, 1)
    assert billing.TARIFFS.keys() == {"tiers", "kinds"}
