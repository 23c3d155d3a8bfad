"""What lists and pages of batch tasks cost over HTTP, with many rows beside the same calls with few.

Two databases on one server, each behind a process of its own that serves the real apps: a client calls both
in turn, so that a noisy minute meets both. Pages are equally large in both, so what differs is the table.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg

from api_plugin.common.pagination import id_cursor, key_cursor
from benchmarks import machine
from benchmarks.definitions import queries as server_queries
from benchmarks.processes import serving
from include.cli.postgres import LocalPostgres
from include.demo.api import Api, connecting
from include.demo.timers import OWN
from include.errors import CarillonError
from include.kit.quantiles import quantile
from include.kit.sql import load_queries
from include.migrations import upgrade

queries = load_queries(__file__)

PROJECT = "bench"
#: The task whose pages are asked for; it is the oldest one.
SHOWN = f"{1:024x}"
#: Calls of each kind before those that count, and those that count.
WARM, CALLS = 10, 100

Query = Mapping[str, str]


@dataclass(frozen=True)
class Size:
    """How many rows there are.

    :ivar shown: sub-tasks of the one task whose pages are asked for; the other tasks share the rest
    """

    tasks: int
    subtasks: int
    shown: int

    @property
    def before(self) -> int:
        """How many sub-tasks of others come before those of the one task, as many as after them."""
        return (self.subtasks - self.shown) // 2


SMALL = Size(1000, 1000, 1000)
QUICK = Size(2000, 20_000, 10_000)
LARGE = Size(10_000, 1_000_000, 100_000)


@dataclass(frozen=True)
class Timing:
    """One call, milliseconds with few rows and with many.

    :ivar items: on the page
    """

    name: str
    items: int
    few_p50: float
    few_p95: float
    many_p50: float
    many_p95: float

    @property
    def ratio(self) -> float:
        """Many rows against few, at p95."""
        return self.many_p95 / self.few_p95


def calls(size: Size) -> dict[str, tuple[str, Query]]:
    """Return path and query of each call by its name, for that many rows."""
    tasks, task = f"/v5/iot/{PROJECT}/batchtasks", f"/v5/iot/{PROJECT}/batchtasks/{SHOWN}"
    own, subtasks = f"{OWN}/batch-tasks", f"{OWN}/batch-tasks/{SHOWN}/subtasks"
    all_of = {"task_type": "createCommands", "limit": "50"}
    task_id, id = f"{size.tasks * 3 // 4:024x}", size.before + size.shown * 3 // 4
    after = {"marker": f"{id:024x}"}
    page = {"limit": "50"}
    return {
        "list": (tasks, all_of),
        "list, marker": (tasks, {**all_of, "marker": task_id}),
        "list, offset 500": (tasks, {**all_of, "offset": "500"}),
        "list, app_id": (tasks, {**all_of, "app_id": "app1"}),
        "list, status": (tasks, {**all_of, "status": "Success"}),
        "list, rare status": (tasks, {**all_of, "status": "Fail", "limit": "10"}),
        "list, status of none": (tasks, {**all_of, "status": "Processing"}),
        "show": (task, page),
        "show, marker": (task, {**page, **after}),
        "show, offset 500": (task, {**page, "offset": "500"}),
        "show, marker and offset 500": (task, {**page, **after, "offset": "500"}),
        "show, status": (task, {**page, "task_detail_status": "Success"}),
        "show, rare status": (task, {"limit": "10", "task_detail_status": "Fail"}),
        "show, status of none": (task, {**page, "task_detail_status": "Stopped"}),
        "show, target": (task, {"target": f"bench-{id}"}),
        "show, target of none": (task, {"target": "nobody"}),
        "own list": (own, page),
        "own list, cursor": (own, {**page, "cursor": key_cursor(task_id)}),
        "own list, project": (own, {**page, "project": "other"}),
        "own list, type": (own, {**page, "task_type": "createMessages"}),
        "own list, type of none": (own, {**page, "task_type": "freezeDevices"}),
        "own list, status": (own, {"limit": "10", "status": "Fail"}),
        "own list, status of none": (own, {**page, "status": "Processing"}),
        "own list, name": (own, {**page, "name": "lights"}),
        "own list, name of none": (own, {**page, "name": "nobody"}),
        "own list, paused": (own, {**page, "paused": "true"}),
        "own sub-tasks": (subtasks, page),
        "own sub-tasks, cursor": (subtasks, {**page, "cursor": id_cursor(id)}),
        "own sub-tasks, status": (subtasks, {"limit": "10", "status": "Fail"}),
        "own sub-tasks, status of none": (subtasks, {**page, "status": "Stopped"}),
        "own sub-tasks, wave": (subtasks, {"limit": "10", "wave": "2"}),
        "own sub-tasks, wave of none": (subtasks, {**page, "wave": "3"}),
    }


async def measure(few: tuple[Api, Size], many: tuple[Api, Size], count: int) -> list[Timing]:
    """Return the times of each call, so often with few rows and with many in turn.

    :raises CarillonError: a call was refused, or its page is not equally large with both
    """
    found = []
    for name in calls(SMALL):
        sides = [(api, *calls(size)[name]) for api, size in (few, many)]
        times: list[list[float]] = [[], []]
        items = [0, 0]
        for number in range(WARM + count):
            for side, (api, path, query) in enumerate(sides):
                began = time.perf_counter()
                answer = await api.send("GET", path, query=dict(query))
                if number >= WARM:
                    times[side].append((time.perf_counter() - began) * 1000)
                items[side] = items_of(answer)
        if items[0] != items[1]:
            raise CarillonError(f"{name}: {items[0]} items with few rows, {items[1]} with many")
        figures = [quantile(sorted(side), share) for side in times for share in (0.5, 0.95)]
        found.append(Timing(name, items[0], *figures))
    return found


def items_of(answer: Mapping[str, Any]) -> int:
    """Return how many items a page has."""
    return len(next(answer[name] for name in ("items", "task_details", "batchtasks") if name in answer))


def fill(postgres: LocalPostgres, name: str, size: Size) -> str:
    """Make a database with that many rows; return its URL."""
    postgres.ensure_database(name)
    upgrade(postgres.url(name))
    values = {**asdict(size), "before": size.before, "project": PROJECT}
    with psycopg.connect(postgres.url(name), autocommit=True) as connection:
        for statement in (queries.fill_tasks, queries.fill_subtasks, queries.settle):
            connection.execute(statement, None if statement == queries.settle else values)
    return postgres.url(name)


@asynccontextmanager
async def served(postgres: LocalPostgres, name: str, size: Size) -> AsyncIterator[Api]:
    """Lend a client of the apps on a database with that many rows."""
    url, apis = fill(postgres, name, size), ("iot", "management")
    with serving("benchmarks.fleets.server", *apis, environment={"CARILLON_DATABASE_URL": url}) as port:
        async with connecting(f"http://127.0.0.1:{port}", url, "bench", apis) as api:
            yield api


async def run(few: Size, many: Size, say: Callable[[str], None], count: int = CALLS) -> dict[str, Any]:
    """Run the benchmark of lists; return its document."""
    home = Path(tempfile.mkdtemp(prefix="carillon-bench-"))
    home.chmod(0o755)  # the database server runs as another user when we are root
    try:
        with LocalPostgres(home / "postgres", durable=False) as postgres:
            with postgres.connect() as connection:
                row = connection.execute(server_queries.server_version).fetchone()
            facts = machine.facts(str(row[0]) if row else "")
            say(f"filling two databases: {few.subtasks:,} and {many.subtasks:,} sub-tasks")
            async with served(postgres, "few", few) as one, served(postgres, "many", many) as other:
                say(f"calling each {count} times")
                timings = await measure((one, few), (other, many), count)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return {
        "machine": facts,
        "calls": count,
        "few": asdict(few),
        "many": asdict(many),
        "results": [{**asdict(one), "ratio": round(one.ratio, 3)} for one in timings],
        "failures": [],
        "table": timings,
    }
