"""The statements on `token`: the only caller of this domain's `queries.sql`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from include.kit.db import Connection
from include.kit.sql import load_queries
from include.tokens.model import Token

queries = load_queries(__file__)


class TokenRepository:
    """One method a statement, on a connection whose transaction somebody else commits."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def insert_token(
        self,
        *,
        name: str,
        secret_hash: bytes,
        apis: tuple[str, ...] | None,
        projects: tuple[str, ...] | None,
        now: datetime,
        expires_at: datetime | None,
        account_id: int | None = None,
    ) -> Token:
        cursor = await self.connection.execute(
            queries.insert_token,
            {
                "name": name,
                "secret_hash": secret_hash,
                "apis": None if apis is None else list(apis),
                "projects": None if projects is None else list(projects),
                "now": now,
                "expires_at": expires_at,
                "account_id": account_id,
            },
        )
        [row] = await cursor.fetchall()
        return _token(row)

    async def find_token(self, token_id: int) -> tuple[Token, bytes] | None:
        """Return the token and the hash of its secret."""
        cursor = await self.connection.execute(queries.find_token, {"id": token_id})
        row = await cursor.fetchone()
        return (_token(row), bytes(row["secret_hash"])) if row else None

    async def set_access_key(self, token_id: int, access_key: str, secret_key: str) -> None:
        await self.connection.execute(
            queries.set_access_key, {"id": token_id, "access_key": access_key, "secret_key": secret_key}
        )

    async def find_access_key(self, access_key: str) -> tuple[Token, str] | None:
        """Return the token and the encrypted secret key."""
        cursor = await self.connection.execute(queries.find_access_key, {"access_key": access_key})
        row = await cursor.fetchone()
        return (_token(row), row["secret_key"]) if row else None

    async def list_tokens(self) -> list[Token]:
        cursor = await self.connection.execute(queries.list_tokens)
        return [_token(row) for row in await cursor.fetchall()]

    async def revoke_token(self, token_id: int, now: datetime) -> Token | None:
        cursor = await self.connection.execute(queries.revoke_token, {"id": token_id, "now": now})
        row = await cursor.fetchone()
        return _token(row) if row else None

    async def revoke_account_tokens(self, account_id: int, now: datetime) -> None:
        await self.connection.execute(queries.revoke_account_tokens, {"account_id": account_id, "now": now})


def _token(row: Mapping[str, Any]) -> Token:
    return Token(
        id=row["id"],
        name=row["name"],
        apis=None if row["apis"] is None else tuple(row["apis"]),
        projects=None if row["projects"] is None else tuple(row["projects"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )
