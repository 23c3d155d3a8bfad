"""Reading a table out of a CSV file or a spreadsheet, row by row, every cell as text.

A file can be read several times; no more of it is in memory than a row and a spreadsheet's shared texts.
"""

from __future__ import annotations

import csv
import zipfile
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from include.errors import InvalidInputError

DELIMITERS = ",;\t"
COLUMNS_MOST = 256

#: What a spreadsheet may weigh unpacked, and its table of shared texts, which must be held in memory.
UNPACKED_MOST, TEXTS_MOST = 512 * 2**20, 128 * 2**20

_BLOCK = 2**20
_ZIP, _OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"

#: The number of a row as a spreadsheet shows it (that of the headings is 1), and its cells.
NumberedRow = tuple[int, list[str]]


@dataclass(frozen=True, slots=True)
class Table:
    """A file with a table in it.

    :ivar encoding: of text; None for a spreadsheet
    :ivar sheet: of a spreadsheet; None for its first one
    """

    path: Path
    encoding: str | None
    delimiter: str = ","
    sheet: str | None = None

    def rows(self) -> Iterator[NumberedRow]:
        """Return the rows that are not empty, the headings first. Raises InvalidInputError."""
        source = _text_rows(self) if self.encoding else _sheet_rows(self)
        return (row for row in source if any(row[1]))


def open_table(path: Path, *, sheet: str | None = None) -> Table:
    """Return the table in a file, whatever its name says it is.

    CSV may be UTF-8, with or without a byte order mark, UTF-16 or GB18030, by comma, semicolon or tab.

    :raises InvalidInputError: names `file`: not there, not readable, not a table
    """
    try:
        with path.open("rb") as file:
            begin = file.read(4)
            if begin == _OLD_EXCEL:
                raise _bad("is an old or an encrypted Excel file: save it as .xlsx or CSV")
            if begin == _ZIP:
                _check_weight(path)
                return Table(path, None, sheet=sheet)
            if not begin:
                raise _bad("is empty")
            encoding = _encoding(path, begin)
    except OSError as error:
        raise _bad(f"{str(path)!r} cannot be read: {error.strerror}") from error
    if sheet is not None:
        raise InvalidInputError("is for spreadsheets", field="--sheet")
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


def _check_weight(path: Path) -> None:
    """Refuse what would fill the memory. The reader unpacks no more of a part than the archive declares."""
    with _readable(), zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    texts = sum(part.file_size for part in parts if part.filename.lower().endswith("sharedstrings.xml"))
    for weight, most in ((sum(part.file_size for part in parts), UNPACKED_MOST), (texts, TEXTS_MOST)):
        if weight > most:
            raise _bad(f"is larger than {most // 2**20} MiB when unpacked: save it as CSV")


@contextmanager
def _readable() -> Iterator[None]:
    """Whatever the reader stumbles over in a broken spreadsheet is the file's fault."""
    try:
        yield
    except (InvalidInputError, GeneratorExit):
        raise
    except Exception as error:
        raise _bad(f"cannot be read as a spreadsheet (.xlsx): {error}") from error


def _sheet_rows(table: Table) -> Iterator[NumberedRow]:
    from openpyxl import load_workbook

    # Given a path, openpyxl leaves a broken file open.
    with _readable(), table.path.open("rb") as file:
        book = load_workbook(file, read_only=True, data_only=True)
        try:
            sheet = _sheet(book, table.sheet)
            sheet.reset_dimensions()  # what the file says of its size need not be true
            first = next(
                (row for row in sheet.iter_rows(max_col=COLUMNS_MOST, values_only=True) if any(row)), ()
            )
            # Rows are filled up to the last column asked for, which would be most of the work.
            width = len(trimmed([_text(cell) for cell in first])) + 1
            for number, cells in enumerate(sheet.iter_rows(max_col=width, values_only=True), 1):
                yield number, [_text(cell) for cell in cells]
        finally:
            book.close()


def _sheet(book: Any, name: str | None) -> Any:
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    if name is not None and name not in sheets:
        raise InvalidInputError(f"there is no {name!r}, only {', '.join(sheets)}", field="--sheet")
    if not sheets:
        raise _bad("has no sheet")
    return sheets[name] if name is not None else next(iter(sheets.values()))


def _text(cell: Any) -> str:
    """Return a cell as it would stand in a CSV file."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        # 000090502121 typed as a number comes as 90502121.0, and 0.1 is meant, not its 55 digits.
        return str(int(cell)) if cell.is_integer() else f"{Decimal(repr(cell)):f}"
    if isinstance(cell, datetime):
        return cell.isoformat(" ")
    if isinstance(cell, date):
        return cell.isoformat()
    return str(cell).strip()


def trimmed(cells: Sequence[str]) -> list[str]:
    """Return cells without the empty ones at the end."""
    last = max((place for place, cell in enumerate(cells, 1) if cell), default=0)
    return list(cells[:last])
