"""Who is calling: the credential of every request, checked before anything else of it is read.

Deny by default. This is a layer around the app and not a dependency of its routes, so that a route cannot
forget it, and so that nobody without a credential has a body parsed. What a credential is, each API says by
its authenticator.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Annotated, Any, Protocol
from weakref import WeakKeyDictionary

from fastapi import Depends
from fastapi.security import HTTPBearer
from starlette._utils import get_route_path  # the router's own reading of a path: the two must never differ
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from api_plugin.common.database import get_database
from api_plugin.common.errors import failure_of
from include.errors import AuthenticationError, CarillonError, PermissionDeniedError
from include.kit.clock import system_clock
from include.settings import Settings, get_settings
from include.tokens.cache import VerifiedTokens
from include.tokens.jwt_tokens import JwtVerifier
from include.tokens.model import ApiName, Token
from include.tokens.service import TokenService

if TYPE_CHECKING:
    from api_plugin.common.api import Api

#: All apps of a process share it, so that a log-out in one of them is known to the others.
verified_tokens = VerifiedTokens()


@dataclass(frozen=True)
class Caller:
    """Who sent a request.

    :ivar token: None for a client of a network that the API is open to (CARILLON_OPEN_APIS), and for a user
    :ivar projects: the only projects it may see, None for all
    :ivar user: whom a JWT names, None where the credential is another
    """

    token: Token | None
    projects: tuple[str, ...] | None
    user: str | None = None


class Scheme(Protocol):
    """One of `fastapi.security`; it documents a credential and checks nothing."""

    async def __call__(self, request: Request) -> Any:
        """Return what stands in the request."""


class Authenticator(Protocol):
    """How an API knows its callers.

    :ivar scheme: as the OpenAPI document has it
    """

    scheme: Scheme

    async def caller(self, request: Request, api: ApiName, /) -> Caller:
        """Return who sent a request; its body may be read for that.

        :raises AuthenticationError: no credential, or a bad one
        :raises PermissionDeniedError: a good one that does not open this API
        """


class TokenAuthenticator:
    """`Authorization: token <id>:<hex>` (document 000) or `Bearer`, or a network that is let in."""

    schemes = frozenset({"token", "bearer"})
    form = "token <id>:<40 hex digits>"
    scheme: Scheme = HTTPBearer(
        scheme_name="token",
        description="A token of `./carillon token create`, `<id>:<40 hex>`;"
        " `Authorization: token …` works too.",
        auto_error=False,
    )

    async def caller(self, connection: HTTPConnection, api: ApiName) -> Caller:
        if "authorization" not in connection.headers and _is_open_to(connection, api):
            return Caller(None, None)
        token = await verified_token(connection, read_credential(connection, self.schemes, self.form))
        if not token.opens(api):
            raise PermissionDeniedError(f"the token does not open the API {api!r}")
        return Caller(token, token.projects)


class JwtAuthenticator:
    """`Authorization: jwt <JWT>` (document 001) or `Bearer`.

    No network is let in without one: whom such a client stands for, nobody could tell.
    """

    schemes = frozenset({"jwt", "bearer"})
    form = "jwt <JSON Web Token>"
    scheme: Scheme = HTTPBearer(
        scheme_name="jwt",
        bearerFormat="JWT",
        description="A JSON Web Token; `./carillon token jwt` prints one. `Authorization: jwt …` works too.",
        auto_error=False,
    )

    def __init__(self) -> None:
        self.verifiers: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Settings, JwtVerifier]] = (
            WeakKeyDictionary()
        )

    async def caller(self, connection: HTTPConnection, api: ApiName) -> Caller:
        user = await self._verifier().verify(read_credential(connection, self.schemes, self.form))
        return Caller(None, None, user.name)

    def _verifier(self) -> JwtVerifier:
        """Return the verifier of this event loop and these settings; it keeps the keys it has read."""
        loop, settings = asyncio.get_running_loop(), get_settings()
        known = self.verifiers.get(loop)
        if known is None or known[0] is not settings:
            known = self.verifiers[loop] = settings, JwtVerifier(settings)
        return known[1]


class Authentication:
    """Lets a request through with its caller in `state`, or answers 401 or 403 in the API's form."""

    def __init__(self, app: ASGIApp, api: Api) -> None:
        self.app = app
        self.api = api
        self.open_paths = api.open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ahead = ReadAhead(receive)
        if scope["type"] == "http" and get_route_path(scope) not in self.open_paths:
            try:
                caller = await self.api.authenticator.caller(Request(scope, ahead.keep), self.api.name)
                scope.setdefault("state", {})["caller"] = caller
            except CarillonError as error:
                await self.api.error_form(failure_of(error), scope["path"])(scope, receive, send)
                return
        elif scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
            return
        await self.app(scope, ahead.again, send)


class ReadAhead:
    """Receives a request, and what was received for its credential once more for the app."""

    def __init__(self, receive: Receive) -> None:
        self.receive = receive
        self.kept: deque[Message] = deque()

    async def keep(self) -> Message:
        message = await self.receive()
        self.kept.append(message)
        return message

    async def again(self) -> Message:
        return self.kept.popleft() if self.kept else await self.receive()


def get_caller(connection: HTTPConnection) -> Caller:
    """Return who sent this request."""
    caller: Caller = connection.state.caller
    return caller


def get_user(connection: HTTPConnection) -> str:
    """Return the user that sent this request, of an API whose credential names one."""
    user = get_caller(connection).user
    if user is None:
        raise AuthenticationError("the credential names no user")
    return user


CallerDep = Annotated[Caller, Depends(get_caller)]
UserDep = Annotated[str, Depends(get_user)]


async def verified_token(connection: HTTPConnection, credential: str) -> Token:
    """Return the token that a credential stands for, from memory where it was verified a moment ago.

    :raises AuthenticationError: it is not good
    """
    known = verified_tokens.get(credential, system_clock())
    if known is not None:
        return known
    async with get_database(connection).transaction() as session:
        token = await TokenService(session).verify(credential)
    verified_tokens.put(credential, token)
    return token


def read_credential(connection: HTTPConnection, schemes: frozenset[str], form: str) -> str:
    """Return what stands behind the scheme in the Authorization header. Raises AuthenticationError."""
    headers = connection.headers.getlist("authorization")
    if len(headers) != 1:
        raise AuthenticationError(f"one Authorization header is needed: {form}")
    scheme, _, credential = headers[0].partition(" ")
    if scheme.lower() not in schemes:
        raise AuthenticationError(f"the Authorization header must be: {form}")
    return credential.strip()


def _is_open_to(connection: HTTPConnection, api: ApiName) -> bool:
    networks = get_settings().open_apis.get(api, ())
    address = _client_address(connection)
    return address is not None and any(address in network for network in networks)


def _client_address(connection: HTTPConnection) -> IPv4Address | IPv6Address | None:
    """Return the address of the peer; an IPv4 client of an IPv6 socket counts as IPv4."""
    try:
        address = ip_address(connection.client.host if connection.client else "")
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
