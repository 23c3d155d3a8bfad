"""The shapes an outbound call passes through (HTTP, JSON-RPC): request, prepared call, response."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from include.errors import OutboundProtocolError
from include.kit.targets import Endpoint

if TYPE_CHECKING:
    from include.kit.connections import Connection
    from include.kit.pools import HostPool

#: What a target may make us decode, in Python's spelling; some of Python's codecs (punycode) are quadratic.
_CHARSETS = frozenset(
    (
        *("ascii", "utf-8", "utf-16", "iso8859-1", "iso8859-2", "iso8859-15", "cp1251", "cp1252", "koi8-r"),
        *("gb2312", "gbk", "gb18030", "big5", "shift_jis", "euc_jp", "euc_kr"),
    )
)


class OutboundResponse(NamedTuple):
    """What the target answered.

    `status` is the HTTP status, or None for JSON-RPC. `ok` is true for a 2xx, or for a JSON-RPC `error` of
    null; `error` is the JSON-RPC error text. `body` holds the bytes as they came (a Content-Encoding is not
    undone), for JSON-RPC the `result` as JSON. `headers` are those of `KEPT_HEADERS`, names in lower case.
    `elapsed` is seconds from the start of the connect or write to the last byte.
    """

    status: int | None
    headers: tuple[tuple[str, str], ...]
    body: bytes
    truncated: bool
    elapsed: float
    ok: bool
    error: str | None = None

    def text(self) -> str:
        """The body in the charset its Content-Type names, else UTF-8. Never raises: U+FFFD for bad bytes."""
        return self.body.decode(_charset(self.headers), "replace")


class AnswerTooLargeError(OutboundProtocolError):
    """The target's answer is larger than the limit; `response` holds its beginning."""

    def __init__(self, limit: int, response: OutboundResponse) -> None:
        super().__init__(f"answer larger than {limit} bytes")
        self.response = response


@dataclass(frozen=True, slots=True)
class CallPlan:
    """A request as far as it can be worked out without the network: where it goes, and every byte of it."""

    endpoint: Endpoint
    payload: bytes
    connection_type: type[Connection]
    #: HTTP: the answer ends after its headers (HEAD). JSON-RPC: the id the answer must carry.
    bodiless: bool = False
    rpc_id: int = 0


class CallRequest(Protocol):
    """What the client can send: an `OutboundRequest` (HTTP) or an `RpcRequest`."""

    @property
    def timeout(self) -> float:
        """Seconds for connect, write and read together."""
        ...

    def plan(self) -> CallPlan:
        """Raises InvalidInputError if the request cannot be put on the wire."""
        ...


class PreparedCall(NamedTuple):
    """A call of which only the sending is left, made by `OutboundClient.prepare`. May be sent repeatedly."""

    plan: CallPlan
    timeout: float
    #: Vetted by the egress guard; a connection is made to these and to nothing else.
    addresses: tuple[str, ...]
    pool: HostPool


def _charset(headers: tuple[tuple[str, str], ...]) -> str:
    content_type = next((value for name, value in headers if name == "content-type"), "")
    _, _, rest = content_type.lower().partition("charset=")
    try:
        name = codecs.lookup(rest.partition(";")[0].strip().strip("\"'") or "utf-8").name
    except (LookupError, ValueError):
        return "utf-8"
    return name if name in _CHARSETS else "utf-8"
