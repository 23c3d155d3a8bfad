"""The credentials of document 004: a token in `X-Auth-Token`, or a request signed with an access key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from fastapi.security import APIKeyHeader
from starlette.requests import Request

from api_plugin.common.auth import Caller, Scheme, verified_token
from api_plugin.common.database import get_database
from api_plugin.iot_batch.errors import NoCredentialError
from include.errors import AuthenticationError, PermissionDeniedError
from include.kit.clock import Clock, system_clock
from include.tokens.access_keys import AccessKeyService
from include.tokens.model import ApiName, Token, require_valid
from include.tokens.signatures import (
    CONTENT_HEADER,
    EMPTY_HASH,
    UNSIGNED,
    SentRequest,
    check_moment,
    is_genuine,
    read_signature,
)

TOKEN_HEADER = "X-Auth-Token"


class IotAuthenticator:
    """`X-Auth-Token: <id>:<40 hex>`, else `Authorization: SDK-HMAC-SHA256 …`."""

    scheme: Scheme = APIKeyHeader(
        name=TOKEN_HEADER,
        scheme_name="token",
        description="A token of `./carillon token create`, `<id>:<40 hex>`. Instead of it a request may be"
        " signed with an access key of `./carillon token create --ak-sk`: `SDK-HMAC-SHA256`, as the vendor's"
        " SDKs do.",
        auto_error=False,
    )

    def __init__(self, clock: Clock = system_clock) -> None:
        self.clock = clock

    async def caller(self, request: Request, api: ApiName) -> Caller:
        if TOKEN_HEADER in request.headers:
            token = await verified_token(request, request.headers[TOKEN_HEADER])
        elif "authorization" in request.headers:
            token = await self._signer(request)
        else:
            raise NoCredentialError("the request carries neither X-Auth-Token nor a signature")
        if not token.opens(api):
            raise PermissionDeniedError(f"the token does not open the API {api!r}")
        return Caller(token, token.projects)

    async def _signer(self, request: Request) -> Token:
        """Return the token whose access key signed a request.

        The body is read only where the key is known: no stranger can have us keep large ones.
        """
        scope = request.scope
        sent = SentRequest(request.method, scope["raw_path"], scope["query_string"], scope["headers"])
        signature = read_signature(sent.header("authorization") or "")
        check_moment(sent, self.clock())
        async with get_database(request).transaction() as connection:
            token, secret_key = await AccessKeyService(connection).find(signature.access_key)
        payloads = await _payloads(request, sent.header(CONTENT_HEADER))
        if not any(is_genuine(sent, signature, secret_key, payload) for payload in payloads):
            raise AuthenticationError("the signature does not fit the request")
        require_valid(token, self.clock())
        return token


async def _payloads(request: Request, declared: str | None) -> Sequence[str]:
    """Return what may stand for the body in the signature."""
    if declared == UNSIGNED:
        # The vendor's SDK signs the hash of nothing where there is no body, whatever the header says.
        return (UNSIGNED,) if _has_body(request) else (EMPTY_HASH, UNSIGNED)
    digest = hashlib.sha256()
    async for part in request.stream():
        digest.update(part)
    if declared not in (None, digest.hexdigest()):
        raise AuthenticationError("the body is not the one that was signed")
    return (digest.hexdigest(),)


def _has_body(request: Request) -> bool:
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"
