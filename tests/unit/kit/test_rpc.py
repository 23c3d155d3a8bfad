"""`addr:port/Handler.Function` and the end of a JSON object in a stream."""

from __future__ import annotations

import json
from ipaddress import ip_network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import EgressDeniedError, InvalidInputError, OutboundProtocolError
from include.kit.egress import EgressGuard
from include.kit.rpc import JsonFrame, parse_rpc_target
from include.kit.targets import Endpoint


@pytest.mark.parametrize(
    ("url", "host", "port", "method"),
    [
        ("example.com:1234/Arith.Multiply", "example.com", 1234, "Arith.Multiply"),
        ("EXAMPLE.com:1/handler.func", "example.com", 1, "handler.func"),
        ("10.0.0.9:65535/a.b.C", "10.0.0.9", 65535, "a.b.C"),
        ("[2606:4700::1]:80/服务.方法", "2606:4700::1", 80, "服务.方法"),
    ],
)
def test_a_target_is_taken_apart(url: str, host: str, port: int, method: str) -> None:
    assert parse_rpc_target(url) == (Endpoint("rpc", host, port), method)


@pytest.mark.parametrize(
    "url",
    [
        *("", "/", "example.com", "example.com:1234", "example.com/A.B", "example.com:/A.B", ":80/A.B"),
        *("example.com:80/", "example.com:80/Method", "example.com:80/.B", "example.com:80/A.", "host:80/."),
        *(
            "example.com:80/A/B.C",
            "example.com:80//A.B",
            "tcp://example.com:80/A.B",
            "http://example.com:80/A.B",
        ),
        *("example.com:0/A.B", "example.com:65536/A.B", "example.com:x/A.B", "user@example.com:80/A.B"),
        *("example.com:80/A.B\n", "example.com:80/A .B", "exa mple.com:80/A.B", "example.com:80/A.B\x00"),
        *(
            "[fe80::1%eth0]:80/A.B",
            "[x]:80/A.B",
            "::1:80/A.B",
            "1.2.3:99999/A.B",
            "1.2.3.4.5:80/A.B",
            "example.com:80\\x/A.B",
            "a" * 5000 + ":80/A.B",
        ),
    ],
)
def test_an_unusable_target_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_rpc_target(url, "callback")
    assert caught.value.field == "callback"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "[::1]", "localhost", "169.254.169.254"]
)
def test_an_inner_address_is_denied_when_a_guard_is_given(host: str) -> None:
    with pytest.raises(EgressDeniedError) as caught:
        parse_rpc_target(f"{host}:80/A.B", guard=EgressGuard())
    assert caught.value.field == "url"


def test_an_allowed_address_passes_the_guard() -> None:
    guard = EgressGuard((ip_network("127.0.0.0/8"),))
    assert parse_rpc_target("127.1:80/A.B", guard=guard).endpoint.host == "127.0.0.1"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\{}[]é'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='k"\\}'), inner, max_size=3),
    max_leaves=8,
)


@given(
    value=st.dictionaries(st.text(alphabet='k"\\{'), values, max_size=4),
    cuts=st.lists(st.integers(0, 200), max_size=6),
    ascii_only=st.booleans(),
    before=st.sampled_from([b"", b" \r\n"]),
)
def test_the_end_is_found_however_the_bytes_arrive(
    value: dict[str, object], cuts: list[int], ascii_only: bool, before: bytes
) -> None:
    text = before + json.dumps(value, ensure_ascii=ascii_only).encode()
    whole = text + b"\n{..."
    frame, buffer, ends = JsonFrame(), bytearray(), []
    edges = [0, *sorted(cut for cut in cuts if cut < len(text)), len(whole)]
    for start, stop in pairwise(edges):
        buffer += whole[start:stop]
        ends.append(frame.end(buffer))
    assert ends[:-1] == [None] * (len(ends) - 1)
    assert ends[-1] == len(text)


@pytest.mark.parametrize("text", [b"[", b"1", b"x", b"\n}", b'"{}"'])
def test_what_is_no_object_is_known_at_once(text: bytes) -> None:
    with pytest.raises(OutboundProtocolError):
        JsonFrame().end(bytearray(text))
