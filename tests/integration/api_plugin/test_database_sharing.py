"""One pool a process, and transactions that lost a deadlock."""

from __future__ import annotations

import pytest
from psycopg.errors import DeadlockDetected

from api_plugin.common.database import TRIES, shared_database, transact
from include.errors import DatabaseUnavailableError
from include.kit.db import Database


async def test_apps_share_a_pool_that_closes_after_the_last(database_url: str):
    async with shared_database() as first:
        async with shared_database() as second:
            assert first is second
        assert not first.pool.closed
    assert first.pool.closed
    async with shared_database() as third:
        assert third is not first
        async with third.transaction() as connection:
            await connection.execute("SELECT 1")


@pytest.mark.parametrize("losses", [0, 1, TRIES - 1])
async def test_what_lost_a_deadlock_goes_again(database: Database, losses: int):
    calls = []

    async def work(connection):
        calls.append(connection)
        if len(calls) <= losses:
            raise DeadlockDetected
        return "done"

    assert await transact(database, work) == "done"
    assert len(calls) == losses + 1


async def test_not_for_ever(database: Database):
    calls = []

    async def work(connection):
        calls.append(connection)
        raise DeadlockDetected

    with pytest.raises(DatabaseUnavailableError):
        await transact(database, work)
    assert len(calls) == TRIES


async def test_another_failure_is_not_tried_again(database: Database):
    calls = []

    async def work(connection):
        calls.append(connection)
        raise DatabaseUnavailableError

    with pytest.raises(DatabaseUnavailableError):
        await transact(database, work)
    assert len(calls) == 1
