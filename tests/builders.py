"""Objects for tests, with values that do where a test does not care."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import httpx
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


@asynccontextmanager
async def serve(
    name: str, *, token: str | None = None, address: str = "127.0.0.1"
) -> AsyncIterator[httpx.AsyncClient]:
    """Run one of our apps, mounted under its prefix, and lend a client of it."""
    from api_plugin.app import APIS, create_app

    prefix = next(api.prefix for api in APIS if api.name == name)
    app = create_app(name)
    mounted = Starlette(routes=[Mount(prefix, app)])
    headers = {"Authorization": f"token {token}"} if token else {}
    transport = httpx.ASGITransport(mounted, client=(address, 50000))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=f"http://test{prefix}", headers=headers) as client,
    ):
        yield client
