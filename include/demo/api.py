"""A client of a running instance's REST APIs, for the demo and the benchmarks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar

import aiohttp

from include.errors import CarillonError, StartupError
from include.kit.db import Database
from include.tokens.service import TokenService

TIMEOUT_SECONDS = 30.0

#: Items of a page: as many as there may be.
PAGE = 500
#: Calls under way at a time.
AT_ONCE = 8

Item = TypeVar("Item")


class Api:
    """The calls that they make."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def add_tasks(self, items: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
        """Create callback tasks; return one result an item, as document 003 has them."""
        return await self._change("add_task", items)

    async def update_tasks(self, items: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
        """Change callback tasks; return one result an item."""
        return await self._change("update_task", items)

    async def _change(self, call: str, items: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
        answer = await self.send("POST", f"/crontab/{call}", {"task_list": list(items)})
        if answer["state"] != 0:
            raise CarillonError(f"{call} was refused: {answer['msg']}")
        results: list[dict[str, str]] = answer["data"]["task_result"]
        return results

    async def executions(self, definition_id: str, since: datetime) -> list[dict[str, Any]]:
        """Return the executions of a definition that are due from `since` on, the latest first."""
        path = "/carillon/v1/executions"
        query = {"definition_id": definition_id, "from": since.isoformat(), "limit": "100"}
        answer = await self.send("GET", path, query=query)
        items: list[dict[str, Any]] = answer["items"]
        return items

    async def delete(self, definition_id: str) -> None:
        """Delete a definition; its history stays."""
        await self.send("DELETE", f"/carillon/v1/definitions/{definition_id}")

    async def pages(self, path: str, query: dict[str, str]) -> AsyncIterator[dict[str, Any]]:
        """Yield all items of a list of the own API, page by page."""
        query = {**query, "limit": str(PAGE)}
        while True:
            page = await self.send("GET", path, query=query)
            for item in page["items"]:
                yield item
            if page["next"] is None:
                return
            query["cursor"] = page["next"]

    async def send(
        self, method: str, path: str, body: object = None, query: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Call and return the answer.

        :raises CarillonError: it was refused
        :raises StartupError: the instance does not answer
        """
        try:
            async with self.session.request(method, path, json=body, params=query) as response:
                if response.status >= 400:
                    text = (await response.text())[:300]
                    raise CarillonError(f"{method} {path} answered with status {response.status}: {text}")
                return {} if response.status == 204 else await response.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise StartupError(f"the instance does not answer ({method} {path}): {error}") from error


async def for_each(items: Iterable[Item], call: Callable[[Item], Awaitable[None]]) -> None:
    """Call for each item, the first ones first, `AT_ONCE` at a time.

    An error, or Ctrl-C, ends it; what is under way then is waited for, so that it can be undone.
    """
    left, broken = iter(items), False

    async def work() -> None:
        for item in left:
            if broken:
                return
            await call(item)

    workers = [asyncio.create_task(work()) for _ in range(AT_ONCE)]
    try:
        await asyncio.shield(asyncio.gather(*workers))
    finally:
        broken = True
        await asyncio.gather(*workers, return_exceptions=True)


@asynccontextmanager
async def calling(url: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[Api]:
    """Lend a client that sends these headers with each call."""
    async with aiohttp.ClientSession(
        url,
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
    ) as session:
        yield Api(session)


@asynccontextmanager
async def connecting(
    url: str,
    database_url: str,
    name: str,
    apis: Sequence[str] = ("crontab", "management"),
    projects: Sequence[str] | None = None,
) -> AsyncIterator[Api]:
    """Lend a client with a token of its own, which is revoked at the end.

    :param name: of the token
    :param apis: that the token is for
    :param projects: that it sees, None: all
    """
    database = await Database(database_url, max_size=1).open()
    try:
        async with database.transaction() as connection:
            token, credential = await TokenService(connection).create(name, apis=apis, projects=projects)
        try:
            # The one header is for document 004, the other for all the others.
            headers = {"Authorization": f"token {credential}", "X-Auth-Token": str(credential)}
            async with calling(url, headers) as api:
                yield api
        finally:
            async with database.transaction() as connection:
                await TokenService(connection).revoke(token.id)
    finally:
        await database.close()
