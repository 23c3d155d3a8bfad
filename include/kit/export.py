"""Tables as CSV in constant memory, of one moment: pieces of text from one snapshot of the database.

The snapshot has a connection of its own, which the slowest reader cannot take from the pool, and which the
server ends when that reader stops reading.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from psycopg import IsolationLevel

from include.errors import DatabaseUnavailableError
from include.kit.db import UNAVAILABLE, Connection, Database

#: How long the client may take to read a piece.
PATIENCE: Final = "120s"

BOM: Final = "\ufeff"

#: What a spreadsheet would take for the beginning of a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@asynccontextmanager
async def snapshot(database: Database) -> AsyncIterator[Connection]:
    """Lend a connection that sees one moment and changes nothing.

    :raises DatabaseUnavailableError: the database is away, or the reader was too slow
    """
    try:
        async with await database.connect() as connection:
            await connection.execute(
                "SELECT set_config('idle_in_transaction_session_timeout', %s, false)", [PATIENCE]
            )
            await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
            await connection.set_read_only(True)
            async with connection.transaction():
                yield connection
    except UNAVAILABLE as error:
        raise DatabaseUnavailableError("the export was broken off") from error


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as CSV (RFC 4180)."""
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue()


def harmless(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
