"""JSON-RPC 1.0 over TCP, as Go's `net/rpc/jsonrpc` speaks it.

Request and answer are one JSON object each on a connection that stays open:

    {"method":"Arith.Multiply","params":[{"A":7,"B":8}],"id":1}
    {"id":1,"result":56,"error":null}

Sources: JSON-RPC 1.0 specification; Go, `src/net/rpc/jsonrpc/client.go` and `server.go`.
"""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from include.errors import InvalidInputError, OutboundProtocolError
from include.kit.calls import AnswerTooLargeError, CallPlan, OutboundResponse, PreparedCall
from include.kit.connections import Connection
from include.kit.egress import EgressGuard
from include.kit.targets import URL_LENGTH_LIMIT, Endpoint, split_host_port

#: Go splits at the last dot, so a service may be registered under a name with dots.
_METHOD = re.compile(r"(?P<handler>.+)\.(?P<function>[^.]+)\Z")
_OUTSIDE_STRING = re.compile(rb'["{}\[\]]')
_INSIDE_STRING = re.compile(rb'["\\]')
_ids = itertools.count(1)


class RpcTarget(NamedTuple):
    """`addr:port/Handler.Function` taken apart; `method` is `Handler.Function`."""

    endpoint: Endpoint
    method: str


def parse_rpc_target(url: str, field: str = "url", *, guard: EgressGuard | None = None) -> RpcTarget:
    """Take `addr:port/Handler.Function` apart, and with a guard check the address as far as that goes without
    DNS.

    Raises InvalidInputError naming `field` (no port, not exactly one "/", no dot in the function) or
    EgressDeniedError.
    """
    if len(url) > URL_LENGTH_LIMIT or not url.isprintable() or " " in url or url.count("/") != 1:
        raise InvalidInputError(f"{url[:200]!r} is not addr:port/Handler.Function", field=field)
    address, _, method = url.partition("/")
    if "@" in address or "\\" in url or not _METHOD.match(method):
        raise InvalidInputError(f"{url[:200]!r} is not addr:port/Handler.Function", field=field)
    host, port = split_host_port(address, field)
    if guard is not None:
        guard.check_host(host, field=field)
    return RpcTarget(Endpoint("rpc", host, port), method)


@dataclass(frozen=True, slots=True)
class RpcRequest:
    """One call. `body` is the one parameter: as it is if it is JSON, else as a string; None and "": null."""

    url: str
    body: str | None = None
    timeout: float = 10.0

    def plan(self) -> CallPlan:
        """Encode the request. Raises InvalidInputError naming `url`."""
        target = parse_rpc_target(self.url)
        number = next(_ids)
        line = f'{{"method":{json.dumps(target.method)},"params":[{_parameter(self.body)}],"id":{number}}}\n'
        return CallPlan(target.endpoint, line.encode("utf-8", "replace"), RpcConnection, rpc_id=number)


def _parameter(body: str | None) -> str:
    if not body:
        return "null"
    try:
        json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return json.dumps(body)
    return body.strip()  # as written: reading and writing again would round its numbers


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class RpcConnection(Connection):
    """Reads JSON-RPC answers. Go ends each with a line feed, others may not: the closing brace ends it."""

    def start_answer(self, call: PreparedCall) -> None:
        self._id = call.plan.rpc_id
        self._text = bytearray()
        self._frame = JsonFrame()

    def feed(self, data: memoryview) -> None:
        self._text += data
        end = self._frame.end(self._text)
        if len(self._text if end is None else self._text[:end]) > self.pool.response_limit:
            raise AnswerTooLargeError(self.pool.response_limit, self._beginning())
        if end is not None:
            stray = self._text[end:].strip()
            self.complete(self._read(bytes(self._text[:end])), reusable=not stray)

    def _read(self, text: bytes) -> OutboundResponse:
        answer = _decode(text)
        if not isinstance(answer, dict) or not answer.keys() & {"result", "error"}:
            raise OutboundProtocolError("the answer is not a JSON-RPC object")
        error, result = answer.get("error"), answer.get("result")
        self._check_id(answer.get("id"), failed=error is not None)
        return OutboundResponse(
            status=None,
            headers=(),
            body=_encode(result),
            truncated=False,
            elapsed=self.loop.time() - self.started,
            ok=error is None,
            error=None if error is None else error if isinstance(error, str) else _encode(error).decode(),
        )

    def _check_id(self, number: object, *, failed: bool) -> None:
        if number is None and failed:  # the target could not even read the request's id
            return
        if number != self._id or isinstance(number, bool):
            raise OutboundProtocolError(f"the answer is to call {number!r}, not to {self._id}")

    def _beginning(self) -> OutboundResponse:
        body = bytes(self._text[: self.pool.response_limit])
        return OutboundResponse(None, (), body, True, self.loop.time() - self.started, False)


class JsonFrame:
    """Finds the end of one JSON object in a growing buffer, each byte looked at once."""

    def __init__(self) -> None:
        self._position = 0
        self._depth = 0
        self._in_string = False

    def end(self, buffer: bytearray) -> int | None:
        """The offset just past the object, or None until it is whole; OutboundProtocolError if it is none."""
        if not self._depth and not self._at_start(buffer):
            return None
        while match := (_INSIDE_STRING if self._in_string else _OUTSIDE_STRING).search(
            buffer, self._position
        ):
            if match[0] == b"\\" and match.end() == len(buffer):  # what it escapes is still to come
                self._position = match.start()
                return None
            self._step(match)
            if not self._depth:
                return self._position
        self._position = len(buffer)
        return None

    def _at_start(self, buffer: bytearray) -> bool:
        text = buffer.lstrip()
        if text and not text.startswith(b"{"):
            raise OutboundProtocolError("the answer is not a JSON-RPC object")
        return bool(text)

    def _step(self, match: re.Match[bytes]) -> None:
        found = match[0]
        self._position = match.end() + (found == b"\\")
        if found == b'"':
            self._in_string = not self._in_string
        elif found in b"{[":
            self._depth += 1
        elif found in b"}]":
            self._depth -= 1


def _decode(text: bytes) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:
        raise OutboundProtocolError(f"the answer is not JSON: {exc}") from None


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
