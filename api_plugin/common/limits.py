"""The most a request body may weigh."""

from __future__ import annotations

from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from include.settings import get_settings


def request_limit(path: str) -> int:
    """Return CARILLON_REQUEST_LIMIT_BYTES, whatever the path is."""
    return get_settings().request_limit_bytes


class BodyLimit:
    """Refuses to read on when a body is larger than its path allows.

    The refusal is raised where the body is read, so it comes out in the API's own form.
    """

    def __init__(self, app: ASGIApp, limit_of: Callable[[str], int]) -> None:
        self.app = app
        self.limit_of = limit_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.limit_of(scope["path"])
        declared = _declared_length(scope)
        taken = 0

        async def limited() -> Message:
            nonlocal taken
            if declared > limit:
                raise _too_large(limit)
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                raise _too_large(limit)
            return message

        await self.app(scope, limited, send)


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"the body is larger than {limit} bytes")
