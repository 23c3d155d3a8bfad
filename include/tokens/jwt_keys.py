"""The public keys by which RS256 tokens are checked: a JWKS (RFC 7517) from a file or a URL."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import RSAAlgorithm
from jwt.exceptions import InvalidKeyError

from include.errors import AuthenticationError, OutboundError

log = logging.getLogger(__name__)

#: Keys are read again after this long, so that one that was withdrawn ends; and at most this often because of
#: a key id that is not known, since anybody can make one up.
KEPT_SECONDS, REFRESH_SECONDS = 3600.0, 60.0
RETRY_SECONDS = 5.0
FETCH_SECONDS = 5.0
LARGEST_BYTES = 1_048_576

#: The shortest modulus of RS256 (RFC 7518, section 3.3).
SHORTEST_BITS = 2048

Keys = Mapping[str | None, RSAPublicKey]


class KeySet:
    """The keys of one source.

    :param source: a path, or a URL that begins with `http`
    """

    def __init__(self, source: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.source = source
        self.monotonic = monotonic
        self.keys: Keys | None = None
        self.stale_at = 0.0
        self.refresh_at = 0.0
        self.lock = asyncio.Lock()

    async def find(self, kid: str | None) -> RSAPublicKey:
        """Return the key with this id; without an id the only key there is.

        :raises AuthenticationError: there is no such key
        :raises OutboundError: the keys could not be read, and none were before
        """
        async with self.lock:
            now = self.monotonic()
            known = self.keys is not None and _pick(self.keys, kid) is not None
            if now >= (self.stale_at if known else self.refresh_at):
                await self._load(now)
            key = _pick(self.keys, kid) if self.keys is not None else None
        if self.keys is None:
            raise OutboundError("the keys of tokens cannot be read")
        if key is None:
            raise AuthenticationError("the token names a key that is not known")
        return key

    async def _load(self, now: float) -> None:
        try:
            self.keys = read_keys(await self._read())
        except (OSError, ValueError, httpx.HTTPError) as error:
            # What was read before is still good; a source that is away is asked again soon.
            log.warning("the keys of %s cannot be read: %s", self.source, error)
            self.stale_at = self.refresh_at = now + RETRY_SECONDS
        else:
            self.stale_at, self.refresh_at = now + KEPT_SECONDS, now + REFRESH_SECONDS

    async def _read(self) -> bytes:
        if not self.source.startswith(("http://", "https://")):
            return await asyncio.to_thread(Path(self.source).read_bytes)
        async with (
            asyncio.timeout(FETCH_SECONDS),
            httpx.AsyncClient(timeout=FETCH_SECONDS, trust_env=False) as client,
            client.stream("GET", self.source) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                raise ValueError(f"it answered with status {answer.status_code}")
            document = b""
            async for part in answer.aiter_bytes():
                document += part
                if len(document) > LARGEST_BYTES:
                    raise ValueError(f"it is larger than {LARGEST_BYTES} bytes")
            return document


def read_keys(document: bytes) -> Keys:
    """Return the keys of a JWKS that RS256 can use, by their id. Raises ValueError."""
    found = orjson.loads(document)
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it is not a JWKS")
    keys = ((one.get("kid"), _key(one)) for one in listed if isinstance(one, dict))
    return {kid: key for kid, key in keys if key is not None and (kid is None or isinstance(kid, str))}


def _key(one: Mapping[str, Any]) -> RSAPublicKey | None:
    """Return a key, None where it is not one that checks RS256 signatures."""
    fits = one.get("kty") == "RSA" and one.get("use", "sig") == "sig" and one.get("alg", "RS256") == "RS256"
    if not fits or "d" in one:
        return None
    try:
        key = RSAAlgorithm.from_jwk(dict(one))
    except (InvalidKeyError, ValueError, TypeError):
        return None
    return key if isinstance(key, RSAPublicKey) and key.key_size >= SHORTEST_BITS else None


def _pick(keys: Keys, kid: str | None) -> RSAPublicKey | None:
    if kid is None and len(keys) == 1:
        return next(iter(keys.values()))
    return keys.get(kid)
