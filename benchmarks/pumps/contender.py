"""One contender of the maintenance benchmark, in a process of its own.

    python -m benchmarks.pumps.contender carillon|statement natural|statistics

Evaluates the cycle at `NOW` in the database of `CARILLON_DATABASE_URL` and prints a line of JSON: how long it
took from the first statement to the last commit, how many statements that was (BEGIN and COMMIT aside), and
the most memory that this process had.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import psycopg
from psycopg import AsyncCursor
from psycopg.rows import DictRow

from benchmarks.memory import peak_rss_kb
from benchmarks.pumps import data
from benchmarks.pumps.data import Cycle
from include.kit.db import Database, database_url
from include.maintenance.evaluation import evaluate_schedule

STATEMENTS: dict[Cycle, str] = {
    "natural": data.queries.tick_natural,
    "statistics": data.queries.tick_statistics,
}

#: What somebody who writes one big statement sets for it.
STATEMENT_SETTINGS = {"work_mem": "256MB", "jit": "off", "timezone": "UTC"}


class CountingCursor(AsyncCursor[DictRow]):
    """Counts what is executed by all of its kind; the pool's own empty statements are not counted."""

    executed = 0

    async def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        CountingCursor.executed += bool(query)
        return await super().execute(query, *args, **kwargs)


def carillon(schedule: int, cycle: Cycle) -> tuple[float, int]:
    """The real evaluation."""
    del cycle
    return asyncio.run(_evaluate(schedule))


async def _evaluate(schedule: int) -> tuple[float, int]:
    database = Database(database_url(), max_size=1)
    database.connect_options["cursor_factory"] = CountingCursor
    await database.open()
    try:
        await database.pool.wait()
        began = time.perf_counter()
        await evaluate_schedule(database, schedule, lambda: data.NOW)
        return time.perf_counter() - began, CountingCursor.executed
    finally:
        await database.close()


def statement(schedule: int, cycle: Cycle) -> tuple[float, int]:
    """The hand-written statement: one backend, one transaction."""
    with psycopg.connect(database_url()) as connection:
        for name, value in STATEMENT_SETTINGS.items():
            connection.execute("SELECT set_config(%s, %s, false)", [name, value])
        connection.commit()
        began = time.perf_counter()
        connection.execute(STATEMENTS[cycle], {"schedule": schedule, "now": data.NOW})
        connection.commit()
        return time.perf_counter() - began, 1


CONTENDERS = {"carillon": carillon, "statement": statement}


def main(name: str, cycle: Cycle) -> None:
    """Run a contender and say what it needed."""
    with psycopg.connect(database_url()) as connection:
        row = connection.execute(data.queries.find_schedule).fetchone()
    assert row is not None
    seconds, statements = CONTENDERS[name](row[0], cycle)
    print(json.dumps({"seconds": seconds, "statements": statements, "rss_kb": peak_rss_kb()}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])  # type: ignore[arg-type]
