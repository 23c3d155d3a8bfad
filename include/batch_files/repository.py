"""The statements on uploaded files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import TextIO

from include.batch_files.model import BatchFile, Contents
from include.kit.db import Repository
from include.kit.sql import load_queries

queries = load_queries(__file__)

#: Rows that are handed over at once.
PIECE = 1000


class BatchFileRepository(Repository):
    """One method a statement, inside the caller's transaction."""

    async def delete_expired(self, now: datetime) -> None:
        await self._run(queries.delete_expired, now=now)

    async def lock_owner(self, project_id: str, owner: str) -> None:
        await self._run(queries.lock_owner, project_id=project_id, owner=owner)

    async def file_names(self, project_id: str, owner: str, now: datetime) -> list[str]:
        rows = await self._rows(queries.file_names, project_id=project_id, owner=owner, now=now)
        return [row["file_name"] for row in rows]

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
        [row] = await self._rows(
            queries.insert_file,
            file_id=file_id,
            project_id=project_id,
            owner=owner,
            file_name=file_name,
            columns=list(contents.columns),
            rows=contents.rows,
            now=now,
            expires_at=expires_at,
        )
        return BatchFile(**row)

    async def copy_rows(self, file: BatchFile, spool: TextIO) -> None:
        """Store rows from a spool, which has them as `COPY` takes them but for the file."""
        async with self.connection.cursor().copy(queries.copy_rows) as copy:
            while lines := list(islice(spool, PIECE)):
                await copy.write("".join(f"{file.id}\t{line}" for line in lines))

    async def list_files(self, project_id: str, owner: str, now: datetime) -> Sequence[BatchFile]:
        rows = await self._rows(queries.list_files, project_id=project_id, owner=owner, now=now)
        return [BatchFile(**row) for row in rows]

    async def find_file(self, project_id: str, file_id: str, now: datetime) -> BatchFile | None:
        rows = await self._rows(queries.find_file, project_id=project_id, file_id=file_id, now=now)
        return BatchFile(**rows[0]) if rows else None

    async def expire_file(self, project_id: str, owner: str, file_id: str, now: datetime) -> bool:
        expired = await self._run(
            queries.expire_file, project_id=project_id, owner=owner, file_id=file_id, now=now
        )
        return expired > 0
