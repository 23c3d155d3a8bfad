"""What every call of document 004 is about: a project, and who asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Path
from pydantic import AfterValidator

from api_plugin.common.auth import CallerDep
from api_plugin.common.database import DatabaseDep, transact
from include.errors import AuthenticationError
from include.kit.db import Connection, Database
from include.metering.rows import check_project
from include.tokens.model import Token, require_project

T = TypeVar("T")

ProjectId = Annotated[str, Path(), AfterValidator(check_project)]
InstanceId = Annotated[
    str | None,
    Header(min_length=1, max_length=36, description="accepted, and without a meaning here"),
]


@dataclass(frozen=True)
class Scope:
    """A project that the caller may see.

    :ivar token: whose request it is
    """

    project_id: str
    token: Token
    database: Database

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do a request's work in one transaction."""
        return await transact(self.database, work)


def get_scope(
    project_id: ProjectId, caller: CallerDep, database: DatabaseDep, instance_id: InstanceId = None
) -> Scope:
    """Return the scope of this request.

    :raises PermissionDeniedError: the project is not one of the caller's
    """
    if caller.token is None:
        raise AuthenticationError("the credential is no token")
    require_project(project_id, caller.projects)
    return Scope(project_id, caller.token, database)


ScopeDep = Annotated[Scope, Depends(get_scope)]
