"""Access keys (AK/SK): a second way to use a token, by signing requests instead of sending it.

Unlike a token's own secret a secret key has to be kept, because a signature is checked with it: encrypted
with CARILLON_SECRET_KEY.
"""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field

from include.errors import AuthenticationError
from include.kit.db import Connection
from include.kit.secrets import decrypt, encrypt
from include.tokens.model import Token
from include.tokens.repository import TokenRepository

#: As long as the vendor's.
ACCESS_LENGTH, SECRET_LENGTH = 20, 40


@dataclass(frozen=True)
class AccessKey:
    """A pair; `access` is no secret."""

    access: str
    secret: str = field(repr=False)


def draw_access_key() -> AccessKey:
    """Return a new pair."""
    upper = string.ascii_uppercase + string.digits
    both = string.ascii_letters + string.digits
    return AccessKey(
        "".join(secrets.choice(upper) for _ in range(ACCESS_LENGTH)),
        "".join(secrets.choice(both) for _ in range(SECRET_LENGTH)),
    )


class AccessKeyService:
    """The use cases, inside the caller's transaction."""

    def __init__(self, connection: Connection) -> None:
        self.repository = TokenRepository(connection)

    async def issue(self, token: Token) -> AccessKey:
        """Give a token a pair; its secret is in what is returned, and encrypted in the database."""
        key = draw_access_key()
        await self.repository.set_access_key(token.id, key.access, encrypt(key.secret))
        return key

    async def find(self, access: str) -> tuple[Token, str]:
        """Return the token that an access key belongs to, good or not any more, and the secret key.

        :raises AuthenticationError: there is no such access key
        :raises SecretUnreadableError: it was encrypted with another key
        """
        found = await self.repository.find_access_key(access)
        if found is None:
            raise AuthenticationError("the access key is not known")
        token, sealed = found
        return token, decrypt(sealed)
