"""Reading a table out of a CSV file or a spreadsheet, row by row, every cell as text.

A file can be read several times; no more of it is in memory than a row and a spreadsheet's shared texts, but
for .xls, whose format has to be read as a whole and ends at 65,536 rows.
"""

from __future__ import annotations

import csv
import os
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.errors import InvalidInputError
from include.kit.cells import moment_text, number_text
from include.kit.xlsx import WEIGHTS, Spreadsheet, Weights
from include.kit.xlsx_parts import COLUMNS_MOST, NumberedRow

DELIMITERS = ",;\t"

_BLOCK = 2**20
_ZIP, _OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"


@dataclass(frozen=True, slots=True)
class Table:
    """A file with a table in it.

    :ivar encoding: of text; None for a spreadsheet
    :ivar old: whether it is an .xls
    :ivar sheet: of a spreadsheet; None for its first one
    """

    path: Path
    encoding: str | None
    delimiter: str = ","
    old: bool = False
    sheet: str | None = None
    weights: Weights = WEIGHTS

    def rows(self) -> Iterator[NumberedRow]:
        """Return the rows that are not empty, the headings first. Raises InvalidInputError.

        They are numbered as a spreadsheet shows them: that of the headings is 1, or whatever it is.
        """
        read = _text_rows if self.encoding else _old_rows if self.old else _sheet_rows
        return (row for row in read(self) if any(row[1]))


def open_table(path: Path, *, sheet: str | None = None, weights: Weights = WEIGHTS) -> Table:
    """Return the table in a file, whatever its name says it is.

    CSV may be UTF-8, with or without a byte order mark, UTF-16 or GB18030, by comma, semicolon or tab.

    :param weights: what a spreadsheet may have when it is unpacked
    :raises InvalidInputError: names `file`: not there, not readable, not a table
    """
    try:
        with path.open("rb") as file:
            begin = file.read(4)
            if begin in (_ZIP, _OLD_EXCEL):
                return Table(path, None, old=begin == _OLD_EXCEL, sheet=sheet, weights=weights)
            if not begin:
                raise _bad("is empty")
            encoding = _encoding(path, begin)
    except OSError as error:
        raise _bad(f"{str(path)!r} cannot be read: {error.strerror}") from error
    if sheet is not None:
        raise InvalidInputError("is for spreadsheets", field="sheet")
    return Table(path, encoding, _delimiter(path, encoding))


def _bad(message: str) -> InvalidInputError:
    return InvalidInputError(message, field="file")


# --- text


def _encoding(path: Path, begin: bytes) -> str:
    if begin.startswith(BOM_UTF8):
        return "utf-8-sig"
    if begin.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return "utf-16"
    for encoding in ("utf-8", "gb18030"):
        if _decodes(path, encoding):
            return encoding
    raise _bad("is text neither in UTF-8 nor in GB18030")


def _decodes(path: Path, encoding: str) -> bool:
    decoder = getincrementaldecoder(encoding)()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _delimiter(path: Path, encoding: str) -> str:
    """Return what stands between the headings."""
    try:
        with path.open(encoding=encoding, newline="") as file:
            line = next((line for line in file if line.strip()), "")
    except UnicodeDecodeError as error:
        raise _bad(f"cannot be read as {encoding}") from error
    return max(DELIMITERS, key=line.count)


def _text_rows(table: Table) -> Iterator[NumberedRow]:
    number = 0
    try:
        with table.path.open(encoding=table.encoding, newline="") as file:
            for number, cells in enumerate(csv.reader(file, delimiter=table.delimiter, strict=True), 1):
                yield number, [cell.strip() for cell in cells]
    except (csv.Error, UnicodeDecodeError) as error:
        raise _bad(f"cannot be read as CSV after row {number}: {error}") from error


# --- spreadsheets


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """Whatever the reader stumbles over in a broken spreadsheet is the file's fault."""
    try:
        yield
    except (InvalidInputError, GeneratorExit):
        raise
    except Exception as error:
        raise _bad(f"cannot be read as a spreadsheet ({what}): {error}") from error


def _sheet_rows(table: Table) -> Iterator[NumberedRow]:
    with _readable(".xlsx"), table.path.open("rb") as file:
        book = Spreadsheet(file, table.weights)
        yield from book.rows(_sheet(list(book.sheets), table.sheet))


def _old_rows(table: Table) -> Iterator[NumberedRow]:
    import xlrd

    with _readable(".xls, not encrypted"), open(os.devnull, "w", encoding="utf-8") as log:
        # A row is as long as its last cell says; else a single far one would widen all of them.
        book = xlrd.open_workbook(str(table.path), logfile=log, on_demand=True, ragged_rows=True)
        sheet = book.sheet_by_name(_sheet(book.sheet_names(), table.sheet))
        for place in range(sheet.nrows):
            cells = sheet.row(place)[:COLUMNS_MOST]
            yield place + 1, [_old_text(cell, since_1904=bool(book.datemode)) for cell in cells]


def _old_text(cell: Any, *, since_1904: bool) -> str:
    import xlrd

    match cell.ctype:
        case xlrd.XL_CELL_NUMBER:
            return number_text(cell.value)
        case xlrd.XL_CELL_DATE:
            return moment_text(cell.value, since_1904=since_1904)
        case xlrd.XL_CELL_BOOLEAN:
            return "TRUE" if cell.value else "FALSE"
        case xlrd.XL_CELL_ERROR:
            return str(xlrd.error_text_from_code.get(cell.value, "#N/A"))
    return str(cell.value).strip()


def _sheet(names: Sequence[str], wanted: str | None) -> str:
    if not names:
        raise _bad("has no sheet")
    if wanted is not None and wanted not in names:
        raise InvalidInputError(f"there is no {wanted!r}, only {', '.join(names)}", field="sheet")
    return wanted if wanted is not None else names[0]


def trimmed(cells: Sequence[str]) -> list[str]:
    """Return cells without the empty ones at the end."""
    last = max((place for place, cell in enumerate(cells, 1) if cell), default=0)
    return list(cells[:last])
