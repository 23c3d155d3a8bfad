"""Clients of the device timers' API, and devices."""

from __future__ import annotations

import httpx
import psycopg
import pytest

from tests.builders import serve
from tests.timer_rows import LAMP, insert_device, jwt_of


@pytest.fixture
def lamp(connection: psycopg.Connection) -> str:
    """A device that is bound to alice."""
    insert_device(connection)
    return LAMP


@pytest.fixture
async def client(database_url: str, parse_requests: list[str], lamp: str):
    """A client of alice's."""
    async with serve("timers") as client:
        client.headers["Authorization"] = f"jwt {jwt_of()}"
        yield client


@pytest.fixture
async def stranger(client: httpx.AsyncClient):
    """A client of somebody who is bound to no device."""
    async with serve("timers") as other:
        other.headers["Authorization"] = f"jwt {jwt_of('mallory')}"
        yield other
