"""Use cases on accounts: create, list, disable; log in with a password, log out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from include.accounts.model import NOBODY, Account, hash_password, is_password
from include.accounts.repository import AccountRepository
from include.accounts.throttle import LoginThrottle
from include.errors import AuthenticationError, ConflictError, NotFoundError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection, Database
from include.settings import get_settings
from include.tokens.model import Credential, Token, check_apis, check_name, check_projects
from include.tokens.service import TokenService

#: One at a time: whoever tries passwords by the thousand gets one core of this process and no more.
_hashing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="carillon-password")

throttle = LoginThrottle()


class AccountService:
    """The use cases, inside the caller's transaction."""

    def __init__(self, connection: Connection, *, clock: Clock = system_clock) -> None:
        self.repository = AccountRepository(connection)
        self.tokens = TokenService(connection, clock=clock)
        self.clock = clock

    async def create(
        self,
        name: str,
        password: str,
        *,
        apis: Sequence[str] | None = None,
        projects: Sequence[str] | None = None,
    ) -> Account:
        """Create an account; its tokens open `apis` and see `projects`, None being all.

        :raises InvalidInputError: names the parameter
        :raises ConflictError: the name is taken
        """
        account = await self.repository.insert_account(
            name=check_name(name),
            apis=check_apis(None if apis is None else tuple(apis)),
            projects=check_projects(None if projects is None else tuple(projects)),
            password_hash=await asyncio.to_thread(hash_password, password),
            now=self.clock(),
        )
        if account is None:
            raise ConflictError("is taken by another account", field="name")
        return account

    async def list(self) -> list[Account]:
        """Return every account by name, the disabled ones too."""
        return await self.repository.list_accounts()

    async def disable(self, name: str) -> Account:
        """Keep an account from logging in, and revoke the tokens it has.

        :raises NotFoundError: there is no account with this name
        """
        account = await self.repository.disable_account(name, self.clock())
        if account is None:
            raise NotFoundError(f"there is no account {name!r}")
        await self.tokens.revoke_of_account(account.id)
        return account

    async def open_session(self, known: Account) -> tuple[Token, Credential]:
        """Return a new token of an account whose password was given.

        :raises AuthenticationError: it was disabled, or got another password, since it was looked up
        """
        account = await self.repository.lock_account(known.id)
        if account is None or account != known:
            raise _wrong()
        lifetime = timedelta(hours=get_settings().login_hours)
        return await self.tokens.create(
            account.name,
            apis=account.apis,
            projects=account.projects,
            expires_at=self.clock() + lifetime,
            account_id=account.id,
        )


async def log_in(
    database: Database, name: str, password: str, *, clock: Clock = system_clock
) -> tuple[Token, Credential]:
    """Return a new token for a name and its password. No connection is held while the password is checked.

    :raises AuthenticationError: a wrong name or password (the same words for both), a disabled account, or
        too many tries
    """
    throttle.take(name)
    async with database.transaction() as connection:
        account = await AccountRepository(connection).find_account(name)
    stored = account.password_hash if account else NOBODY
    genuine = await asyncio.get_running_loop().run_in_executor(_hashing, is_password, password, stored)
    if account is None or not genuine or account.disabled_at is not None:
        raise _wrong()
    async with database.transaction() as connection:
        session = await AccountService(connection, clock=clock).open_session(account)
    throttle.succeeded(name)
    return session


def _wrong() -> AuthenticationError:
    return AuthenticationError("the username or the password is wrong")
