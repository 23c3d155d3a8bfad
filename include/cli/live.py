"""A table that is drawn again and again, on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.live import Live
from rich.table import Table

from include.cli.progress import stdout


@contextmanager
def drawing() -> Iterator[Callable[[Table], None]]:
    """Lend what draws the next state of a table in the place of the one before."""
    with Live(console=stdout, auto_refresh=False) as live:
        yield lambda table: live.update(table, refresh=True)
