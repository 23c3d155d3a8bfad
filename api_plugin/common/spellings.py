"""Documents spell one path in several ways: `task` and `tasks`, and clients leave out the last slash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter
from fastapi.datastructures import Default
from pydantic import BaseModel

from api_plugin.common.bodies import documented

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def spelled(
    router: APIRouter,
    method: str,
    *paths: str,
    body: type[BaseModel] | None = None,
    answer: type[BaseModel] | None = None,
) -> Callable[[Endpoint], Endpoint]:
    """Register a route under each path, with and without the last slash; the first one is documented.

    :param body: the model of the request's body, for the OpenAPI document
    :param answer: that of the answer, where the endpoint returns a response it wrote itself
    """

    def register(endpoint: Endpoint) -> Endpoint:
        every = [spelling for path in paths for spelling in (path, path.rstrip("/"))]
        for place, path in enumerate(every):
            router.add_api_route(
                path,
                endpoint,
                methods=[method],
                include_in_schema=place == 0,
                openapi_extra=documented(body) if body else None,
                response_model=answer or Default(None),
            )
        return endpoint

    return register


def join(*routers: APIRouter) -> APIRouter:
    """Return one router with the routes of several."""
    joined = APIRouter()
    for router in routers:
        joined.include_router(router)
    return joined
