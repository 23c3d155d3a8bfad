"""Which addresses and URLs may be called: tables of the ways people have tried."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network

import pytest

from include.errors import EgressDeniedError, InvalidInputError, OutboundError, OutboundTimeoutError
from include.kit import egress
from include.kit.egress import EgressGuard
from include.kit.targets import Endpoint, parse_url

LOOPBACK = ip_network("127.0.0.0/8")

DENIED = [
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "reserved"),
    ("10.0.0.1", "private"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.168.1.1", "private"),
    ("100.64.0.1", "carrier-grade NAT"),
    ("100.127.255.255", "carrier-grade NAT"),
    ("169.254.0.1", "link-local"),
    ("169.254.169.254", "metadata"),
    ("168.63.129.16", "metadata"),
    ("100.100.100.200", "metadata"),
    ("192.0.0.192", "reserved"),
    ("192.0.2.1", "documentation"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.1", "documentation"),
    ("198.18.0.1", "benchmarking"),
    ("192.88.99.1", "reserved"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "reserved"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "link-local"),
    ("fec0::1", "private"),
    ("fc00::1", "private"),
    ("fd12:3456::1", "private"),
    ("fd00:ec2::254", "metadata"),
    ("ff02::1", "multicast"),
    ("2001:db8::1", "documentation"),
    ("3fff::1", "documentation"),
    ("2001::1", "reserved"),  # Teredo
    ("100::1", "reserved"),  # discard-only
    ("4000::1", "reserved"),
    ("64:ff9b:1::1", "reserved"),
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:169.254.169.254", "metadata"),
    ("::ffff:10.0.0.1", "private"),
    ("::ffff:0:10.0.0.1", "private"),
    ("::127.0.0.1", "loopback"),
    ("64:ff9b::7f00:1", "loopback"),
    ("64:ff9b::a9fe:a9fe", "metadata"),
    ("2002:7f00:1::", "loopback"),
    ("2002:c0a8:101::1", "private"),
    ("2a00:1450::5efe:10.0.0.1", "private"),
    ("2a00:1450::200:5efe:192.168.0.1", "private"),
]

PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "169.253.1.1"),
    *("192.0.1.1", "198.17.255.255", "198.20.0.1", "223.255.255.255", "126.255.255.255", "128.0.0.1"),
    *("2606:4700::1111", "2a00:1450:4001::1", "2400:3200::1", "64:ff9b::808:808", "2002:808:808::1"),
    "::ffff:8.8.8.8",
]


@pytest.mark.parametrize(("address", "reason"), DENIED)
def test_a_special_address_is_denied_with_its_reason(address: str, reason: str) -> None:
    with pytest.raises(EgressDeniedError, match=reason) as caught:
        EgressGuard().check_address(address, field="url")
    assert caught.value.field == "url"


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_passes(address: str) -> None:
    EgressGuard().check_address(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "::127.0.0.1"])
def test_an_allowed_network_opens_an_address_in_every_form(address: str) -> None:
    EgressGuard((LOOPBACK,)).check_address(address)


def test_an_allowed_network_opens_nothing_else() -> None:
    guard = EgressGuard((LOOPBACK, ip_network("fd00::/16")))
    guard.check_address("fd00::5")
    for address in ("10.0.0.1", "169.254.169.254", "::1", "fd01::1"):
        with pytest.raises(EgressDeniedError):
            guard.check_address(address)


ODD_SPELLINGS_OF_LOOPBACK = [
    *("127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "2130706433", "017700000001", "0x7f000001", "0x7f.1"),
    *("0177.0.0.1", "0x7F.0.0.0x1", "0", "0x0", "0.0.0.0", "0177.1", "１２７.0.0.1"),
    *("①②⑦.0.0.1", "127。0。0。1", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]"),
    *("[64:ff9b::127.0.0.1]", "localhost", "LOCALHOST", "localhost.", "a.localhost"),
]


@pytest.mark.parametrize("host", ODD_SPELLINGS_OF_LOOPBACK)
@pytest.mark.parametrize("form", ["http://{}/x", "https://{}:8443/", "HTTP://{}?q"])
def test_loopback_is_recognised_in_every_spelling(host: str, form: str) -> None:
    with pytest.raises(EgressDeniedError) as caught:
        EgressGuard().check_url_syntax(form.format(host), "callback_url")
    assert caught.value.field == "callback_url"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "must start with http"),
        ("example.com/x", "must start with http"),
        ("//example.com/x", "must start with http"),
        ("ftp://example.com/", "must start with http"),
        ("file:///etc/passwd", "must start with http"),
        ("gopher://127.0.0.1:6379/_x", "must start with http"),
        ("javascript:alert(1)", "must start with http"),
        ("http://", "has no host"),
        ("http:///path", "has no host"),
        ("http://:80/", "has no host"),
        ("http://user:secret@example.com/", "user name or password"),
        ("http://user@example.com/", "user name or password"),
        ("http://example.com@127.0.0.1/", "user name or password"),
        ("http://@example.com/", "user name or password"),
        ("http://example.com:0/", "is not a port"),
        ("http://example.com:65536/", "is not a port"),
        ("http://example.com:-1/", "is not a port"),
        ("http://example.com:+80/", "is not a port"),
        ("http://example.com:８０/", "is not a port|not a URL"),
        ("http://example.com:80:90/", "not host:port"),
        ("http://::1/", "not host:port"),
        ("http://[::1/", "not a URL"),
        ("http://[example.com]/", "not an IPv6 address|not a URL"),
        ("http://[fe80::1%25eth0]/", "not an IPv6 address|must not name an interface"),
        ("http://[::1]x/", "not host:port|not a URL"),
        ("http://exa mple.com/", "is not a host name"),
        ("http://127.0.0.%31/", "is not a host name"),
        ("http://exam_ple..com/", "is not a host name"),
        ("http://-bad.com/", "is not a host name"),
        (f"http://{'a' * 64}.com/", "is not a host name"),
        ("http://exa<mple>.com/", "is not a host name"),
        ("http://1.2.3.4.5/", "is not an IPv4 address"),
        ("http://256.1.1.1/", "is not an IPv4 address"),
        ("http://example.1/", "is not an IPv4 address"),
        ("http://0xgg.1/", "is not an IPv4 address"),
        ("http://例-.jp/", "is not a host name"),
        ("http://[12345::1]/", "not an IPv6 address|not a URL"),
        ("http://example.com\\@127.0.0.1/", "control characters, line breaks or backslashes"),
        ("http://example.com/\r\nX: y", "control characters"),
        ("http://exam\tple.com/", "control characters"),
        ("http://example.com/\x00", "control characters"),
        ("http://example.com/\x7f", "control characters"),
        ("http://example.com/\u2028", "control characters"),
        (" http://example.com/", "control characters"),
        ("http://example.com/ ", "control characters"),
        ("http://example.com/" + "a" * 4096, "longer than 4096"),
    ],
)
def test_an_unusable_url_is_refused_with_its_reason(url: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        EgressGuard((ip_network("0.0.0.0/0"),)).check_url_syntax(url)
    assert caught.value.field == "url"


@pytest.mark.parametrize(
    ("url", "endpoint", "target", "authority"),
    [
        ("http://Example.COM", ("http", "example.com", 80), "/", "example.com"),
        ("https://example.com.:8443/a?b=c#d", ("https", "example.com", 8443), "/a?b=c", "example.com:8443"),
        ("https://example.com:443/", ("https", "example.com", 443), "/", "example.com"),
        ("http://example.com:/", ("http", "example.com", 80), "/", "example.com"),
        ("http://例え.jp/路径?名=值", ("http", "xn--r8jz45g.jp", 80), None, "xn--r8jz45g.jp"),
        ("http://a/x y%20z/../q?a=b c&d=%zz", ("http", "a", 80), "/x%20y%20z/../q?a=b%20c&d=%zz", "a"),
        ("http://my_service:5000/x", ("http", "my_service", 5000), "/x", "my_service:5000"),
        ("http://[2606:4700:0::1111]:81/", ("http", "2606:4700::1111", 81), "/", "[2606:4700::1111]:81"),
        ("http://134744072/", ("http", "8.8.8.8", 80), "/", "8.8.8.8"),
        ("http://a?x", ("http", "a", 80), "/?x", "a"),
    ],
)
def test_a_url_is_taken_apart(
    url: str, endpoint: tuple[str, str, int], target: str | None, authority: str
) -> None:
    parsed = EgressGuard().check_url_syntax(url)
    assert parsed.endpoint == Endpoint(*endpoint)
    assert parsed.request_target == (target or "/%E8%B7%AF%E5%BE%84?%E5%90%8D=%E5%80%BC")
    assert parsed.endpoint.authority == authority
    assert parse_url(url) == parsed


class Names:
    """A resolver over a dictionary that counts its questions."""

    def __init__(self, answers: dict[str, list[str]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        await asyncio.sleep(0)
        if host not in self.answers:
            raise OSError("Name or service not known")
        return self.answers[host]


async def test_resolve_returns_only_vetted_addresses() -> None:
    names = Names({"mixed.example": ["10.0.0.1", "1.1.1.1", "::1", "2606:4700::1111"]})
    guard = EgressGuard(resolver=names)
    assert await guard.resolve("mixed.example", 80) == ("1.1.1.1", "2606:4700::1111")


async def test_a_name_with_only_inner_addresses_is_denied_and_they_are_not_told() -> None:
    guard = EgressGuard(resolver=Names({"inner.example": ["10.1.2.3"]}))
    with pytest.raises(EgressDeniedError, match="a private address") as caught:
        await guard.resolve("inner.example", 80)
    assert "10.1.2.3" not in str(caught.value)


async def test_a_literal_address_is_not_looked_up() -> None:
    names = Names({})
    assert await EgressGuard(resolver=names).resolve("1.1.1.1", 80) == ("1.1.1.1",)
    with pytest.raises(EgressDeniedError):
        await EgressGuard(resolver=names).resolve("127.0.0.1", 80)
    assert names.asked == []


async def test_lookups_are_shared_and_kept_for_a_while() -> None:
    names = Names({"a.example": ["1.1.1.1"]})
    guard = EgressGuard(resolver=names, cache_seconds=0.05)
    await asyncio.gather(*(guard.resolve("a.example", 80) for _ in range(20)))
    assert names.asked == ["a.example"]
    await asyncio.sleep(0.06)
    await guard.resolve("a.example", 80)
    assert names.asked == ["a.example"] * 2


async def test_one_caller_giving_up_does_not_take_the_lookup_from_the_others() -> None:
    guard = EgressGuard(resolver=Names({"a.example": ["1.1.1.1"]}))
    first, second = (asyncio.create_task(guard.resolve("a.example", 80)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == ("1.1.1.1",)


async def test_a_failed_lookup_is_forgotten_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "FAILURE_CACHE_SECONDS", 0.05)
    names = Names({})
    guard = EgressGuard(resolver=names)
    for _ in range(2):
        with pytest.raises(OutboundError, match=r"'gone\.example' cannot be resolved"):
            await guard.resolve("gone.example", 80)
    assert names.asked == ["gone.example"]
    names.answers["gone.example"] = ["1.1.1.1"]
    await asyncio.sleep(0.06)
    assert await guard.resolve("gone.example", 80) == ("1.1.1.1",)


async def test_a_silent_dns_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(host: str, port: int) -> list[str]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(egress, "RESOLVE_SECONDS", 0.02)
    with pytest.raises(OutboundTimeoutError, match="DNS"):
        await EgressGuard(resolver=silent).resolve("slow.example", 80)


async def test_a_name_without_an_address_cannot_be_called() -> None:
    with pytest.raises(OutboundError, match="has no address"):
        await EgressGuard(resolver=Names({"empty.example": []})).resolve("empty.example", 80)


async def test_the_cache_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "_CACHE_ENTRIES", 4)
    names = Names({f"h{i}.example": ["1.1.1.1"] for i in range(9)})
    guard = EgressGuard(resolver=names)
    for host in names.answers:
        await guard.resolve(host, 80)
    assert len(guard._lookups) <= 4


async def test_the_system_resolver_answers_for_this_machine() -> None:
    assert "127.0.0.1" in await egress.system_resolver("localhost", 80)
