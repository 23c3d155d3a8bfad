"""The codes of document 004: those of research `iot.md` A8 with their HTTP status, and our own."""

from __future__ import annotations

import json
from http import HTTPStatus

import pytest

from api_plugin.common.errors import Failure, FieldProblem
from api_plugin.iot_batch.errors import CODES, FIELD_CODES, iot_form
from include.errors import CarillonError

A8 = {
    "IOTDA.000002": 401,
    "IOTDA.000004": 403,
    "IOTDA.000006": 400,
    "IOTDA.000008": 400,
    "IOTDA.000009": 400,
    "IOTDA.000010": 400,
    "IOTDA.000017": 400,
    "IOTDA.000022": 403,
    "IOTDA.014000": 404,
    "IOTDA.014016": 403,
    "IOTDA.014028": 400,
    "IOTDA.014031": 400,
    "IOTDA.014038": 403,
    "IOTDA.014040": 403,
    "IOTDA.014600": 404,
    "IOTDA.014602": 400,
    "IOTDA.014603": 400,
}
#: A8 has the codes and not how they are answered.
STATUS_UNKNOWN = {"IOTDA.014115": 400, "IOTDA.014219": 403}


def told(failure: Failure, path: str = "/p/batchtasks") -> tuple[int, str, str]:
    answer = iot_form(failure, path)
    body = json.loads(bytes(answer.body))
    assert set(body) == {"error_code", "error_msg"}
    return answer.status_code, body["error_code"], body["error_msg"]


def test_a_code_of_the_vendor_has_one_status_and_that_is_the_vendors() -> None:
    statuses: dict[str, set[int]] = {}
    for status, code in [*CODES.values(), *((HTTPStatus.BAD_REQUEST, code) for code in FIELD_CODES.values())]:
        statuses.setdefault(code, set()).add(int(status))
    found = {code: status for code, status in statuses.items() if not code.startswith("CARILLON.")}
    assert found == {code: {status} for code, status in {**A8, **STATUS_UNKNOWN}.items()}


def descendants(kind: type[CarillonError]) -> set[type[CarillonError]]:
    return {kind}.union(*(descendants(one) for one in kind.__subclasses__()))


@pytest.mark.parametrize("kind", sorted(descendants(CarillonError), key=lambda kind: kind.__name__))
def test_every_error_of_ours_is_told_with_the_line_of_its_nearest_ancestor(
    kind: type[CarillonError],
) -> None:
    ancestor = next(one for one in kind.__mro__ if one in CODES)
    status, code = CODES[ancestor]
    assert told(Failure(HTTPStatus.IM_A_TEAPOT, "words", kind=kind)) == (status, code, "words")


@pytest.mark.parametrize(
    ("failure", "path", "expected"),
    [
        (Failure(HTTPStatus.NOT_FOUND, "no"), "/", (404, "CARILLON.0404", "no")),
        (Failure(HTTPStatus.METHOD_NOT_ALLOWED, "no"), "/", (405, "IOTDA.000006", "no")),
        (
            Failure(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "no"),
            "/p/batchtask-files",
            (400, "IOTDA.014603", "no"),
        ),
        (Failure(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "no"), "/p/batchtasks", (413, "IOTDA.000006", "no")),
        (
            Failure(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error", error_id="7"),
            "/",
            (500, "CARILLON.0500", "internal error (id 7)"),
        ),
        (
            Failure(HTTPStatus.UNPROCESSABLE_ENTITY, "limit: no", [FieldProblem("limit", "no")]),
            "/",
            (400, "IOTDA.000017", "limit: no"),
        ),
        (
            Failure(HTTPStatus.UNPROCESSABLE_ENTITY, "offset: no", [FieldProblem("offset", "no")]),
            "/",
            (400, "IOTDA.000006", "offset: no"),
        ),
    ],
)
def test_what_is_no_error_of_ours(failure: Failure, path: str, expected: tuple[int, str, str]) -> None:
    assert told(failure, path) == expected
