"""Requests signed with an access key, `SDK-HMAC-SHA256`: what was signed, and with what. No I/O.

Source: what the vendor's SDK signs (PyPI `huaweicloudsdkcore`, `signer/signer.py`). The canonical request is

    method, path, query, signed headers, their names, hash of the body

a line each; the signature is HMAC-SHA256 with the secret key over algorithm, moment and the hash of that.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, unquote

from include.errors import AuthenticationError

ALGORITHM = "SDK-HMAC-SHA256"
DATE_HEADER, CONTENT_HEADER = "x-sdk-date", "x-sdk-content-sha256"

#: In place of a body's hash where the body is not signed: files and streams.
UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY_HASH = hashlib.sha256(b"").hexdigest()

#: How far the moment of a signature may lie from ours, both ways; within it a request may come again.
WINDOW = timedelta(minutes=15)

_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Access=(?P<access_key>[^,\s]+), *SignedHeaders=(?P<headers>[^,\s]+),"
    r" *Signature=(?P<digits>[0-9a-f]{64})"
)
_MOMENT = re.compile(r"[0-9]{8}T[0-9]{6}Z")


@dataclass(frozen=True)
class Signature:
    """What the Authorization header of a signed request says.

    :ivar headers: names of the headers that are signed, in lower case and their order
    :ivar digits: 64 hexadecimal digits
    """

    access_key: str
    headers: tuple[str, ...]
    digits: str


@dataclass(frozen=True)
class SentRequest:
    """A request as it came over the wire.

    :ivar path: as the client wrote it, without its query
    :ivar headers: names in lower case
    """

    method: str
    path: bytes
    query: bytes
    headers: Sequence[tuple[bytes, bytes]]

    def header(self, name: str) -> str | None:
        """Return the value of a header, None where it is missing. Raises AuthenticationError: sent twice."""
        values = [value for key, value in self.headers if key == name.encode()]
        if len(values) > 1:
            raise AuthenticationError(f"the header {name} was sent more than once")
        return values[0].decode("utf-8", "surrogateescape").strip() if values else None


def read_signature(authorization: str) -> Signature:
    """Return the signature that an Authorization header holds. Raises AuthenticationError."""
    match = _AUTHORIZATION.fullmatch(authorization)
    if match is None:
        form = "Access=…, SignedHeaders=…, Signature=<64 hex digits>"
        raise AuthenticationError(f"the Authorization header must be: {ALGORITHM} {form}")
    headers = tuple(match["headers"].split(";"))
    if DATE_HEADER not in headers:
        raise AuthenticationError(f"{DATE_HEADER} must be among the signed headers")
    return Signature(match["access_key"], headers, match["digits"])


def check_moment(request: SentRequest, now: datetime) -> None:
    """Refuse a signature that is more than `WINDOW` away from `now` (aware). Raises AuthenticationError."""
    text = request.header(DATE_HEADER) or ""
    try:
        if _MOMENT.fullmatch(text) is None:
            raise ValueError(text)
        moment = datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise AuthenticationError(f"{DATE_HEADER} must be like 20261122T093000Z") from None
    if abs(now - moment) > WINDOW:
        minutes = int(WINDOW.total_seconds() / 60)
        raise AuthenticationError(f"{DATE_HEADER} is more than {minutes} minutes away from now")


def is_genuine(request: SentRequest, signature: Signature, secret_key: str, payload: str) -> bool:
    """Return whether a request was signed so.

    :param payload: hash of the body in hexadecimal digits, or `UNSIGNED`
    :raises AuthenticationError: a header that is signed is not there, or twice
    """
    canonical = _canonical(request, signature.headers, payload)
    moment = request.header(DATE_HEADER) or ""
    text = f"{ALGORITHM}\n{moment}\n{hashlib.sha256(canonical).hexdigest()}"
    expected = hmac.new(secret_key.encode(), text.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, signature.digits)


def _canonical(request: SentRequest, names: Sequence[str], payload: str) -> bytes:
    headers = [f"{name}:{_signed(request, name)}\n" for name in names]
    lines = (
        request.method.upper(),
        _canonical_path(request.path),
        _canonical_query(request.query),
        "".join(headers),
        ";".join(names),
        payload,
    )
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def _signed(request: SentRequest, name: str) -> str:
    value = request.header(name)
    if value is None:
        raise AuthenticationError(f"the header {name} is signed and was not sent")
    return value


def _canonical_path(path: bytes) -> str:
    parts = unquote(path.decode("latin-1")).split("/")
    encoded = "/".join(_encode(part) for part in parts)
    return encoded if encoded.endswith("/") else f"{encoded}/"


def _canonical_query(query: bytes) -> str:
    # Read as the app reads it: what was signed and what is done must never differ.
    pairs = sorted(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    return "&".join(f"{_encode(key)}={_encode(value)}" for key, value in pairs)


def _encode(text: str) -> str:
    return quote(text, safe="~")
