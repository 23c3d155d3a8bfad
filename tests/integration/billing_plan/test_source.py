"""The source of readings that an Airflow connection names, asked by a billing run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.billing_plan.source import SourceLogin, pulling
from include.kit.db import Database
from tests.billing_rows import PROJECT, insert_place

AT = datetime(2026, 6, 1, tzinfo=UTC)


@asynccontextmanager
async def serving(requests: list[str]) -> AsyncIterator[str]:
    """Serve a reading of every meter a minute before the moment that is asked for."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-len"))
        asked = json.loads(await reader.readexactly(length))
        requests.append(head)
        moment = (datetime.fromisoformat(asked["at"]) - timedelta(minutes=1)).isoformat()
        rows = [{"device_id": one, "read_at": moment, "value": "12.5"} for one in asked["device_ids"]]
        body = json.dumps({"readings": rows}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.usefixtures("local_targets")
async def test_readings_come_before_the_bill(database: Database, connection: psycopg.Connection) -> None:
    insert_place(connection)
    heads: list[str] = []
    async with serving(heads) as url, pulling(database, SourceLogin(url, token="abc")) as pull:
        assert pull is not None
        words = await pull(PROJECT, "electricity", AT)
        again = await pull(PROJECT, "electricity", AT)
    assert words == (
        "readings: 1 meters lacked one, 1 came from the source, 0 in doubt, 0 not usable; 0 without an answer"
    )
    assert again.startswith("readings: 0 meters lacked one")
    [head] = heads
    assert head.startswith("POST /readings/query ")
    assert "Authorization: Bearer abc" in head
    row = connection.execute("SELECT value, source FROM reading").fetchone()
    assert (str(row["value"]), row["source"]) == ("12.500000", "pull")


async def test_without_a_source_nothing_is_asked(database: Database) -> None:
    async with pulling(database, None) as pull:
        assert pull is None
