"""One connection to somebody else's server: one call at a time, a deadline for each, idle in between.

This is the hot path: at an instant thousands of calls leave through a few connections, so a call costs one
write of prepared bytes, one future, and no timer of its own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from include.errors import OutboundError, OutboundProtocolError, OutboundTimeoutError
from include.kit.calls import OutboundResponse, PreparedCall
from include.kit.handover import handed_over

if TYPE_CHECKING:
    from include.kit.pools import HostPool

#: An idle connection is closed after this long. Common servers close theirs after 5 to 75 s.
IDLE_SECONDS = 60.0
#: A connection that was closed by its keep-alive timeout says so within a round trip; later than this the
#: target had the request and worked on it.
STALE_SECONDS = 1.0


class StaleConnectionError(OutboundError):
    """The target had closed the idle connection before the request arrived."""


class Connection(asyncio.BufferedProtocol):
    """What HTTP and JSON-RPC have in common; a subclass reads the answer.

    A subclass implements `start_answer` and `feed`, which calls `complete` once the answer is whole.
    """

    def __init__(self, pool: HostPool) -> None:
        self.pool = pool
        self.loop = asyncio.get_running_loop()
        #: Done when the socket is closed.
        self.lost: asyncio.Future[None] = self.loop.create_future()
        #: Whether the target had a reason to close it before the present call.
        self.rested = False
        self.closing = False
        self.received = 0
        self.response: OutboundResponse | None = None
        self.reusable = False
        self.started = 0.0
        self._answer: asyncio.Future[OutboundResponse] | None = None
        self._timeout = 0.0
        self._written = 0.0
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # --- for the subclass

    def start_answer(self, call: PreparedCall) -> None:
        """Get ready to read the answer to this call."""
        raise NotImplementedError

    def feed(self, data: memoryview) -> None:
        """Read more of the answer, copying what is kept. Raises OutboundProtocolError."""
        raise NotImplementedError

    def end_of_stream(self) -> None:
        """The target closed in good order: complete the answer if that is how it ends."""

    def complete(self, response: OutboundResponse, *, reusable: bool) -> None:
        """The answer is whole; `reusable` tells whether another call may follow on this connection."""
        self.response = response
        self.reusable = reusable

    # --- for the pool

    def exchange(self, call: PreparedCall, started: float) -> asyncio.Future[OutboundResponse]:
        """Write the request; the future gets the answer or an OutboundError.

        `started` is the loop time the timeout counts from. Raises OutboundError if the target has closed
        already.
        """
        self.started = started
        self.received = 0
        self.response = None
        self._timeout = call.timeout
        self.start_answer(call)
        self._written = self.loop.time()
        if self.closing:
            raise self._loss(None)
        self._watch(started + call.timeout)
        self._answer = answer = self.loop.create_future()
        self.transport.write(call.plan.payload)
        handed_over()
        return answer

    def rest(self) -> None:
        """Put the connection among the idle ones."""
        if self.closing or self.pool.closed:
            self.abort()
            return
        self.rested = True
        self._watch(self.loop.time() + IDLE_SECONDS)
        self.pool.idle.append(self)

    def abort(self) -> None:
        """Close at once, without a word to the target."""
        self.closing = True
        self.transport.abort()

    # --- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.pool.connections.add(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.pool.buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = self.pool.buffer[:nbytes]
        if self._answer is None:
            self._drop()  # nobody asked: a server's "408 idle too long", or a broken one
            return
        self.received += len(data)
        try:
            self.feed(data)
        except OutboundProtocolError as exc:
            self._fail(exc)
            return
        if self.response is not None:
            self._finish(self.response)

    def eof_received(self) -> None:
        if self._answer is None:
            self._drop()
            return
        self.end_of_stream()
        if self.response is not None:
            self._finish(self.response)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        if self._timer is not None:
            self._timer.cancel()
        if self._answer is not None:
            self._fail(self._loss(exc))
        self.pool.forget(self)
        self.lost.set_result(None)

    # ---

    def _finish(self, response: OutboundResponse) -> None:
        answer, self._answer = self._answer, None
        # An answer that overtakes its request leaves half a request on the wire.
        if self.reusable and not self.closing and not self.transport.get_write_buffer_size():
            self.rest()
        else:
            self.abort()
        if answer is not None and not answer.done():
            answer.set_result(response)

    def _fail(self, error: OutboundError) -> None:
        answer, self._answer = self._answer, None
        self.abort()
        if answer is not None and not answer.done():
            answer.set_exception(error)

    def _drop(self) -> None:
        self.pool.forget(self)
        self.abort()

    def _loss(self, exc: Exception | None) -> OutboundError:
        if self.received:
            return OutboundProtocolError(f"the connection closed after {self.received} bytes of the answer")
        if self.rested and self.loop.time() - self._written < STALE_SECONDS:
            return StaleConnectionError()
        return OutboundError(f"the connection closed before an answer came{f': {exc}' if exc else ''}")

    def _watch(self, deadline: float) -> None:
        """Be woken at the deadline; an earlier timer is left to ring and set anew, so most calls set none."""
        self._deadline = deadline
        timer = self._timer
        if timer is None or timer.when() > deadline:
            if timer is not None:
                timer.cancel()
            self._timer = self.loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self.loop.time() < self._deadline:
            self._watch(self._deadline)
        elif self._answer is None:
            self._drop()
        else:
            self._fail(self._overdue())

    def _overdue(self) -> OutboundTimeoutError:
        came = f"only {self.received} bytes" if self.received else "nothing"
        return OutboundTimeoutError(
            f"no complete answer within {self._timeout:g} s: connected, {came} received"
        )
