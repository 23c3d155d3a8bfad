"""Who is calling: the credential of every request, checked before anything else of it is read.

Deny by default. This is a layer around the app and not a dependency of its routes, so that a route cannot
forget it, and so that nobody without a credential has a body parsed.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPBearer
from starlette._utils import get_route_path  # the router's own reading of a path: the two must never differ
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from api_plugin.common.api import Api
from api_plugin.common.database import get_database
from api_plugin.common.errors import failure_of
from include.errors import AuthenticationError, CarillonError, PermissionDeniedError
from include.kit.clock import system_clock
from include.settings import get_settings
from include.tokens.cache import VerifiedTokens
from include.tokens.model import Token
from include.tokens.service import TokenService

#: `Authorization: token <id>:<hex>` (document 000), or the same as `Bearer`.
SCHEMES = frozenset({"token", "bearer"})

#: All apps of a process share it, so that a log-out in one of them is known to the others.
verified_tokens = VerifiedTokens()

bearer_scheme = HTTPBearer(
    scheme_name="token",
    description="A token of `./carillon token create`, `<id>:<40 hex>`; `Authorization: token …` works too.",
    auto_error=False,
)


@dataclass(frozen=True)
class Caller:
    """Who sent a request.

    :ivar token: None for a client of a network that the API is open to (CARILLON_OPEN_APIS)
    :ivar projects: the only projects it may see, None for all
    """

    token: Token | None
    projects: tuple[str, ...] | None


class Authentication:
    """Lets a request through with its caller in `state`, or answers 401 or 403 in the API's form."""

    def __init__(self, app: ASGIApp, api: Api) -> None:
        self.app = app
        self.api = api
        self.open_paths = api.open_paths
        self.verified = verified_tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and get_route_path(scope) not in self.open_paths:
            try:
                scope.setdefault("state", {})["caller"] = await self._caller(HTTPConnection(scope))
            except CarillonError as error:
                await self.api.error_form(failure_of(error), scope["path"])(scope, receive, send)
                return
        elif scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def _caller(self, connection: HTTPConnection) -> Caller:
        headers = connection.headers.getlist("authorization")
        if not headers and self._is_open_to(connection):
            return Caller(None, None)
        token = await self._verify(connection, _credential(headers))
        if not token.opens(self.api.name):
            raise PermissionDeniedError(f"the token does not open the API {self.api.name!r}")
        return Caller(token, token.projects)

    async def _verify(self, connection: HTTPConnection, credential: str) -> Token:
        known = self.verified.get(credential, system_clock())
        if known is not None:
            return known
        async with get_database(connection).transaction() as session:
            token = await TokenService(session).verify(credential)
        self.verified.put(credential, token)
        return token

    def _is_open_to(self, connection: HTTPConnection) -> bool:
        networks = get_settings().open_apis.get(self.api.name, ())
        address = _client_address(connection)
        return address is not None and any(address in network for network in networks)


def get_caller(connection: HTTPConnection) -> Caller:
    """Return who sent this request."""
    caller: Caller = connection.state.caller
    return caller


CallerDep = Annotated[Caller, Depends(get_caller)]


def _credential(headers: list[str]) -> str:
    if len(headers) != 1:
        raise AuthenticationError("one Authorization header is needed: token <id>:<40 hex digits>")
    scheme, _, credential = headers[0].partition(" ")
    if scheme.lower() not in SCHEMES:
        raise AuthenticationError("the Authorization header must be: token <id>:<40 hex digits>")
    return credential.strip()


def _client_address(connection: HTTPConnection) -> IPv4Address | IPv6Address | None:
    """Return the address of the peer; an IPv4 client of an IPv6 socket counts as IPv4."""
    try:
        address = ip_address(connection.client.host if connection.client else "")
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
