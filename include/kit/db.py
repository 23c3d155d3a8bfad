"""The connection pool to the database `carillon` and its transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, LiteralString

from psycopg import AsyncConnection, AsyncCursor, InterfaceError, OperationalError
from psycopg.errors import QueryCanceled
from psycopg.rows import DictRow, dict_row
from psycopg.sql import Composed
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from include.errors import DatabaseUnavailableError
from include.settings import get_settings

Connection = AsyncConnection[DictRow]

#: What psycopg raises when the server went away, is starting, or does not answer.
UNAVAILABLE: tuple[type[Exception], ...] = (OperationalError, InterfaceError, PoolTimeout)

SERVER_KEEPALIVE = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=4"


class Database:
    """An asynchronous pool with a statement timeout on every connection.

    :param url: libpq URL, `postgresql://user:password@host:port/carillon`
    :param max_size: most connections of this process
    """

    def __init__(self, url: str, *, max_size: int | None = None) -> None:
        settings = get_settings()
        timeout_ms = int(settings.statement_timeout_seconds * 1000)
        self.url = url
        self.connect_options: dict[str, Any] = {
            "row_factory": dict_row,
            "application_name": "carillon",
            "connect_timeout": 5,
            # A dead machine is noticed in half a minute on both sides, not in two hours.
            "options": f"-c statement_timeout={timeout_ms} -c timezone=UTC {SERVER_KEEPALIVE}",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 4,
        }
        self.pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            kwargs=self.connect_options,
            min_size=1,
            max_size=max_size or settings.pool_size,
            timeout=10,
            # Attempts double their distance until then; starting over soon keeps it short after an outage.
            reconnect_timeout=3,
            open=False,
            check=AsyncConnectionPool.check_connection,
            name="carillon",
        )

    async def open(self) -> Database:
        """Start the pool; connections are made in the background."""
        await self.pool.open()
        return self

    async def close(self) -> None:
        await self.pool.close()

    async def connect(self) -> Connection:
        """Return a connection of its own, outside the pool, in autocommit mode (for LISTEN and locks).

        :raises DatabaseUnavailableError: the server cannot be reached
        """
        try:
            return await AsyncConnection.connect(self.url, autocommit=True, **self.connect_options)
        except UNAVAILABLE as error:
            raise DatabaseUnavailableError(f"the database cannot be reached: {_first_line(error)}") from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection in one transaction: committed at the end, rolled back on an error.

        :raises DatabaseUnavailableError: the server cannot be reached or went away
        """
        cancellations = _cancellations()
        try:
            async with self.pool.connection() as connection:
                # The pool waits by `asyncio.wait_for`, which before Python 3.12 loses a cancellation that
                # comes together with the connection (python/cpython#86296): a loop would go on for ever.
                if _cancellations() > cancellations:
                    raise asyncio.CancelledError
                yield connection
        except QueryCanceled as error:
            raise DatabaseUnavailableError("the database took too long to answer") from error
        except UNAVAILABLE as error:
            raise DatabaseUnavailableError(f"the database cannot be reached: {_first_line(error)}") from error


class Repository:
    """Runs statements on a connection whose transaction somebody else commits.

    :param always: parameters that every statement gets
    :cvar prepare: False: every statement is planned for its own parameters; None: after some times it may get
        a plan for any, which fits badly where conditions that do not apply must fall away first
    """

    prepare: ClassVar[bool | None] = None

    def __init__(self, connection: Connection, always: Mapping[str, Any] | None = None) -> None:
        self.connection = connection
        self.always = always or {}

    async def _rows(self, statement: LiteralString | Composed, **parameters: Any) -> list[Mapping[str, Any]]:
        """Run a statement and return its rows."""
        return list(await (await self._execute(statement, parameters)).fetchall())

    async def _run(self, statement: LiteralString | Composed, **parameters: Any) -> int:
        """Run a statement and return how many rows it touched."""
        return (await self._execute(statement, parameters)).rowcount

    async def _execute(
        self, statement: LiteralString | Composed, parameters: Mapping[str, Any]
    ) -> AsyncCursor[DictRow]:
        return await self.connection.execute(statement, {**self.always, **parameters}, prepare=self.prepare)


def database_url() -> str:
    """Return the URL of the database `carillon`.

    :raises DatabaseUnavailableError: no setting names one
    """
    url = get_settings().database_url
    if url is None:
        raise DatabaseUnavailableError("CARILLON_DATABASE_URL (or AIRFLOW_CONN_CARILLON_DB) is not set")
    # Airflow spells the scheme `postgres://` when it prints a connection as a URL.
    return url.get_secret_value().replace("postgres://", "postgresql://", 1)


def _cancellations() -> int:
    """Return how often the running task was asked to end."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
