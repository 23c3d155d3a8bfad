"""The HTTP server of the simulator, on asyncio and llhttp.

Its faults reach down to the bytes of an answer and to the socket, which no web framework lets one spoil, and
it has to outrun what it measures: 10,000 commands a second on one core.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from include.simulator.admin import PREFIX, Admin
from include.simulator.answers import Answer, RefusedError, Request, answer
from include.simulator.devices import Device, Fleet
from include.simulator.iotda import REQUEST_ID, TOKEN, Iotda, now
from include.simulator.ota import Ota
from include.simulator.push import Pusher

log = logging.getLogger(__name__)

BODY_LIMIT_BYTES = 1_048_576
BACKLOG = 4096
_LOOKED_AT = frozenset({REQUEST_ID, TOKEN})
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Simulator:
    """The simulated platform: its devices, who answers which path, and where it pushes what devices say."""

    def __init__(self, pusher: Pusher | None = None) -> None:
        self.fleet = Fleet()
        self.pusher = pusher or Pusher()
        self.ota = Ota(self.fleet, self.pusher.add)
        self.fleet.changed = self._changed
        self.admin = Admin(self.fleet, self.pusher)
        self.iotda = Iotda(self.fleet, self.ota)

    def _changed(self, device: Device, online: bool) -> None:
        """Tell that a device came or went, and have it go on with what it was at."""
        status = "ONLINE" if online else "OFFLINE"
        self.pusher.add({"device_id": device.device_id, "status": status, "status_time": now()})
        if online:
            self.ota.resume(device)

    def handle(self, request: Request) -> Answer:
        """Answer a request; never raises."""
        part = self.admin if request.path.startswith(PREFIX) else self.iotda
        try:
            return part.handle(request)
        except RefusedError as refused:
            return refused.answer
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return answer(
                {"error_code": "IOTDA.000006", "error_msg": f"the body is not right: {error!r}"}, 400
            )


async def serve(simulator: Simulator, host: str, port: int) -> asyncio.Server:
    """Listen; port 0 takes a free one."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: Connection(simulator.handle, simulator.fleet), host, port, backlog=BACKLOG
    )


class Connection(asyncio.Protocol):
    """One connection; requests are answered one after the other."""

    def __init__(self, handle: Callable[[Request], Answer], fleet: Fleet) -> None:
        self._handle = handle
        self._fleet = fleet
        self._parser = HttpRequestParser(self)
        self._queue: deque[tuple[Request, bool]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._busy = False
        self._start()

    def _start(self) -> None:
        self._url = b""
        self._headers: dict[bytes, str] = {}
        self._body: list[bytes] = []
        self._size = 0

    # --- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._busy = True
        if self._timer is not None:
            self._timer.cancel()

    # --- called by the parser

    def on_message_begin(self) -> None:
        self._start()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _LOOKED_AT:
            self._headers[name] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > BODY_LIMIT_BYTES:
            self._transport.abort()
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        request = Request(
            self._parser.get_method().decode(),
            self._url.decode("latin-1"),
            self._headers,
            b"".join(self._body),
        )
        self._queue.append((request, self._parser.should_keep_alive()))
        self._next()

    # ---

    def _next(self) -> None:
        while self._queue and not self._busy:
            request, keep_alive = self._queue.popleft()
            self._fleet.totals["requests"] += 1
            answered = self._handle(request)
            if answered.wire == "hang":
                self._busy = True
            elif answered.delay > 0:
                self._busy = True
                self._timer = asyncio.get_running_loop().call_later(
                    answered.delay, self._late, answered, keep_alive
                )
            else:
                self._write(answered, keep_alive)

    def _late(self, answered: Answer, keep_alive: bool) -> None:
        self._busy = False
        self._write(answered, keep_alive)
        self._next()

    def _write(self, answered: Answer, keep_alive: bool) -> None:
        if answered.wire == "reset":
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()
            return
        self._transport.write(answered.encode())
        if not keep_alive:
            self._transport.close()
