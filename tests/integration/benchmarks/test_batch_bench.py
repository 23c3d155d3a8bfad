"""The parts of the batch benchmark that need a server: how statements are counted, lists with few rows."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from benchmarks.fleets.lists import Size, calls, measure, served
from benchmarks.statements import count_from_start, count_statements
from include.cli.home import Home
from include.cli.postgres import LocalPostgres
from include.errors import CarillonError

FEW, MORE = Size(1000, 1000, 1000), Size(1200, 3000, 1500)


def test_statements_of_the_one_database_are_counted(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    count_from_start(home)
    with LocalPostgres(home.postgres, durable=False) as postgres:
        postgres.ensure_database("carillon")
        with (
            postgres.connect() as counting,
            psycopg.connect(postgres.url("carillon"), prepare_threshold=0) as connection,
        ):
            before = count_statements(counting)
            for number in range(7):
                connection.execute("SELECT %s::integer", [number])
            connection.commit()
            assert count_statements(counting) - before == 9  # BEGIN and COMMIT as well


async def test_each_call_is_made_with_few_rows_and_with_more(postgres: LocalPostgres) -> None:
    try:
        async with served(postgres, "bench_few", FEW) as few, served(postgres, "bench_more", MORE) as more:
            timings = await measure((few, FEW), (more, MORE), 1)
            assert [one.name for one in timings] == list(calls(FEW))
            items = {one.name: one.items for one in timings}
            assert {items[name] for name in items if name.endswith("of none")} == {0}
            assert (items["list"], items["list, offset 500"], items["show, rare status"]) == (50, 50, 10)
            assert (items["show, target"], items["own list, name"], items["own sub-tasks, wave"]) == (
                1,
                50,
                10,
            )
            assert all(0 < one.few_p50 <= one.few_p95 and 0 < one.many_p50 <= one.many_p95 for one in timings)
            with pytest.raises(CarillonError, match=r"^list, marker: 50 items with few rows, 5 with many$"):
                await measure((few, FEW), (more, Size(10, 1500, 1500)), 1)
    finally:
        with postgres.connect() as connection:
            for name in ("bench_few", "bench_more"):
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
