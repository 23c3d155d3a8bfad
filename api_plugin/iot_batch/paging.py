"""Lists and times as document 004 has them: pages by marker and offset, the newest first (research A1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel

from include.kit.ids import LAST_ID

Marker = Annotated[
    str, Query(pattern="^[0-9a-fA-F]{24}$", description="the last id of the page before: rows older than it")
]
Offset = Annotated[int, Query(ge=0, le=500, description="rows to skip after the marker")]
Limit = Annotated[int, Query(ge=1, le=50, description="most rows of a page")]

FIRST = LAST_ID


class PageInfo(BaseModel):
    """`page` of a list: how many rows match on all pages, and the last id of this one."""

    count: int
    marker: str | None


def page_info(count: int, ids: Sequence[str]) -> PageInfo:
    """Return the page of these ids; an empty one has no marker."""
    return PageInfo(count=count, marker=ids[-1] if ids else None)


def iot_time(moment: datetime) -> str:
    """Return a moment as `20151212T121212Z`."""
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"
