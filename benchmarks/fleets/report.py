"""The batch benchmark's table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.fleets.figures import Result, peer_of
from benchmarks.fleets.lists import Timing
from benchmarks.results import show_end, stdout

COLUMNS = (
    *("targets", "contender", "came", "devices/s", "by round", "× aiohttp", "recorded/s", "× aiohttp"),
    *("whole, s", "task instances", "statements", "CPU s"),
)


def show(results: Sequence[Result], document: dict[str, Any], file: Path) -> None:
    """Print the table, and where the results are kept."""
    if results:
        stdout.print(table(results, document["rounds"], document["in_flight"]))
    show_end(document, file, [one.load for result in results for one in result.rounds])


def table(results: Sequence[Result], rounds: int, in_flight: int) -> Table:
    """Return a row a contender; ratios are against aiohttp with as many targets, round by round."""
    grid = Table(
        title=f"Commands of a batch task, {in_flight} in flight: medians of {rounds} rounds",
        title_justify="left",
    )
    for column in COLUMNS:
        grid.add_column(column, justify="left" if column == "contender" else "right")
    targets = 0
    for one in results:
        if one.targets != targets:
            grid.add_section()
        grid.add_row(*row(one, peer_of(one, results), first=one.targets != targets))
        targets = one.targets
    return grid


def row(one: Result, peer: Result | None, *, first: bool) -> list[str]:
    """Return the cells of one contender."""
    return [
        f"{one.targets:,}" if first else "",
        one.contender,
        f"{one.came:,}",
        f"{one.speed():,.0f}",
        " / ".join(f"{each.a_second:,.0f}" for each in one.rounds),
        _cell(one.ratio(peer), ".2f"),
        f"{one.speed('recorded_a_second'):,.0f}",
        _cell(one.ratio(peer, "recorded_a_second"), ".2f"),
        _cell(one.run("whole_seconds"), ".1f"),
        _cell(one.run("task_instances"), ".0f"),
        _cell(one.run("statements"), ",.0f"),
        f"{one.spent('cpu_seconds'):.1f}",
    ]


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def show_lists(timings: Sequence[Timing], document: dict[str, Any], file: Path) -> None:
    """Print the table of calls, and where the results are kept."""
    sizes = [document[name] for name in ("few", "many")]
    few, many = (f"{size['tasks']:,} tasks, {size['subtasks']:,} sub-tasks" for size in sizes)
    grid = Table(title=f"Pages, ms: {few}; {many}; {document['calls']} calls each", title_justify="left")
    for column in ("call", "items", "p50, few", "p95, few", "p50, many", "p95, many", "× few"):
        grid.add_column(column, justify="left" if column == "call" else "right")
    for one in timings:
        times = (one.few_p50, one.few_p95, one.many_p50, one.many_p95)
        grid.add_row(one.name, str(one.items), *(f"{each:.1f}" for each in times), f"{one.ratio:.2f}")
    stdout.print(grid)
    show_end(document, file)
