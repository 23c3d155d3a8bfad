"""How the rows of a file become things: which column is what, what cells mean, where problems are."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from include.errors import RowProblem
from include.kit.db import Connection
from include.kit.headings import match_headings
from include.kit.validation import message_of
from include.metering.model import Tally
from include.metering.rows import ADDRESS_PARTS

ADDRESSES = tuple(f"address{part}" for part in range(1, ADDRESS_PARTS + 1))

#: What the column of the project may be called, in files of all kinds.
PROJECT_HEADINGS = ("project", "项目", "项目id", "项目编号")

MOMENTS = frozenset(("installed_at", "moved_in_at", "moved_out_at", "read_at"))

_MOMENT = re.compile(
    r"(?P<year>\d{4})[-/.年](?P<month>\d{1,2})[-/.月](?P<day>\d{1,2})日?"
    r"(?:[T\s]\s*(?P<hour>\d{1,2})[:时](?P<minute>\d{1,2})分?(?::?(?P<second>\d{1,2})(?P<fraction>\.\d{1,6})?秒?)?)?"
    r"\s*(?P<offset>Z|[+-]\d{2}:?\d{2})?"
)

Cells = Mapping[str, str]
Store = Callable[[Connection, str, Sequence[Any]], Awaitable[Tally]]


@dataclass(frozen=True, slots=True)
class Entry:
    """What one or several rows became, with the number of the first in the file."""

    number: int
    value: Any


@dataclass(frozen=True)
class ImportKind:
    """Something that can be imported.

    :ivar required: columns without which a file cannot be this
    :ivar group: columns that are the same in the rows that belong together; they make one thing
    :ivar key: columns of which no two things are the same
    :ivar headings: what its columns may be called besides their names; blanks, case and brackets do not count
    :ivar words: words in cells of some columns, and what they mean
    :ivar build: makes a thing of the cells of its rows, moments already in UTC. Raises ValidationError
    """

    columns: tuple[str, ...]
    required: tuple[str, ...]
    build: Callable[[Sequence[Mapping[str, Any]]], Any]
    store: Store
    headings: Mapping[str, Sequence[str]]
    words: Mapping[str, Mapping[str, str]]
    key: tuple[str, ...] = ("key",)
    group: tuple[str, ...] = ()

    def called(self, name: str) -> Sequence[str]:
        """Return what a column may be called besides its name."""
        return PROJECT_HEADINGS if name == "project_id" else self.headings[name]

    def read_headings(self, cells: Sequence[str]) -> list[str | None]:
        """Return what each column is, None for one without heading.

        :raises InvalidInputError: names `file`: columns are missing, unknown or there twice
        """
        called = {name: self.called(name) for name in ("project_id", *self.columns)}
        return match_headings(cells, called, self.required, _described(self))


def _described(kind: ImportKind) -> str:
    names = (f"{name} ({kind.called(name)[-1 if name in ADDRESSES else 0]})" for name in kind.columns)
    return f"{', '.join(names)}; needed are {', '.join(kind.required)}"


def parse_moment(text: str, zone: ZoneInfo) -> datetime:
    """Return the moment (UTC) that a cell means: local time without an offset; a bare date is its midnight.

    :raises ValueError: it means none
    """
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError("must be a moment such as 2026-11-22 09:30, 2026/11/22 or 2026-11-22T09:30:00+08:00")
    parts = [int(found[name] or 0) for name in ("year", "month", "day", "hour", "minute", "second")]
    micro = int(((found["fraction"] or ".")[1:]).ljust(6, "0"))
    offset = found["offset"]
    try:
        moment = datetime(*parts[:6], micro, tzinfo=zone)  # type: ignore[misc, arg-type]
        if offset:
            moment = datetime.fromisoformat(f"{moment.replace(tzinfo=None).isoformat()}{offset}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"is not a moment: {error}") from None


@dataclass
class RowReader:
    """Makes things of the rows of a file; what is wrong gathers in `problems`, by the headings of the file.

    :ivar names: of each column, None where it has none
    :ivar headings: as they stand in the file
    """

    kind: ImportKind
    names: Sequence[str | None]
    headings: Sequence[str]
    project_id: str
    zone: ZoneInfo
    problems: list[RowProblem] = field(default_factory=list)

    def entries(self, rows: Iterable[tuple[int, list[str]]]) -> Iterator[Entry]:
        """Return the things that can be made."""
        numbered = ((number, self._cells(number, cells)) for number, cells in rows)
        if not self.kind.group:
            groups: Iterable[list[tuple[int, dict[str, Any]]]] = ([row] for row in numbered)
        else:
            groups = (list(rows) for _, rows in groupby(numbered, key=self._group_of))
        for group in groups:
            made = self._build(group)
            if made is not None:
                yield made

    def heading(self, name: str) -> str:
        """Return what the file calls a field."""
        if name == "address":
            name = ADDRESSES[0]
        return self.headings[self.names.index(name)] if name in self.names else name

    def _group_of(self, row: tuple[int, dict[str, Any]]) -> tuple[Any, ...]:
        return tuple(row[1].get(name) for name in self.kind.group)

    def _cells(self, number: int, cells: Sequence[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for place, cell in enumerate(cells):
            name = self.names[place] if place < len(self.names) else None
            if not cell:
                continue
            if name is None:
                self.problems.append(RowProblem("", f"{cell!r} stands in a column without heading", number))
            elif name in MOMENTS:
                found[name] = self._moment(number, name, cell)
            else:
                found[name] = self.kind.words.get(name, {}).get(cell, cell)
        if found.pop("project_id", self.project_id) != self.project_id:
            self._complain(number, "project_id", f"is not {self.project_id!r}: import one project at a time")
        return found

    def _moment(self, number: int, name: str, cell: str) -> datetime | None:
        try:
            return parse_moment(cell, self.zone)
        except ValueError as error:
            self._complain(number, name, str(error))
            return None

    def _build(self, group: Sequence[tuple[int, dict[str, Any]]]) -> Entry | None:
        before = len(self.problems)
        numbers = [number for number, _ in group]
        try:
            value = self.kind.build([cells for _, cells in group])
        except ValidationError as error:
            for item in error.errors(include_url=False, include_input=False):
                self._tell(item, numbers)
            return None
        return Entry(numbers[0], value) if len(self.problems) == before else None

    def _tell(self, item: Mapping[str, Any], numbers: Sequence[int]) -> None:
        """Tell what a model found wrong, in the words and at the place of the file."""
        place = list(item["loc"])
        number = numbers[0]
        match place:
            case ["address", int(part), *_]:
                name = ADDRESSES[part]
            case ["registers", int(row), *rest]:
                number, name = numbers[row], str(rest[0]) if rest else "register"
            case ["readings", kind, *rest]:
                name = "register" if rest else "initial_reading"
                number = next((n for n in numbers if kind), number)
            case [first, *_]:
                name = str(first)
            case _:
                name = ""
        name = "register" if name == "kind" else name
        told = {one.field for one in self.problems if one.row == number}
        if self.heading(name) in told or (told and not name):
            return  # a moment that cannot be read is missing, too, and what hangs together lacks a part
        self._complain(number, name, message_of(item))

    def _complain(self, number: int, name: str, message: str) -> None:
        self.problems.append(RowProblem(self.heading(name), message, number))
