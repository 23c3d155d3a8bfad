"""Calls about one project: whose it is, and the transaction in which they work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Path
from pydantic import AfterValidator

from api_plugin.common.auth import CallerDep
from api_plugin.common.database import DatabaseDep, transact
from include.kit.db import Connection, Database
from include.metering.rows import check_key, check_project
from include.metering.scope import ProjectService

S = TypeVar("S", bound=ProjectService)
T = TypeVar("T")


ProjectId = Annotated[str, Path(), AfterValidator(check_project)]
KeyPath = Annotated[str, Path(), AfterValidator(check_key)]


@dataclass(frozen=True)
class Scope:
    """A project and who asks about it.

    :ivar projects: the only ones that the caller may see, None for all
    """

    project_id: str
    projects: tuple[str, ...] | None
    database: Database

    async def run(self, service: type[S], work: Callable[[S], Awaitable[T]]) -> T:
        """Do work with a service of the project in one transaction.

        :raises NotFoundError: the caller does not see the project
        """

        async def in_transaction(connection: Connection) -> T:
            return await work(service(connection, self.project_id, projects=self.projects))

        return await transact(self.database, in_transaction)


def get_scope(project_id: ProjectId, caller: CallerDep, database: DatabaseDep) -> Scope:
    """Return the scope of this request."""
    return Scope(project_id, caller.projects, database)


ScopeDep = Annotated[Scope, Depends(get_scope)]
