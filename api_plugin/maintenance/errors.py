"""The wire form of errors of document 002: `{resp, code, msg, info, result}`, HTTP 200 where it can be."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from starlette.responses import Response

from api_plugin.common.errors import Failure, printable
from api_plugin.common.forms import CHALLENGE

#: What the document has, and codes of our own for what it does not know (DESIGN section 6).
CODE_OK, CODE_CREDENTIAL, CODE_INPUT, CODE_INTERNAL = 200, 10012, 10013, 10500

MESSAGES = {
    CODE_OK: "成功",
    CODE_CREDENTIAL: "请求-认证错误",
    CODE_INPUT: "请求-参数错误",
    CODE_INTERNAL: "系统-内部错误",
}

#: The path at which the body says what to do.
DISPATCH = "/api"
RESP_LONGEST = 64


def maintenance_form(failure: Failure, path: str) -> Response:
    """Write an error; `resp` is the action that the path names."""
    return refuse("" if path.endswith(DISPATCH) else path.rpartition("/")[2], failure)


def refuse(resp: str, failure: Failure) -> Response:
    """Write an error of an action."""
    if failure.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return JSONResponse(_body(resp, CODE_CREDENTIAL, failure.detail), 401, CHALLENGE)
    if failure.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return JSONResponse(_body(resp, CODE_INTERNAL, f"{failure.detail} (id {failure.error_id})"))
    return JSONResponse(_body(resp, CODE_INPUT, failure.detail))


def _body(resp: str, code: int, info: str) -> dict[str, Any]:
    shown = printable(resp[:RESP_LONGEST])
    return {"resp": shown, "code": code, "msg": MESSAGES[code], "info": info, "result": {}}
