"""Objects for tests, with values that do where a test does not care."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import httpx
import psycopg
import uvicorn
from fastapi import FastAPI
from psycopg import sql
from starlette.applications import Starlette
from starlette.routing import Mount

from include.kit.db import Database
from include.tokens.service import TokenService


async def make_token(
    database: Database,
    *,
    name: str = "test",
    apis: Sequence[str] | None = None,
    projects: Sequence[str] | None = None,
    expires_at: datetime | None = None,
) -> str:
    """Return a new token as its holder writes it, `<id>:<40 hex>`."""
    async with database.transaction() as connection:
        _, credential = await TokenService(connection).create(
            name, apis=apis, projects=projects, expires_at=expires_at
        )
    return str(credential)


def task(name: str = "task", **changes: Any) -> dict[str, Any]:
    """Return an item of add_task (document 003) that is good: daily at 09:30."""
    item = {
        "name": name,
        "enable": 1,
        "module": 2,
        "type": 4,
        "start_time": "0 30 9 * * *",
        "url": "http://example.com/hook",
        "method": "post",
    }
    return {**item, **changes}


@cache
def _app(name: str) -> FastAPI:
    """Make each app once: that takes a third of a second, and all it keeps of a test is its database."""
    from api_plugin.app import create_app

    return create_app(name)


@asynccontextmanager
async def serve(
    name: str, *, token: str | None = None, address: str = "127.0.0.1"
) -> AsyncIterator[httpx.AsyncClient]:
    """Run one of our apps, mounted under its prefixes, and lend a client of it."""
    from api_plugin.app import APIS

    prefixes = next(api.prefixes for api in APIS if api.name == name)
    prefix, app = prefixes[0], _app(name)
    mounted = Starlette(routes=[Mount(one, app) for one in prefixes])
    headers = {"Authorization": f"token {token}"} if token else {}
    transport = httpx.ASGITransport(mounted, client=(address, 50000))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=f"http://test{prefix}", headers=headers) as client,
    ):
        yield client


@asynccontextmanager
async def serve_http(name: str, port: int = 0) -> AsyncIterator[str]:
    """Run one of our apps behind a real HTTP server, for clients that are not ours; yields `http://host:port`."""
    from api_plugin.app import APIS

    app = _app(name)
    prefixes = next(api.prefixes for api in APIS if api.name == name)
    mounted = Starlette(routes=[Mount(one, app) for one in prefixes])
    server = uvicorn.Server(
        uvicorn.Config(mounted, host="127.0.0.1", port=port, lifespan="off", log_level="warning")
    )
    async with app.router.lifespan_context(app):
        running = asyncio.create_task(server.serve())
        try:
            while not server.started:
                await asyncio.sleep(0.01)
                assert not running.done()
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True
            await running


def insert_schedule(connection: psycopg.Connection, **changes: Any) -> int:
    """Insert an active schedule, daily at 09:30 in Shanghai, and return its id."""
    number = connection.execute("SELECT count(*) AS n FROM schedule").fetchone()["n"]
    values = {
        "kind": "callback",
        "expression": "0 30 9 * * *",
        "timezone": "Asia/Shanghai",
        "dag_id": f"callback.{number}",
        "description": "At 09:30",
        "active": True,
        "active_since": datetime(2026, 1, 1, tzinfo=UTC),
        **changes,
    }
    return _insert(connection, "schedule", values)


def insert_definition(connection: psycopg.Connection, schedule_id: int, **changes: Any) -> int:
    """Insert an enabled callback definition with its task and return its id."""
    number = connection.execute("SELECT count(*) AS n FROM definition").fetchone()["n"]
    values = {
        "kind": "callback",
        "schedule_id": schedule_id,
        "name": f"definition {number}",
        "enabled": True,
        "active_since": datetime(2026, 1, 1, tzinfo=UTC),
        "misfire": "fire_once",
        "misfire_grace": timedelta(hours=1),
        "overlap": "allow",
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "updated_at": datetime(2026, 1, 1, tzinfo=UTC),
        **changes,
    }
    definition_id = _insert(connection, "definition", values)
    if values["kind"] == "callback":
        connection.execute(
            """
            INSERT INTO callback_task (definition_id, module, type, start_time, timezone, url, method,
                                       body_type, redo_delays, timeout, headers, secret)
            VALUES (%s, 2, 4, '0 30 9 * * *', 'Asia/Shanghai', 'http://example.com/hook', 'post', 1,
                    '{2,4}', 10, '{"X-One": "1", "Authorization": "Basic c2VjcmV0"}', 'sealed')
            """,
            [definition_id],
        )
    return definition_id


def insert_execution(
    connection: psycopg.Connection, definition_id: int, due_at: datetime, **changes: Any
) -> int:
    """Insert an execution that succeeded 5 ms after its instant, and return its id."""
    row = connection.execute("SELECT schedule_id FROM definition WHERE id = %s", [definition_id]).fetchone()
    values = {
        "definition_id": definition_id,
        "schedule_id": row["schedule_id"],
        "due_at": due_at,
        "origin": "scheduled",
        "state": "succeeded",
        "attempts": 1,
        "lateness_ms": 5.0,
        "finished_at": due_at + timedelta(seconds=1),
        "created_at": due_at - timedelta(seconds=15),
        **changes,
    }
    return _insert(connection, "execution", values)


def _insert(connection: psycopg.Connection, table: str, values: dict[str, Any]) -> int:
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING id").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(map(sql.Placeholder, values)),
    )
    return connection.execute(statement, values).fetchone()["id"]
