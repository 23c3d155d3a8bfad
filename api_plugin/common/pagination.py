"""Keyset paging: a page says where the next one begins, and no page costs more than the first."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field

from include.errors import InvalidInputError

PAGE_DEFAULT, PAGE_MOST = 50, 500
_BIGINT = 2**63

Item = TypeVar("Item")
Shown = TypeVar("Shown")

PageLimit = Annotated[int, Query(ge=1, le=PAGE_MOST, description="most items of a page")]
KeyCursor = Annotated[str | None, Query(max_length=1000, description="`next` of the page before")]
PageCursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before")]


class Page(BaseModel, Generic[Item]):
    """A page of a list; `next` is null on the last one."""

    items: list[Item]
    next: str | None = Field(description="give it as `cursor` to get the page after this one")


def id_cursor(last_id: int) -> str:
    """Return the cursor of a list ordered by id."""
    return _encode([last_id])


def read_id_cursor(cursor: str | None) -> int:
    """Return the id after which a page begins. Raises InvalidInputError naming `cursor`."""
    if cursor is None:
        return 0
    match _decode(cursor):
        case [int(last_id)] if 0 <= last_id < _BIGINT:
            return last_id
    raise _bad_cursor()


def page_of(
    rows: Sequence[Item],
    limit: int,
    show: Callable[[Item], Shown],
    cursor: Callable[[Item], str] = lambda row: id_cursor(row.id),  # type: ignore[attr-defined]
) -> Page[Shown]:
    """Return a page of what was read, up to `limit + 1` rows: the last one only says that more follow.

    :param show: writes a row as clients see it
    :param cursor: of the page that begins after a row
    """
    page = rows[:limit]
    return Page(items=[show(row) for row in page], next=cursor(page[-1]) if len(rows) > limit else None)


def key_cursor(last_key: str) -> str:
    """Return the cursor of a list ordered by a key of its client's."""
    return _encode([last_key])


def read_key_cursor(cursor: str | None) -> str:
    """Return the key after which a page begins. Raises InvalidInputError naming `cursor`."""
    if cursor is None:
        return ""
    match _decode(cursor):
        case [str(last_key)] if last_key.isprintable():
            return last_key
    raise _bad_cursor()


def pair_cursor(first: str, second: str) -> str:
    """Return the cursor of a list ordered by two keys."""
    return _encode([first, second])


def read_pair_cursor(cursor: str | None) -> tuple[str, str]:
    """Return the keys after which a page begins. Raises InvalidInputError naming `cursor`."""
    if cursor is None:
        return "", ""
    match _decode(cursor):
        case [str(first), str(second)] if first.isprintable() and second.isprintable():
            return first, second
    raise _bad_cursor()


def moment_cursor(moment: datetime, last_id: int) -> str:
    """Return the cursor of a list ordered by (moment, id)."""
    return _encode([moment.isoformat(), last_id])


def read_moment_cursor(cursor: str | None) -> tuple[datetime, int] | None:
    """Return the (moment, id) before which a page begins. Raises InvalidInputError naming `cursor`."""
    if cursor is None:
        return None
    match _decode(cursor):
        case [str(text), int(last_id)] if 0 <= last_id < _BIGINT:
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                raise _bad_cursor() from None
            if moment.tzinfo is not None:
                return moment, last_id
    raise _bad_cursor()


def _encode(parts: list[object]) -> str:
    return (
        base64.urlsafe_b64encode(json.dumps(parts, separators=(",", ":"), ensure_ascii=False).encode())
        .decode()
        .rstrip("=")
    )


def _decode(cursor: str) -> object:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        raise _bad_cursor() from None


def _bad_cursor() -> InvalidInputError:
    return InvalidInputError("is not the `next` of a page", field="cursor")
