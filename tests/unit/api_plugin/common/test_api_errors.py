"""From an exception to what a client is told, and how each API writes it."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api_plugin.common.errors import CatchAll, Failure, FieldProblem, failure_of
from api_plugin.common.forms import problem_form, state_form
from include.errors import (
    AuthenticationError,
    CarillonError,
    ConflictError,
    CronExpressionError,
    DatabaseUnavailableError,
    InvalidInputError,
    NotFoundError,
    OutboundTimeoutError,
    PermissionDeniedError,
)


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (
            InvalidInputError("is wrong", field="url"),
            Failure(422, "url: is wrong", (FieldProblem("url", "is wrong"),)),
        ),
        (InvalidInputError("is wrong"), Failure(422, "is wrong")),
        (CronExpressionError("no", field="at"), Failure(422, "at: no", (FieldProblem("at", "no"),))),
        (AuthenticationError("who?"), Failure(401, "who?")),
        (PermissionDeniedError("no"), Failure(403, "no")),
        (NotFoundError("gone"), Failure(404, "gone")),
        (ConflictError("twice"), Failure(409, "twice")),
        (HTTPException(405), Failure(405, "Method Not Allowed")),
        (ClientDisconnect(), Failure(400, "the request ended before its body did")),
        (
            RequestValidationError(
                [
                    {"type": "missing", "loc": ("query", "at"), "msg": "Field required"},
                    {
                        "type": "int_type",
                        "loc": ("body", "items", 2, "x"),
                        "msg": "Input should be an integer",
                    },
                    {
                        "type": "value_error",
                        "loc": ("query", "n"),
                        "msg": "Value error, is odd",
                        "ctx": {"error": ValueError("is odd")},
                    },
                    {"type": "extra_forbidden", "loc": ("body", "\ud800"), "msg": "…"},
                ]
            ),
            Failure(
                422,
                "at: is required; row 3: x: must be an integer; n: is odd; ?: is not a field of this request",
                (
                    FieldProblem("at", "is required"),
                    FieldProblem("x", "must be an integer", 3),
                    FieldProblem("n", "is odd"),
                    FieldProblem("?", "is not a field of this request"),
                ),
            ),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_client_did_is_told(error: Exception, failure: Failure):
    kind = type(error) if isinstance(error, CarillonError) else None
    assert failure_of(error) == replace(failure, kind=kind)


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (DatabaseUnavailableError("at 10.0.0.5"), 503, "the database cannot be reached at the moment"),
        (OutboundTimeoutError("10.0.0.5"), 502, "a server that is needed for this did not answer"),
        (CarillonError("10.0.0.5"), 500, "internal error"),
        (KeyError("10.0.0.5"), 500, "internal error"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_of_what_went_wrong_here_only_an_id_is_told(caplog, error, status, detail):
    with caplog.at_level(logging.WARNING):
        failure = failure_of(error)
    assert (failure.status, failure.detail, failure.errors) == (status, detail, ())
    assert f"error {failure.error_id}: " in caplog.text
    assert "10.0.0.5" in caplog.text


def body(response) -> object:
    return json.loads(response.body)


def test_a_problem_has_what_there_is_to_say():
    failure = Failure(500, "internal error", error_id="abc")
    response = problem_form(failure_of(InvalidInputError("no", field="n")), "/x")
    assert response.headers["content-type"] == "application/problem+json"
    assert body(response) == {
        "type": "urn:carillon:problem:invalid-input",
        "title": "Unprocessable Content",
        "status": 422,
        "detail": "n: no",
        "instance": "/x",
        "errors": [{"field": "n", "message": "no"}],
    }
    assert body(problem_form(failure_of(HTTPException(413, "big")), "/x"))["type"] == "about:blank"
    assert failure.error_id == "abc"


@pytest.mark.parametrize(
    ("error", "status", "state"),
    [
        (AuthenticationError("no"), 401, 2),
        (PermissionDeniedError("no"), 401, 2),
        (InvalidInputError("no"), 200, 1),
        (HTTPException(404), 200, 1),
        (HTTPException(413), 200, 1),
        (DatabaseUnavailableError(), 200, -1),
        (ZeroDivisionError(), 200, -1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_document_003_has_its_states(error, status, state):
    response = state_form(failure_of(error), "/x")
    found = body(response)
    assert (response.status_code, found["state"], found["data"]) == (status, state, {})
    assert list(found) == ["state", "msg", "data"]


class TestCatchAll:
    """Whatever nobody handled becomes the API's own internal error."""

    async def call(self, app, type_: str = "http") -> list[dict]:
        sent: list[dict] = []

        async def send(message):
            sent.append(message)

        async def receive():
            return {"type": "http.request"}

        await CatchAll(app, state_form)({"type": type_, "path": "/x"}, receive, send)
        return sent

    async def test_an_error_becomes_an_answer_with_an_id(self, caplog):
        async def app(scope, receive, send):
            raise ZeroDivisionError("1/0")

        start, content = await self.call(app)
        found = json.loads(content["body"])
        assert (start["status"], found["state"]) == (200, -1)
        error_id = found["msg"].removeprefix("internal error (id ").rstrip(")")
        assert f"error {error_id}: 1/0" in caplog.text

    async def test_an_answer_that_has_begun_is_not_answered_twice(self):
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await self.call(app)

    async def test_what_is_no_request_fails_as_it_would(self):
        async def app(scope, receive, send):
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await self.call(app, "lifespan")
