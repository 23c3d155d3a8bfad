"""The rows of a spreadsheet (.xlsx, ECMA-376), one after the other, whatever the file claims to be.

What comes out of the archive goes straight through expat: no more is in memory than a row and the table of
shared texts. Everything has its limit, so that neither a broken file nor a bomb fills the memory (ADR 0018).
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO
from xml.parsers.expat import ParserCreate

from include.errors import InvalidInputError
from include.kit.xlsx_parts import Attributes, Listener, NumberedRow, SharedTexts, Sheet, Tags

#: A tag, or a text without one in it, that is longer than this is no spreadsheet's; so are more names of tags
#: and attributes, which the parser keeps.
TOKEN_LONGEST, NAMES_MOST = 2**20, 10_000
#: A part that shrinks to less than one in so many, and is not small, was made to fill memories.
RATIO_MOST, SMALL = 200, 2**20

_BLOCK = 2**16
#: Number formats of dates and times that need no definition (ECMA-376, 18.8.30).
_DATE_FORMATS = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})
#: Of a format: texts, escaped characters, colours and conditions, but not elapsed hours.
_LITERAL = re.compile(r'"[^"]*"|[\\_*].|\[(?![hms]+\])[^\]]*\]', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Weights:
    """Most bytes that a spreadsheet may have unpacked, and its table of shared texts alone."""

    unpacked: int
    texts: int


#: Of a file that an operator loads: some million rows.
WEIGHTS = Weights(512 * 2**20, 128 * 2**20)


class Spreadsheet:
    """An open spreadsheet; whatever it raises is the file's fault.

    :ivar sheets: part of the archive by name of the sheet
    """

    def __init__(self, file: BinaryIO, weights: Weights) -> None:
        self.archive = zipfile.ZipFile(file)
        _check_weight(self.archive.infolist(), weights)
        # Programs differ in how they spell the names of parts.
        self.parts = {info.filename.lower(): info.filename for info in self.archive.infolist()}
        book = next((t for kind, t in self._relations("").values() if kind == "officeDocument"), None)
        if book is None:
            raise ValueError("it has no workbook")
        related = self._relations(book)
        self.texts_part = next((t for kind, t in related.values() if kind == "sharedStrings"), None)
        self.styles_part = next((t for kind, t in related.values() if kind == "styles"), None)
        self.sheets: dict[str, str] = {}
        self.since_1904 = False
        for tag, attributes in self._tags(book, "workbookPr", "sheet"):
            if tag == "workbookPr":
                self.since_1904 = attributes.get("date1904") in ("1", "true")
                continue
            kind, target = related[next(v for name, v in attributes.items() if name.endswith(" id"))]
            if kind == "worksheet":
                self.sheets[attributes["name"]] = target

    def rows(self, name: str) -> Iterator[NumberedRow]:
        """Return the rows of a sheet; cells that are empty at the end of a row are left out."""
        sheet = Sheet(self._texts(), self._date_styles(), since_1904=self.since_1904)
        for _ in self._parse(self.sheets[name], sheet):
            yield from sheet.ready
            sheet.ready.clear()

    def _texts(self) -> list[str]:
        shared = SharedTexts()
        if self.texts_part:
            for _ in self._parse(self.texts_part, shared):
                pass
        return shared.texts

    def _date_styles(self) -> set[str]:
        """Return the cell styles that show a date or a time: their places in the list `cellXfs`."""
        dates: set[str] = set()
        if self.styles_part is None:
            return dates
        formats = set(map(str, _DATE_FORMATS))
        place: int | None = None
        lists = ("cellStyleXfs", "cellXfs", "cellStyles", "dxfs")
        for tag, attributes in self._tags(self.styles_part, "numFmt", "xf", *lists):
            if tag in lists:
                place = 0 if tag == "cellXfs" else None
            elif tag == "numFmt":
                if _shows_moment(attributes.get("formatCode", "")):
                    formats.add(attributes["numFmtId"])
            elif place is not None:
                if attributes.get("numFmtId") in formats:
                    dates.add(str(place))
                place += 1
        return dates

    def _relations(self, part: str) -> dict[str, tuple[str, str]]:
        """Return what a part refers to: kind and target by id."""
        folder, name = posixpath.split(part)
        return {
            attributes["Id"]: (
                attributes["Type"].rpartition("/")[2],
                posixpath.normpath(posixpath.join("/", folder, attributes["Target"])).lstrip("/"),
            )
            for _, attributes in self._tags(posixpath.join(folder, "_rels", f"{name}.rels"), "Relationship")
        }

    def _tags(self, part: str, *names: str) -> Iterator[tuple[str, Attributes]]:
        """Return the tags of these names in a part."""
        tags = Tags(names)
        for _ in self._parse(part, tags):
            yield from tags.found
            tags.found.clear()

    def _parse(self, part: str, listener: Listener) -> Iterator[None]:
        """Send a part through a parser, and stop after each block of it."""
        names: dict[str, str] = {}
        parser = ParserCreate(namespace_separator=" ", intern=names)
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse_entities
        parser.StartElementHandler, parser.EndElementHandler = listener.start, listener.end
        parser.CharacterDataHandler = listener.characters
        fed = 0
        with self.archive.open(self.parts.get(part.lower(), part)) as stream:
            while block := stream.read(_BLOCK):
                parser.Parse(block)
                fed += len(block)
                if fed - parser.CurrentByteIndex > TOKEN_LONGEST or len(names) > NAMES_MOST:
                    raise ValueError(f"{part} has tags that no spreadsheet has")
                yield
            parser.Parse(b"", True)
            yield


def _check_weight(parts: Sequence[zipfile.ZipInfo], weights: Weights) -> None:
    """Refuse what would fill the memory. No more of a part is unpacked than the archive declares."""
    texts = [part for part in parts if part.filename.lower().endswith("sharedstrings.xml")]
    for some, most in ((parts, weights.unpacked), (texts, weights.texts)):
        if sum(part.file_size for part in some) > most:
            raise _too_heavy(f"is larger than {most // 2**20} MiB when unpacked")
    for part in parts:
        if part.file_size > max(SMALL, RATIO_MOST * part.compress_size):
            raise _too_heavy(f"has a part that unpacks to more than {RATIO_MOST} times its size")


def _too_heavy(message: str) -> InvalidInputError:
    return InvalidInputError(f"{message}: save it as CSV", field="file")


def _refuse_entities(*_: object) -> None:
    raise ValueError("it declares a document type")


def _shows_moment(code: str) -> bool:
    """Return whether a number format shows a date or a time: it has letters of one outside of texts."""
    return re.search("[dmyhs]", _LITERAL.sub("", code.partition(";")[0]), re.IGNORECASE) is not None
