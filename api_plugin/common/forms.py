"""The wire forms of errors, one for each family of APIs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.responses import Response

from api_plugin.common.errors import Failure

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="carillon"'}

#: The `type` of a problem by its status; others are about:blank (RFC 9457, section 4.2.1).
PROBLEM_TYPES = {
    HTTPStatus.UNAUTHORIZED: "urn:carillon:problem:credential",
    HTTPStatus.FORBIDDEN: "urn:carillon:problem:permission",
    HTTPStatus.NOT_FOUND: "urn:carillon:problem:not-found",
    HTTPStatus.CONFLICT: "urn:carillon:problem:conflict",
    HTTPStatus.UNPROCESSABLE_ENTITY: "urn:carillon:problem:invalid-input",
    HTTPStatus.SERVICE_UNAVAILABLE: "urn:carillon:problem:unavailable",
    HTTPStatus.INTERNAL_SERVER_ERROR: "urn:carillon:problem:internal",
}

#: RFC 9110's titles where Python's differ from release to release.
TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}

#: `meta.code` of documents 000 and 001 by HTTP status; what is not here is CODE_INPUT or CODE_INTERNAL.
META_CODES = {HTTPStatus.UNAUTHORIZED: 10101, HTTPStatus.FORBIDDEN: 10350, HTTPStatus.NOT_FOUND: 11600}
CODE_INPUT, CODE_EXPIRED, CODE_INTERNAL = 10000, 10100, 10500

#: Statuses that say more than 400 does; every other mistake of a client is a 400.
META_STATUSES = frozenset({*META_CODES, HTTPStatus.METHOD_NOT_ALLOWED})

STATE_UNREADABLE, STATE_UNAUTHORISED, STATE_INTERNAL = 1, 2, -1


class ProblemField(BaseModel):
    """What is wrong with one field; `row`, from 1, says of which item of a bulk request."""

    field: str
    message: str
    row: int | None = None


class Problem(BaseModel):
    """An error of the own API (RFC 9457).

    `errors` is there where fields are at fault, `id` where the log holds more.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[ProblemField] | None = None
    id: str | None = None


def problem_form(failure: Failure, path: str) -> Response:
    """`application/problem+json`: the own API."""
    problem = Problem(
        type=PROBLEM_TYPES.get(failure.status, "about:blank"),
        title=TITLES.get(failure.status, failure.status.phrase),
        status=failure.status,
        detail=failure.detail,
        instance=path,
        errors=[ProblemField(field=e.field, message=e.message, row=e.row) for e in failure.errors] or None,
        id=failure.error_id,
    )
    return JSONResponse(
        problem.model_dump(exclude_none=True),
        int(failure.status),
        CHALLENGE if failure.status is HTTPStatus.UNAUTHORIZED else None,
        media_type="application/problem+json",
    )


def state_form(failure: Failure, path: str) -> Response:
    """`{state, msg, data}`: document 003. HTTP 200 for all but a credential (DESIGN section 6)."""
    if failure.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        body = _envelope(STATE_UNAUTHORISED, failure.detail)
        return JSONResponse(body, 401, CHALLENGE)
    if failure.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return JSONResponse(_envelope(STATE_INTERNAL, f"{failure.detail} (id {failure.error_id})"))
    return JSONResponse(_envelope(STATE_UNREADABLE, failure.detail))


def meta_form(failure: Failure, path: str) -> Response:
    """`{meta: {code, message}, data}`: documents 000 and 001 (DESIGN section 6)."""
    if failure.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _meta(failure.status, CODE_INTERNAL, f"{failure.detail} (id {failure.error_id})")
    status = failure.status if failure.status in META_STATUSES else HTTPStatus.BAD_REQUEST
    code = CODE_EXPIRED if failure.expired else META_CODES.get(status, CODE_INPUT)
    return _meta(status, code, failure.detail)


def _meta(status: HTTPStatus, code: int, message: str) -> Response:
    body = {"meta": {"code": code, "message": message}, "data": {}}
    return JSONResponse(body, int(status), CHALLENGE if status is HTTPStatus.UNAUTHORIZED else None)


def _envelope(state: int, message: str) -> dict[str, Any]:
    return {"state": state, "msg": message, "data": {}}
