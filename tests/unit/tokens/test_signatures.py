"""Signed requests, with the vendor's own signer as the other side."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer
from hypothesis import given
from hypothesis import strategies as st

from include.errors import AuthenticationError
from include.tokens.signatures import (
    EMPTY_HASH,
    UNSIGNED,
    WINDOW,
    SentRequest,
    Signature,
    check_moment,
    is_genuine,
    read_signature,
)

SECRET = "s" * 40
NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"]), max_size=12)


def signed(
    path: str = "/v5/iot/p/batchtasks",
    query: list[tuple[str, object]] | None = None,
    headers: dict[str, str] | None = None,
    body: str | bytes | None = None,
    method: str = "GET",
) -> SentRequest:
    """Return a request as the vendor's SDK puts it on the wire."""
    request = SdkRequest(
        method=method,
        schema="http",
        host="127.0.0.1:8080",
        resource_path=path,
        query_params=query or [],
        header_params={"X-Sdk-Date": "20261122T093000Z", **(headers or {})},
        body=body,
    )
    Signer(BasicCredentials("AK", SECRET)).sign(request)
    path, _, query_text = request.uri.partition("?")
    wire = [(key.lower().encode(), value.encode("latin-1")) for key, value in request.header_params.items()]
    return SentRequest(method, path.encode("latin-1", "replace"), query_text.encode(), wire)


def signature(request: SentRequest) -> Signature:
    return read_signature(request.header("authorization") or "")


def changed(request: SentRequest, **headers: str) -> SentRequest:
    kept = [(key, value) for key, value in request.headers if key.decode() not in headers]
    new = [(key.encode(), value.encode()) for key, value in headers.items()]
    return SentRequest(request.method, request.path, request.query, [*kept, *new])


@given(
    segment=TEXT,
    query=st.lists(
        st.tuples(TEXT.filter(bool), st.one_of(TEXT, st.integers(), st.booleans())),
        max_size=5,
        unique_by=lambda pair: pair[0],
    ),
    header=TEXT,
)
def test_what_the_vendors_signer_signs_is_genuine(segment, query, header):
    request = signed(f"/v5/iot/{quote(segment, safe='')}/x", list(query), {"X-Name": header})
    assert is_genuine(request, signature(request), SECRET, EMPTY_HASH)
    assert not is_genuine(request, signature(request), "t" * 40, EMPTY_HASH)


@pytest.mark.parametrize("body", ['{"targets": ["a"]}', b'{"name": "\xe6\xb0\xb4"}', ""])
def test_the_body_is_signed(body):
    request = signed(body=body, method="POST")
    raw = body.encode() if isinstance(body, str) else body
    assert is_genuine(request, signature(request), SECRET, hashlib.sha256(raw).hexdigest())
    assert not is_genuine(request, signature(request), SECRET, hashlib.sha256(raw + b" ").hexdigest())


def test_a_file_is_not():
    request = signed(body=b"...", method="POST", headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert request.header("x-sdk-content-sha256") == UNSIGNED
    assert is_genuine(request, signature(request), SECRET, UNSIGNED)


@pytest.mark.parametrize(
    "alter",
    [
        lambda r: SentRequest("DELETE", r.path, r.query, r.headers),
        lambda r: SentRequest(r.method, r.path + b"/x", r.query, r.headers),
        lambda r: SentRequest(r.method, r.path, r.query + b"&limit=50", r.headers),
        lambda r: SentRequest(r.method, r.path, b"", r.headers),
        lambda r: changed(r, **{"x-sdk-date": "20261122T093001Z"}),
        lambda r: changed(r, host="127.0.0.1:8081"),
        lambda r: changed(r, **{"x-project-id": "other"}),
    ],
    ids=["method", "path", "query", "no query", "date", "host", "header"],
)
def test_what_was_altered_is_not_genuine(alter):
    request = signed(query=[("task_type", "createCommands")], headers={"X-Project-Id": "p"})
    assert is_genuine(request, signature(request), SECRET, EMPTY_HASH)
    assert not is_genuine(alter(request), signature(request), SECRET, EMPTY_HASH)


def test_a_signed_header_must_be_there_once():
    request = signed(headers={"X-Project-Id": "p"})
    known = signature(request)
    kept = [pair for pair in request.headers if pair[0] != b"x-project-id"]
    for headers, words in [
        (kept, "x-project-id is signed and was not sent"),
        ([*request.headers, (b"x-project-id", b"p")], "x-project-id was sent more than once"),
    ]:
        with pytest.raises(AuthenticationError, match=words):
            is_genuine(SentRequest("GET", request.path, b"", headers), known, SECRET, EMPTY_HASH)


@pytest.mark.parametrize("away", [timedelta(0), WINDOW, -WINDOW])
def test_within_a_quarter_of_an_hour_a_signature_is_good(away):
    check_moment(signed(), NOW + away)


@pytest.mark.parametrize("away", [WINDOW + timedelta(seconds=1), -WINDOW - timedelta(seconds=1)])
def test_after_it_or_before_it_is_not(away):
    with pytest.raises(AuthenticationError, match="more than 15 minutes away from now"):
        check_moment(signed(), NOW + away)


@pytest.mark.parametrize(
    "text", ["", "2026-11-22T09:30:00Z", "20261122T093000", "20261322T093000Z", "٢0261122T093000Z"]
)
def test_a_moment_has_one_form(text):
    with pytest.raises(AuthenticationError, match="must be like 20261122T093000Z"):
        check_moment(changed(signed(), **{"x-sdk-date": text}), NOW)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be: SDK-HMAC-SHA256"),
        ("token 1:abc", "must be: SDK-HMAC-SHA256"),
        (f"SDK-HMAC-SM3 Access=A, SignedHeaders=x-sdk-date, Signature={'0' * 64}", "must be"),
        (f"SDK-HMAC-SHA256 Access=A, SignedHeaders=x-sdk-date, Signature={'0' * 63}", "must be"),
        (f"SDK-HMAC-SHA256 Access=, SignedHeaders=x-sdk-date, Signature={'0' * 64}", "must be"),
        (f"SDK-HMAC-SHA256 Access=A, SignedHeaders=host, Signature={'0' * 64}", "x-sdk-date must be among"),
    ],
)
def test_what_is_no_signature_is_refused(text, words):
    with pytest.raises(AuthenticationError, match=words):
        read_signature(text)


def test_a_signature_says_who_signed_what():
    text = f"SDK-HMAC-SHA256 Access=AK, SignedHeaders=host;x-sdk-date, Signature={'0' * 64}"
    assert read_signature(text) == Signature("AK", ("host", "x-sdk-date"), "0" * 64)
