"""The statements on packages; `upgrade_repository.py` has those on open upgrades."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from psycopg import AsyncCursor
from psycopg.errors import UniqueViolation
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from include.errors import ConflictError
from include.kit.db import Connection
from include.kit.sql import load_queries
from include.ota.model import Package, PackageFilter

queries = load_queries(__file__)


class PackageRepository:
    """One method a statement, on a connection whose transaction somebody else commits."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def insert_package(self, values: Mapping[str, Any], now: datetime) -> Package:
        """Store a package. Raises ConflictError: there is one of this version for the same devices."""
        parameters = {**values, "file_location": Jsonb(values["file_location"]), "now": now}
        try:
            cursor = await self.connection.execute(queries.insert_package, parameters)
        except UniqueViolation as error:
            raise ConflictError("there is such a package of this version already", field="version") from error
        [row] = await cursor.fetchall()
        return _package(row)

    async def find_package(self, project_id: str, package_id: str) -> Package | None:
        return await self._one(queries.find_package, project_id, package_id)

    async def hold_package(self, project_id: str, package_id: str) -> Package | None:
        return await self._one(queries.hold_package, project_id, package_id)

    async def lock_package(self, project_id: str, package_id: str) -> Package | None:
        return await self._one(queries.lock_package, project_id, package_id)

    async def list_packages(self, project_id: str, wanted: PackageFilter) -> list[Package]:
        cursor = await self._filtered(queries.list_packages, project_id, wanted)
        return [_package(row) for row in await cursor.fetchall()]

    async def count_packages(self, project_id: str, wanted: PackageFilter) -> int:
        [row] = await (await self._filtered(queries.count_packages, project_id, wanted)).fetchall()
        return int(row["count"])

    async def find_user_of_package(self, package: Package) -> str | None:
        """Return the task_id of one."""
        cursor = await self.connection.execute(
            queries.find_user_of_package,
            {"project_id": package.project_id, "package_id": package.package_id},
        )
        row = await cursor.fetchone()
        return row["task_id"] if row else None

    async def delete_package(self, package: Package) -> None:
        await self.connection.execute(queries.delete_package, {"id": package.id})

    async def _one(self, statement: str, project_id: str, package_id: str) -> Package | None:
        cursor = await self.connection.execute(
            statement, {"project_id": project_id, "package_id": package_id}
        )
        row = await cursor.fetchone()
        return _package(row) if row else None

    async def _filtered(self, statement: str, project_id: str, wanted: PackageFilter) -> AsyncCursor[DictRow]:
        # Never a generic plan: the conditions that do not apply must fall away before it is made.
        return await self.connection.execute(
            statement, {**asdict(wanted), "project_id": project_id}, prepare=False
        )


_COLUMNS = [field.name for field in fields(Package)]


def _package(row: Mapping[str, Any]) -> Package:
    return Package(**{name: row[name] for name in _COLUMNS})
