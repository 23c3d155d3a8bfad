"""Reading the address of somebody else's server: URLs, host names, IP addresses in every spelling.

Pure: no DNS, no policy. One reading serves both the check when a definition is saved and the call itself,
because two readers that disagree about one text are how a request gets smuggled past a check.
"""

from __future__ import annotations

import re
import socket
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import idna

from include.errors import InvalidInputError

URL_LENGTH_LIMIT = 4096
DEFAULT_PORTS = {"http": 80, "https": 443}

IPAddress = IPv4Address | IPv6Address

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\Z")
#: WHATWG URL, "ends in a number checker": such a host is an IPv4 address or nothing.
_NUMERIC_LABEL = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
_HOST_AND_PORT = re.compile(r"(?P<host>\[[^\[\]]*\]|[^\[\]:]*)(?::(?P<port>[^:]*))?\Z")
_RESERVED_IN_TARGET = "!#$%&'()*+,/:;=?@[]~"


class Endpoint(NamedTuple):
    """Where a connection goes: `scheme` is http, https or rpc, `host` a lower-case ASCII name or an IP."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """`host:port` as a Host header wants it: the default port left out, IPv6 in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if DEFAULT_PORTS.get(self.scheme) == self.port else f"{host}:{self.port}"


class HttpTarget(NamedTuple):
    """A URL taken apart: the endpoint, and the percent-encoded path and query of the request line."""

    endpoint: Endpoint
    request_target: str


@lru_cache(maxsize=4096)
def parse_url(url: str, field: str = "url") -> HttpTarget:
    """Take an http or https URL apart; the fragment is dropped.

    Raises InvalidInputError naming `field` for another scheme, no host, a port outside 1–65535, credentials,
    control characters, a backslash, or more than 4,096 characters.
    """
    _refuse_unprintable(url, field)
    try:
        parts = urlsplit(url)
    except ValueError as exc:
        raise InvalidInputError(f"not a URL: {exc}", field=field) from None
    if parts.scheme not in DEFAULT_PORTS:
        raise InvalidInputError("must start with http:// or https://", field=field)
    if "@" in parts.netloc:
        raise InvalidInputError("must not carry a user name or password", field=field)
    host, port = split_host_port(parts.netloc, field, default_port=DEFAULT_PORTS[parts.scheme])
    target = quote(parts.path or "/", safe=_RESERVED_IN_TARGET)
    if parts.query:
        target += "?" + quote(parts.query, safe=_RESERVED_IN_TARGET)
    return HttpTarget(Endpoint(parts.scheme, host, port), target)


def split_host_port(text: str, field: str, *, default_port: int | None = None) -> tuple[str, int]:
    """Read `host:port`, `[IPv6]:port`, or the host alone if there is a default port.

    Raises InvalidInputError naming `field`.
    """
    match = _HOST_AND_PORT.match(text)
    if match is None:
        raise InvalidInputError(f"{text!r} is not host:port (an IPv6 address goes in brackets)", field=field)
    return parse_host(match["host"], field), _parse_port(match["port"], field, default_port)


def _parse_port(text: str | None, field: str, default: int | None) -> int:
    if not text:
        if default is None:
            raise InvalidInputError("the address needs a port", field=field)
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise InvalidInputError(f"{text!r} is not a port between 1 and 65535", field=field)
    return int(text)


def parse_host(text: str, field: str) -> str:
    """Return the host in the one spelling used from here on: an ASCII name without final dot, or a plain IP
    address.

    Internationalised names become punycode. Numbers are read as glibc's `inet_aton` reads them (`2130706433`,
    `0x7f.1`, `0177.0.0.1`), so that what is checked is what a resolver would have made of it.
    """
    if text.startswith("["):
        return str(_parse_ipv6(text[1:-1], field))
    if not text:
        raise InvalidInputError("has no host", field=field)
    name = _ascii_name(text, field).removesuffix(".")
    if _NUMERIC_LABEL.match(name.rpartition(".")[2]):
        return str(_parse_ipv4(name, field))
    if not _HOST_NAME.match(name):
        raise InvalidInputError(f"{text!r} is not a host name", field=field)
    return name


@lru_cache(maxsize=4096)
def literal_address(host: str) -> IPAddress | None:
    """The IP address a host from `parse_host` stands for, or None for a name that DNS has to answer."""
    try:
        return IPv6Address(host) if ":" in host else IPv4Address(host)
    except ValueError:
        return None


def _ascii_name(text: str, field: str) -> str:
    if text.isascii():
        return text.lower()
    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except UnicodeError as exc:  # idna.IDNAError is one
        raise InvalidInputError(f"{text!r} is not a host name: {exc}", field=field) from None


def _parse_ipv4(name: str, field: str) -> IPv4Address:
    try:
        return IPv4Address(socket.inet_aton(name))
    except OSError:
        raise InvalidInputError(f"{name!r} is not an IPv4 address", field=field) from None


def _parse_ipv6(text: str, field: str) -> IPv6Address:
    try:
        address = IPv6Address(text)
    except ValueError:
        raise InvalidInputError(f"[{text}] is not an IPv6 address", field=field) from None
    if address.scope_id is not None:
        raise InvalidInputError(f"[{text}] must not name an interface", field=field)
    return address


def _refuse_unprintable(url: str, field: str) -> None:
    if len(url) > URL_LENGTH_LIMIT:
        raise InvalidInputError(f"is longer than {URL_LENGTH_LIMIT} characters", field=field)
    # urlsplit drops tabs and line ends silently, and browsers read "\" as "/": both have hidden hosts before.
    if url != url.strip() or any(c == "\\" or (c != " " and not c.isprintable()) for c in url):
        raise InvalidInputError(
            "must not contain control characters, line breaks or backslashes", field=field
        )
