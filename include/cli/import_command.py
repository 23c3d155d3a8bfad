"""`./carillon import`: service points, meters, people, readings and devices from CSV files and spreadsheets.

The whole file is read and checked first; nothing is stored while a cell cannot be used.
"""

from __future__ import annotations

import asyncio
import json
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table as Grid

from include.cli.import_kinds import KINDS, Entry, ImportKind, RowReader
from include.cli.instance import database_in_use
from include.cli.progress import stderr, stdout
from include.cli.tables import NumberedRow, Table, open_table, trimmed
from include.errors import ConflictError, InvalidInputError, RowProblem
from include.kit.db import Database
from include.metering.model import Tally
from include.metering.rows import check_project
from include.metering.rules import RulesService

CHUNK_ROWS = 5_000
#: Up to so many rows a file is one transaction unless told.
TOGETHER_MOST = 100_000
PROBLEMS_KEPT, PROBLEMS_SHOWN = 1_000, 50


def import_rows(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of {', '.join(KINDS)}.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV or .xlsx; the first row names the columns.")
    ],
    project: Annotated[
        str | None, typer.Option(help="Project id; without it the column project_id of the file counts.")
    ] = None,
    sheet: Annotated[str | None, typer.Option(help="Of a spreadsheet; else the first one.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything, then take it back.")] = False,
    together: Annotated[
        bool | None,
        typer.Option(
            "--all-or-nothing/--by-chunks",
            help=f"One transaction, or one for every {CHUNK_ROWS:,} rows; by default one up to"
            f" {TOGETHER_MOST:,} rows.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Load rows of a file. Those that are stored already change nothing, so a file can be loaded again."""
    if kind not in KINDS:
        raise InvalidInputError(f"{kind!r} is not one of {', '.join(KINDS)}", field="KIND")
    load = Load(KINDS[kind], open_table(file, sheet=sheet), project, dry_run, together)
    report = Report(kind, str(file), dry_run=dry_run)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="openpyxl")  # of styles and extensions that do not matter
        asyncio.run(_run(load, report))
    if as_json:
        typer.echo(json.dumps(report.document(), ensure_ascii=False))
    else:
        _print(report)
    if report.problems:
        raise typer.Exit(2)


@dataclass(frozen=True)
class Load:
    """What is to be done."""

    kind: ImportKind
    table: Table
    project: str | None
    dry_run: bool
    together: bool | None


@dataclass
class Report:
    """What was done.

    :ivar stored: rows of the file that are in the database now (in a dry run: would be)
    """

    kind: str
    file: str
    dry_run: bool
    project: str = ""
    together: bool = True
    rows: int = 0
    stored: int = 0
    tally: Tally = field(default_factory=Tally)
    problems: list[RowProblem] = field(default_factory=list)
    problem_count: int = 0
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    def complain(self, problems: Sequence[RowProblem]) -> None:
        """Keep the first problems and count all."""
        self.problem_count += len(problems)
        self.problems += problems[: max(0, PROBLEMS_KEPT - len(self.problems))]

    @property
    def per_second(self) -> int:
        return round(self.rows / self.seconds) if self.seconds else 0

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "kind": self.kind,
            "file": self.file,
            "project_id": self.project,
            "dry_run": self.dry_run,
            "mode": "all-or-nothing" if self.together else "by-chunks",
            "rows": self.rows,
            "stored": self.stored,
            "created": self.tally.created,
            "updated": self.tally.updated,
            "unchanged": self.tally.unchanged,
            "seconds": round(self.seconds, 3),
            "rows_per_second": self.per_second,
            "error_count": self.problem_count,
            "errors": [
                {"row": one.row, "column": one.field, "message": one.message} for one in self.problems
            ],
        }


class _TakeBack(Exception):
    """Ends a transaction that must leave nothing behind."""


async def _run(load: Load, report: Report) -> None:
    """Check the file, then store it, on the database of the setting or of the instance."""
    headings, names = _read_headings(load)
    report.project = _project(load, names)
    url = database_in_use()
    database = await Database(url, max_size=1).open()
    try:
        async with database.transaction() as connection:
            rules = await RulesService(connection, report.project).find()
        reader = RowReader(load.kind, names, headings, report.project, ZoneInfo(rules.timezone))
        await _check(load, reader, report)
        report.together = report.rows <= TOGETHER_MOST if load.together is None else load.together
        if not report.problems:
            await _store(load, reader, database, report)
    finally:
        await database.close()
        report.seconds = time.monotonic() - report.began


def _read_headings(load: Load) -> tuple[list[str], list[str | None]]:
    first = next(load.table.rows(), None)
    if first is None:
        raise InvalidInputError("has no rows", field="file")
    headings = trimmed(first[1])
    return headings, load.kind.read_headings(headings)


def _project(load: Load, names: Sequence[str | None]) -> str:
    project = load.project
    if project is None and "project_id" in names:
        place = names.index("project_id")
        project = next((cells[place] for _, cells in _body(load.table) if len(cells) > place), None)
    if not project:
        raise InvalidInputError("is needed: the file does not name the project", field="--project")
    try:
        return check_project(project)
    except ValueError as error:
        raise InvalidInputError(str(error), field="--project") from None


def _body(table: Table) -> Iterator[NumberedRow]:
    """Return the rows after the headings."""
    return islice(table.rows(), 1, None)


# --- check


async def _check(load: Load, reader: RowReader, report: Report) -> None:
    """Read the whole file: how many rows there are, and what can be seen to be wrong with them."""
    seen: dict[Any, int] = {}
    with _bar("checking", None) as bar:
        job = bar.add_task("checking", total=None, speed="")
        counted = _counting(load.table, report, lambda: _show(bar, job, report.rows, report.began))
        for entry in reader.entries(counted):
            key = tuple(getattr(entry.value, name) for name in load.kind.key)
            if key and seen.setdefault(key, entry.number) != entry.number:
                reader.problems.append(
                    RowProblem(
                        reader.heading(load.kind.key[-1]), f"stands in row {seen[key]} already", entry.number
                    )
                )
    report.complain(sorted(reader.problems, key=lambda one: one.row or 0))
    reader.problems.clear()


def _counting(table: Table, report: Report, show: Any) -> Iterator[NumberedRow]:
    for row in _body(table):
        report.rows += 1
        if report.rows % CHUNK_ROWS == 0:
            show()
        yield row


# --- store


async def _store(load: Load, reader: RowReader, database: Database, report: Report) -> None:
    began = time.monotonic()
    with _bar("storing", report.rows) as bar:
        job = bar.add_task("storing", total=report.rows, speed="")
        chunks = _chunks(load, reader, report)
        try:
            if report.together:
                async with database.transaction() as connection:
                    for chunk in chunks:
                        await _store_chunk(load, reader, connection, chunk, report)
                        _show(bar, job, report.stored, began)
                        if report.problems:
                            raise _TakeBack
                    if load.dry_run:
                        raise _TakeBack
            else:
                for chunk in chunks:
                    await _store_alone(load, reader, database, chunk, report)
                    _show(bar, job, report.stored, began)
        except _TakeBack:
            pass
    if report.together and report.problems:
        report.stored, report.tally = 0, Tally()


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Some things and how many rows of the file they are."""

    entries: Sequence[Entry]
    rows: int


def _chunks(load: Load, reader: RowReader, report: Report) -> Iterator[_Chunk]:
    """Return the file in pieces that end where a thing ends."""
    taken = 0

    def counted() -> Iterator[NumberedRow]:
        nonlocal taken
        for row in _body(load.table):
            taken += 1
            yield row

    entries: list[Entry] = []
    done = 0
    for entry in reader.entries(counted()):
        entries.append(entry)
        if taken - done >= CHUNK_ROWS:
            yield _Chunk(entries, taken - done)
            entries, done = [], taken
    if entries:
        yield _Chunk(entries, taken - done)


async def _store_alone(
    load: Load, reader: RowReader, database: Database, chunk: _Chunk, report: Report
) -> None:
    try:
        async with database.transaction() as connection:
            before = report.problem_count
            await _store_chunk(load, reader, connection, chunk, report)
            if load.dry_run or report.problem_count > before:
                raise _TakeBack
    except _TakeBack:
        pass


async def _store_chunk(load: Load, reader: RowReader, connection: Any, chunk: _Chunk, report: Report) -> None:
    """Store a chunk or keep what is wrong with it."""
    try:
        tally = await load.kind.store(connection, report.project, [entry.value for entry in chunk.entries])
    except (InvalidInputError, ConflictError) as error:
        report.complain([_placed(one, chunk, reader) for one in error.problems] or [_whole(error, chunk)])
        return
    report.stored += chunk.rows
    report.tally += tally


def _placed(problem: RowProblem, chunk: _Chunk, reader: RowReader) -> RowProblem:
    """Return a problem with the number and heading of the file."""
    place, name = problem.row or 1, problem.field
    name = {"registers": "register", "readings": "initial_reading"}.get(name, name)
    return RowProblem(reader.heading(name), problem.message, chunk.entries[place - 1].number)


def _whole(error: InvalidInputError | ConflictError, chunk: _Chunk) -> RowProblem:
    return RowProblem(error.field or "", error.message, chunk.entries[0].number)


# --- what people see


def _bar(what: str, total: int | None) -> Bar:
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
        console=stderr,
        transient=True,
        disable=not stderr.is_terminal,
    )


def _show(bar: Bar, job: Any, rows: int, began: float) -> None:
    bar.update(job, completed=rows, speed=f"{rows / max(time.monotonic() - began, 1e-3):,.0f} rows/s")


def _print(report: Report) -> None:
    mode = "all or nothing" if report.together else f"by chunks of {CHUNK_ROWS:,} rows"
    verb = "would be stored" if report.dry_run else "stored"
    stdout.print(
        f"{report.kind} of project {report.project}: {report.stored:,} of {report.rows:,} rows {verb}"
        f" ({mode}): {report.tally.created:,} new, {report.tally.updated:,} changed,"
        f" {report.tally.unchanged:,} unchanged; {report.seconds:.1f} s, {report.per_second:,} rows/s",
        markup=False,
    )
    if not report.problems:
        return
    grid = Grid("row", "column", "what is wrong")
    for one in report.problems[:PROBLEMS_SHOWN]:
        grid.add_row(str(one.row), escape(one.field), escape(one.message))
    stderr.print(grid)
    if report.problem_count > PROBLEMS_SHOWN:
        stderr.print(
            f"and {report.problem_count - PROBLEMS_SHOWN:,} more; --json lists up to {PROBLEMS_KEPT:,}"
        )
