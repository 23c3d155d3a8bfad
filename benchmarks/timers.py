"""How fast device timers that are due in one minute reach their devices, beside a bare client.

    ./carillon bench timers [--timers 1000,10000] [--rounds 3] [--quick] [--json]

Every contender sends the same commands to the same simulator, which stamps their arrival: a device each, one
command each. Ours come from timers that were set through document 001 and are due at a full minute; peers run
in a process of their own, in turn with ours, so that a noisy minute meets all of them. Results go to
`benchmarks/results/`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from benchmarks import machine
from benchmarks.definitions import ZONE, Definitions, queries
from benchmarks.figures import summarise
from benchmarks.fire import sleep_until
from benchmarks.lamps import report
from benchmarks.lamps.figures import AIOHTTP, OURS, SOCKETS, Burst, Result, incomplete, peer_of
from benchmarks.memory import watching_families
from benchmarks.peers.gateway import device_id, paras
from benchmarks.processes import ask_peer, cpu_seconds
from benchmarks.receiver import Arrival
from benchmarks.results import tell
from include.cli.instance import Instance, read_instance
from include.cli.progress import Progress
from include.cli.temporary import running_instance
from include.cli.token import settings_of_instance
from include.demo.api import Api, calling, connecting, for_each
from include.demo.timers import OWN, SIMULATOR, TIMERS
from include.errors import CarillonError
from include.tokens.jwt_tokens import issue_jwt

COUNTS = (1000, 10_000)
PEERS = {AIOHTTP: "aiohttp", SOCKETS: "sockets"}
USER = "bench"
MB = 2**20

#: The triggerers are watched from before they arm, which is 15 s ahead.
WATCHED_SECONDS = 20.0
#: Rounds are this far apart, so that peers are done before the next window is armed.
ROUND_SECONDS = 120
#: A window is given up this long after its instant.
PATIENCE_SECONDS = 100.0
#: What a timer costs to set, in bindings, and how much longer it may take.
TIMER_IN_BINDINGS, MARGIN_SECONDS = 8.0, 45.0


@dataclass
class Bench:
    """One run of the benchmark.

    :ivar own: the own API, `user` document 001, `simulator` its admin API
    :ivar failures: why a number of timers has no figures
    """

    instance: Instance
    definitions: Definitions
    own: Api
    user: Api
    simulator: Api
    rounds: int
    say: Callable[[str], None]
    results: list[Result] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    async def measure(self, count: int) -> None:
        """Measure so many timers; a failure must not take the figures of the others with it."""
        try:
            await self._measure(count)
        except (CarillonError, RuntimeError, OSError, psycopg.Error) as error:
            self.say(f"failed: {error}")
            self.failures.append(f"{count:,} timers: {error}")

    async def _measure(self, count: int) -> None:
        self.say(f"{count:,} timers due in one minute")
        dues = await self.set_timers(count)
        rounds: dict[str, list[Burst]] = {OURS: [], **{name: [] for name in PEERS}}
        for due in dues:
            rounds[OURS].append(await self.ours(due, count))
            for name in PEERS:
                rounds[name].append(await self.peer(name, count))
            self.say(", ".join(f"{name}: {found[-1].a_second:,.0f}/s" for name, found in rounds.items()))
        self.results += [Result(count, name, tuple(found)) for name, found in rounds.items()]

    async def set_timers(self, count: int) -> list[datetime]:
        """Give so many devices a timer at each of some minutes, and return the minutes."""
        items = [
            {
                "device_id": device_id(number),
                "node_id": device_id(number),
                "product_id": "lamp",
                "project_id": "bench",
                "name": f"Lamp {number}",
            }
            for number in range(count)
        ]
        await self.own.send("POST", f"{OWN}/devices/bulk", {"items": items})
        began = time.monotonic()

        async def bind(number: int) -> None:
            await self.own.send("PUT", f"{OWN}/devices/{device_id(number)}/users/{USER}")

        await for_each(range(count), bind)
        seconds = TIMER_IN_BINDINGS * (time.monotonic() - began) + MARGIN_SECONDS
        dues = minutes_after(datetime.now(UTC) + timedelta(seconds=seconds), self.rounds)
        self.say(f"setting them, due from {dues[0]:%H:%M} UTC on")

        async def set_timer(number: int) -> None:
            await self.user.send("POST", f"{TIMERS}/task/", timer_body(number, dues))

        began = time.monotonic()
        await for_each(range(count), set_timer)
        self.say(f"set {count / (time.monotonic() - began):,.0f} a second")
        with psycopg.connect(self.instance.database_url) as connection:
            ids = [row[0] for row in connection.execute(queries.timer_ids)]
        await self.definitions.wait_live(ids)
        if time.time() > dues[0].timestamp() - WATCHED_SECONDS:
            raise RuntimeError("setting them took longer than was foreseen: try again when less is going on")
        return dues

    async def ours(self, due: datetime, count: int) -> Burst:
        """Measure one instant."""
        await sleep_until(due.timestamp() - WATCHED_SECONDS)
        await self.simulator.send("DELETE", f"{SIMULATOR}/devices")
        load = os.getloadavg()[0]
        instance = read_instance(Path(self.instance.home))
        triggerers = {name: pid for name, pid in instance.processes.items() if "triggerer" in name}
        before = cpu_seconds(instance)
        with watching_families(triggerers.values()) as memory:
            await self.wait_ended(due, count)
            after = cpu_seconds(instance)
        spent = {name: round(after[name] - before[name], 2) for name in after}
        first, last = self.span(due)
        return Burst(
            figures=summarise(await self.arrivals(), due.timestamp(), count),
            seconds=last - first,
            cpu_seconds=round(sum(spent[name] for name in triggerers), 2),
            rss_mb=memory.rss / MB,
            cpu_by_process=spent,
            load=load,
        )

    async def wait_ended(self, due: datetime, count: int) -> None:
        """Return when all timers of an instant have ended, or should have."""
        await sleep_until(due.timestamp() + 1)
        with psycopg.connect(self.instance.database_url, autocommit=True) as connection:
            while time.time() < due.timestamp() + PATIENCE_SECONDS:
                row = connection.execute(queries.count_ended, {"due": due}).fetchone()
                if row and row[0] >= count:
                    return
                await asyncio.sleep(1)

    def span(self, due: datetime) -> tuple[float, float]:
        """Return the first send and the last acknowledgement of an instant, seconds since the epoch."""
        with psycopg.connect(self.instance.database_url) as connection:
            row = connection.execute(queries.sent_span, {"due": due}).fetchone()
        return (row[0] or math.nan, row[1] or math.nan) if row else (math.nan, math.nan)

    async def peer(self, name: str, count: int) -> Burst:
        """Measure one burst of a peer."""
        await self.simulator.send("DELETE", f"{SIMULATOR}/devices")
        load = os.getloadavg()[0]
        port = urlsplit(self.instance.gateway_url or "").port or 0
        told = json.loads(await ask_peer("gateway", PEERS[name], count, port))
        return Burst(
            figures=summarise(await self.arrivals(), told["due"], count),
            seconds=told["last"] - told["first"],
            cpu_seconds=told["cpu"],
            rss_mb=told["rss_kb"] / 1024,
            cpu_by_process={},
            load=load,
        )

    async def arrivals(self) -> list[Arrival]:
        """Return the commands that the simulator got."""
        logged = await self.simulator.send("GET", f"{SIMULATOR}/arrivals")
        return [Arrival(one["at"], one["device_id"], one["request_id"]) for one in logged["arrivals"]]


def minutes_after(moment: datetime, count: int) -> list[datetime]:
    """Return full minutes after a moment, `ROUND_SECONDS` apart."""
    first = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return [first + timedelta(seconds=ROUND_SECONDS * index) for index in range(count)]


def timer_body(number: int, dues: Sequence[datetime]) -> dict[str, Any]:
    """Return the body of document 001 that sends a device its command at these minutes."""
    commands = json.dumps(paras(number))
    local = [due.astimezone(ZONE) for due in dues]
    return {
        "device_id": device_id(number),
        "period": "1111111",
        "timezone": ZONE.key,
        "tasks": [{"hour": f"{at:%H}", "minute": f"{at:%M}", "commands": commands} for at in local],
    }


@asynccontextmanager
async def benching(rounds: int, say: Callable[[str], None]) -> AsyncIterator[Bench]:
    """Start an instance of its own; lend the bench on it."""
    async with running_instance({}) as instance:
        settings = settings_of_instance(Path(instance.home))
        jwt = issue_jwt(USER, datetime.now(UTC) + timedelta(hours=12), settings)
        async with (
            connecting(instance.url, instance.database_url, "bench", ("management",)) as own,
            calling(instance.url, {"Authorization": f"jwt {jwt}"}) as user,
            calling(instance.gateway_url or "") as simulator,
        ):
            definitions = Definitions(own, instance, 0)
            yield Bench(instance, definitions, own, user, simulator, rounds, say)


async def run(counts: Sequence[int], rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the benchmark; return its document."""
    say("starting an instance of its own")
    async with benching(rounds, say) as bench:
        facts = machine.facts(bench.definitions.server_version())
        for count in counts:
            await bench.measure(count)
    return {
        "machine": facts,
        "rounds": rounds,
        "results": [one.as_json(peer_of(one, bench.results)) for one in bench.results],
        "failures": bench.failures + incomplete(bench.results),
        "table": bench.results,
    }


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="carillon bench timers", description=__doc__.split("\n")[0])
    parser.add_argument("--timers", default="", help="how many, by commas (1000,10000)")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of each contender (3)")
    parser.add_argument("--quick", action="store_true", help="one round of 1,000, nothing else")
    parser.add_argument("--json", action="store_true", help="print the JSON document instead of a table")
    options = parser.parse_args(argv)
    words = [word.strip().replace("_", "") for word in options.timers.split(",") if word.strip()]
    if not all(word.isdecimal() and 0 < int(word) <= COUNTS[-1] for word in words):
        parser.error(f"--timers: must be numbers from 1 to {COUNTS[-1]}, by commas")
    options.timers = sorted({int(word) for word in words}) or list(COUNTS[:1] if options.quick else COUNTS)
    options.rounds = options.rounds or (1 if options.quick else 3)
    if options.rounds < 1:
        parser.error("--rounds: must be 1 or more")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and keep the results; return 1 where something is missing."""
    options = parse(argv)
    try:
        document = asyncio.run(run(options.timers, options.rounds, Progress().say))
    except CarillonError as error:
        print(f"carillon: {error}", file=sys.stderr)
        return 1
    results = document.pop("table")
    return tell("timers", document, partial(report.show, results, document), as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
