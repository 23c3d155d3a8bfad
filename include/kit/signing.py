"""Standard Webhooks signatures on callbacks and events (https://www.standardwebhooks.com, specification 1.0).

Headers are made when a call is prepared, seconds before its instant; `webhook-timestamp` is therefore the
planned send time, which a receiver compares with its own clock (usually ± 5 minutes).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook

from include.errors import InvalidInputError

_PREFIX = "whsec_"
#: Standard Webhooks, "Signature scheme": a symmetric secret has 24 to 64 bytes.
_KEY_BYTES = range(24, 65)
#: The new and the old one while a secret is rotated, and one in reserve.
_SECRETS_AT_ONCE = 3


def normalise_secret(text: str, field: str = "secret") -> str:
    """Return the secrets as `whsec_` + base64, one space between them.

    Each word of `text` is one secret: `whsec_…`, or any other text, whose UTF-8 bytes are then the key (a
    receiver gives its library those bytes). Several sign at once while a secret is being rotated.
    Raises InvalidInputError naming `field`: none or more than three, bad base64, a key that has not 24 to 64
    bytes. Its own result comes back unchanged.
    """
    words = text.split()
    if not 1 <= len(words) <= _SECRETS_AT_ONCE:
        raise InvalidInputError(f"must hold 1 to {_SECRETS_AT_ONCE} secrets", field=field)
    return " ".join(_PREFIX + base64.b64encode(_key(word, field)).decode() for word in words)


def _key(word: str, field: str) -> bytes:
    if not word.isprintable():
        raise InvalidInputError("a secret must not contain control characters", field=field)
    key = _decoded(word, field) if word.startswith(_PREFIX) else word.encode("utf-8", "replace")
    if len(key) not in _KEY_BYTES:
        message = f"a secret of {len(key)} bytes: it must have {_KEY_BYTES[0]} to {_KEY_BYTES[-1]}"
        raise InvalidInputError(message, field=field)
    return key


def _decoded(word: str, field: str) -> bytes:
    encoded = word.removeprefix(_PREFIX).rstrip("=")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInputError("what follows whsec_ is not base64", field=field) from None


class WebhookSigner:
    """Signs with one definition's secrets, or only identifies the message when there are none."""

    def __init__(self, secrets: str | None) -> None:
        """`secrets` as `normalise_secret` returned them."""
        self._webhooks = [Webhook(secret) for secret in (secrets or "").split()]

    def headers(
        self, *, message_id: str, send_at: datetime, due_at: datetime, attempt: int, body: bytes | None
    ) -> tuple[tuple[str, str], ...]:
        """The headers of one attempt.

        `message_id` stays the same over all attempts; `send_at` is when this one is planned to leave,
        `due_at` the instant it answers for (both aware); `attempt` counts from 1. `body` must be the bytes
        that are sent. Raises InvalidInputError naming `body` if it is not UTF-8: the specification signs
        text.
        """
        sent = send_at.astimezone(UTC)
        headers = [
            ("webhook-id", message_id),
            ("webhook-timestamp", str(int(sent.timestamp()))),
            (
                "carillon-due-at",
                due_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            ),
            ("carillon-attempt", str(attempt)),
        ]
        if self._webhooks:
            headers.append(("webhook-signature", " ".join(self._signatures(message_id, sent, body))))
        return tuple(headers)

    def _signatures(self, message_id: str, sent: datetime, body: bytes | None) -> Sequence[str]:
        try:
            text = (body or b"").decode()
        except UnicodeDecodeError:
            raise InvalidInputError("only UTF-8 text can be signed", field="body") from None
        return [webhook.sign(message_id, sent, text) for webhook in self._webhooks]
