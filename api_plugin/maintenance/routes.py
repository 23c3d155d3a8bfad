"""One POST that is told by `action` what to do, and a path for each action (document 002)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.responses import Response

from api_plugin.common.announcer import nudge
from api_plugin.common.auth import Caller, CallerDep
from api_plugin.common.bodies import PayloadDep, documented, read
from api_plugin.common.database import DatabaseDep, transact
from api_plugin.common.errors import failure_of, printable
from api_plugin.maintenance.actions import ACTIONS
from api_plugin.maintenance.errors import CODE_OK, DISPATCH, MESSAGES, refuse
from api_plugin.maintenance.schemas import Envelope
from include.errors import CarillonError, InvalidInputError
from include.kit.db import Connection, Database
from include.maintenance.requests import DispatchRequest

router = APIRouter(tags=["maintenance"])


@router.post(DISPATCH, openapi_extra=documented(DispatchRequest), response_model=Envelope[Any])
async def dispatch(payload: PayloadDep, caller: CallerDep, database: DatabaseDep) -> Response:
    """Do what `action` says; the other fields are those of its own path."""
    name = payload.get("action")
    if not isinstance(name, str):
        return refuse("", failure_of(InvalidInputError("is required", field="action")))
    if name not in ACTIONS:
        shown = printable(name[:64])
        return refuse(shown, failure_of(InvalidInputError(f"there is no action {shown!r}", field="action")))
    return await _perform(name, payload, caller, database)


async def _perform(name: str, payload: dict[str, Any], caller: Caller, database: Database) -> Response:
    action = ACTIONS[name]
    try:
        body = read(action.body, payload)

        async def work(connection: Connection) -> Any:
            return await action.work(body, caller, connection)

        result = await transact(database, work)
    except (CarillonError, RequestValidationError) as error:
        return refuse(name, failure_of(error))
    if action.moves_schedules:
        nudge()
    answer = Envelope[Any](resp=name, code=CODE_OK, msg=MESSAGES[CODE_OK], result=result.model_dump())
    return JSONResponse(answer.model_dump())


def _endpoint(name: str) -> Callable[..., Awaitable[Response]]:
    async def endpoint(payload: PayloadDep, caller: CallerDep, database: DatabaseDep) -> Response:
        if payload.get("action", name) != name:
            return refuse(name, failure_of(InvalidInputError(f"must be {name!r} here", field="action")))
        return await _perform(name, payload, caller, database)

    endpoint.__name__, endpoint.__doc__ = name, ACTIONS[name].work.__doc__
    return endpoint


for _name, _action in ACTIONS.items():
    router.add_api_route(
        f"/v2/{_action.group}/{_name}",
        _endpoint(_name),
        methods=["POST"],
        openapi_extra=documented(_action.body),
        response_model=Envelope[_action.answer],  # type: ignore[name-defined]
    )
