"""Servers of clients, as the demo plays them: each takes callbacks in its own way.

All of them listen on 127.0.0.1, on ports the system picks, in the demo's own process.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

HOST = "127.0.0.1"
SLOW_SECONDS = 1.5
FAILURES_BEFORE_RECOVERY = 2


class HttpReceiver:
    """One HTTP server with a path for each temper: `/healthy`, `/recovering`, `/failing`, `/slow`, `/signed`.

    :ivar calls: calls taken, by path
    :ivar ids: how often each `webhook-id` came on `/recovering`
    """

    def __init__(self, secret: str) -> None:
        self.webhook = Webhook(secret)
        self.calls: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()

    def app(self) -> web.Application:
        app = web.Application()
        for path, handler in {
            "/healthy": self.healthy,
            "/recovering": self.recovering,
            "/failing": self.failing,
            "/slow": self.slow,
            "/form": self.form,
            "/signed": self.signed,
        }.items():
            app.router.add_route("*", path, handler)
        return app

    async def healthy(self, request: web.Request) -> web.Response:
        """Take everything."""
        self._count(request)
        return web.json_response({"ok": True})

    async def recovering(self, request: web.Request) -> web.Response:
        """Fail twice on every message, then take it."""
        self._count(request)
        message = request.headers.get("webhook-id", "")
        self.ids[message] += 1
        if self.ids[message] <= FAILURES_BEFORE_RECOVERY:
            return web.json_response({"ok": False, "error": "busy"}, status=503)
        return web.json_response({"ok": True})

    async def failing(self, request: web.Request) -> web.Response:
        """Never take anything."""
        self._count(request)
        return web.json_response({"ok": False, "error": "broken"}, status=500)

    async def slow(self, request: web.Request) -> web.Response:
        """Take it, after a while."""
        self._count(request)
        await asyncio.sleep(SLOW_SECONDS)
        return web.json_response({"ok": True})

    async def form(self, request: web.Request) -> web.Response:
        """Take a form with a field `meter`, and nothing else."""
        self._count(request)
        fields = await request.post()
        if "meter" not in fields:
            return web.json_response({"ok": False, "error": "no field named meter"}, status=400)
        return web.json_response({"ok": True, "meter": str(fields["meter"])})

    async def signed(self, request: web.Request) -> web.Response:
        """Take what carries a good Standard Webhooks signature."""
        self._count(request)
        try:
            self.webhook.verify(await request.text(), dict(request.headers))
        except WebhookVerificationError as error:
            return web.json_response({"ok": False, "error": str(error)}, status=401)
        return web.json_response({"ok": True})

    def _count(self, request: web.Request) -> None:
        self.calls[request.path] += 1


class RpcReceiver:
    """A JSON-RPC 1.0 server over TCP with one method, `Meter.Read`, as Go's `net/rpc/jsonrpc` answers."""

    def __init__(self) -> None:
        self.calls = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the calls of one connection until it is closed."""
        with suppress(ConnectionError, asyncio.CancelledError):
            while line := await reader.readline():
                writer.write(json.dumps(self.answer(json.loads(line))).encode() + b"\n")
                await writer.drain()
        writer.close()

    def answer(self, call: dict[str, object]) -> dict[str, object]:
        """Return the answer to one call."""
        self.calls += 1
        if call["method"] != "Meter.Read":
            return {
                "id": call["id"],
                "result": None,
                "error": f"rpc: can't find method {call['method']}",
            }
        return {"id": call["id"], "result": {"reading": 1234.5}, "error": None}


class Receivers:
    """All servers of the demo, listening."""

    def __init__(self, http: HttpReceiver, http_port: int, rpc: RpcReceiver, rpc_port: int) -> None:
        self.http = http
        self.rpc = rpc
        self.http_url = f"http://{HOST}:{http_port}"
        self.rpc_address = f"{HOST}:{rpc_port}"

    def as_json(self) -> dict[str, int]:
        """Return how many calls each path took."""
        return {**dict(sorted(self.http.calls.items())), "rpc": self.rpc.calls}


@asynccontextmanager
async def receiving(secret: str) -> AsyncIterator[Receivers]:
    """Run the servers.

    :param secret: `whsec_…`, what `/signed` verifies with
    """
    http, rpc = HttpReceiver(secret), RpcReceiver()
    runner = web.AppRunner(http.app(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        server = await asyncio.start_server(rpc.serve, HOST, 0)
        try:
            yield Receivers(http, runner.addresses[0][1], rpc, server.sockets[0].getsockname()[1])
        finally:
            server.close()
    finally:
        await runner.cleanup()
