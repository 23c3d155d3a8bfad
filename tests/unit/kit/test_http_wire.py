"""Headers that may be saved with a definition, requests as bytes, and the reading of a response as text."""

from __future__ import annotations

import pytest

from include.errors import InvalidInputError
from include.kit.calls import OutboundResponse
from include.kit.http_wire import check_headers, encode_request
from include.kit.targets import parse_url


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Token": "abc"},
        {"Authorization": "Bearer a.b-c", "Content-Type": "application/json; charset=utf-8"},
        {"X-Empty": ""},
        {"X-Tab": "a\tb"},
        {"!#$%&'*+-.^_`|~09azAZ": "any token"},
    ],
)
def test_harmless_headers_pass_in_their_order(headers: dict[str, str]) -> None:
    assert check_headers(headers) == tuple(headers.items())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "x") for name in ("Host", "HOST", "content-length", "Transfer-Encoding", "Connection")),
        *((name, "x") for name in ("Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Upgrade", "Expect")),
        *(
            (name, "x")
            for name in ("Proxy-Authorization", "webhook-id", "Webhook-Signature", "Carillon-Attempt")
        ),
        *(
            (name, "x")
            for name in ("", " ", "X Y", "X:", "X\r\n", "X\nY", "X\x00", "Ünicode", "(x)", "x\x7f", "X ")
        ),
        *(
            ("X", value)
            for value in ("a\r\nY: b", "a\n", "a\r", "a\x00", "a\x0b", "\x7f", "温", " a", "a ", "a\x85")
        ),
    ],
)
def test_a_dangerous_header_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_headers({name: value}, "extra")
    assert caught.value.field == "extra"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "1", "x-a": "2"},
        {f"X-{i}": "1" for i in range(51)},
        {"X": "y" * 8192},
    ],
)
def test_too_many_or_double_headers_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError):
        check_headers(headers)


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        ("GET", None, None),
        ("DELETE", None, None),
        ("POST", None, b"0"),
        ("PUT", None, b"0"),
        ("PATCH", b"", b"0"),
        ("GET", b"{}", b"2"),
        ("POST", "温".encode(), b"3"),
    ],
)
def test_the_length_is_sent_when_there_is_or_could_be_a_body(
    method: str, body: bytes | None, length: bytes | None
) -> None:
    head, _, sent = encode_request(method, parse_url("http://a/"), (), body).partition(b"\r\n\r\n")
    lengths = [line.split(b": ")[1] for line in head.split(b"\r\n") if line.startswith(b"Content-Length")]
    assert lengths == ([] if length is None else [length])
    assert sent == (body or b"")


def response(content_type: str, body: bytes) -> OutboundResponse:
    return OutboundResponse(200, (("content-type", content_type),), body, False, 0.0, True)


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("application/json", "温".encode(), "温"),
        ("text/plain; charset=GBK", "温".encode("gbk"), "温"),
        ('text/plain; charset="iso-8859-1"; x=y', b"\xe9", "é"),
        ("text/plain; charset=latin-1", b"\xe9", "é"),
        ("text/plain; charset=nonsense", b"a\xff", "a�"),
        ("text/plain; charset=punycode", b"abc-", "abc-"),
        ("text/plain; charset=base64", b"YQ==", "YQ=="),
        ("text/plain; charset=a\x00b", b"a", "a"),
        ("text/plain; charset=", b"a", "a"),
        ("", b"\xff", "�"),
    ],
)
def test_the_body_as_text(content_type: str, body: bytes, text: str) -> None:
    assert response(content_type, body).text() == text
