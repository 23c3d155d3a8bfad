"""Tokens that were verified a moment ago, so that a busy client does not cost a query a request."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

from include.tokens.model import Token

#: The longest that a revoked token goes on working in a process that has just verified it.
KEPT_SECONDS = 3.0
KEPT_MOST = 1024


class VerifiedTokens:
    """Remembers good credentials by their hash, for `KEPT_SECONDS`; bad ones are never remembered."""

    def __init__(self, monotonic: Callable[[], float] = lambda: time.monotonic()) -> None:
        self._monotonic = monotonic
        self._kept: OrderedDict[bytes, tuple[Token, float]] = OrderedDict()
        self._ended: OrderedDict[Token, None] = OrderedDict()

    def get(self, credential: str, now: datetime) -> Token | None:
        """Return the token, unless it was verified too long ago or has expired meanwhile."""
        found = self._kept.get(_key(credential))
        if found is None or found[1] <= self._monotonic() or not found[0].is_valid(now):
            return None
        return found[0]

    def put(self, credential: str, token: Token) -> None:
        """Remember a credential that was verified just now, unless it has ended while it was verified."""
        if token in self._ended:
            return
        key = _key(credential)
        self._kept[key] = (token, self._monotonic() + KEPT_SECONDS)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT_MOST:
            self._kept.popitem(last=False)

    def forget(self, token: Token) -> None:
        """Have a token that was revoked in this process looked up again from now on."""
        for key in [key for key, (kept, _) in self._kept.items() if kept == token]:
            del self._kept[key]
        self._ended[token] = None
        while len(self._ended) > KEPT_MOST:
            self._ended.popitem(last=False)


def _key(credential: str) -> bytes:
    return hashlib.sha256(credential.encode("utf-8", "surrogateescape")).digest()
