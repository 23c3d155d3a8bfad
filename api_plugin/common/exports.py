"""Exports: answers that are written while they are read, a few of them at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from fastapi import HTTPException
from starlette.responses import StreamingResponse

#: Each has a connection of its own to the database.
EXPORTS_MOST = 4

#: How the OpenAPI document declares one.
CSV_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "CSV", "content": {"text/csv": {}}},
    429: {"description": "too many exports are running"},
}

_running: set[object] = set()


async def csv_response(pieces: AsyncGenerator[str, None], filename: str) -> StreamingResponse:
    """Answer with pieces of CSV.

    What goes wrong before the first piece is told in the API's form, since the answer has not begun then.
    """
    bounded = _bounded(pieces)
    first = await anext(bounded)
    return StreamingResponse(
        _written(first, bounded),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )


async def _bounded(pieces: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """Have only so many exports at a time."""
    if len(_running) >= EXPORTS_MOST:
        raise HTTPException(429, f"{EXPORTS_MOST} exports are running already: try again later")
    ticket = object()
    _running.add(ticket)
    try:
        async for piece in pieces:
            yield piece
    finally:
        _running.discard(ticket)
        await pieces.aclose()


async def _written(first: str, rest: AsyncGenerator[str, None]) -> AsyncGenerator[bytes, None]:
    try:
        yield first.encode()
        async for piece in rest:
            yield piece.encode()
    finally:
        await rest.aclose()
