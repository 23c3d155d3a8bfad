"""A callback receiver that behaves as its path says, and remembers what came and when.

/ok 200 · /fail 500 · /flaky/N fails N times, then 200 · /slow/S answers after S seconds · /hang never answers
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Hit:
    """One request, stamped when its first byte was read."""

    at: float
    path: str
    headers: dict[str, str]
    body: str

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def due_at(self) -> float:
        return datetime.fromisoformat(self.headers["carillon-due-at"]).timestamp()


@dataclass
class Receiver:
    port: int = 0
    rpc_port: int = 0
    hits: list[Hit] = field(default_factory=list)
    rpc_calls: list[tuple[float, dict[str, object]]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def of(self, path: str) -> list[Hit]:
        return [hit for hit in list(self.hits) if hit.path == path]

    def wait(self, path: str, count: int = 1, timeout: float = 60) -> list[Hit]:
        """Return the hits on a path once there are `count` of them."""
        deadline = time.monotonic() + timeout
        while len(found := self.of(path)) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} calls of {path} came in {timeout} s"
            time.sleep(0.02)
        return found

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                first = await reader.readexactly(1)
                at = time.time()
                head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
                lines = head.split("\r\n")
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                path = lines[0].split(" ")[1]
                self.hits.append(Hit(at, path, headers, body.decode()))
                status = await self.behave(path)
                answer = f"HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok"
                writer.write(answer.encode())
        writer.close()

    async def behave(self, path: str) -> int:
        self.counts[path] += 1
        words = path.strip("/").split("/")
        if words[0] == "slow":
            await asyncio.sleep(float(words[1]))
        if words[0] == "hang":
            await asyncio.sleep(3600)
        failing = words[0] == "fail" or (words[0] == "flaky" and self.counts[path] <= int(words[1]))
        return 500 if failing else 200

    async def rpc(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):
            while line := await reader.readline():
                call = json.loads(line)
                self.rpc_calls.append((time.time(), call))
                writer.write(json.dumps({"id": call["id"], "result": "done", "error": None}).encode() + b"\n")
        writer.close()


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver on free ports, in a thread of its own."""
    receiver, ready, loop = Receiver(), threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(_serve(receiver, ready, stop)))
    thread.start()
    try:
        assert ready.wait(10)
        yield receiver
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


async def _serve(receiver: Receiver, ready: threading.Event, stop: asyncio.Event) -> None:
    http = await asyncio.start_server(receiver.http, "127.0.0.1", 0, backlog=4096)
    rpc = await asyncio.start_server(receiver.rpc, "127.0.0.1", 0)
    receiver.port = http.sockets[0].getsockname()[1]
    receiver.rpc_port = rpc.sockets[0].getsockname()[1]
    ready.set()
    await stop.wait()
    http.close()
    rpc.close()
    calls = asyncio.all_tasks() - {asyncio.current_task()}
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
