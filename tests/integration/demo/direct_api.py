"""The demo's client, calling the REST apps without a socket."""

from __future__ import annotations

from typing import Any

import httpx

from include.demo.api import Api


class DirectApi(Api):
    """A client of some apps, each under its prefix; calls must go well.

    :ivar calls: what was called
    """

    def __init__(self, clients: dict[str, httpx.AsyncClient]) -> None:
        self.clients = clients
        self.calls: list[str] = []

    async def send(
        self, method: str, path: str, body: object = None, query: dict[str, str] | None = None
    ) -> Any:
        prefix = next(prefix for prefix in self.clients if path.startswith(prefix))
        self.calls.append(f"{method} {path}")
        answer = await self.clients[prefix].request(
            method, path.removeprefix(prefix), json=body, params=query or {}
        )
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else {}
