"""The benchmark's tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.figures import Result
from benchmarks.results import show_end, stdout

#: The contender that ratios are against: 32 warm connections and prebuilt bytes.
FLOOR = "bare sockets, 32 senders"


def show(results: Sequence[Result], document: dict[str, Any], file: Path) -> None:
    """Print every table that has a row, and where the results are kept."""
    if results:
        stdout.print(lateness_table(results, document["rounds"]))
    if document["live"]:
        stdout.print(live_table(document["live"]))
    if document["idle"]:
        stdout.print(idle_table(document["idle"]))
    show_end(document, file)


def lateness_table(results: Sequence[Result], rounds: int) -> Table:
    """Return the table of latenesses, ratios against the floor of the same subject."""
    table = Table(
        title=f"Arrival after the due second, ms: medians of {rounds} rounds; by round: p99, or the one call",
        title_justify="left",
    )
    for column in (
        "subject",
        "contender",
        "came",
        "early",
        "twice",
        "p50",
        "p99",
        "by round",
        "max",
        "× bare",
    ):
        table.add_column(column, justify="left" if column in ("subject", "contender") else "right")
    floors = {one.subject: one for one in results if one.contender == FLOOR}
    subject = ""
    for one in results:
        if one.subject != subject:
            table.add_section()
        table.add_row(*row(one, floors.get(one.subject), first=one.subject != subject))
        subject = one.subject
    return table


def row(one: Result, floor: Result | None, *, first: bool) -> list[str]:
    """Return the cells of one contender."""
    ratio = one.ratio(floor)
    return [
        one.subject if first else "",
        one.contender,
        f"{one.came:,} of {one.expected:,}",
        str(one.early),
        str(one.twice),
        f"{one.median('p50'):,.1f}",
        f"{one.median('p99'):,.1f}" if one.has_p99 else "",
        " / ".join(f"{each.p99:,.1f}" for each in one.rounds),
        f"{one.median('most'):,.1f}",
        "" if ratio is None else f"{ratio:.2f}",
    ]


def live_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Return the table of how soon a new schedule is live."""
    table = Table(title="From add_task's answer until the new schedule's next run is planned, s")
    for column in ("schedules", "median", "max", "trials"):
        table.add_column(column, justify="right")
    for one in rows:
        trials = " ".join(map(str, one["seconds"]))
        table.add_row(f"{one['schedules']:,}", str(one["median"]), str(one["most"]), trials)
    return table


def idle_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Return the table of what an instance with nothing due spends."""
    table = Table(title="Nothing due: the whole instance, Airflow and Postgres included")
    columns = (
        "schedules",
        "seconds",
        "CPU s",
        "processes",
        "carillon tx/s",
        "airflow tx/s",
        "CPU s by process",
    )
    for column in columns:
        table.add_column(column, justify="right")
    for one in rows:
        spent = one["transactions_per_second"]
        table.add_row(
            f"{one['schedules']:,}",
            f"{one['seconds']:g}",
            str(one["cpu_seconds"]),
            str(one["processes"]),
            str(spent["carillon"]),
            str(spent["airflow"]),
            ", ".join(f"{name} {seconds}" for name, seconds in one["cpu_by_process"].items()),
        )
    return table
