"""Asking runs to look again at bills that a change may have made wrong.

A run honours the requests that were made by its cutoff, and then forgets them. So a request bears a moment of
the database within a transaction that shares the project's lock (`locks.py`): either it is committed when the
cutoff is taken, or it is later. Whoever changes what bills are made of shares the lock before it locks rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from include.kit.db import Connection
from include.kit.sql import load_queries
from include.readings.locks import share_readings

queries = load_queries(__file__)


async def request_rerates(connection: Connection, project_id: str, since: Mapping[int, datetime]) -> None:
    """Ask for another look at the bills of service points, by id, that end after a moment.

    Those without such a bill are left out, unless a run may be making one.
    """
    if not since:
        return
    await share_readings(connection, project_id)
    await connection.execute(
        queries.request_rerates,
        {"project_id": project_id, "service_point_ids": list(since), "since": list(since.values())},
    )
