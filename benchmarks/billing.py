"""How many bills a second a billing run makes, beside the same bills made in other ways.

    ./carillon bench billing [--meters 10000,100000,1000000] [--tariffs tiers,kinds] [--all] [--rounds 3]
                             [--durable METERS] [--json]

The contenders bill the same month of the same project, each in a copy of one database in which the month
before is billed already: the real service in a process of its own; one hand-written SQL statement with one
backend, into the same tables, and into tables without constraints (for information); and up to 10,000 meters
a loop over the formula. That they made the same bills is checked line by line. Results go to
`benchmarks/results/`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psycopg

from benchmarks import machine
from benchmarks.copies import COPY, MB, TEMPLATE, copied, drop, run_child, run_watched, server, server_version
from benchmarks.meters import data, report
from benchmarks.meters.data import Dataset, Tariff
from benchmarks.meters.figures import (
    BARE,
    LOOP,
    OURS,
    STATEMENT,
    Result,
    Round,
    differences,
    durable_meters,
    peer_of,
)
from benchmarks.results import tell
from include.cli.postgres import LocalPostgres
from include.cli.progress import Progress
from include.migrations import upgrade
from include.settings import get_settings

SIZES = (10_000, 100_000, 1_000_000)
TARIFFS: dict[str, Tariff] = {"tiers": "tiers", "kinds": "tiers x kinds"}

#: More meters with four registers each are measured with --all: they take 12 million readings.
KINDS_MOST = 100_000
LOOP_MOST = 10_000

CONTENDER = "benchmarks.meters.contender"


@dataclass
class Bench:
    """One server of the benchmark."""

    postgres: LocalPostgres
    rounds: int
    say: Callable[[str], None]
    results: list[Result] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def measure(self, dataset: Dataset, contenders: Sequence[str]) -> None:
        """Measure contenders in turn, so that a noisy minute meets all of them."""
        self.say(f"{dataset.tariff}: {dataset.meters:,} meters")
        rounds: dict[str, list[Round]] = {name: [] for name in contenders}
        try:
            self.prepare(dataset)
            for _ in range(self.rounds):
                for name in contenders:
                    rounds[name].append(self.once(name, dataset))
                    self.say(f"{name}: {rounds[name][-1].bills_a_second:,.0f} bills/s")
        except (psycopg.Error, RuntimeError, OSError) as error:
            # One that fails must not take the figures of the others with it.
            self.say(f"failed: {error}")
            self.failures.append(f"{dataset.tariff}, {dataset.meters:,} meters: {error}")
        finally:
            drop(self.postgres, TEMPLATE)
        subject = (dataset.tariff, dataset.meters, self.postgres.durable)
        self.results += [Result(*subject, name, tuple(found)) for name, found in rounds.items() if found]

    def prepare(self, dataset: Dataset) -> None:
        """Make the database that every round begins with: the first month billed, and vacuumed since."""
        self.postgres.ensure_database(TEMPLATE)
        url = self.postgres.url(TEMPLATE)
        upgrade(url)
        data.load(url, dataset, self.say)
        run_child(url, CONTENDER, "warm-up", dataset.tariff)
        with self.postgres.connect(TEMPLATE) as connection:
            connection.execute("VACUUM (ANALYZE)")

    def once(self, name: str, dataset: Dataset) -> Round:
        """Let a contender bill the month in a fresh copy."""
        with copied(self.postgres) as url:
            told, memory = run_watched(self.postgres, url, CONTENDER, name, dataset.tariff)
            return Round(
                bills=told["bills"],
                charge=told["charge"],
                seconds=told["seconds"],
                rss_mb=round(told["rss_kb"] / 1024, 1),
                backends=memory.processes,
                backends_mb=round(memory.rss / MB, 1),
                own_mb=round(memory.own / MB, 1),
                digest=self.digest(name),
            )

    def digest(self, name: str) -> tuple[Any, ...]:
        """Return what the bills of the month say."""
        with self.postgres.connect(COPY) as connection:
            path = "bare, public" if name == BARE else "public"
            for setting, value in {**data.LOAD_SETTINGS, "search_path": path}.items():
                connection.execute("SELECT set_config(%s, %s, false)", [setting, value])
            row = connection.execute(data.queries.digest_bills, {"period_to": data.MEASURED}).fetchone()
        assert row is not None
        return tuple(str(value) for value in row)


def subjects(options: argparse.Namespace) -> Iterator[Dataset]:
    """Return what is measured, the smallest first."""
    for tariff in options.tariffs:
        for meters in options.meters:
            if tariff == "tiers" or meters <= KINDS_MOST or options.all:
                yield Dataset(TARIFFS[tariff], meters)


def contenders_of(dataset: Dataset) -> list[str]:
    """Return who bills it: the loop takes minutes beyond some thousands."""
    return [OURS, STATEMENT, BARE, *([LOOP] if dataset.meters <= LOOP_MOST else [])]


def run(options: argparse.Namespace, say: Callable[[str], None]) -> tuple[list[Result], dict[str, Any]]:
    """Run the benchmark; return its results and its document."""
    results: list[Result] = []
    failures: list[str] = []
    facts: dict[str, Any] = {}
    with server(durable=False) as postgres:
        bench = Bench(postgres, options.rounds, say, results, failures)
        facts = machine.facts(server_version(postgres))
        for dataset in subjects(options):
            bench.measure(dataset, contenders_of(dataset))
    meters = durable_meters(options.meters, options.durable)
    if meters is not None:
        with server(durable=True) as postgres:
            say("with a server that flushes to disk")
            bench = Bench(postgres, options.rounds, say, results, failures)
            bench.measure(Dataset("tiers", meters), [OURS, STATEMENT, BARE])
    failures += differences(results)
    return results, {
        "machine": facts,
        "rounds": options.rounds,
        "workers": get_settings().billing_workers,
        "results": [one.as_json(peer_of(one, results)) for one in results],
        "failures": failures,
    }


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="carillon bench billing", description=__doc__.split("\n")[0])
    parser.add_argument("--meters", default=",".join(map(str, SIZES)), help="sizes, by commas")
    parser.add_argument("--tariffs", default=",".join(TARIFFS), help=f"by commas: {', '.join(TARIFFS)}")
    parser.add_argument(
        "--all", action="store_true", help=f"four registers a meter for more than {KINDS_MOST:,} meters, too"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each contender (3)")
    parser.add_argument(
        "--durable",
        type=int,
        metavar="METERS",
        help="measure this size with a server that flushes to disk, too; 0 for none"
        " (the largest up to 100,000)",
    )
    parser.add_argument("--json", action="store_true", help="print the JSON document instead of a table")
    options = parser.parse_args(argv)
    options.meters = _sizes(parser, options.meters)
    options.tariffs = [word.strip() for word in options.tariffs.split(",") if word.strip()]
    unknown = sorted(set(options.tariffs) - set(TARIFFS))
    if unknown or not options.tariffs:
        parser.error(f"--tariffs: must be some of {', '.join(TARIFFS)}")
    if options.rounds < 1:
        parser.error("--rounds: must be 1 or more")
    if options.durable is not None and options.durable < 0:
        parser.error("--durable: must be 0 or more")
    return options


def _sizes(parser: argparse.ArgumentParser, text: str) -> list[int]:
    words = [word.strip().replace("_", "") for word in text.split(",") if word.strip()]
    if not words or not all(word.isdecimal() and int(word) for word in words):
        parser.error("--meters: must be numbers from 1 on, by commas")
    return sorted({int(word) for word in words})


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and keep the results; return 1 where something failed or bills differ."""
    options = parse(argv)
    results, document = run(options, Progress().say)
    return tell("billing", document, partial(report.show, results, document), as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
