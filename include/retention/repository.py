"""The statements by which the ledger is cut back."""

from __future__ import annotations

from datetime import UTC, datetime

from psycopg import sql

from include.kit.db import Connection
from include.kit.sql import load_queries
from include.retention.model import Month, Partition

queries = load_queries(__file__)


class RetentionRepository:
    """One method a statement, on a connection whose transaction somebody else commits."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def list_partitions(self) -> list[Partition]:
        cursor = await self.connection.execute(queries.list_partitions)
        return [Partition(**row) for row in await cursor.fetchall()]

    async def wait_briefly_for_locks(self) -> None:
        """From here to the end of the transaction a lock that is held is LockNotAvailable after a second."""
        await self.connection.execute(queries.wait_briefly_for_locks)

    async def lock_ledger(self) -> None:
        """Keep everybody else out until the end of the transaction."""
        await self.connection.execute(queries.lock_ledger)

    async def count_open(self, month: Month) -> int:
        starts = datetime(month.year, month.month, 1, tzinfo=UTC)
        cursor = await self.connection.execute(queries.count_open, {"starts": starts, "ends": month.ends})
        row = await cursor.fetchone()
        return int(row["open"]) if row else 0

    async def drop_month(self, month: Month) -> None:
        names = {table: sql.Identifier(month.partition_of(table)) for table in ("execution", "attempt")}
        await self.connection.execute(sql.SQL(queries.drop_month).format(**names))

    async def delete_stray(self, cutoff: datetime) -> tuple[int, int]:
        """Return how many executions and attempts were deleted."""
        attempts = await self.connection.execute(queries.delete_stray_attempts, {"cutoff": cutoff})
        executions = await self.connection.execute(queries.delete_stray_executions, {"cutoff": cutoff})
        return executions.rowcount, attempts.rowcount

    async def count_stray(self, cutoff: datetime) -> tuple[int, int]:
        """Return how many executions and attempts `delete_stray` would delete."""
        cursor = await self.connection.execute(queries.count_stray, {"cutoff": cutoff})
        row = await cursor.fetchone()
        return (row["executions"], row["attempts"]) if row else (0, 0)
