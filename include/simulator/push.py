"""Pushes what devices say to whoever wants to hear it: in batches, in order, again until it is taken."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from pathlib import Path
from typing import Any

import orjson

from include.errors import CarillonError
from include.gateway.http import gateway_client
from include.kit.http import OutboundClient, OutboundRequest

log = logging.getLogger(__name__)

BATCH = 500
DELAY_SECONDS = 0.02
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0
TIMEOUT_SECONDS = 30.0
#: What waits while nobody takes it; older ones are lost then.
WAITING_MOST = 200_000
#: Answers after which the same may be taken later: the token or the server is not there yet.
LATER = frozenset({401, 403, 404, 408, 429})


class Pusher:
    """Sends `{events: […]}` with a token of the own API.

    :param token_file: where the token is, read again for each try: it may be made after we started
    """

    def __init__(self, url: str | None = None, *, token: str = "", token_file: Path | None = None) -> None:
        self.url = url
        self.token = token
        self.token_file = token_file
        self.waiting: deque[dict[str, Any]] = deque(maxlen=WAITING_MOST)
        self.pushed = self.refused = self.lost = 0
        self.client: OutboundClient | None = None
        self.task: asyncio.Task[None] | None = None
        self.closing: asyncio.Task[None] | None = None

    def aim(self, url: str | None, token: str) -> None:
        """Push to another place from now on, or to none."""
        self.url, self.token, self.token_file = url, token, None
        if self.client is not None:
            self.closing = asyncio.create_task(self.client.aclose())
            self.client = None
        if url is None:
            self.waiting.clear()

    def add(self, event: dict[str, Any]) -> None:
        """Push something soon."""
        if self.url is None:
            return
        self.lost += len(self.waiting) == WAITING_MOST
        self.waiting.append(event)
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._run(), name="simulator-push")

    def shown(self) -> dict[str, Any]:
        """Return how it goes; not the token."""
        return {
            "url": self.url,
            "waiting": len(self.waiting),
            "pushed": self.pushed,
            "refused": self.refused,
            "lost": self.lost,
        }

    async def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while self.waiting and self.url is not None:
            await asyncio.sleep(DELAY_SECONDS)
            batch = [self.waiting.popleft() for _ in range(min(BATCH, len(self.waiting)))]
            if await self._push(self.url, batch):
                pause = FIRST_PAUSE_SECONDS
                continue
            self.waiting.extendleft(reversed(batch))
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _push(self, url: str, batch: list[dict[str, Any]]) -> bool:
        """Send a batch; tell whether it is done with, taken or not."""
        try:
            client = self.client = self.client or gateway_client(
                url, per_host_limit=2, response_limit_bytes=65_536
            )
            headers = (
                ("Content-Type", "application/json"),
                ("Authorization", f"token {self._token()}"),
            )
            body = orjson.dumps({"events": batch})
            request = OutboundRequest("POST", url, headers, body, TIMEOUT_SECONDS)
            response = await client.send(await client.prepare(request))
        except (CarillonError, OSError) as error:
            log.info("cannot push to %s: %s", url, error)
            return False
        status = response.status or 0
        if status >= 500 or status in LATER:
            log.info("%s answers %d", url, status)
            return False
        if response.ok:
            self.pushed += len(batch)
        else:
            self.refused += len(batch)
            log.warning("%s refuses %d events with %d: %s", url, len(batch), status, response.text()[:500])
        return True

    def _token(self) -> str:
        return self.token_file.read_text().strip() if self.token_file is not None else self.token
