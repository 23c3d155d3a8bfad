"""Use cases on packages: create, list, find, delete; and which of them a task means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from include.batch.model import TaskType
from include.errors import ConflictError, InvalidInputError, NotFoundError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection
from include.kit.ids import draw_id
from include.ota.model import TYPE_OF_TASK, Package, PackageFilter
from include.ota.repository import PackageRepository

_PACKAGE_ID = re.compile(r"[A-Za-z0-9-]{1,36}")


class PackageService:
    """The packages of one project, inside the caller's transaction."""

    def __init__(self, connection: Connection, project_id: str, *, clock: Clock = system_clock) -> None:
        self.repository = PackageRepository(connection)
        self.project_id = project_id
        self.clock = clock

    async def create(self, values: Mapping[str, Any]) -> Package:
        """Store a package whose fields were checked.

        :param values: the fields of `Package` that a client gives
        :raises ConflictError: there is one of this version for the same devices
        """
        now = self.clock()
        own = {"package_id": draw_id(now), "project_id": self.project_id}
        return await self.repository.insert_package({**values, **own}, now)

    async def find(self, package_id: str) -> Package:
        """Return a package. Raises NotFoundError."""
        found = await self.repository.find_package(self.project_id, package_id)
        return _existing(found, package_id)

    async def list_packages(self, wanted: PackageFilter) -> tuple[list[Package], int]:
        """Return a page of packages, and how many match on all pages."""
        page = await self.repository.list_packages(self.project_id, wanted)
        return page, await self.repository.count_packages(self.project_id, wanted)

    async def delete(self, package_id: str) -> None:
        """Forget a package.

        :raises NotFoundError: there is none
        :raises ConflictError: a task that has not ended needs it
        """
        package = _existing(await self.repository.lock_package(self.project_id, package_id), package_id)
        task_id = await self.repository.find_user_of_package(package)
        if task_id is not None:
            raise ConflictError(f"the task {task_id}, which has not ended, needs this package")
        await self.repository.delete_package(package)


async def resolve_package(
    connection: Connection, project_id: str, task_type: TaskType, document: Mapping[str, Any] | None
) -> Package:
    """Return the package that the document of an upgrade names; it stays until the transaction has ended.

    Whether it suits the product of each device shows when that is performed (A10).

    :raises InvalidInputError: the document names none or several, or one that the project does not have, or
        one of a type that is not the task's
    """
    field, package_id = _named(document or {})
    package = await PackageRepository(connection).hold_package(project_id, package_id)
    if package is None:
        raise InvalidInputError(f"there is no package {package_id!r}", field=field)
    wanted = TYPE_OF_TASK[task_type]
    if package.package_type != wanted:
        raise InvalidInputError(f"{task_type} needs a {wanted}, not a {package.package_type}", field=field)
    return package


async def package_of(
    connection: Connection, project_id: str, document: Mapping[str, Any] | None
) -> Package | None:
    """Return the package of a task that was created with it; None once somebody deleted it."""
    _, package_id = _named(document or {})
    return await PackageRepository(connection).find_package(project_id, package_id)


def _named(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return the field of a document that names a package, and the package's id (A4: two spellings)."""
    if "package_ids" in document:
        field, value = "document.package_ids", document["package_ids"]
        if not isinstance(value, list) or len(value) != 1:
            raise InvalidInputError("must be a list of one package id", field=field)
        [value] = value
    else:
        field, value = "document.package_id", document.get("package_id")
    if not isinstance(value, str) or not _PACKAGE_ID.fullmatch(value):
        raise InvalidInputError("must be the id of a package", field=field)
    return field, value


def _existing(found: Package | None, package_id: str) -> Package:
    if found is None:
        raise NotFoundError(f"there is no package {package_id!r}")
    return found
