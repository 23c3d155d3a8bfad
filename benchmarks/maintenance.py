"""What a tick of maintenance costs, beside one hand-written SQL statement that does the same.

    ./carillon bench maintenance [--states 1000,100000,1000000] [--cycles natural,statistics] [--rounds 3]
                                 [--quick] [--json]

Of a hundred objects one has its notice now, and one an open task that may become due or overdue. Both
contenders work in copies of one database, in turn, each in a process of its own: the real evaluation, and the
statement with one backend. That tasks and states are the same afterwards is checked. Results go to
`benchmarks/results/`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psycopg

from benchmarks import machine
from benchmarks.copies import COPY, MB, TEMPLATE, copied, drop, run_watched, server, server_version
from benchmarks.pumps import data, report
from benchmarks.pumps.data import Cycle, Dataset
from benchmarks.pumps.figures import OURS, STATEMENT, Result, Round, differences, peer_of
from benchmarks.results import tell
from include.cli.postgres import LocalPostgres
from include.cli.progress import Progress
from include.migrations import upgrade

SIZES = (1000, 100_000, 1_000_000)
QUICK = (1000, 10_000)
CYCLES: tuple[Cycle, ...] = ("natural", "statistics")
CONTENDER = "benchmarks.pumps.contender"


@dataclass
class Bench:
    """One server of the benchmark.

    :ivar failures: why a subject has no figures
    """

    postgres: LocalPostgres
    rounds: int
    say: Callable[[str], None]
    results: list[Result] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def measure(self, dataset: Dataset) -> None:
        """Measure both in turn; a failure must not take the figures of the others with it."""
        self.say(f"{dataset.cycle}: {dataset.states:,} states")
        rounds: dict[str, list[Round]] = {OURS: [], STATEMENT: []}
        try:
            self.prepare(dataset)
            for _ in range(self.rounds):
                for name, found in rounds.items():
                    found.append(self.once(name, dataset))
                self.say(", ".join(f"{name}: {found[-1].seconds:.3f} s" for name, found in rounds.items()))
        except (psycopg.Error, RuntimeError, OSError) as error:
            self.say(f"failed: {error}")
            self.failures.append(f"{dataset.cycle}, {dataset.states:,} states: {error}")
        else:
            subject = (dataset.cycle, dataset.states)
            self.results += [Result(*subject, name, tuple(found)) for name, found in rounds.items()]
        finally:
            drop(self.postgres, TEMPLATE)

    def prepare(self, dataset: Dataset) -> None:
        """Make the database that every round begins with."""
        self.postgres.ensure_database(TEMPLATE)
        upgrade(self.postgres.url(TEMPLATE))
        data.load(self.postgres.url(TEMPLATE), dataset, self.say)

    def once(self, name: str, dataset: Dataset) -> Round:
        """Let a contender do the tick in a fresh copy."""
        with copied(self.postgres) as url:
            load = os.getloadavg()[0]
            told, memory = run_watched(self.postgres, url, CONTENDER, name, dataset.cycle)
            opened, changed, *digest = self.digest()
            return Round(
                opened=opened,
                changed=changed,
                seconds=told["seconds"],
                statements=told["statements"],
                rss_mb=round(told["rss_kb"] / 1024, 1),
                backends_mb=round(memory.own / MB, 1),
                load=round(load, 2),
                digest=tuple(map(str, digest)),
            )

    def digest(self) -> tuple[Any, ...]:
        """Return what tasks and states of the copy say."""
        with self.postgres.connect(COPY) as connection:
            row = connection.execute(data.queries.digest, {"now": data.NOW}).fetchone()
        assert row is not None
        return tuple(row)


def run(options: argparse.Namespace, say: Callable[[str], None]) -> tuple[list[Result], dict[str, Any]]:
    """Run the benchmark; return its results and its document."""
    with server(durable=False) as postgres:
        bench = Bench(postgres, options.rounds, say)
        facts = machine.facts(server_version(postgres))
        for cycle in options.cycles:
            for states in options.states:
                bench.measure(Dataset(cycle, states))
    return bench.results, {
        "machine": facts,
        "rounds": options.rounds,
        "results": [one.as_json(peer_of(one, bench.results)) for one in bench.results],
        "failures": bench.failures + differences(bench.results),
    }


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="carillon bench maintenance", description=__doc__.split("\n")[0])
    parser.add_argument("--states", default="", help="how many, by commas (1000,100000,1000000)")
    parser.add_argument("--cycles", default=",".join(CYCLES), help=f"by commas: {', '.join(CYCLES)}")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of each contender (3)")
    parser.add_argument("--quick", action="store_true", help="one round of 1,000 and 10,000")
    parser.add_argument("--json", action="store_true", help="print the JSON document instead of a table")
    options = parser.parse_args(argv)
    words = [word.strip().replace("_", "") for word in options.states.split(",") if word.strip()]
    if not all(word.isdecimal() and int(word) for word in words):
        parser.error("--states: must be numbers from 1 on, by commas")
    options.states = sorted({int(word) for word in words}) or list(QUICK if options.quick else SIZES)
    options.cycles = [word.strip() for word in options.cycles.split(",") if word.strip()]
    if not options.cycles or not set(options.cycles) <= set(CYCLES):
        parser.error(f"--cycles: must be some of {', '.join(CYCLES)}")
    options.rounds = options.rounds or (1 if options.quick else 3)
    if options.rounds < 1:
        parser.error("--rounds: must be 1 or more")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and keep the results; return 1 where something failed or contenders differ."""
    options = parse(argv)
    results, document = run(options, Progress().say)
    return tell("maintenance", document, partial(report.show, results, document), as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
