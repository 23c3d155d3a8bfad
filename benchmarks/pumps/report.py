"""The maintenance benchmark's table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.pumps.figures import NAMES, Result, peer_of
from benchmarks.results import show_end, stdout

COLUMNS = (
    *("cycle", "states", "contender", "opened", "changed", "ms", "by round", "× stmt", "statements"),
    *("process MB", "backend MB"),
)


def show(results: Sequence[Result], document: dict[str, Any], file: Path) -> None:
    """Print the table, and where the results are kept."""
    stdout.print(table(results, document["rounds"]))
    show_end(document, file, [one.load for result in results for one in result.rounds])


def table(results: Sequence[Result], rounds: int) -> Table:
    """Return a row a contender; ratios are against the statement, round by round."""
    grid = Table(title=f"One tick: medians of {rounds} rounds; memory at most", title_justify="left")
    for column in COLUMNS:
        grid.add_column(column, justify="left" if column in ("cycle", "contender") else "right")
    subject: object = None
    for one in results:
        if one.subject != subject:
            grid.add_section()
        grid.add_row(*row(one, peer_of(one, results), first=one.subject != subject))
        subject = one.subject
    return grid


def row(one: Result, peer: Result | None, *, first: bool) -> list[str]:
    """Return the cells of one contender."""
    ratio, backends = one.ratio(peer), one.most("backends_mb")
    return [
        one.cycle if first else "",
        f"{one.states:,}" if first else "",
        NAMES[one.contender],
        f"{one.rounds[0].opened:,}",
        f"{one.rounds[0].changed:,}",
        f"{one.seconds * 1000:,.0f}",
        " / ".join(f"{each.seconds * 1000:,.0f}" for each in one.rounds),
        "" if ratio is None else f"{ratio:.2f}",
        f"{one.most('statements'):,.0f}",
        f"{one.most('rss_mb'):,.0f}",
        f"{backends:,.0f}" if backends else "",  # one that is done within a tenth of a second is not seen
    ]
