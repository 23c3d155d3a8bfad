"""Builds the REST apps: every one with authentication, error handlers, body limit and operation ids.

No app is made by a bare `FastAPI()`: one that is mounted into Airflow's API server inherits neither Airflow's
login nor its error handlers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI, Security
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect

from api_plugin.billing_scheduler.api import API as BILLING
from api_plugin.common.api import Api
from api_plugin.common.auth import Authentication
from api_plugin.common.database import shared_database
from api_plugin.common.errors import CatchAll, handle
from api_plugin.common.limits import BodyLimit
from api_plugin.crontab.api import API as CRONTAB
from api_plugin.device_schedule.api import API as TIMERS
from api_plugin.iot_batch.api import API as IOT
from api_plugin.maintenance.api import API as MAINTENANCE
from api_plugin.management.api import API as MANAGEMENT
from include.errors import CarillonError
from include.gateway.shared import SharedGateway

VERSION = "1"

APIS: tuple[Api, ...] = (CRONTAB, BILLING, TIMERS, MAINTENANCE, IOT, MANAGEMENT)


def create_app(name: str) -> FastAPI:
    """Return the app of the API with this name; it goes under that API's prefixes."""
    api = next(api for api in APIS if api.name == name)
    app = FastAPI(
        title=api.title,
        description=api.description,
        version=VERSION,
        servers=[{"url": prefix} for prefix in api.prefixes],
        # Where an API has a document for browsers it is among its own open routes.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        generate_unique_id_function=operation_id,
        middleware=[
            Middleware(CatchAll, api.error_form),
            Middleware(BodyLimit, api.body_limit),
            Middleware(Authentication, api),
        ],
        exception_handlers=dict.fromkeys(
            (CarillonError, RequestValidationError, HTTPException, ClientDisconnect), handle
        ),
    )
    app.state.api = api
    app.include_router(api.router, dependencies=[Security(api.authenticator.scheme)])
    app.include_router(api.open_router)
    app.openapi = partial(openapi, app, app.openapi)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Lend the app the process's database and a device gateway, and run what its API wants beside it."""
    api: Api = app.state.api
    async with shared_database() as database:
        app.state.database = database
        app.state.gateway = gateway = SharedGateway()
        try:
            if database is None or api.background is None:
                yield
                return
            async with api.background(database):
                yield
        finally:
            await gateway.close()


def operation_id(route: APIRoute) -> str:
    """Name an operation as its function is named."""
    return route.name


def openapi(app: FastAPI, generate: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return FastAPI's document, and in it the bodies that routes read themselves."""
    document = generate()
    bodies = [(model, "validation") for model in app.state.api.bodies]
    if bodies:
        _, definitions = models_json_schema(bodies, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
        document.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
    return document


#: What the Airflow plugin mounts: (name, URL prefix, factory). An API with several prefixes has an app each.
APPS: list[tuple[str, str, Callable[[], FastAPI]]] = [
    (api.name if prefix == api.prefix else f"{api.name} {prefix}", prefix, partial(create_app, api.name))
    for api in APIS
    for prefix in api.prefixes
]
