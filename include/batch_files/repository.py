"""The statements on uploaded files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import TextIO

from include.batch_files.model import BatchFile, Contents
from include.kit.db import Connection
from include.kit.sql import load_queries

queries = load_queries(__file__)

#: Rows that are handed over at once.
PIECE = 1000


class BatchFileRepository:
    """One method a statement, inside the caller's transaction."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def delete_expired(self, now: datetime) -> None:
        await self.connection.execute(queries.delete_expired, {"now": now})

    async def lock_owner(self, project_id: str, owner: str) -> None:
        await self.connection.execute(queries.lock_owner, {"project_id": project_id, "owner": owner})

    async def file_names(self, project_id: str, owner: str, now: datetime) -> list[str]:
        values = {"project_id": project_id, "owner": owner, "now": now}
        cursor = await self.connection.execute(queries.file_names, values)
        return [row["file_name"] for row in await cursor.fetchall()]

    async def insert_file(
        self,
        file_id: str,
        project_id: str,
        owner: str,
        file_name: str,
        contents: Contents,
        *,
        now: datetime,
        expires_at: datetime,
    ) -> BatchFile:
        values = {
            "file_id": file_id,
            "project_id": project_id,
            "owner": owner,
            "file_name": file_name,
            "columns": list(contents.columns),
            "rows": contents.rows,
            "now": now,
            "expires_at": expires_at,
        }
        [row] = await (await self.connection.execute(queries.insert_file, values)).fetchall()
        return BatchFile(**row)

    async def copy_rows(self, file: BatchFile, spool: TextIO) -> None:
        """Store rows from a spool, which has them as `COPY` takes them but for the file."""
        async with self.connection.cursor().copy(queries.copy_rows) as copy:
            while lines := list(islice(spool, PIECE)):
                await copy.write("".join(f"{file.id}\t{line}" for line in lines))

    async def list_files(self, project_id: str, owner: str, now: datetime) -> Sequence[BatchFile]:
        values = {"project_id": project_id, "owner": owner, "now": now}
        cursor = await self.connection.execute(queries.list_files, values)
        return [BatchFile(**row) for row in await cursor.fetchall()]

    async def find_file(self, project_id: str, file_id: str, now: datetime) -> BatchFile | None:
        values = {"project_id": project_id, "file_id": file_id, "now": now}
        row = await (await self.connection.execute(queries.find_file, values)).fetchone()
        return BatchFile(**row) if row else None

    async def expire_file(self, project_id: str, owner: str, file_id: str, now: datetime) -> bool:
        values = {"project_id": project_id, "owner": owner, "file_id": file_id, "now": now}
        return (await self.connection.execute(queries.expire_file, values)).rowcount > 0
