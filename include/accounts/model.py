"""Accounts: who may log in with a password, and how passwords are kept. No I/O."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime

from include.errors import InvalidInputError

PASSWORD_SHORTEST, PASSWORD_LONGEST = 8, 1000

#: OWASP's choice for scrypt with 16 MiB: memory is 128 x N x r bytes, time grows with N x r x p.
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**14, 8, 5
_MEMORY_MOST = 2**26
_SALT_BYTES, _HASH_BYTES = 16, 32


@dataclass(frozen=True)
class Account:
    """A row of `account`.

    :ivar apis: what its tokens open, None for all APIs
    :ivar projects: what its tokens see, None for all projects
    :ivar disabled_at: aware UTC; from then on it cannot log in
    """

    id: int
    name: str
    apis: tuple[str, ...] | None
    projects: tuple[str, ...] | None
    created_at: datetime
    disabled_at: datetime | None
    password_hash: str = field(repr=False)


def hash_password(password: str) -> str:
    """Return what is stored of a password: `scrypt$N$r$p$salt$hash`. Takes a tenth of a second.

    :raises InvalidInputError: names `password`: too short or too long
    """
    if not PASSWORD_SHORTEST <= len(password) <= PASSWORD_LONGEST:
        raise InvalidInputError(
            f"must have {PASSWORD_SHORTEST} to {PASSWORD_LONGEST} characters", field="password"
        )
    salt = secrets.token_bytes(_SALT_BYTES)
    digest = _scrypt(password, salt, SCRYPT_N, SCRYPT_R, SCRYPT_P)
    return "$".join(["scrypt", *map(str, (SCRYPT_N, SCRYPT_R, SCRYPT_P)), _text(salt), _text(digest)])


def is_password(password: str, stored: str) -> bool:
    """Return whether a password is the one that was stored. Takes as long as its stored cost says."""
    _, n, r, p, salt, digest = stored.split("$")
    found = _scrypt(password, base64.b64decode(salt), int(n), int(r), int(p))
    return hmac.compare_digest(found, base64.b64decode(digest))


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    # A client may send half of a surrogate pair; it is no password, and no reason to fail.
    text = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(text, salt=salt, n=n, r=r, p=p, maxmem=_MEMORY_MOST, dklen=_HASH_BYTES)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


#: Stands in where there is no such account, so that an unknown name takes as long as a wrong password.
NOBODY = "$".join(
    [
        "scrypt",
        *map(str, (SCRYPT_N, SCRYPT_R, SCRYPT_P)),
        _text(bytes(_SALT_BYTES)),
        _text(bytes(_HASH_BYTES)),
    ]
)
