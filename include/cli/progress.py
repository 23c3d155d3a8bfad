"""What a command tells people while it works: one line per stage, with the time since it began."""

from __future__ import annotations

import time

from rich.console import Console
from rich.markup import escape

#: Results go to standard output, everything else here.
stderr = Console(stderr=True, highlight=False, soft_wrap=True)
stdout = Console(highlight=False, soft_wrap=True)


class Progress:
    """Prints `[ 1.2 s] what happens now` on standard error."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begin

    def say(self, text: str) -> None:
        """Print a line."""
        stderr.print(f"[dim]\\[{self.elapsed:5.1f} s][/dim] {escape(text)}")
