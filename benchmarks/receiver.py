"""The target of every call in a benchmark: answers at once and stamps when each request arrived.

    python -m benchmarks.receiver          prints its port, then serves until its standard input ends

A bare `asyncio.Protocol` that parses no more than it must, so that what is measured is the sender. What came
is read, and forgotten, by `GET /drain`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
import urllib.request
from dataclasses import dataclass

HOST = "127.0.0.1"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n" + b'{"ok":true}'


@dataclass(frozen=True)
class Arrival:
    """One request: seconds since the epoch, its path, its `webhook-id`."""

    at: float
    path: str
    id: str


class Protocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, arrivals: list[tuple[float, bytes, bytes]]) -> None:
        self.arrivals = arrivals
        self.buffer = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        now = time.time()
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            whole = end + 4 + _length(head)
            if len(self.buffer) < whole:
                return
            self.buffer = self.buffer[whole:]
            self._answer(now, head)

    def _answer(self, now: float, head: bytes) -> None:
        assert self.transport is not None
        path = head.split(b" ", 2)[1]
        if path == b"/drain":
            self.transport.write(_drained(self.arrivals))
            return
        self.arrivals.append((now, path, _header(head, b"\r\nwebhook-id:")))
        self.transport.write(ANSWER)


def _length(head: bytes) -> int:
    return int(_header(head, b"\r\ncontent-length:") or 0)


def _header(head: bytes, name: bytes) -> bytes:
    start = head.lower().find(name)
    return head[start + len(name) :].split(b"\r\n", 1)[0].strip() if start >= 0 else b""


def _drained(arrivals: list[tuple[float, bytes, bytes]]) -> bytes:
    body = json.dumps([(at, path.decode(), id_.decode()) for at, path, id_ in arrivals]).encode()
    arrivals.clear()
    return b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def serve(port: int = 0) -> None:
    """Listen, say where, and stay until standard input ends."""
    arrivals: list[tuple[float, bytes, bytes]] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Protocol(arrivals), HOST, port, backlog=8192)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def drain(port: int) -> list[Arrival]:
    """Return what a receiver got since the last time."""
    with urllib.request.urlopen(f"http://{HOST}:{port}/drain", timeout=60) as answer:
        return [Arrival(*row) for row in json.load(answer)]


if __name__ == "__main__":
    asyncio.run(serve())
