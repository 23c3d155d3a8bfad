"""From an exception to what the client is told: one table for all APIs, one wire form each (`forms.py`).

A client learns what it did wrong. Of what went wrong on our side it learns an id; the log has the rest under
that id.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from include.errors import (
    AuthenticationError,
    CarillonError,
    ConflictError,
    DatabaseUnavailableError,
    InvalidInputError,
    NotFoundError,
    OutboundError,
    PermissionDeniedError,
    TokenExpiredError,
)
from include.kit.validation import message_of

log = logging.getLogger(__name__)

#: HTTP status of each error class; a subclass has that of its nearest ancestor.
STATUS: dict[type[CarillonError], HTTPStatus] = {
    InvalidInputError: HTTPStatus.UNPROCESSABLE_ENTITY,
    AuthenticationError: HTTPStatus.UNAUTHORIZED,
    PermissionDeniedError: HTTPStatus.FORBIDDEN,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    OutboundError: HTTPStatus.BAD_GATEWAY,
    DatabaseUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    CarillonError: HTTPStatus.INTERNAL_SERVER_ERROR,
}

#: What a client is told where the real message is for the log only.
HIDDEN = {
    HTTPStatus.BAD_GATEWAY: "a server that is needed for this did not answer",
    HTTPStatus.SERVICE_UNAVAILABLE: "the database cannot be reached at the moment",
}


@dataclass(frozen=True)
class FieldProblem:
    """What is wrong with one field of a request; `field` is a dotted path.

    :ivar row: of a bulk request: in which of its `items`, the first is 1
    """

    field: str
    message: str
    row: int | None = None

    def __str__(self) -> str:
        words = f"{self.field}: {self.message}" if self.field else self.message
        return f"row {self.row}: {words}" if self.row else words


@dataclass(frozen=True)
class Failure:
    """What a client is told: an HTTP status, a sentence, the fields at fault, the id in the log if any."""

    status: HTTPStatus
    detail: str
    errors: Sequence[FieldProblem] = ()
    error_id: str | None = None
    #: Of a 401: the token was good once, so that logging in again helps.
    expired: bool = False
    #: The class of an error of ours, for an API that tells them apart more finely.
    kind: type[CarillonError] | None = None


#: How many problems of one request are listed, and how many of them its sentence says.
PROBLEMS_MOST, PROBLEMS_SAID = 100, 10

ErrorForm = Callable[[Failure, str], Response]
"""Writes a failure as an API's clients expect it; the second argument is the path of the request."""


def failure_of(error: Exception) -> Failure:
    """Return what a client is told about an error. What it must not see is logged under an id."""
    if isinstance(error, CarillonError):
        return _own_failure(error)
    if isinstance(error, RequestValidationError):
        # The first part of the place says query, path or body, which a reader of the message knows.
        found = error.errors()
        problems = tuple(_request_problem(item) for item in found[:PROBLEMS_MOST])
        detail = "; ".join(map(str, problems[:PROBLEMS_SAID]))
        more = f"; and {len(found) - PROBLEMS_SAID} more" if len(found) > PROBLEMS_SAID else ""
        return Failure(HTTPStatus.UNPROCESSABLE_ENTITY, detail + more, problems)
    if isinstance(error, HTTPException):
        return Failure(HTTPStatus(error.status_code), str(error.detail))
    if isinstance(error, ClientDisconnect):
        return Failure(HTTPStatus.BAD_REQUEST, "the request ended before its body did")
    return _hidden(HTTPStatus.INTERNAL_SERVER_ERROR, error)


def field_problem(item: Mapping[str, Any]) -> FieldProblem:
    """Return one entry of pydantic's `errors()` in our words."""
    return FieldProblem(printable(".".join(map(str, item["loc"]))), printable(message_of(item)))


def _request_problem(item: Mapping[str, Any]) -> FieldProblem:
    match item["loc"]:
        case ("body", "items", int(index), *rest):
            problem = field_problem({**item, "loc": rest})
            return FieldProblem(problem.field, problem.message, index + 1)
        case loc:
            return field_problem({**item, "loc": loc[1:]})


def printable(text: str) -> str:
    """Return a client's text as it can be sent back: a lone surrogate has no form in UTF-8."""
    return text.encode("utf-8", "replace").decode()


async def handle(request: Request, error: Exception) -> Response:
    """Answer an exception in the form of the app's API."""
    form: ErrorForm = request.app.state.api.error_form
    return form(failure_of(error), request.url.path)


class CatchAll:
    """The outermost layer: whatever nobody handled becomes the API's own internal error.

    Starlette's handler for `Exception` answers too, but then raises the error again into Airflow's app.
    """

    def __init__(self, app: ASGIApp, error_form: ErrorForm) -> None:
        self.app = app
        self.error_form = error_form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            failure = failure_of(error)
            # An answer that has begun cannot be taken back; the server ends the connection.
            if started or scope["type"] != "http":
                raise
            await self.error_form(failure, scope["path"])(scope, receive, send)


def _own_failure(error: CarillonError) -> Failure:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return replace(_hidden(status, error), kind=type(error))
    expired = isinstance(error, TokenExpiredError)
    return Failure(status, printable(str(error)), _fields_of(error), expired=expired, kind=type(error))


def _fields_of(error: CarillonError) -> tuple[FieldProblem, ...]:
    if error.problems:
        return tuple(
            FieldProblem(printable(one.field), printable(one.message), one.row)
            for one in error.problems[:PROBLEMS_MOST]
        )
    return (FieldProblem(error.field, printable(error.message)),) if error.field else ()


def _hidden(status: HTTPStatus, error: Exception) -> Failure:
    error_id = secrets.token_hex(6)
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        log.warning("error %s: %s", error_id, error)  # the database is away: a stack says nothing more
    else:
        log.error("error %s: %s", error_id, error, exc_info=error)
    return Failure(status, HIDDEN.get(status, "internal error"), error_id=error_id)
