"""The maintenance benchmark: its arithmetic, its table and its command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.maintenance import parse
from benchmarks.pumps import report
from benchmarks.pumps.contender import CONTENDERS, STATEMENTS
from benchmarks.pumps.data import Dataset
from benchmarks.pumps.figures import NAMES, OURS, STATEMENT, Result, Round, differences, peer_of


def once(seconds: float, opened: int = 10, digest: str = "7") -> Round:
    return Round(opened, 8, seconds, 4, 50.0, 12.0, 1.5, (digest,))


def result(contender: str, *rounds: Round, states: int = 1000) -> Result:
    return Result("natural", states, contender, rounds)


class TestFigures:
    def test_figures_are_medians_and_of_two_the_worse(self) -> None:
        assert result(OURS, once(1.0), once(2.0), once(4.0)).seconds == 2
        assert result(OURS, once(1.0), once(2.0)).seconds == 2

    def test_the_ratio_is_that_of_rounds_beside_each_other(self) -> None:
        """A quiet minute of the one is not held against a noisy one of the other."""
        mine = result(OURS, once(1.0), once(8.0), once(1.0))
        other = result(STATEMENT, once(0.5), once(4.0), once(2.0))
        assert mine.ratio(other) == 2
        assert other.ratio(other) == 1
        assert mine.ratio(None) is None

    def test_the_peer_is_the_statement_on_the_same_subject(self) -> None:
        mine, few = result(OURS, once(1.0)), result(STATEMENT, once(1.0), states=10)
        same = result(STATEMENT, once(2.0))
        assert peer_of(mine, [few, mine, same]) is same
        assert peer_of(mine, [few, mine]) is None

    @pytest.mark.parametrize("other", [once(1.0, opened=9), once(1.0, digest="8")])
    def test_who_did_something_else_is_told(self, other: Round) -> None:
        peer = result(STATEMENT, once(1.0))
        assert differences([result(OURS, once(2.0)), peer]) == []
        [sentence] = differences([result(OURS, once(1.0), other), peer])
        assert sentence.startswith("natural, 1,000 states: carillon did")

    def test_json(self) -> None:
        found = result(OURS, once(0.5)).as_json(result(STATEMENT, once(0.25)))
        [told] = found.pop("rounds")
        assert (told["seconds"], told["load"], told["digest"]) == (0.5, 1.5, ("7",))
        assert found == {
            "cycle": "natural",
            "states": 1000,
            "contender": "carillon",
            "opened": 10,
            "changed": 8,
            "seconds": 0.5,
            "ratio_to_statement": 2.0,
            "statements": 4,
            "rss_mb": 50.0,
            "backends_mb": 12.0,
        }


class TestReport:
    def test_a_row_a_contender(self) -> None:
        mine = result(OURS, once(0.05), once(0.1))
        other = result(STATEMENT, Round(10, 8, 0.05, 1, 50.0, 0.0, 1.0), once(0.05))
        assert report.row(mine, other, first=True) == [
            *("natural", "1,000", "carillon", "10", "8", "100", "50 / 100", "2.00", "4", "50", "12")
        ]
        unseen = result(STATEMENT, Round(10, 8, 0.05, 1, 50.0, 0.0, 1.0))
        assert report.row(unseen, None, first=False) == [
            *("", "", "one statement", "10", "8", "50", "50", "", "1", "50", "")
        ]
        assert len(report.COLUMNS) == 11
        assert report.table([mine, other], 2).row_count == 2

    def test_what_is_printed(self, capsys: pytest.CaptureFixture[str]) -> None:
        machine = dict.fromkeys(("cores", "cpu", "airflow", "postgres", "python"), "x")
        document = {"machine": {**machine, "load_before": [7.0]}, "failures": ["no luck"], "rounds": 1}
        report.show([result(OURS, once(1.0))], document, Path("results-file"))
        said = capsys.readouterr().out
        assert "medians of 1 rounds" in said
        assert "failed: no luck" in said
        assert "load of the rounds 1.5 to 1.5" in said
        assert "results-file" in said


class TestCommandLine:
    def test_what_is_measured(self) -> None:
        assert (parse([]).states, parse([]).rounds) == ([1000, 100_000, 1_000_000], 3)
        assert parse([]).cycles == ["natural", "statistics"]
        assert (parse(["--quick"]).states, parse(["--quick"]).rounds) == ([1000, 10_000], 1)
        options = parse(["--states", "2_000, 500", "--cycles", "statistics", "--rounds", "2"])
        assert (options.states, options.cycles, options.rounds) == ([500, 2000], ["statistics"], 2)

    @pytest.mark.parametrize(
        "words",
        [["--states", "x"], ["--states", "0"], ["--cycles", "yearly"], ["--cycles", ""], ["--rounds", "-1"]],
    )
    def test_what_cannot_be(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            parse(words)
        assert words[0] in capsys.readouterr().err

    def test_every_contender_has_a_name_and_every_cycle_a_peer(self) -> None:
        assert set(CONTENDERS) == set(NAMES)
        assert set(STATEMENTS) == set(parse([]).cycles)


def test_one_of_a_hundred_is_due() -> None:
    assert Dataset("natural", 100_000).opened == 1000
