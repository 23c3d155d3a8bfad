"""A table that is drawn again and again, on a terminal; lines in a pipe."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.live import Live
from rich.table import Table

from include.cli.progress import stdout

S = TypeVar("S")


@contextmanager
def drawing() -> Iterator[Callable[[Table], None]]:
    """Lend what draws the next state of a table in the place of the one before."""
    with Live(console=stdout, auto_refresh=False) as live:
        yield lambda table: live.update(table, refresh=True)


@contextmanager
def showing(
    table: Callable[[S], Table], news: Callable[[S], Iterable[tuple[Hashable, str]]], *, as_json: bool
) -> Iterator[Callable[[S], None]]:
    """Lend what shows a story as it goes: its table on a terminal, else each line of its news once.

    :param news: what each line is about, and the line
    :param as_json: whether standard output is for a document, and nothing is shown
    """
    if stdout.is_terminal and not as_json:
        with drawing() as draw:
            yield lambda story: draw(table(story))
        return
    told: set[Hashable] = set()

    def tell(story: S) -> None:
        for about, line in news(story):
            if about not in told and not as_json:
                stdout.print(line, markup=False)
            told.add(about)

    yield tell
