"""The credentials of document 004: a token in `X-Auth-Token`, or a request signed with an access key."""

from __future__ import annotations

from fastapi.security import APIKeyHeader
from starlette.requests import Request

from api_plugin.common.auth import Caller, Scheme, verified_token
from api_plugin.iot_batch.errors import NoCredentialError
from include.errors import PermissionDeniedError
from include.tokens.model import ApiName

TOKEN_HEADER = "X-Auth-Token"


class IotAuthenticator:
    """`X-Auth-Token: <id>:<40 hex>`."""

    scheme: Scheme = APIKeyHeader(
        name=TOKEN_HEADER,
        scheme_name="token",
        description="A token of `./carillon token create`, `<id>:<40 hex>`.",
        auto_error=False,
    )

    async def caller(self, request: Request, api: ApiName) -> Caller:
        credential = request.headers.get(TOKEN_HEADER)
        if credential is None:
            raise NoCredentialError("the request carries neither X-Auth-Token nor a signature")
        token = await verified_token(request, credential)
        if not token.opens(api):
            raise PermissionDeniedError(f"the token does not open the API {api!r}")
        return Caller(token, token.projects)
