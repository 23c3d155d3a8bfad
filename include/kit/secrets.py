"""Secrets at rest: encrypted with a key derived from CARILLON_SECRET_KEY (Fernet: AES-128-CBC and HMAC)."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken

from include.errors import CarillonError
from include.settings import get_settings


class SecretUnreadableError(CarillonError):
    """A stored secret was encrypted with another CARILLON_SECRET_KEY."""


def encrypt(text: str) -> str:
    """Return the ciphertext of a secret, printable."""
    return _fernet(get_settings().secret_key.get_secret_value()).encrypt(text.encode()).decode("ascii")


def decrypt(ciphertext: str) -> str:
    """Return the secret.

    :raises SecretUnreadableError: the key is not the one it was encrypted with
    """
    try:
        return _fernet(get_settings().secret_key.get_secret_value()).decrypt(ciphertext).decode()
    except InvalidToken:
        raise SecretUnreadableError from None


@lru_cache(maxsize=4)
def _fernet(key: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()))
