"""The billing benchmark's table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.meters.figures import NAMES, Result, peer_of
from benchmarks.results import show_end, stdout

COLUMNS = (
    *("tariff", "meters", "contender", "bills/s", "by round", "× stmt", "process MB"),
    *("backends MB", "not shared"),
)


def show(results: Sequence[Result], document: dict[str, Any], file: Path) -> None:
    """Print the table, and where the results are kept."""
    stdout.print(table(results, document["rounds"]))
    stdout.print(f"{document['workers']} billing workers")
    show_end(document, file)


def table(results: Sequence[Result], rounds: int) -> Table:
    """Return a row a contender, by subject."""
    grid = Table(
        title=f"Bills of a month, a month of bills before it: medians of {rounds} rounds; memory at most",
        title_justify="left",
    )
    for column in COLUMNS:
        grid.add_column(column, justify="left" if column in ("tariff", "contender") else "right")
    subject: object = None
    for one in results:
        if one.subject != subject:
            grid.add_section()
        grid.add_row(*row(one, peer_of(one, results), first=one.subject != subject))
        subject = one.subject
    return grid


def row(one: Result, peer: Result | None, *, first: bool) -> list[str]:
    """Return the cells of one contender."""
    ratio = one.ratio(peer)
    seen = one.most("backends") > 0  # one that is done within a tenth of a second is not
    return [
        f"{one.tariff}{', flushed' if one.durable else ''}" if first else "",
        f"{one.meters:,}" if first else "",
        NAMES[one.contender],
        f"{one.bills_a_second:,.0f}",
        " / ".join(f"{each.bills_a_second:,.0f}" for each in one.rounds),
        "" if ratio is None else f"{ratio:.2f}",
        f"{one.most('rss_mb'):,.0f}",
        f"{one.most('backends_mb'):,.0f}" if seen else "",
        f"{one.most('own_mb'):,.0f}" if seen else "",
    ]
