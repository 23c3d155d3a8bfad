"""Reading a request's JSON body, whatever its Content-Type says."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import Depends
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from api_plugin.common.json_body import read_object

Body = TypeVar("Body", bound=BaseModel)


async def _payload(request: Request) -> dict[str, Any]:
    return read_object(await request.body())


PayloadDep = Annotated[dict[str, Any], Depends(_payload)]


def read(model: type[Body], payload: dict[str, Any]) -> Body:
    """Return a body. Raises RequestValidationError, which names every field at fault."""
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise RequestValidationError([{**item, "loc": ("body", *item["loc"])} for item in found]) from None
