"""The timers benchmark's table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.lamps.figures import Result, peer_of
from benchmarks.results import show_end, stdout

COLUMNS = (
    *("timers", "contender", "came", "early", "twice", "p50", "p99", "max"),
    *("commands/s", "by round", "× aiohttp", "CPU s", "MB"),
)


def show(results: Sequence[Result], document: dict[str, Any], file: Path) -> None:
    """Print the table, and where the results are kept."""
    if results:
        stdout.print(table(results, document["rounds"]))
    show_end(document, file, [burst.load for one in results for burst in one.rounds])


def table(results: Sequence[Result], rounds: int) -> Table:
    """Return a row a contender; ratios are against aiohttp with as many commands."""
    grid = Table(
        title=f"Arrival after the due minute, ms, and what the sender spent: medians of {rounds} rounds",
        title_justify="left",
    )
    for column in COLUMNS:
        grid.add_column(column, justify="left" if column == "contender" else "right")
    timers = 0
    for one in results:
        if one.timers != timers:
            grid.add_section()
        grid.add_row(*row(one, peer_of(one, results), first=one.timers != timers))
        timers = one.timers
    return grid


def row(one: Result, peer: Result | None, *, first: bool) -> list[str]:
    """Return the cells of one contender."""
    ratio = one.ratio(peer)
    return [
        f"{one.timers:,}" if first else "",
        one.contender,
        f"{one.came:,}",
        str(one.total("early")),
        str(one.total("twice")),
        *(f"{one.late(name):,.0f}" for name in ("p50", "p99", "most")),
        f"{one.a_second:,.0f}",
        " / ".join(f"{each.a_second:,.0f}" for each in one.rounds),
        "" if ratio is None else f"{ratio:.2f}",
        f"{one.spent('cpu_seconds'):.1f}",
        f"{one.spent('rss_mb'):,.0f}",
    ]
