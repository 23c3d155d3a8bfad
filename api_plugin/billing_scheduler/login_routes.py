"""Logging in and out; document 000 links the latter (登出接口)."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from fastapi import APIRouter

from api_plugin.billing_scheduler.schemas import LoginBody, TokenOut, local_time
from api_plugin.common.auth import CallerDep, verified_tokens
from api_plugin.common.bodies import PayloadDep, read
from api_plugin.common.database import DatabaseDep, transact
from api_plugin.common.envelope import Envelope, Nothing, ok
from api_plugin.common.spellings import spelled
from include.accounts.service import log_in
from include.errors import AuthenticationError
from include.settings import get_settings
from include.tokens.service import TokenService

router = APIRouter(tags=["login"])
open_router = APIRouter(tags=["login"])


@spelled(open_router, "POST", "/login/", body=LoginBody)
async def login(payload: PayloadDep, database: DatabaseDep) -> Envelope[TokenOut]:
    """Return a token for a username and its password."""
    body = read(LoginBody, payload)
    token, credential = await log_in(database, body.username, body.password)
    zone = ZoneInfo(get_settings().timezone)
    ends = local_time(token.expires_at, zone) if token.expires_at else ""
    return ok("login ok.", TokenOut(token=str(credential), expires_at=ends))


@spelled(router, "POST", "/logout/")
async def logout(caller: CallerDep, database: DatabaseDep) -> Envelope[Nothing]:
    """Revoke the token that this request carries."""
    token = caller.token
    if token is None:
        raise AuthenticationError("there is no token to log out: this network needs none")
    await transact(database, lambda connection: TokenService(connection).revoke(token.id))
    verified_tokens.forget(token)
    return ok("logout ok.", Nothing())
