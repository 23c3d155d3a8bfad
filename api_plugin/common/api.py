"""What one REST API is made of; `api_plugin.app` turns each into an app."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from fastapi import APIRouter
from pydantic import BaseModel

from api_plugin.common.auth import Authenticator, TokenAuthenticator
from api_plugin.common.errors import ErrorForm
from api_plugin.common.limits import request_limit
from include.kit.db import Database
from include.tokens.model import ApiName


@dataclass(frozen=True)
class Api:
    """The parts of an API.

    :ivar name: as tokens and CARILLON_OPEN_APIS spell it
    :ivar prefix: the path it is mounted at
    :ivar also_at: other paths at which the same API is
    :ivar router: its routes; every one of them needs a credential
    :ivar error_form: how its errors look on the wire
    :ivar authenticator: what its credential is
    :ivar open_router: the routes that anybody may call
    :ivar bodies: models of request bodies that its routes read themselves, for the OpenAPI document
    :ivar body_limit: how many bytes the body of a request to a path may have
    :ivar background: what runs beside it as long as the app does
    """

    name: ApiName
    prefix: str
    title: str
    description: str
    router: APIRouter
    error_form: ErrorForm
    also_at: Sequence[str] = ()
    authenticator: Authenticator = field(default_factory=TokenAuthenticator)
    open_router: APIRouter = field(default_factory=APIRouter)
    bodies: Sequence[type[BaseModel]] = ()
    body_limit: Callable[[str], int] = request_limit
    background: Callable[[Database], AbstractAsyncContextManager[None]] | None = None

    @property
    def prefixes(self) -> tuple[str, ...]:
        return (self.prefix, *self.also_at)

    @property
    def open_paths(self) -> frozenset[str]:
        return frozenset(getattr(route, "path", "") for route in self.open_router.routes)
