"""From our errors to those of document 004: `{error_code, error_msg}` and an HTTP status, in one table.

Those that begin with `CARILLON.` are of our own choice, because no public text has the vendor's; those of
sub-tasks are in `include/batch/codes.py`. An error class that is not here has that of its nearest ancestor.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.responses import Response

from api_plugin.common.errors import Failure
from api_plugin.common.json_body import UnreadableBodyError
from api_plugin.iot_batch.device_errors import DEVICE_CODES
from include.batch.codes import TARGET_UNFIT
from include.batch.requests import TimeFormatError
from include.batch.service import TaskStateError
from include.batch_files.model import FileTooLargeError
from include.errors import (
    AuthenticationError,
    CarillonError,
    ConflictError,
    DatabaseUnavailableError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
)


class NoCredentialError(AuthenticationError):
    """The request carries neither X-Auth-Token nor a signature."""


#: HTTP status and code of each error class (research `iot.md` A8).
CODES: Mapping[type[CarillonError], tuple[HTTPStatus, str]] = {
    InvalidInputError: (HTTPStatus.BAD_REQUEST, "IOTDA.000006"),
    UnreadableBodyError: (HTTPStatus.BAD_REQUEST, "IOTDA.000008"),
    TimeFormatError: (HTTPStatus.BAD_REQUEST, "IOTDA.000009"),
    NoCredentialError: (HTTPStatus.UNAUTHORIZED, "IOTDA.000002"),
    AuthenticationError: (HTTPStatus.FORBIDDEN, "IOTDA.000004"),
    PermissionDeniedError: (HTTPStatus.FORBIDDEN, "IOTDA.000022"),
    NotFoundError: (HTTPStatus.NOT_FOUND, "CARILLON.0404"),
    ConflictError: (HTTPStatus.BAD_REQUEST, "IOTDA.000006"),
    # The vendor's code for single targets; it refuses for the state of a device with 403, too.
    TaskStateError: (HTTPStatus.FORBIDDEN, TARGET_UNFIT),
    DatabaseUnavailableError: (HTTPStatus.SERVICE_UNAVAILABLE, "CARILLON.0503"),
    CarillonError: (HTTPStatus.INTERNAL_SERVER_ERROR, "CARILLON.0500"),
    **DEVICE_CODES,
}

#: Of failures that are no error of ours (a path that does not exist, a body too large), by HTTP status.
STATUS_CODES: Mapping[HTTPStatus, str] = {
    HTTPStatus.NOT_FOUND: "CARILLON.0404",
    HTTPStatus.INTERNAL_SERVER_ERROR: "CARILLON.0500",
}
OTHER = "IOTDA.000006"

#: Where files are uploaded.
FILE_PATH = "/batchtask-files"

#: Of parameters of a query that cannot be used, where A8 has one of their own.
FIELD_CODES: Mapping[str, str] = {"limit": "IOTDA.000017"}

CHALLENGE = {"WWW-Authenticate": 'SDK-HMAC-SHA256 realm="carillon"'}


class IotError(BaseModel):
    """Every error."""

    error_code: str
    error_msg: str


def iot_form(failure: Failure, path: str) -> Response:
    """`{error_code, error_msg}`: document 004."""
    status, code = _line(failure, path)
    message = f"{failure.detail} (id {failure.error_id})" if failure.error_id else failure.detail
    body = IotError(error_code=code, error_msg=message)
    return JSONResponse(
        body.model_dump(), int(status), CHALLENGE if status is HTTPStatus.UNAUTHORIZED else None
    )


def _line(failure: Failure, path: str) -> tuple[HTTPStatus, str]:
    if failure.kind is not None:
        return next(CODES[kind] for kind in failure.kind.__mro__ if kind in CODES)
    if failure.status is HTTPStatus.UNPROCESSABLE_ENTITY:
        field = failure.errors[0].field if failure.errors else ""
        return HTTPStatus.BAD_REQUEST, FIELD_CODES.get(field, OTHER)
    if failure.status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE and path.endswith(FILE_PATH):
        return CODES[FileTooLargeError]
    return failure.status, STATUS_CODES.get(failure.status, OTHER)


def _declared(statuses: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    schema = {"$ref": f"#/components/schemas/{IotError.__name__}"}
    return {
        status: {"description": meaning, "content": {"application/json": {"schema": schema}}}
        for status, meaning in statuses.items()
    }


#: How any call may end, for the OpenAPI document.
ERRORS = _declared(
    {
        400: "something of the request cannot be used; `error_msg` names the field",
        401: "no credential",
        403: "a bad credential, a project that is not the caller's, or a call that is not allowed now",
        503: "the database is away",
    }
)

#: And a call for one thing.
MISSING = _declared({404: "no such thing, or not one of the project's"})
