"""What the tests of events share: subscriptions, things that happen, and a courier."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg
from psycopg.types.json import Jsonb

from include.events.courier import Courier
from include.events.model import Subscription
from include.events.service import EventService
from include.kit.db import Database
from tests.integration.kit.peers import client


async def subscribe(
    database: Database, url: str, *, project: str = "p1", resource: str = "batchtask"
) -> tuple[Subscription, str]:
    """Return a new subscription and its secret."""
    async with database.transaction() as connection:
        return await EventService(connection).subscribe(project, url, [resource])


def happen(
    connection: psycopg.Connection, subject: str = "t1", status: str = "Processing", project: str = "p1"
) -> None:
    """Have something happen to a task."""
    told = Jsonb({"task_id": subject, "status": status})
    connection.execute("SELECT tell_event(%s, 'batchtask', 'update', %s, %s)", [project, subject, told])


def headers(request: bytes) -> dict[str, str]:
    """Return the headers of a request that a receiver heard, their names in lower case."""
    lines = request.split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def body(request: bytes) -> bytes:
    """Return the body of a request that a receiver heard."""
    return request.split(b"\r\n\r\n", 1)[1]


@asynccontextmanager
async def courier_at_work(
    database: Database, *, timeout: float = 5, poll: float = 60
) -> AsyncIterator[Courier]:
    """Run a courier; unless told otherwise it looks only when it hears that it should."""
    async with client() as outbound:
        courier = Courier(database, outbound, timeout=timeout, poll=poll)
        task = asyncio.create_task(courier.run())
        try:
            yield courier
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def until_settled(connection: psycopg.Connection, seconds: float = 30) -> list[dict]:
    """Return all events, in order, once none waits."""
    async with asyncio.timeout(seconds):
        while connection.execute("SELECT FROM event WHERE next_at IS NOT NULL").fetchall():
            await asyncio.sleep(0.02)
    return connection.execute("SELECT * FROM event ORDER BY id").fetchall()
