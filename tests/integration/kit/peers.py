"""Servers on 127.0.0.1 that behave as the test says, byte by byte."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network

from include.kit.egress import EgressGuard
from include.kit.http import OutboundClient

OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}'


@dataclass
class Peer:
    """What one server has seen: each request in full, and how many connections were opened and are open."""

    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    opened: int = 0
    open_now: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
#: Called for each request; what it returns is written (None: it has dealt with the writer itself).
Behaviour = Callable[[bytes, Reader, Writer], Awaitable[bytes | None]]


async def read_request(reader: Reader) -> bytes:
    """One HTTP request: the head and as much body as it announces."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.partition(b":")[2]))
    return head


async def read_line(reader: Reader) -> bytes:
    line = await reader.readline()
    if not line:
        raise asyncio.IncompleteReadError(b"", 1)
    return line


@asynccontextmanager
async def peer(
    behave: Behaviour,
    *,
    read: Callable[[Reader], Awaitable[bytes]] = read_request,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Peer]:
    """Serve `behave` on a free port for as long as the block lasts."""
    seen = Peer()
    handlers: set[asyncio.Task[None]] = set()

    async def serve(reader: Reader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        seen.opened += 1
        seen.open_now += 1
        try:
            while True:
                request = await read(reader)
                seen.requests.append(request)
                answer = await behave(request, reader, writer)
                if answer is not None:
                    writer.write(answer)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            seen.open_now -= 1
            handlers.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls, backlog=512)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        server.close()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        await server.wait_closed()
        await asyncio.sleep(0)


def always(answer: bytes) -> Behaviour:
    async def behave(request: bytes, reader: Reader, writer: Writer) -> bytes:
        return answer

    return behave


def reset(writer: Writer) -> None:
    """Close with RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def local_guard() -> EgressGuard:
    return EgressGuard((ip_network("127.0.0.0/8"),))


@asynccontextmanager
async def client(
    *, per_host_limit: int = 32, response_limit_bytes: int = 1_048_576, tls: ssl.SSLContext | None = None
) -> AsyncIterator[OutboundClient]:
    """A client that may call this machine."""
    outbound = OutboundClient(
        local_guard(), per_host_limit=per_host_limit, response_limit_bytes=response_limit_bytes, tls=tls
    )
    try:
        yield outbound
    finally:
        await outbound.aclose()
