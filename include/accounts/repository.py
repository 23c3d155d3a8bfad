"""The statements on `account`: the only caller of this domain's `queries.sql`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from include.accounts.model import Account
from include.kit.db import Connection
from include.kit.sql import load_queries

queries = load_queries(__file__)


class AccountRepository:
    """One method a statement, on a connection whose transaction somebody else commits."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def insert_account(
        self,
        *,
        name: str,
        password_hash: str,
        apis: tuple[str, ...] | None,
        projects: tuple[str, ...] | None,
        now: datetime,
    ) -> Account | None:
        return await self._one(
            queries.insert_account,
            {
                "name": name,
                "password_hash": password_hash,
                "apis": None if apis is None else list(apis),
                "projects": None if projects is None else list(projects),
                "now": now,
            },
        )

    async def find_account(self, name: str) -> Account | None:
        return await self._one(queries.find_account, {"name": name})

    async def lock_account(self, account_id: int) -> Account | None:
        return await self._one(queries.lock_account, {"id": account_id})

    async def list_accounts(self) -> list[Account]:
        cursor = await self.connection.execute(queries.list_accounts)
        return [_account(row) for row in await cursor.fetchall()]

    async def disable_account(self, name: str, now: datetime) -> Account | None:
        return await self._one(queries.disable_account, {"name": name, "now": now})

    async def _one(self, statement: str, parameters: Mapping[str, Any]) -> Account | None:
        cursor = await self.connection.execute(statement, parameters)
        row = await cursor.fetchone()
        return _account(row) if row else None


def _account(row: Mapping[str, Any]) -> Account:
    lists = {name: None if row[name] is None else tuple(row[name]) for name in ("apis", "projects")}
    return Account(**{**row, **lists})
