"""The maintenance benchmark from end to end, with few objects: both contenders do the same."""

from __future__ import annotations

from typing import get_args

import pytest

from benchmarks.copies import COPY, drop
from benchmarks.maintenance import Bench
from benchmarks.pumps.data import Cycle, Dataset
from benchmarks.pumps.figures import OURS, STATEMENT, differences
from include.cli.postgres import LocalPostgres

#: Of two projects.
STATES = 1800


@pytest.mark.parametrize("cycle", get_args(Cycle))
def test_both_do_the_same(postgres: LocalPostgres, cycle: Cycle) -> None:
    bench = Bench(postgres, 1, lambda _: None)
    bench.measure(Dataset(cycle, STATES))
    assert bench.failures == []
    assert [one.contender for one in bench.results] == [OURS, STATEMENT]
    assert differences(bench.results) == []
    for result in bench.results:
        [one] = result.rounds
        assert one.opened == Dataset(cycle, STATES).opened == 18
        assert one.changed == 14  # of 18 open ones in turns of four, the third of which stays as it is
        assert one.digest[0] == "36"
        assert one.seconds > 0
        assert one.rss_mb > 10
    ours, peer = bench.results
    assert ours.rounds[0].statements > peer.rounds[0].statements == 1
    with postgres.connect() as connection:
        left = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'bench%'").fetchall()
    assert left == []


def test_one_that_fails_is_told_and_leaves_nothing_behind(postgres: LocalPostgres) -> None:
    bench = Bench(postgres, 1, lambda _: None)
    bench.measure(Dataset("hourly", 10))  # type: ignore[arg-type]
    assert bench.results == []
    [failure] = bench.failures
    assert failure.startswith("hourly, 10 states: statement failed")
    assert postgres.ensure_database(COPY)
    drop(postgres, COPY)
