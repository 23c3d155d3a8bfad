"""The statements on packages; `upgrade_repository.py` has those on open upgrades."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb

from include.errors import ConflictError
from include.kit.db import Repository
from include.kit.sql import load_queries
from include.ota.model import Package, PackageFilter

queries = load_queries(__file__)


class PackageRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits."""

    # The conditions of a list that do not apply must fall away before its plan is made.
    prepare = False

    async def insert_package(self, values: Mapping[str, Any], now: datetime) -> Package:
        """Store a package. Raises ConflictError: there is one of this version for the same devices."""
        parameters = {**values, "file_location": Jsonb(values["file_location"]), "now": now}
        try:
            [row] = await self._rows(queries.insert_package, **parameters)
        except UniqueViolation as error:
            raise ConflictError("there is such a package of this version already", field="version") from error
        return _package(row)

    async def find_package(self, project_id: str, package_id: str) -> Package | None:
        return await self._one(queries.find_package, project_id, package_id)

    async def hold_package(self, project_id: str, package_id: str) -> Package | None:
        return await self._one(queries.hold_package, project_id, package_id)

    async def lock_package(self, project_id: str, package_id: str) -> Package | None:
        return await self._one(queries.lock_package, project_id, package_id)

    async def list_packages(self, project_id: str, wanted: PackageFilter) -> list[Package]:
        rows = await self._rows(queries.list_packages, project_id=project_id, **asdict(wanted))
        return [_package(row) for row in rows]

    async def count_packages(self, project_id: str, wanted: PackageFilter) -> int:
        [row] = await self._rows(queries.count_packages, project_id=project_id, **asdict(wanted))
        return int(row["count"])

    async def find_user_of_package(self, package: Package) -> str | None:
        """Return the task_id of one."""
        rows = await self._rows(
            queries.find_user_of_package, project_id=package.project_id, package_id=package.package_id
        )
        return rows[0]["task_id"] if rows else None

    async def delete_package(self, package: Package) -> None:
        await self._run(queries.delete_package, id=package.id)

    async def _one(self, statement: str, project_id: str, package_id: str) -> Package | None:
        rows = await self._rows(statement, project_id=project_id, package_id=package_id)
        return _package(rows[0]) if rows else None


_COLUMNS = [field.name for field in fields(Package)]


def _package(row: Mapping[str, Any]) -> Package:
    return Package(**{name: row[name] for name in _COLUMNS})
