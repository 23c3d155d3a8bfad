"""Bodies that routes read themselves, whatever their Content-Type says: the documents' clients send many."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import Depends
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request

from api_plugin.common.json_body import read_object

Body = TypeVar("Body", bound=BaseModel)


class WireModel(BaseModel):
    """A request: unknown fields are refused, and no message repeats what was sent."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


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


def documented(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """Return what the OpenAPI document says of a body that a route reads itself."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}
