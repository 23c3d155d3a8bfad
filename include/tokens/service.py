"""Use cases on API tokens: create, verify, list, revoke."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import datetime

from include.errors import AuthenticationError, InvalidInputError, NotFoundError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection
from include.tokens.model import (
    Credential,
    Token,
    check_apis,
    check_name,
    check_projects,
    draw_secret,
    hash_secret,
    parse_credential,
    require_valid,
)
from include.tokens.repository import TokenRepository

#: Compared with where there is no such token, so that an unknown id takes as long as a wrong secret.
_NOBODY = bytes(32)


class TokenService:
    """The use cases, inside the caller's transaction."""

    def __init__(self, connection: Connection, *, clock: Clock = system_clock) -> None:
        self.repository = TokenRepository(connection)
        self.clock = clock

    async def create(
        self,
        name: str,
        *,
        apis: Sequence[str] | None = None,
        projects: Sequence[str] | None = None,
        expires_at: datetime | None = None,
        account_id: int | None = None,
    ) -> tuple[Token, Credential]:
        """Create a token; its secret is in the credential returned and nowhere else.

        :param apis: names of `API_NAMES`, None for all
        :param projects: project ids, None for all; new definitions go to the first
        :param expires_at: aware
        :param account_id: who logged in, where it came of that
        :raises InvalidInputError: names the parameter
        """
        now = self.clock()
        if expires_at is not None and expires_at <= now:
            raise InvalidInputError(f"{expires_at.isoformat()} lies in the past", field="expires")
        secret = draw_secret()
        token = await self.repository.insert_token(
            name=check_name(name),
            secret_hash=hash_secret(secret),
            apis=check_apis(None if apis is None else tuple(apis)),
            projects=check_projects(None if projects is None else tuple(projects)),
            now=now,
            expires_at=expires_at,
            account_id=account_id,
        )
        return token, Credential(token.id, secret)

    async def verify(self, text: str) -> Token:
        """Return the token that a credential `<id>:<40 hex>` stands for; costs one query by primary key.

        :raises AuthenticationError: not of that form, unknown, wrong or revoked
        :raises TokenExpiredError: it was good once
        """
        credential = parse_credential(text)
        if credential is None:
            raise AuthenticationError("the token does not have the form <id>:<40 hex digits>")
        found = await self.repository.find_token(credential.token_id)
        token, stored = found or (None, _NOBODY)
        genuine = hmac.compare_digest(credential.secret_hash, stored)
        if token is None or not genuine:
            raise AuthenticationError("the token is not known")
        require_valid(token, self.clock())
        return token

    async def list(self) -> list[Token]:
        """Return every token, the oldest first, the revoked ones too."""
        return await self.repository.list_tokens()

    async def revoke(self, token_id: int) -> Token:
        """Revoke a token; doing it again changes nothing.

        :raises NotFoundError: there is no token with this id
        """
        token = await self.repository.revoke_token(token_id, self.clock())
        if token is None:
            raise NotFoundError(f"there is no token {token_id}")
        return token

    async def revoke_of_account(self, account_id: int) -> None:
        """Revoke every token that an account got by logging in."""
        await self.repository.revoke_account_tokens(account_id, self.clock())
