"""The billing benchmark from end to end, with few meters: every contender makes the same bills."""

from __future__ import annotations

import pytest

from benchmarks.billing import Bench
from benchmarks.copies import COPY, drop
from benchmarks.meters.data import Dataset, Tariff
from benchmarks.meters.figures import BARE, LOOP, OURS, STATEMENT, differences
from include.cli.postgres import LocalPostgres

METERS = 200


@pytest.mark.parametrize("tariff", ["tiers", "tiers x kinds"])
def test_all_make_the_same_bills(postgres: LocalPostgres, tariff: Tariff) -> None:
    said: list[str] = []
    bench = Bench(postgres, 1, said.append)
    bench.measure(Dataset(tariff, METERS), [OURS, STATEMENT, BARE, LOOP])
    assert bench.failures == []
    assert [one.contender for one in bench.results] == [OURS, STATEMENT, BARE, LOOP]
    assert differences(bench.results) == []
    rounds = [one.rounds[0] for one in bench.results]
    assert {one.bills for one in rounds} == {METERS}
    assert len({one.charge for one in rounds}) == 1
    for one in rounds:
        assert one.digest is not None
        bills, charge, _, lines, _, quantities, _ = one.digest
        assert (bills, charge) == (str(METERS), one.charge)
        assert int(lines) > METERS  # some reach the second tier
        assert int(quantities) == METERS * len(Dataset(tariff, METERS).kinds)
        assert one.seconds > 0
        assert one.rss_mb > 10
    with postgres.connect() as connection:
        left = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'bench%'").fetchall()
    assert left == []


def test_one_that_fails_is_told_and_leaves_nothing_behind(postgres: LocalPostgres) -> None:
    bench = Bench(postgres, 1, lambda _: None)
    bench.measure(Dataset("tiers", 10), ["nobody"])
    assert bench.results == []
    [failure] = bench.failures
    assert failure.startswith("tiers, 10 meters: nobody failed")
    assert postgres.ensure_database(COPY)
    drop(postgres, COPY)
