"""One contender of the billing benchmark, in a process of its own.

    python -m benchmarks.meters.contender carillon|statement|bare|loop tiers|"tiers x kinds"

Bills the month that ends at `MEASURED` in the database of `CARILLON_DATABASE_URL` and prints a line of JSON:
how many bills, what they come to, how long it took from the first statement to the last commit, and the most
memory that this process had.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal

import psycopg

from benchmarks.memory import peak_rss_kb
from benchmarks.meters import data, loop
from benchmarks.meters.data import Tariff
from include.billing.model import KINDS
from include.billing.runs import BillingRuns, RunOrder
from include.kit.db import Database, database_url
from include.settings import get_settings

Outcome = tuple[int, Decimal]

STATEMENTS: dict[Tariff, str] = {
    "tiers": data.queries.bill_by_tiers,
    "tiers x kinds": data.queries.bill_by_tiers_and_kinds,
}

#: What somebody who writes one big statement sets for it.
STATEMENT_SETTINGS = {"work_mem": "256MB", "jit": "off"}


async def carillon(tariff: Tariff) -> tuple[Outcome, float]:
    """The real service, with its own workers."""
    del tariff
    return await _run(data.MEASURED)


async def warm_up(tariff: Tariff) -> tuple[Outcome, float]:
    """The same, of the month before."""
    del tariff
    return await _run(data.WARM_UP)


async def _run(due_at: datetime) -> tuple[Outcome, float]:
    database = await Database(database_url(), max_size=get_settings().billing_workers + 1).open()
    try:
        definition_id = await _task(database)
        began = time.perf_counter()
        report = await BillingRuns(database).run(RunOrder(definition_id, due_at, "manual", "bench"))
        seconds = time.perf_counter() - began
    finally:
        await database.close()
    if report.state != "succeeded":
        raise RuntimeError(f"{report.parked} service points were parked")
    return (report.billed, report.total), seconds


async def statement(tariff: Tariff) -> tuple[Outcome, float]:
    """The hand-written statement: one backend, one transaction."""
    return await asyncio.to_thread(_statement, tariff, "public")


async def bare(tariff: Tariff) -> tuple[Outcome, float]:
    """The same, into tables without constraints and indexes."""
    with psycopg.connect(database_url(), autocommit=True) as connection:
        connection.execute(data.queries.add_bare_tables)
    return await asyncio.to_thread(_statement, tariff, "bare, public")


def _statement(tariff: Tariff, search_path: str) -> tuple[Outcome, float]:
    parameters = {
        "project_id": data.PROJECT,
        "commodity": data.COMMODITY,
        "period_from": data.WARM_UP,
        "period_to": data.MEASURED,
        "kinds": list(KINDS),
    }
    with psycopg.connect(database_url()) as connection:
        began = time.perf_counter()
        for name, value in {**STATEMENT_SETTINGS, "search_path": search_path}.items():
            connection.execute("SELECT set_config(%s, %s, true)", [name, value])
        row = connection.execute(STATEMENTS[tariff], parameters).fetchone()
        connection.commit()
        seconds = time.perf_counter() - began
    assert row is not None
    return (row[0], row[1]), seconds


async def row_by_row(tariff: Tariff) -> tuple[Outcome, float]:
    """The formula in a loop, a row at a time."""
    del tariff
    database = await Database(database_url(), max_size=1).open()
    try:
        began = time.perf_counter()
        outcome = await loop.bill(database)
        return outcome, time.perf_counter() - began
    finally:
        await database.close()


async def _task(database: Database) -> int:
    async with database.transaction() as connection:
        row = await (await connection.execute(data.queries.find_task)).fetchone()
    assert row is not None
    return int(row["definition_id"])


CONTENDERS: dict[str, Callable[[Tariff], Awaitable[tuple[Outcome, float]]]] = {
    "warm-up": warm_up,
    "carillon": carillon,
    "statement": statement,
    "bare": bare,
    "loop": row_by_row,
}


def main(name: str, tariff: Tariff) -> None:
    """Run a contender and say what it did."""
    (bills, charge), seconds = asyncio.run(CONTENDERS[name](tariff))
    told = {"bills": bills, "charge": str(charge), "seconds": seconds, "rss_kb": peak_rss_kb()}
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])  # type: ignore[arg-type]
