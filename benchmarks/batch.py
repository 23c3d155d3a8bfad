"""How fast a batch task reaches its devices, beside a bare client; and what its lists cost.

    ./carillon bench batch [--targets 1000,10000,30000] [--rounds 3] [--quick] [--json]
    ./carillon bench batch --lists [--quick] [--json]

Both contenders send the same commands to the same simulator, which stamps their arrival, with as many of
them on their way at a time. Ours are a batch task that is created over REST; the peer runs in a process of
its own, right after each of ours, so that a noisy minute meets both. The lists are
`benchmarks/fleets/lists.py`. Results go to `benchmarks/results/`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from benchmarks import machine
from benchmarks.definitions import Definitions, queries
from benchmarks.fleets import lists, report
from benchmarks.fleets.figures import AIOHTTP, OURS, Result, Round, TaskRun, count, incomplete, peer_of
from benchmarks.memory import watching_families
from benchmarks.peers.gateway import COMMAND_NAME, SERVICE_ID, device_id, paras
from benchmarks.processes import ask_peer, cpu_seconds
from benchmarks.receiver import Arrival
from benchmarks.results import tell
from benchmarks.statements import count_from_start, count_statements
from include.batch.model import TaskType, dag_id_of
from include.batch.requests import TARGETS_MOST
from include.cli.instance import Instance, read_instance
from include.cli.progress import Progress
from include.cli.temporary import running_instance
from include.demo.api import Api, calling, connecting
from include.demo.timers import OWN, SIMULATOR
from include.errors import CarillonError
from include.settings import get_settings

COUNTS = (1000, 10_000, 30_000)
PROJECT, NAME = "bench", "bench"
TASK_TYPE: TaskType = "createCommands"
MB = 2**20

#: A task is given up after this, and as long again for each thousand targets.
PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.5
#: Devices that are registered with one request.
BULK = 5000


@dataclass
class Bench:
    """One run of the benchmark.

    :ivar api: the own API and document 004, `simulator` its admin API
    :ivar in_flight: commands on their way at a time, of ours and of the peer
    :ivar failures: why a number of targets has no figures
    """

    instance: Instance
    definitions: Definitions
    api: Api
    simulator: Api
    rounds: int
    in_flight: int
    say: Callable[[str], None]
    registered: int = 0
    results: list[Result] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    async def measure(self, targets: int) -> None:
        """Measure so many targets; a failure must not take the figures of the others with it."""
        try:
            await self._measure(targets)
        except (CarillonError, RuntimeError, OSError, psycopg.Error) as error:
            self.say(f"failed: {error}")
            self.failures.append(f"{targets:,} targets: {error}")

    async def _measure(self, targets: int) -> None:
        self.say(f"{targets:,} targets")
        await self.register(targets)
        rounds: dict[str, list[Round]] = {OURS: [], AIOHTTP: []}
        for _ in range(self.rounds):
            rounds[OURS].append(await self.ours(targets))
            rounds[AIOHTTP].append(await self.peer(targets))
            self.say(", ".join(f"{name}: {found[-1].a_second:,.0f}/s" for name, found in rounds.items()))
        self.results += [Result(targets, name, tuple(found)) for name, found in rounds.items()]

    async def register(self, targets: int) -> None:
        """Have at least so many devices."""
        for start in range(self.registered, targets, BULK):
            items = [_device(number) for number in range(start, min(start + BULK, targets))]
            await self.api.send("POST", f"{OWN}/devices/bulk", {"items": items})
        self.registered = max(self.registered, targets)

    async def ours(self, targets: int) -> Round:
        """Measure one batch task."""
        await self.simulator.send("DELETE", f"{SIMULATOR}/devices")
        load = os.getloadavg()[0]
        instance = read_instance(Path(self.instance.home))
        triggerers = {name: pid for name, pid in instance.processes.items() if "triggerer" in name}
        with self.definitions.airflow() as airflow, watching_families(triggerers.values()) as memory:
            statements, before = count_statements(airflow), cpu_seconds(instance)
            created = time.time()
            task = await self.api.send("POST", f"/v5/iot/{PROJECT}/batchtasks", task_body(targets))
            finished = await self.wait_finished(task["task_id"], targets)
            statements = count_statements(airflow) - statements
            task_instances = await self.wait_run(airflow, task["task_id"])
            after = cpu_seconds(instance)
        spent = {name: round(after[name] - before[name], 2) for name in after}
        arrivals = await self.arrivals()
        came, twice, seconds = count(arrivals)
        first = min((one.at for one in arrivals), default=finished)
        return Round(
            came=came,
            twice=twice,
            seconds=seconds,
            cpu_seconds=round(sum(spent[name] for name in triggerers), 2),
            rss_mb=memory.rss / MB,
            load=load,
            run=TaskRun(finished - first, finished - created, task_instances, statements, spent),
        )

    async def wait_finished(self, task_id: str, targets: int) -> float:
        """Return when a task had finished, seconds since the epoch."""
        deadline = time.monotonic() + PATIENCE_SECONDS * (1 + targets / 1000)
        with psycopg.connect(self.instance.database_url, autocommit=True) as connection:
            while time.monotonic() < deadline:
                row = connection.execute(queries.batch_finished_at, {"task_id": task_id}).fetchone()
                if row and row[0]:
                    return float(row[0])
                await asyncio.sleep(POLL_SECONDS)
        raise RuntimeError("the batch task did not finish")

    async def wait_run(self, airflow: psycopg.Connection, task_id: str) -> int:
        """Return how many task instances a task's run has, once it has ended well."""
        run = {"dag_id": dag_id_of(TASK_TYPE), "run_id": f"{NAME}_{task_id}"}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            row = airflow.execute(queries.run_state, run).fetchone()
            if row and row[0] == "success":
                return int(row[1])
            await asyncio.sleep(POLL_SECONDS)
        raise RuntimeError("the run of the batch task did not end well")

    async def peer(self, targets: int) -> Round:
        """Measure the bare client."""
        await self.simulator.send("DELETE", f"{SIMULATOR}/devices")
        load = os.getloadavg()[0]
        port = urlsplit(self.instance.gateway_url or "").port or 0
        told = json.loads(await ask_peer("gateway", "aiohttp", targets, port, self.in_flight))
        came, twice, seconds = count(await self.arrivals())
        return Round(came, twice, seconds, told["cpu"], told["rss_kb"] / 1024, load)

    async def arrivals(self) -> list[Arrival]:
        """Return the commands that the simulator got."""
        logged = await self.simulator.send("GET", f"{SIMULATOR}/arrivals")
        return [Arrival(one["at"], one["device_id"], one["request_id"]) for one in logged["arrivals"]]


def _device(number: int) -> dict[str, Any]:
    id = device_id(number)
    return {"device_id": id, "node_id": id, "name": id, "product_id": "lamp", "project_id": PROJECT}


def task_body(targets: int) -> dict[str, Any]:
    """Return the body of document 004 that sends so many devices the peer's command."""
    return {
        "task_name": NAME,
        "task_type": TASK_TYPE,
        "targets": [device_id(number) for number in range(targets)],
        "document": {"service_id": SERVICE_ID, "command_name": COMMAND_NAME, "paras": paras(0)},
    }


@asynccontextmanager
async def benching(rounds: int, say: Callable[[str], None]) -> AsyncIterator[Bench]:
    """Start an instance of its own; lend the bench on it."""
    async with (
        running_instance({}, count_from_start) as instance,
        connecting(instance.url, instance.database_url, "bench", ("management", "iot")) as api,
        calling(instance.gateway_url or "") as simulator,
    ):
        definitions = Definitions(api, instance, 0)
        in_flight = get_settings().batch_in_flight
        yield Bench(instance, definitions, api, simulator, rounds, in_flight, say)


async def run(counts: Sequence[int], rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the benchmark; return its document."""
    say("starting an instance of its own")
    async with benching(rounds, say) as bench:
        facts = machine.facts(bench.definitions.server_version())
        for targets in counts:
            await bench.measure(targets)
    return {
        "machine": facts,
        "rounds": rounds,
        "in_flight": bench.in_flight,
        "results": [one.as_json(peer_of(one, bench.results)) for one in bench.results],
        "failures": bench.failures + incomplete(bench.results),
        "table": bench.results,
    }


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="carillon bench batch", description=__doc__.split("\n")[0])
    parser.add_argument("--targets", default="", help="how many, by commas (1000,10000,30000)")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of each contender (3)")
    parser.add_argument("--lists", action="store_true", help="measure lists and pages instead")
    parser.add_argument("--quick", action="store_true", help="one round of 1,000; of lists fewer rows")
    parser.add_argument("--json", action="store_true", help="print the JSON document instead of a table")
    options = parser.parse_args(argv)
    words = [word.strip().replace("_", "") for word in options.targets.split(",") if word.strip()]
    if not all(word.isdecimal() and 0 < int(word) <= TARGETS_MOST for word in words):
        parser.error(f"--targets: must be numbers from 1 to {TARGETS_MOST}, by commas")
    options.targets = sorted({int(word) for word in words}) or list(COUNTS[:1] if options.quick else COUNTS)
    options.rounds = options.rounds or (1 if options.quick else 3)
    if options.rounds < 1:
        parser.error("--rounds: must be 1 or more")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and keep the results; return 1 where something is missing."""
    options = parse(argv)
    say = Progress().say
    try:
        if options.lists:
            document = asyncio.run(lists.run(lists.SMALL, lists.QUICK if options.quick else lists.LARGE, say))
        else:
            document = asyncio.run(run(options.targets, options.rounds, say))
    except CarillonError as error:
        print(f"carillon: {error}", file=sys.stderr)
        return 1
    results = document.pop("table")
    subject, show = ("batch-lists", report.show_lists) if options.lists else ("batch", report.show)
    return tell(subject, document, partial(show, results, document), as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
