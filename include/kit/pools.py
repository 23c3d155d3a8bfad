"""The connections to one endpoint: how many calls at a time, and which connection each takes."""

from __future__ import annotations

import asyncio
import socket
import ssl

import aiohappyeyeballs

from include.errors import OutboundError, OutboundTimeoutError
from include.kit.calls import OutboundResponse, PreparedCall
from include.kit.connections import Connection, StaleConnectionError
from include.kit.targets import Endpoint

#: RFC 8305, 5: how long one address may take before the next is tried beside it.
_NEXT_ADDRESS_SECONDS = 0.25


class ConnectTimeoutError(OutboundTimeoutError):
    """No connection in time, so the target never had the request."""


class HostPool:
    """Keep-alive connections to one (scheme, host, port), and at most `limit` calls at a time over them."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        limit: int,
        response_limit: int,
        buffer: memoryview,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.endpoint = endpoint
        self.limit = limit
        self.response_limit = response_limit
        #: What the connections read into; shared, so whatever is kept is copied.
        self.buffer = buffer
        self.tls = tls
        self.turns = asyncio.Semaphore(limit)
        #: Last used last: the warmest connection is taken first, the others may time out.
        self.idle: list[Connection] = []
        self.connections: set[Connection] = set()
        self.closed = False
        self._opening = 0

    @property
    def open_count(self) -> int:
        """Connections that are open or being opened."""
        return len(self.connections) + self._opening

    def close(self) -> list[asyncio.Future[None]]:
        """Close every connection at once and keep none from now on; the futures tell when they are gone."""
        self.closed = True
        connections = list(self.connections)
        for connection in connections:
            connection.abort()
        return [connection.lost for connection in connections]

    async def exchange(self, call: PreparedCall) -> OutboundResponse:
        """Make the call, waiting for its turn first. Raises OutboundError."""
        async with self.turns:
            started = asyncio.get_running_loop().time()
            if not self.idle:
                return await self._on_new_connection(call, started)
            try:
                return await self._on(self.idle.pop(), call, started)
            except StaleConnectionError:
                # The target closed an idle connection while the request was on its way (RFC 9112, 9.3.1), so
                # the request was almost surely not read. That cannot be known for certain; the same
                # `webhook-id` goes out again, by which a target tells a repeat. A connection opened for this
                # call has no such excuse.
                return await self._on_new_connection(call, started)

    async def _on_new_connection(self, call: PreparedCall, started: float) -> OutboundResponse:
        connection = await self.connect(call, started + call.timeout)
        return await self._on(connection, call, started)

    async def _on(self, connection: Connection, call: PreparedCall, started: float) -> OutboundResponse:
        answer = connection.exchange(call, started)
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.cancelled():
                connection.abort()
            else:  # it came at the same moment, and the connection may serve another call by now
                answer.exception()
            raise

    async def connect(self, call: PreparedCall, deadline: float) -> Connection:
        """Open a connection, TLS included, to a vetted address by `deadline` (loop time); OutboundError."""
        self._opening += 1
        try:
            async with asyncio.timeout_at(deadline):
                return await self._open(call)
        except TimeoutError:
            raise ConnectTimeoutError(
                f"no connection to {self.endpoint.authority} within {call.timeout:g} s"
            ) from None
        except ssl.SSLCertVerificationError as exc:
            raise OutboundError(f"the TLS certificate was refused: {exc.verify_message}") from exc
        except OSError as exc:  # refused, unreachable, reset; ssl.SSLError is one too
            raise OutboundError(f"no connection to {self.endpoint.authority}: {exc}") from exc
        finally:
            self._opening -= 1

    async def _open(self, call: PreparedCall) -> Connection:
        loop = asyncio.get_running_loop()
        addresses = [_address_info(address, self.endpoint.port) for address in call.addresses]
        sock = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS)
        _, connection = await loop.create_connection(
            lambda: call.plan.connection_type(self),
            sock=sock,
            ssl=self.tls,
            server_hostname=self.endpoint.host if self.tls else None,
        )
        return connection

    async def warm(self, call: PreparedCall, deadline: float) -> None:
        """Open one connection ahead and leave it idle. Raises OutboundError."""
        (await self.connect(call, deadline)).rest()

    def forget(self, connection: Connection) -> None:
        """The connection is gone or of no more use."""
        self.connections.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)


def _address_info(
    address: str, port: int
) -> tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]]:
    if ":" in address:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)
