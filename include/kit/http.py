"""The outbound client: everything is prepared ahead, so that at the instant only bytes are left to send.

    call = await client.prepare(request)    resolve the host, vet the address, encode the request
    await client.warm(calls)                open connections
    response = await client.send(call)      one write, one answer

It speaks HTTP/1.1 over `asyncio.Protocol` with llhttp as the parser, because a general client builds each
request when it is sent: aiohttp costs some 130 µs a call here against 20 µs for bare bytes. JSON-RPC
(`rpc.py`) goes the same way. A redirect is an answer like any other: its target is never fetched.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import islice
from weakref import WeakValueDictionary

from include.errors import OutboundError
from include.kit.calls import AnswerTooLargeError, CallPlan, CallRequest, OutboundResponse, PreparedCall
from include.kit.egress import EgressGuard
from include.kit.http_wire import HttpConnection, check_headers, encode_request
from include.kit.pools import HostPool
from include.kit.targets import Endpoint, parse_url

__all__ = [
    "AnswerTooLargeError",
    "OutboundClient",
    "OutboundRequest",
    "OutboundResponse",
    "PreparedCall",
    "check_headers",
]

log = logging.getLogger(__name__)

#: Connections `warm` opens in one call, over all hosts: a process has about a thousand file descriptors.
WARM_LIMIT = 256
WARM_SECONDS = 5.0
READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class OutboundRequest:
    """One HTTP request; `timeout` is seconds for connect, write and read together."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    timeout: float = 10.0

    def plan(self) -> CallPlan:
        """Encode the request. Raises InvalidInputError naming `method`, `url` or `headers`."""
        method = self.method.upper()
        target = parse_url(self.url)
        payload = encode_request(method, target, self.headers, self.body)
        return CallPlan(target.endpoint, payload, HttpConnection, bodiless=method == "HEAD")


@cache
def system_roots() -> ssl.SSLContext:
    """Return what trusts the system's roots, which take 20 ms to read."""
    return ssl.create_default_context()


class OutboundClient:
    """Calls other people's servers. One per process, used from one event loop."""

    def __init__(
        self,
        guard: EgressGuard,
        *,
        per_host_limit: int = 32,
        response_limit_bytes: int = 1_048_576,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`per_host_limit`: calls at a time per (scheme, host, port). `tls`: default the system's roots."""
        self._guard = guard
        self._per_host_limit = per_host_limit
        self._response_limit = response_limit_bytes
        self._tls = tls or system_roots()
        # A pool lives as long as a prepared call or an open connection refers to it.
        self._pools: WeakValueDictionary[Endpoint, HostPool] = WeakValueDictionary()
        # One for all connections: what has come is read before the loop turns to the next one. A new buffer
        # for each read, as asyncio.Protocol makes it (256 KiB), costs more than reading the answer.
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._closed = False

    async def prepare(self, request: CallRequest) -> PreparedCall:
        """Do all that can be done before the instant.

        Raises InvalidInputError for a request that cannot be sent, EgressDeniedError for a target that may
        not be called, OutboundError for a host that cannot be resolved.
        """
        plan = request.plan()
        addresses = await self._guard.resolve(plan.endpoint.host, plan.endpoint.port)
        return PreparedCall(plan, request.timeout, addresses, self._pool(plan.endpoint))

    async def warm(self, calls: Iterable[PreparedCall]) -> None:
        """Open connections ahead: per host as many as it has calls, at most the per-host limit, 256 in all.

        A connection that cannot be opened is no failure; the call will tell.
        """
        by_pool: dict[HostPool, list[PreparedCall]] = {}
        for call in calls:
            by_pool.setdefault(call.pool, []).append(call)
        lacking = (call for pool, own in by_pool.items() for call in own[pool.open_count : pool.limit])
        await asyncio.gather(*map(self._warm_one, islice(lacking, WARM_LIMIT)))

    async def send(self, call: PreparedCall) -> OutboundResponse:
        """Send the request and read the answer.

        Raises OutboundTimeoutError (nothing or not all came in time; the wait for one's turn at a busy host
        does not count), OutboundProtocolError (the answer cannot be read, or AnswerTooLargeError),
        OutboundError (refused, reset, TLS), and nothing else but CancelledError.
        """
        if self._closed:
            raise OutboundError("the client is closed")
        return await call.pool.exchange(call)

    async def aclose(self) -> None:
        """Close every connection; calls under way fail with OutboundError."""
        self._closed = True
        await asyncio.gather(*(lost for pool in list(self._pools.values()) for lost in pool.close()))

    async def _warm_one(self, call: PreparedCall) -> None:
        deadline = asyncio.get_running_loop().time() + min(call.timeout, WARM_SECONDS)
        try:
            await call.pool.warm(call, deadline)
        except OutboundError as exc:
            log.debug("not warmed: %s", exc)

    def _pool(self, endpoint: Endpoint) -> HostPool:
        pool = self._pools.get(endpoint)
        if pool is None:
            pool = self._pools[endpoint] = HostPool(
                endpoint,
                limit=self._per_host_limit,
                response_limit=self._response_limit,
                buffer=self._buffer,
                tls=self._tls if endpoint.scheme == "https" else None,
            )
        return pool
