"""Reading an uploaded file: its rows are checked and go one by one into a spool, from where they are stored.

It blocks, and takes seconds for a large file: `read_upload` has threads for that, no more than two.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, TextIO

import orjson
from pydantic import ValidationError

from include.batch_files.model import PROBLEMS_TOLD, Contents, UnusableRowsError
from include.batch_files.rows import HEADINGS, TargetRow
from include.errors import InvalidInputError, RowProblem
from include.kit.headings import match_headings
from include.kit.tables import open_table, trimmed
from include.kit.validation import message_of
from include.kit.xlsx import Weights

#: Of an uploaded spreadsheet, unpacked.
WEIGHTS = Weights(256 * 2**20, 32 * 2**20)

_readers = ThreadPoolExecutor(2, thread_name_prefix="carillon-files")

_EXPECTED = ", ".join(f"{name} ({called[0]})" for name, called in HEADINGS.items())
#: What a spreadsheet shows in place of a value.
_ERRORS = frozenset(("#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A", "#GETTING_DATA"))


async def read_upload(upload: BinaryIO, spool: TextIO, *, rows_most: int) -> Contents:
    """Do `read_targets` with an uploaded file in a thread."""

    def read() -> Contents:
        # The readers begin anew several times, and by path.
        with NamedTemporaryFile() as copy:
            shutil.copyfileobj(upload, copy)
            copy.flush()
            return read_targets(Path(copy.name), spool, rows_most=rows_most)

    return await asyncio.get_running_loop().run_in_executor(_readers, read)


def read_targets(path: Path, spool: TextIO, *, rows_most: int) -> Contents:
    """Write the rows of a file into a spool, as `COPY` takes them: number and cells (JSON).

    :raises UnusableRowsError: some cannot be used; the headings are a row, too
    :raises InvalidInputError: it is no table, or has too many rows, or none
    """
    rows = open_table(path, weights=WEIGHTS).rows()
    first = next(rows, None)
    if first is None:
        raise InvalidInputError("has no rows", field="file")
    headings = trimmed(first[1])
    try:
        names = _columns(headings)
    except InvalidInputError as error:
        raise UnusableRowsError([RowProblem("", error.message, first[0])], 1) from None
    reader = _Reader(names, headings)
    count = 0
    for number, cells in rows:
        count += 1
        if count > rows_most:
            raise InvalidInputError(f"has more than {rows_most:,} rows", field="file")
        row = reader.read(number, cells)
        if row is not None and not reader.problem_count:
            # Of a row's JSON only the backslash means something to COPY.
            text = orjson.dumps(row.cells()).decode().replace("\\", "\\\\")
            spool.write(f"{number}\t{text}\n")
    if reader.problem_count:
        raise UnusableRowsError(reader.problems, reader.problem_count)
    if not count:
        raise InvalidInputError("has no rows but the headings", field="file")
    return Contents([name for name in names if name], count)


def _columns(headings: Sequence[str]) -> list[str | None]:
    """Return what each column is, None for one without heading. Raises InvalidInputError."""
    names = match_headings(headings, HEADINGS, (), _EXPECTED)
    if "device_id" not in names and not {"node_id", "product_id"} <= set(names):
        raise InvalidInputError("lacks the column device_id, or product_id and node_id")
    return names


@dataclass
class _Reader:
    """Makes targets of rows; what is wrong gathers in `problems`, by the headings of the file."""

    names: Sequence[str | None]
    headings: Sequence[str]
    problems: list[RowProblem] = field(default_factory=list)
    problem_count: int = 0
    seen: dict[str, int] = field(default_factory=dict)

    def read(self, number: int, cells: Sequence[str]) -> TargetRow | None:
        """Return what a row tells, None where it cannot be used."""
        before = self.problem_count
        told: dict[str, str] = {}
        for place, cell in enumerate(cells):
            name = self.names[place] if place < len(self.names) else None
            if cell in _ERRORS:
                self._complain(number, name, f"holds the error {cell}")
            elif cell and name is None:
                self._complain(number, None, f"{cell!r:.80} stands in a column without heading")
            elif cell and name is not None:
                told[name] = cell
        if self.problem_count > before:
            return None
        try:
            row = TargetRow.model_validate(told)
        except ValidationError as error:
            for item in error.errors(include_url=False, include_input=False):
                self._complain(number, str(item["loc"][0]) if item["loc"] else None, message_of(item))
            return None
        if self.seen.setdefault(row.key, number) != number:
            self._complain(number, "device_id", f"{row.key!r} stands in row {self.seen[row.key]} already")
        return row

    def _complain(self, number: int, name: str | None, message: str) -> None:
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_TOLD:
            heading = self.headings[self.names.index(name)] if name in self.names and name else name or ""
            self.problems.append(RowProblem(heading, message, number))
