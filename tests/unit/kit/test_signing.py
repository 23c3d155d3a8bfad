"""Signatures as a receiver with the Standard Webhooks library checks them."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from include.errors import InvalidInputError
from include.kit.http_wire import encode_request
from include.kit.signing import WebhookSigner, normalise_secret
from include.kit.targets import parse_url

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SHANGHAI = timezone(timedelta(hours=8))


def signed(
    secrets: str | None, body: bytes | None = b'{"test": 2432232314}', **over: object
) -> dict[str, str]:
    now = datetime.now(UTC)
    arguments: dict[str, object] = {"message_id": "msg_1", "send_at": now, "due_at": now, "attempt": 1} | over
    return dict(WebhookSigner(secrets).headers(body=body, **arguments))  # type: ignore[arg-type]


def test_the_example_of_the_specification() -> None:
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = WebhookSigner(SECRET).headers(
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        send_at=at,
        due_at=at,
        attempt=1,
        body=b'{"test": 2432232314}',
    )
    assert headers == (
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("carillon-due-at", "2021-02-25T15:02:10.000Z"),
        ("carillon-attempt", "1"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    )


def test_times_are_utc_whatever_zone_they_come_in() -> None:
    due = datetime(2026, 3, 1, 0, 30, 0, 250_000, SHANGHAI)
    headers = signed(SECRET, send_at=due + timedelta(seconds=1), due_at=due, attempt=3)
    assert headers["carillon-due-at"] == "2026-02-28T16:30:00.250Z"
    assert headers["webhook-timestamp"] == str(int(due.timestamp()) + 1)
    assert headers["carillon-attempt"] == "3"


@pytest.mark.parametrize("body", [b"", None, b"{}", "温度".encode(), b"a=1&b=2"])
def test_a_receivers_library_accepts_it(body: bytes | None) -> None:
    Webhook(SECRET).verify(body or b"", signed(SECRET, body), json_parse=False)


def test_a_changed_body_or_attempt_at_replay_is_refused() -> None:
    headers = signed(SECRET)
    for forged in (
        headers | {"webhook-id": "msg_2"},
        headers | {"webhook-timestamp": str(int(time.time()) + 9)},
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(b'{"test": 2432232314}', forged)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(b'{"test": 1}', headers)


def test_a_plain_secret_is_its_utf8_bytes() -> None:
    headers = signed(normalise_secret("correct-horse-battery-电池"))
    Webhook("correct-horse-battery-电池".encode()).verify(b'{"test": 2432232314}', headers)


def test_both_secrets_sign_during_rotation() -> None:
    new = "whsec_" + base64.b64encode(b"n" * 32).decode()
    headers = signed(normalise_secret(f"{new}  {SECRET}"))
    assert headers["webhook-signature"].count("v1,") == 2
    for secret in (new, SECRET):
        Webhook(secret).verify(b'{"test": 2432232314}', headers)


def test_without_a_secret_the_message_is_identified_but_not_signed() -> None:
    assert list(signed(None)) == ["webhook-id", "webhook-timestamp", "carillon-due-at", "carillon-attempt"]


def test_the_headers_can_be_sent() -> None:
    request = encode_request("POST", parse_url("http://a/"), signed(SECRET).items(), b"{}")
    assert b"\r\nwebhook-signature: v1," in request


def test_only_text_can_be_signed() -> None:
    with pytest.raises(InvalidInputError) as caught:
        signed(SECRET, b"\xff\xfe")
    assert caught.value.field == "body"


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        (SECRET, SECRET),
        (f"  {SECRET}\n", SECRET),
        (
            "whsec_" + base64.b64encode(b"k" * 25).decode().rstrip("="),
            "whsec_" + base64.b64encode(b"k" * 25).decode(),
        ),
        ("a-plain-text-of-24-bytes", "whsec_YS1wbGFpbi10ZXh0LW9mLTI0LWJ5dGVz"),
    ],
)
def test_a_secret_has_one_normal_form(text: str, normal: str) -> None:
    assert normalise_secret(text) == normal
    assert normalise_secret(normal) == normal


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "   ",
            "x" * 23,
            "a\x00" * 12,
            "x" * 65,
            "whsec_",
            "whsec_%%%%",
            "whsec_abc",
            f"{SECRET} " * 4,
        ),
        "whsec_" + base64.b64encode(b"k" * 23).decode(),
        "whsec_" + base64.b64encode(b"k" * 65).decode(),
        f"{SECRET} short",
    ],
)
def test_an_unusable_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        normalise_secret(text, "signing_secret")
    assert caught.value.field == "signing_secret"
    assert not text.strip() or text not in str(caught.value)
