"""What is listened for in the parts of a spreadsheet (ECMA-376), as expat tells it.

A listener keeps nothing that grows with the part but what it was made to gather, and raises ValueError where
the part is no spreadsheet's. Tags are told by their names alone: there are two sets of namespaces in use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache

from include.errors import InvalidInputError
from include.kit.cells import moment_text, number_text

COLUMNS_MOST = 256
#: What a cell can hold in any spreadsheet program, and its last row.
CELL_LONGEST, ROWS_MOST = 32_767, 1_048_576
DEPTH_MOST = 64

_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")

#: The number of a row as a spreadsheet shows it, and its cells.
NumberedRow = tuple[int, list[str]]
Attributes = Mapping[str, str]


class Listener:
    """Hears a part: `begin_x` and `end_x` of a subclass hear the tag x.

    :ivar pieces: texts that were heard while `listening`
    """

    def __init__(self) -> None:
        self.depth = 0
        self.pieces: list[str] = []
        self.listening = False
        self.begins: dict[str, Callable[[Attributes], None]] = {}
        self.ends: dict[str, Callable[[], None]] = {}

    def start(self, tag: str, attributes: Attributes) -> None:
        self.depth += 1
        if self.depth > DEPTH_MOST:
            raise ValueError(f"its tags are nested deeper than {DEPTH_MOST}")
        begin = self.begins.get(tag)
        if begin is None:
            begin = self.begins[tag] = self.beginning(tag.rpartition(" ")[2])
        begin(attributes)

    def end(self, tag: str) -> None:
        self.depth -= 1
        end = self.ends.get(tag)
        if end is None:
            end = self.ends[tag] = getattr(self, f"end_{tag.rpartition(' ')[2]}", _nothing)
        end()

    def beginning(self, name: str) -> Callable[[Attributes], None]:
        """Return what hears tags of this name begin."""
        found: Callable[[Attributes], None] = getattr(self, f"begin_{name}", _nothing)
        return found

    def characters(self, text: str) -> None:
        if self.listening:
            self.pieces.append(text)


class Tags(Listener):
    """Gathers tags of some names with their attributes."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__()
        self.names = names
        self.found: list[tuple[str, Attributes]] = []

    def beginning(self, name: str) -> Callable[[Attributes], None]:
        if name not in self.names:
            return _nothing
        return lambda attributes: self.found.append((name, attributes))


class Texts(Listener):
    """Hears texts (`t`), but not how they are pronounced (`rPh`)."""

    phonetic = False

    def begin_t(self, attributes: Attributes) -> None:
        self.listening = not self.phonetic

    def end_t(self) -> None:
        self.listening = False

    def begin_rPh(self, attributes: Attributes) -> None:
        self.phonetic = True

    def end_rPh(self) -> None:
        self.phonetic = False


class SharedTexts(Texts):
    """Gathers the texts that cells refer to."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def begin_si(self, attributes: Attributes) -> None:
        self.pieces = []

    def end_si(self) -> None:
        self.texts.append(_unescaped("".join(self.pieces)))


class Sheet(Texts):
    """Gathers rows of cells.

    :param texts: that cells refer to
    :param dates: cell styles that show a date or a time
    :ivar ready: rows that have ended
    """

    number = 0

    def __init__(self, texts: Sequence[str], dates: Collection[str], *, since_1904: bool) -> None:
        super().__init__()
        self.texts, self.dates, self.since_1904 = texts, dates, since_1904
        self.ready: list[NumberedRow] = []
        self.begin_row({})
        self.begin_c({})
        self.number = 0

    def begin_row(self, attributes: Attributes) -> None:
        told = attributes.get("r")
        number = int(told) if told else self.number + 1
        if not self.number < number <= ROWS_MOST:
            raise ValueError(f"row {number} follows row {self.number}")
        self.number, self.column = number, 0
        self.cells: list[str] = []

    def end_row(self) -> None:
        self.ready.append((self.number, self.cells))

    def begin_c(self, attributes: Attributes) -> None:
        reference = attributes.get("r")
        self.column = _column(reference.rstrip("0123456789")) if reference else self.column + 1
        self.kind, self.style = attributes.get("t", "n"), attributes.get("s")
        self.formula = self.valued = False
        self.length = 0
        self.pieces = []

    def begin_f(self, attributes: Attributes) -> None:
        self.formula = True

    def begin_v(self, attributes: Attributes) -> None:
        self.valued = self.listening = True

    def end_v(self) -> None:
        self.listening = False

    def characters(self, text: str) -> None:
        if self.listening:
            self.length += len(text)
            if self.length > CELL_LONGEST:
                raise ValueError(f"row {self.number} has a cell of more than {CELL_LONGEST} characters")
            self.pieces.append(text)

    def end_c(self) -> None:
        if self.formula and not self.valued:
            raise InvalidInputError(
                f"row {self.number} has a formula without its value:"
                " open the file in a spreadsheet program and save it",
                field="file",
            )
        if self.pieces and self.column <= COLUMNS_MOST:
            self.cells += [""] * (self.column - len(self.cells))
            self.cells[self.column - 1] = self._text("".join(self.pieces)).strip()

    def _text(self, told: str) -> str:
        if self.kind == "s":
            place = int(told)
            if not 0 <= place < len(self.texts):
                raise ValueError(f"row {self.number} refers to a text that is not there")
            return self.texts[place]
        if self.kind == "n":
            if self.style in self.dates:
                return moment_text(float(told), since_1904=self.since_1904)
            return told if told.isdecimal() else number_text(float(told))
        if self.kind == "b":
            return "TRUE" if told == "1" else "FALSE"
        return _unescaped(told)


def _nothing(*_: object) -> None:
    """Hear a tag that does not matter."""


@lru_cache(maxsize=1024)
def _column(letters: str) -> int:
    """Return the number of a column: A is 1."""
    number = 0
    for letter in letters.upper():
        if not "A" <= letter <= "Z" or number > COLUMNS_MOST**2:
            raise ValueError(f"{letters!r:.20} is not a column")
        number = number * 26 + ord(letter) - 64
    return number


def _unescaped(text: str) -> str:
    """Return a text with the characters that XML cannot hold (ECMA-376, 22.9.2.19)."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text
