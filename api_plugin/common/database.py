"""The connection pool that all apps of a process share, and the transactions of requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, TypeVar
from weakref import WeakKeyDictionary

from fastapi import Depends
from psycopg.errors import DeadlockDetected, SerializationFailure
from starlette.requests import HTTPConnection

from include.errors import DatabaseUnavailableError
from include.kit.db import Connection, Database, database_url

log = logging.getLogger(__name__)

#: Two requests that took the same rows in another order: one of them goes again.
TRIES = 4

T = TypeVar("T")


@dataclass
class _Lease:
    database: Database | None = None
    users: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


#: A pool belongs to the event loop it was opened in.
_leases: WeakKeyDictionary[asyncio.AbstractEventLoop, _Lease] = WeakKeyDictionary()


@asynccontextmanager
async def shared_database() -> AsyncIterator[Database | None]:
    """Lend the pool of this event loop, opened by the first user and closed after the last.

    None where no setting names a database: Airflow's API server must start all the same.
    """
    try:
        url = database_url()
    except DatabaseUnavailableError as error:
        log.error("the REST APIs cannot work: %s", error)
        yield None
        return
    lease = _leases.setdefault(asyncio.get_running_loop(), _Lease())
    async with lease.lock:
        lease.users += 1
        database = lease.database = lease.database or await Database(url).open()
    try:
        yield database
    finally:
        async with lease.lock:
            lease.users -= 1
            if lease.users == 0:
                lease.database = None
                await database.close()


def get_database(connection: HTTPConnection) -> Database:
    """Return the pool of the app that serves this request.

    :raises DatabaseUnavailableError: there is none, by setting or because the app's lifespan did not run
    """
    database: Database | None = getattr(connection.app.state, "database", None)
    if database is None:
        raise DatabaseUnavailableError("this process has no database: is CARILLON_DATABASE_URL set?")
    return database


DatabaseDep = Annotated[Database, Depends(get_database)]


async def transact(database: Database, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Do a request's work in one transaction, again where it lost a deadlock to another request.

    :raises DatabaseUnavailableError: the database is away, or the work lost `TRIES` times
    """
    tries = 0
    while True:
        tries += 1
        try:
            async with database.transaction() as connection:
                return await work(connection)
        except DatabaseUnavailableError as error:
            lost = isinstance(error.__cause__, DeadlockDetected | SerializationFailure)
            if not lost or tries == TRIES:
                raise
