"""Gathers what is wrong with the rows of a call, so that a client learns of all of it at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from include.errors import (
    ConflictError,
    ConflictingRowsError,
    InvalidInputError,
    InvalidRowsError,
    RowProblem,
)


class Problems:
    """What is wrong with rows; `index` counts them from 0, as a list does."""

    def __init__(self) -> None:
        self.invalid: list[RowProblem] = []
        self.conflicts: list[RowProblem] = []

    def refuse(self, index: int, field: str, message: str) -> None:
        """The row cannot be used, whatever is stored."""
        self.invalid.append(RowProblem(field, message, index + 1))

    def contradict(self, index: int, field: str, message: str) -> None:
        """The row contradicts what is stored."""
        self.conflicts.append(RowProblem(field, message, index + 1))

    def check(self) -> None:
        """Raise InvalidRowsError if anything is wrong; ConflictingRowsError if nothing but conflicts."""
        if self.invalid:
            raise InvalidRowsError(sorted([*self.invalid, *self.conflicts], key=lambda one: one.row or 0))
        if self.conflicts:
            raise ConflictingRowsError(self.conflicts)


def refuse_twice(problems: Problems, field: str, keys: Iterable[object]) -> None:
    """Refuse rows whose key stood in an earlier row."""
    first: dict[object, int] = {}
    for index, key in enumerate(keys):
        if first.setdefault(key, index) != index:
            problems.refuse(index, field, f"stands in row {first[key] + 1} already")


@contextmanager
def alone(**fields: str) -> Iterator[None]:
    """Turn an error about rows into one about the only row that there is.

    :param fields: what the caller calls fields of the row
    """
    try:
        yield
    except (InvalidRowsError, ConflictingRowsError) as error:
        kind = InvalidInputError if isinstance(error, InvalidInputError) else ConflictError
        problem = error.problems[0]
        raise kind(problem.message, field=fields.get(problem.field, problem.field) or None) from None
