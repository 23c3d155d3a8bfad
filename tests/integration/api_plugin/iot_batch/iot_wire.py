"""The vendor's SDK as these tests call it."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkiotda import v5 as iotda

from include.kit.db import Database
from include.ota.model import PackageType
from include.ota.service import PackageService
from tests.batch_rows import insert_lamps, lamps

PROJECT = "0123456789abcdef0123456789abcdef"
COMMAND = {"service_id": "water", "command_name": "ON_OFF", "paras": {"value": "ON"}}


class Sdk:
    """Calls of the SDK, which blocks, from a thread; answers as plain dicts."""

    def __init__(self, client: iotda.IoTDAClient) -> None:
        self.client = client

    async def call(self, name: str, **fields: Any) -> dict[str, Any]:
        """`call("show_batch_task", task_id=…)`; `body` is the request's body."""
        kind = "".join(part.capitalize() for part in name.split("_")) + "Request"
        request = getattr(iotda, kind)(**fields)
        answer = await asyncio.to_thread(getattr(self.client, name), request)
        return without_nulls(answer.to_json_object())

    async def refused(self, name: str, **fields: Any) -> tuple[int, str, str]:
        """Return HTTP status, `error_code` and `error_msg` of a call that must be refused."""
        with pytest.raises(ClientRequestException) as caught:
            await self.call(name, **fields)
        return caught.value.status_code, caught.value.error_code, caught.value.error_msg

    async def create(self, **fields: Any) -> dict[str, Any]:
        policy = fields.pop("task_policy", None)
        body = iotda.CreateBatchTask(**fields, task_policy=policy and iotda.TaskPolicy(**policy))
        return await self.call("create_batch_task", body=body)


def without_nulls(value: Any) -> Any:
    """Return what the SDK read, without the attributes that were not in the answer."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def insert_devices(connection: psycopg.Connection, count: int, project: str = PROJECT) -> list[str]:
    """Make lamps, all online, and return their ids."""
    insert_lamps(connection, count, project)
    return lamps(count)


async def insert_package(database: Database, kind: PackageType = "softwarePackage") -> str:
    """Make a package of the project and return its id."""
    location = {"region_name": "local", "bucket_name": "firmware", "object_key": "lamp.bin"}
    async with database.transaction() as connection:
        package = await PackageService(connection, PROJECT).create(
            {
                "app_id": "default",
                "package_type": kind,
                "product_id": "lamp",
                "module_name": None,
                "version": "2.0",
                "support_source_versions": None,
                "description": None,
                "custom_info": None,
                "file_location": {"obs_location": location},
            }
        )
    return package.package_id
