"""HTTP/1.1 on the wire: headers that may be sent, a request as bytes, an answer read by httptools."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from include.errors import InvalidInputError, OutboundProtocolError
from include.kit.calls import AnswerTooLargeError, OutboundResponse, PreparedCall
from include.kit.connections import Connection
from include.kit.pools import HostPool
from include.kit.targets import HttpTarget

#: Response headers worth keeping: how to read the body, where a redirect would lead, when to come again.
KEPT_HEADERS = {b"content-type": "content-type", b"location": "location", b"retry-after": "retry-after"}
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
HEAD_LIMIT_BYTES = 65_536
#: Chunks of one byte weigh six: an answer within its limit is never refused for its framing, and a flood of
#: it ends.
_FRAMING_FACTOR = 8

_HEADER_COUNT_LIMIT = 50
_HEADER_BYTES_LIMIT = 8_192
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e]*\Z")
#: RFC 9110, 7.6.1 (hop by hop) and the framing itself: these belong to whoever writes the request.
_OWN_HEADERS = frozenset(
    [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "upgrade",
        "expect",
    ]
)
#: What a receiver trusts to come from Carillon (`signing.py`).
_SIGNED_PREFIXES = ("webhook-", "carillon-")


def check_headers(headers: Mapping[str, str], field: str = "headers") -> tuple[tuple[str, str], ...]:
    """Check the headers of a definition when it is saved, and return them as pairs.

    Raises InvalidInputError naming `field` for a header that Carillon sets itself (framing, hop by hop,
    signature), for a name that is no token, for a value that is not printable ASCII (so no CR, LF, NUL), for
    a name given twice in different case, and for more than 50 headers or 8,192 bytes.
    """
    pairs = tuple(headers.items())
    seen: set[str] = set()
    for name, value in pairs:
        _check_header(name, value, field)
        lower = name.lower()
        if lower in _OWN_HEADERS or lower.startswith(_SIGNED_PREFIXES):
            raise InvalidInputError(f"{name!r} is set by Carillon itself", field=field)
        if lower in seen:
            raise InvalidInputError(f"{name!r} is given twice", field=field)
        seen.add(lower)
    if len(pairs) > _HEADER_COUNT_LIMIT or sum(len(n) + len(v) for n, v in pairs) > _HEADER_BYTES_LIMIT:
        raise InvalidInputError(
            f"at most {_HEADER_COUNT_LIMIT} headers and {_HEADER_BYTES_LIMIT} bytes are possible", field=field
        )
    return pairs


def _check_header(name: str, value: str, field: str) -> None:
    if not _TOKEN.match(name):
        raise InvalidInputError(f"{name!r} is not a header name", field=field)
    if not _FIELD_VALUE.match(value) or value != value.strip():
        raise InvalidInputError(f"the value of {name!r} must be printable ASCII on one line", field=field)


def encode_request(
    method: str, target: HttpTarget, headers: Iterable[tuple[str, str]], body: bytes | None
) -> bytes:
    """Every byte of the request. Raises InvalidInputError naming `method` or `headers`."""
    if method not in METHODS:
        raise InvalidInputError(f"{method!r} is not one of {', '.join(sorted(METHODS))}", field="method")
    fields = {"host": ("Host", target.endpoint.authority), "user-agent": ("User-Agent", "Carillon")}
    fields["accept"] = ("Accept", "*/*")
    for name, value in headers:
        _check_header(name, value, "headers")
        if name.lower() in _OWN_HEADERS:
            raise InvalidInputError(f"{name!r} is set by Carillon itself", field="headers")
        fields[name.lower()] = (name, value)
    if body is not None or method in ("POST", "PUT", "PATCH"):
        fields["content-length"] = ("Content-Length", str(len(body or b"")))
    lines = [f"{method} {target.request_target} HTTP/1.1", *(f"{n}: {v}" for n, v in fields.values())]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + (body or b"")


class HttpConnection(Connection):
    """Reads HTTP/1.x answers: chunked, by length or to the end of the stream; 1xx are passed over."""

    def __init__(self, pool: HostPool) -> None:
        super().__init__(pool)
        self._parser = HttpResponseParser(self)

    def start_answer(self, call: PreparedCall) -> None:
        self._bodiless = call.plan.bodiless
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._size = 0
        self._framed = self._headed = self._stray = False
        self._status = 0

    def feed(self, data: memoryview) -> None:
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as exc:
            if self.response is None:
                raise self._unreadable(exc) from exc
            self._stray = True
        if self.response is not None:
            self.reusable = self.reusable and not self._stray
        elif self._size > self.pool.response_limit:
            raise AnswerTooLargeError(self.pool.response_limit, self._answer_so_far(truncated=True))
        elif not self._headed and self.received > HEAD_LIMIT_BYTES:
            raise OutboundProtocolError(f"answer headers larger than {HEAD_LIMIT_BYTES} bytes")
        elif self.received > HEAD_LIMIT_BYTES + _FRAMING_FACTOR * self.pool.response_limit:
            raise OutboundProtocolError("the answer's framing outweighs its limit")

    def end_of_stream(self) -> None:
        if self._headed and not self._framed:
            self.complete(self._answer_so_far(), reusable=False)

    # --- called by the parser

    def on_message_begin(self) -> None:
        self._stray = self.response is not None

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._headed:  # a trailer
            return
        name = name.lower()
        kept = KEPT_HEADERS.get(name)
        if kept is not None:
            self._headers.append((kept, value.decode("latin-1")))
        elif name == b"content-length" or (
            name == b"transfer-encoding" and value.lower().endswith(b"chunked")
        ):
            self._framed = True

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._status >= 200:
            self._headed = True
            if self._bodiless:
                self._complete_without_body()
        else:
            self._headers.clear()
            self._framed = False

    def on_body(self, data: bytes) -> None:
        if self.response is not None:
            self._stray = True
        elif self._size <= self.pool.response_limit:
            self._size += len(data)
            self._body.append(data)

    def on_message_complete(self) -> None:
        if self._headed and self.response is None and self._size <= self.pool.response_limit:
            self.complete(self._answer_so_far(), reusable=self._parser.should_keep_alive())

    # ---

    def _complete_without_body(self) -> None:
        """A HEAD answer announces a body that never comes: the parser, which would wait, is replaced."""
        self.complete(self._answer_so_far(), reusable=self._parser.should_keep_alive())
        self._parser = HttpResponseParser(self)

    def _answer_so_far(self, *, truncated: bool = False) -> OutboundResponse:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        return OutboundResponse(
            self._status,
            tuple(self._headers),
            body[: self.pool.response_limit] if truncated else body,
            truncated,
            self.loop.time() - self.started,
            200 <= self._status < 300,
        )

    def _unreadable(self, exc: Exception) -> OutboundProtocolError:
        if isinstance(exc, HttpParserUpgrade):
            return OutboundProtocolError("the target switched to another protocol, which was not asked for")
        return OutboundProtocolError(f"the answer is not HTTP: {exc}")
