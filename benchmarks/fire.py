"""How late callbacks are, beside peers on the same machine in the same run.

    ./carillon bench fire [--quick] [--only 1,100,1000,5000,crontabs,plain,live,idle] [--rounds 3] [--json]

Every contender calls the same receiver, which stamps arrivals; lateness is the arrival minus the due second.
A contender runs in a process of its own and alone, in turn with the others, so that a noisy minute shows as
a wide spread and not as a wrong ratio. Results go to `benchmarks/results/`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import machine, report
from benchmarks.definitions import Definitions, far_away, same_instants
from benchmarks.figures import Result, Round, summarise
from benchmarks.plain import measure_plain, plain_environment
from benchmarks.processes import count_processes, cpu_seconds, receiver, run_peer
from benchmarks.receiver import Arrival, drain
from benchmarks.results import tell
from include.cli.instance import read_instance
from include.cli.progress import Progress
from include.cli.temporary import running_instance
from include.demo.api import connecting
from include.errors import CarillonError

COUNTS = (1, 100, 1000, 5000)
SUBJECTS = (*map(str, COUNTS), "crontabs", "plain", "live", "idle")
OURS = "carillon"

#: contender -> (module of `benchmarks.peers`, way)
PEERS: dict[str, tuple[str, str]] = {
    report.FLOOR: ("bare", "sockets"),
    "aiohttp, 32 senders": ("bare", "senders"),
    "aiohttp, a task a call": ("bare", "tasks"),
    "APScheduler, asyncio": ("apscheduler_memory", "asyncio"),
    "APScheduler, threads": ("apscheduler_memory", "threads"),
}

#: Where peers call; what they send to `/warm` opens connections.
PEER_PATHS = ("/bare", "/aps")

#: A window is armed this long before its instant, with a margin: peers must be done by then.
ARMED_SECONDS = 17.0
CRONTABS = 300
SCHEDULES = (10, 2000)
IDLE_SECONDS = 30.0
LIVE_TRIALS = 5


@dataclass
class Bench:
    """One run of the benchmark.

    :ivar idle: a row a number of schedules; `live` likewise
    :ivar failures: why subjects have no figures
    """

    definitions: Definitions
    port: int
    rounds: int
    say: Callable[[str], None]
    results: list[Result] = field(default_factory=list)
    idle: list[dict[str, Any]] = field(default_factory=list)
    live: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    async def attempt(self, subject: Awaitable[None]) -> None:
        """Measure a subject; one that fails must not take the figures of the others with it."""
        try:
            await subject
        except (CarillonError, RuntimeError, OSError, psycopg.Error) as error:
            self.say(f"failed: {error}")
            self.failures.append(str(error))

    async def count(self, count: int) -> None:
        """Measure that many callbacks due in one second, ours and the peers' in turn."""
        self.say(f"{count:,} callbacks due in one second")
        subject = f"{count:,} at once"
        rounds: dict[str, list[Round]] = {OURS: [], **{name: [] for name in PEERS}}
        second = int(time.time() + ARMED_SECONDS + 13) % 60
        ids = await self.definitions.add([f"{second} * * * * *"] * count, "ours")
        await self.definitions.wait_live(ids)
        try:
            for _ in range(self.rounds):
                due = next_minute_second(second, time.time() + ARMED_SECONDS)
                await sleep_until(due - 1)
                drain(self.port)
                rounds[OURS].append(summarise(await self.collect("/ours", due, count), due, count))
                for name in PEERS:
                    rounds[name].append(await self.peer(name, count))
        finally:
            await self.definitions.disable(ids)
        self.results += [Result(subject, name, tuple(found)) for name, found in rounds.items()]

    async def peer(self, name: str, count: int) -> Round:
        """Measure one round of a peer."""
        module, way = PEERS[name]
        drain(self.port)
        due = await run_peer(module, way, count, self.port)
        arrivals = [arrival for arrival in drain(self.port) if arrival.path in PEER_PATHS]
        return summarise(arrivals, due, count)

    async def collect(self, path: str, due: float, count: int, patience: float = 30.0) -> list[Arrival]:
        """Return what arrives on a path: until all are there and a moment longer, to see what comes twice."""
        await sleep_until(due + 2)
        found: list[Arrival] = []
        while time.time() < due + patience:
            before = len(found)
            found += [arrival for arrival in drain(self.port) if arrival.path == path]
            if len(found) >= count and len(found) == before:
                break
            await asyncio.sleep(0.5)
        return found

    async def crontabs(self) -> None:
        """Measure different crontabs that are due at one instant."""
        self.say(f"{CRONTABS} different crontabs due at one instant")
        first = next_minute_second(0, time.time() + 90)
        dues = [first + 60 * index for index in range(self.rounds)]
        moments = [datetime.fromtimestamp(due, UTC) for due in dues]
        ids = await self.definitions.add(same_instants(moments, CRONTABS), "crontabs")
        await self.definitions.wait_live(ids)
        rounds = []
        try:
            for due in dues:
                await sleep_until(due - 1)
                drain(self.port)
                rounds.append(summarise(await self.collect("/crontabs", due, CRONTABS), due, CRONTABS))
        finally:
            await self.definitions.disable(ids)
        self.results.append(Result(f"{CRONTABS} crontabs", OURS, tuple(rounds)))

    async def plain(self) -> None:
        """Measure a plain Airflow cron DAG, which calls from a worker."""
        self.say("a plain Airflow cron DAG")
        rounds = await measure_plain(self.definitions.instance, self.port, self.rounds)
        self.results.append(Result("1 at once", "plain Airflow DAG", tuple(rounds)))

    async def schedules(self, wanted: set[str]) -> None:
        """Measure what schedules cost that have nothing due, and how soon a new one is live beside them."""
        ids: list[int] = []
        try:
            for count in SCHEDULES:
                self.say(f"{count:,} schedules with nothing due")
                now = datetime.now(UTC)
                ids += await self.definitions.add(far_away(count - len(ids), now, skip=len(ids)), "far")
                added = time.time()
                await self.definitions.wait_live(ids)
                await self.definitions.wait_settled(added)
                if "idle" in wanted:
                    self.idle.append(await self.idle_cost(count))
                    self.say(f"idle: {self.idle[-1]}")
                if "live" in wanted:
                    self.live.append(await self.live_delay(count))
                    self.say(f"live: {self.live[-1]}")
        finally:
            await self.definitions.disable(ids)

    async def idle_cost(self, schedules: int) -> dict[str, Any]:
        """Return what the whole instance spends in `IDLE_SECONDS`."""
        instance = read_instance(Path(self.definitions.instance.home))
        transactions, cpu = self.definitions.transactions(), cpu_seconds(instance)
        await asyncio.sleep(IDLE_SECONDS)
        after, transactions_after = cpu_seconds(instance), self.definitions.transactions()
        by_process = {name: round(after[name] - cpu[name], 2) for name in after}
        spent = {name: transactions_after[name] - transactions[name] for name in transactions}
        return {
            "schedules": schedules,
            "seconds": IDLE_SECONDS,
            "cpu_seconds": round(sum(by_process.values()), 2),
            "cpu_by_process": by_process,
            "processes": count_processes(instance),
            "transactions_per_second": {
                name: round(count / IDLE_SECONDS, 1) for name, count in spent.items()
            },
        }

    async def live_delay(self, schedules: int) -> dict[str, Any]:
        """Return how long a new definition's new schedule takes to be live."""
        delays = []
        for trial in range(LIVE_TRIALS):
            crontab = far_away(1, datetime.now(UTC), skip=10_000 + schedules + trial)
            ids = await self.definitions.add(crontab, "far")
            answered = time.time()
            delays.append(await self.definitions.wait_live(ids) - answered)
            disabled = time.time()
            await self.definitions.disable(ids)
            await self.definitions.wait_settled(disabled)
            # The DAG processor looks once a second: trials must not all meet it at the same phase.
            await asyncio.sleep(random.random() * 2)
        ordered = sorted(delays)
        return {
            "schedules": schedules,
            "seconds": [round(delay, 2) for delay in delays],
            "median": round(ordered[len(ordered) // 2], 2),
            "most": round(ordered[-1], 2),
        }


def next_minute_second(second: int, after: float) -> float:
    """Return the first moment at or after `after` whose seconds are `second`."""
    minute = after // 60 * 60
    return minute + second if minute + second >= after else minute + 60 + second


async def sleep_until(moment: float) -> None:
    """Return at the moment or just after it."""
    while (left := moment - time.time()) > 0:
        await asyncio.sleep(left)


async def run(wanted: Sequence[str], rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the benchmark; return its document."""
    with receiver() as port:
        environment = {"CARILLON_EGRESS_ALLOW": "127.0.0.0/8", **plain_environment(port)}
        say("starting an instance of its own")
        async with (
            running_instance(environment) as instance,
            connecting(instance.url, instance.database_url, "bench") as api,
        ):
            bench = Bench(Definitions(api, instance, port), port, rounds, say)
            facts = machine.facts(bench.definitions.server_version())
            await measure(bench, set(wanted))
    return {
        "machine": facts,
        "rounds": rounds,
        "results": [result.as_json() for result in bench.results],
        "idle": bench.idle,
        "live": bench.live,
        "failures": bench.failures,
        "table": bench.results,
    }


async def measure(bench: Bench, wanted: set[str]) -> None:
    """Measure the subjects that are wanted, the smallest first."""
    for count in COUNTS:
        if str(count) in wanted:
            await bench.attempt(bench.count(count))
    if "plain" in wanted:
        await bench.attempt(bench.plain())
    if "crontabs" in wanted:
        await bench.attempt(bench.crontabs())
    if wanted & {"idle", "live"}:
        await bench.attempt(bench.schedules(wanted))


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="carillon bench fire", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one round of 1 and 1,000, nothing else")
    parser.add_argument("--only", default="", help=f"subjects, by commas: {', '.join(SUBJECTS)}")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of each contender (3)")
    parser.add_argument("--json", action="store_true", help="print the JSON document instead of tables")
    options = parser.parse_args(argv)
    chosen = [word.strip() for word in options.only.split(",") if word.strip()]
    unknown = sorted(set(chosen) - set(SUBJECTS))
    if unknown:
        parser.error(f"--only: {', '.join(unknown)} is not one of {', '.join(SUBJECTS)}")
    options.only = chosen or (["1", "1000"] if options.quick else list(SUBJECTS))
    options.rounds = options.rounds or (1 if options.quick else 3)
    if options.rounds < 1:
        parser.error("--rounds: must be 1 or more")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and keep the results; return 1 where a subject could not be measured."""
    options = parse(argv)
    document = asyncio.run(run(options.only, options.rounds, Progress().say))
    results = document.pop("table")
    return tell("fire", document, partial(report.show, results, document), as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
