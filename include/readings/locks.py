"""The lock between readings and billing runs, of which a project has one.

Whoever records readings shares it until commit. A billing run closes it for the moment in which it picks its
cutoff: by then every reading recorded earlier is committed, and each one after is recorded later.
"""

from __future__ import annotations

import hashlib

from include.kit.db import Connection
from include.kit.sql import load_queries

queries = load_queries(__file__)


async def share_readings(connection: Connection, project_id: str) -> None:
    """Hold off cutoffs of a project until this transaction ends."""
    await connection.execute(queries.share_readings, {"key": _key(project_id)})


async def close_readings(connection: Connection, project_id: str) -> None:
    """Wait for readings that are being recorded, and hold off others until this transaction ends."""
    await connection.execute(queries.close_readings, {"key": _key(project_id)})


def _key(project_id: str) -> int:
    """Return the key of a project: 64 bits of a hash, so that two projects hardly ever share one."""
    digest = hashlib.sha256(b"readings:" + project_id.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
