"""Named SQL statements: one `queries.sql` a domain, or a few files where there are many; read once.

A file holds blocks of this form; the purpose line is a comment like any other::

    -- name: find_schedule
    -- The schedule with this id.
    SELECT ...
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

_HEADER = re.compile(r"^-- name: (?P<name>[a-z][a-z0-9_]*)\s*$", re.MULTILINE)


class Queries:
    """The statements of one file, read as attributes: `queries.find_schedule`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.statements = _split(path.read_text(encoding="utf-8"), path)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.statements[name]
        except KeyError:
            raise AttributeError(f"no statement named {name!r} in {self.path}") from None


@lru_cache
def load_queries(module_file: str, name: str = "queries.sql") -> Queries:
    """Return the statements of a file beside a module: `load_queries(__file__)`."""
    return Queries(Path(module_file).with_name(name))


def _split(text: str, path: Path) -> dict[str, str]:
    statements: dict[str, str] = {}
    headers = list(_HEADER.finditer(text))
    for header, following in zip(headers, [*headers[1:], None], strict=True):
        name = header["name"]
        if name in statements:
            raise ValueError(f"{path}: two statements are named {name!r}")
        end = following.start() if following else len(text)
        statements[name] = text[header.end() : end].strip()
    return statements
