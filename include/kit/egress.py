"""The egress guard: which addresses an outbound call may reach.

A definition's URL comes from a client, so it must not become a way into the network Carillon runs in (OWASP
Server Side Request Forgery). The guard resolves a name first, and the connection is then made to exactly the
address that was vetted, so a name that changes its answer between check and connect (DNS rebinding) gains
nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

from include.errors import EgressDeniedError, OutboundError, OutboundTimeoutError
from include.kit.targets import HttpTarget, IPAddress, literal_address, parse_url

Network = IPv4Network | IPv6Network
#: Host and port in, textual IP addresses out, best first; raises OSError when there is none.
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

RESOLVE_SECONDS = 5.0
CACHE_SECONDS = 30.0
#: Shorter than a definition's retry delay: the retry asks again, a thousand calls at one instant do not.
FAILURE_CACHE_SECONDS = 1.0
_CACHE_ENTRIES = 4096

#: IANA IPv4 Special-Purpose Address Registry (RFC 6890), and what clouds answer on outside it. First match
#: names the reason.
_DENIED_V4 = tuple(
    (IPv4Network(network), reason)
    for network, reason in (
        ("169.254.169.254/32", "a cloud metadata"),
        ("168.63.129.16/32", "a cloud metadata"),  # Azure's wire server, on a public-looking address
        ("100.100.100.200/32", "a cloud metadata"),
        ("0.0.0.0/32", "the unspecified"),
        ("0.0.0.0/8", "a reserved"),
        ("10.0.0.0/8", "a private"),
        ("172.16.0.0/12", "a private"),
        ("192.168.0.0/16", "a private"),
        ("100.64.0.0/10", "a carrier-grade NAT"),
        ("127.0.0.0/8", "a loopback"),
        ("169.254.0.0/16", "a link-local"),
        ("192.0.0.0/24", "a reserved"),
        ("192.0.2.0/24", "a documentation"),
        ("198.51.100.0/24", "a documentation"),
        ("203.0.113.0/24", "a documentation"),
        ("192.88.99.0/24", "a reserved"),
        ("198.18.0.0/15", "a benchmarking"),
        ("224.0.0.0/4", "a multicast"),
        ("240.0.0.0/4", "a reserved"),
    )
)
#: IANA IPv6 Special-Purpose Address Registry; what lies outside 2000::/3 is not global unicast and is denied
#: without a row.
_DENIED_V6 = tuple(
    (IPv6Network(network), reason)
    for network, reason in (
        ("::/128", "the unspecified"),
        ("::1/128", "a loopback"),
        ("fd00:ec2::254/128", "a cloud metadata"),
        ("fd20:ce::254/128", "a cloud metadata"),
        ("fc00::/7", "a private"),
        ("fe80::/10", "a link-local"),
        ("fec0::/10", "a private"),
        ("ff00::/8", "a multicast"),
        ("2001::/23", "a reserved"),
        ("2001:db8::/32", "a documentation"),
        ("3fff::/20", "a documentation"),
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
#: Forms of IPv6 that carry an IPv4 address, and how far right it stands: mapped, compatible (RFC 4291),
#: translated (RFC 2765), NAT64 (RFC 6052), 6to4 (RFC 3056).
_EMBEDDING = tuple(
    (IPv6Network(network), shift)
    for network, shift in (
        ("::ffff:0:0/96", 0),
        ("::/96", 0),
        ("::ffff:0:0:0/96", 0),
        ("64:ff9b::/96", 0),
        ("2002::/16", 80),
    )
)
_ISATAP = (0x00005EFE, 0x02005EFE)


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """Ask the operating system (`getaddrinfo`, in a thread)."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class _Lookup(NamedTuple):
    expires: float
    answer: asyncio.Task[Sequence[str]]


class EgressGuard:
    """Decides which addresses may be called, and resolves names to those alone. Used from one event loop."""

    def __init__(
        self,
        allow: Sequence[Network] = (),
        *,
        resolver: Resolver = system_resolver,
        cache_seconds: float = CACHE_SECONDS,
    ) -> None:
        self._allow = tuple(allow)
        self._resolver = resolver
        self._cache_seconds = cache_seconds
        self._lookups: dict[str, _Lookup] = {}

    def check_address(self, address: str | IPAddress, *, field: str | None = None) -> None:
        """Raise EgressDeniedError unless the address is a public one or an allowed network contains it.

        An IPv6 address that carries an IPv4 address is judged by that one.
        """
        parsed = ip_address(address) if isinstance(address, str) else address
        reason = self._denial(parsed)
        if reason is not None:
            raise EgressDeniedError(f"{parsed} is {reason} address and may not be called", field=field)

    def check_host(self, host: str, *, field: str | None = None) -> None:
        """Check what is known without DNS: a literal address, or a name that always means this machine."""
        address = literal_address(host)
        if address is not None:
            self.check_address(address, field=field)
        elif host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
            self.check_address(IPv4Address("127.0.0.1"), field=field)

    def check_url_syntax(self, url: str, field: str = "url") -> HttpTarget:
        """Check a URL without DNS, when it is saved; returns it taken apart.

        Raises InvalidInputError (see `parse_url`) or EgressDeniedError, both naming `field`.
        """
        target = parse_url(url, field)
        self.check_host(target.endpoint.host, field=field)
        return target

    async def resolve(self, host: str, port: int) -> tuple[str, ...]:
        """Resolve a host from `parse_host` and return only addresses that may be called, never none.

        Raises EgressDeniedError if there is no such address, OutboundError if the name cannot be resolved.
        """
        address = literal_address(host)
        if address is not None:
            self.check_address(address)
            return (str(address),)
        # Shielded: callers share the lookup, and one that gives up must not take it from the others.
        found = await asyncio.shield(self._lookup(host, port))
        return self._vetted(host, found)

    def _lookup(self, host: str, port: int) -> asyncio.Task[Sequence[str]]:
        loop = asyncio.get_running_loop()
        known = self._lookups.get(host)
        if known is not None and known.expires > loop.time():
            return known.answer
        if len(self._lookups) >= _CACHE_ENTRIES:
            self._forget_expired(loop.time())
        task = loop.create_task(self._ask(host, port))
        self._lookups[host] = _Lookup(loop.time() + self._cache_seconds, task)
        return task

    def _forget_expired(self, now: float) -> None:
        live = {host: entry for host, entry in self._lookups.items() if entry.expires > now}
        self._lookups = live if len(live) < _CACHE_ENTRIES else {}

    async def _ask(self, host: str, port: int) -> Sequence[str]:
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                return await self._resolver(host, port)
        except TimeoutError:
            self._expire_soon(host)
            raise OutboundTimeoutError(f"no answer from DNS for {host!r} in {RESOLVE_SECONDS:g} s") from None
        except (OSError, UnicodeError) as exc:
            self._expire_soon(host)
            raise OutboundError(f"the host name {host!r} cannot be resolved: {exc}") from exc

    def _expire_soon(self, host: str) -> None:
        if host in self._lookups:
            expires = asyncio.get_running_loop().time() + min(FAILURE_CACHE_SECONDS, self._cache_seconds)
            self._lookups[host] = self._lookups[host]._replace(expires=expires)

    def _vetted(self, host: str, found: Sequence[str]) -> tuple[str, ...]:
        reason: str | None = None
        vetted = []
        for text in found:
            denial = self._denial(ip_address(text))
            if denial is None:
                vetted.append(text)
            reason = reason or denial
        if vetted:
            return tuple(vetted)
        if reason is None:
            raise OutboundError(f"the host name {host!r} has no address")
        # The address stays out of the message: whoever made the definition need not learn our inner DNS.
        raise EgressDeniedError(f"{host!r} resolves to {reason} address, which may not be called")

    def _denial(self, address: IPAddress) -> str | None:
        """Why the address is refused, or None."""
        if any(address in network for network in self._allow):
            return None
        if isinstance(address, IPv4Address):
            return next((reason for network, reason in _DENIED_V4 if address in network), None)
        own = next((reason for network, reason in _DENIED_V6 if address in network), None)
        if own is not None:
            return own
        carried = list(_embedded(address))
        if carried:
            return next((reason for reason in map(self._denial, carried) if reason is not None), None)
        return None if address in _GLOBAL_UNICAST else "a reserved"


def _embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    number = int(address)
    for network, shift in _EMBEDDING:
        if address in network:
            yield IPv4Address(number >> shift & 0xFFFFFFFF)
    if address in _GLOBAL_UNICAST and (number >> 32 & 0xFFFFFFFF) in _ISATAP:
        yield IPv4Address(number & 0xFFFFFFFF)
