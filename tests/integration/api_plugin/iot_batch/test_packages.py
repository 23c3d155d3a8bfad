"""OTA packages through the vendor's SDK (research `iot.md` A11)."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from huaweicloudsdkiotda import v5 as iotda

from api_plugin.iot_batch.package_schemas import SOURCES_MOST
from include.errors import ConflictError, InvalidInputError
from include.kit.db import Database
from include.ota.service import PackageService, resolve_package
from tests.batch_rows import add_task
from tests.builders import make_token
from tests.conftest import ClientOf
from tests.integration.api_plugin.iot_batch.iot_wire import PROJECT, Sdk, insert_package

LOCATION = {"region_name": "cn-north-4", "bucket_name": "firmware", "object_key": "lamps/lamp.bin"}


def body(**changes: Any) -> dict[str, Any]:
    """Return a package that can be created."""
    values = {
        "app_id": "default",
        "package_type": "firmwarePackage",
        "product_id": "lamp",
        "version": "v2.0",
        "file_location": {"obs_location": {**LOCATION, "sign": "5" * 64}},
    }
    return {name: value for name, value in {**values, **changes}.items() if value is not None}


def create_body(**changes: Any) -> iotda.CreateOtaPackage:
    values = body(**changes)
    location = iotda.ObsLocation(**values.pop("file_location")["obs_location"])
    return iotda.CreateOtaPackage(**values, file_location=iotda.FileLocation(obs_location=location))


async def test_the_way_of_a_package(sdk: Sdk) -> None:
    made = await sdk.call("create_ota_package", body=create_body(custom_info="hello", description="d"))
    assert {**made, "package_id": "", "create_time": ""} == {
        **body(custom_info="hello", description="d"),
        "file_location": {"obs_location": {**LOCATION, "sign_method": "SHA256", "sign": "5" * 64}},
        "package_id": "",
        "create_time": "",
    }
    assert await sdk.call("show_ota_package", package_id=made["package_id"]) == made
    listed = await sdk.call("list_ota_package_info")
    assert listed["page"] == {"count": 1, "marker": made["package_id"]}
    assert listed["packages"] == [{name: made[name] for name in made if name != "file_location"}]
    await sdk.call("delete_ota_package", package_id=made["package_id"])
    status, code, _ = await sdk.refused("show_ota_package", package_id=made["package_id"])
    assert (status, code) == (404, "CARILLON.0404")
    status, code, _ = await sdk.refused("delete_ota_package", package_id=made["package_id"])
    assert (status, code) == (404, "CARILLON.0404")


async def test_the_same_twice_is_refused(sdk: Sdk) -> None:
    await sdk.call("create_ota_package", body=create_body())
    status, code, message = await sdk.refused("create_ota_package", body=create_body())
    assert (status, code) == (400, "IOTDA.000006")
    assert message == "version: there is such a package of this version already"
    for other in ({"version": "v3"}, {"app_id": "b"}, {"product_id": "pump"}, {"product_id": None}):
        await sdk.call("create_ota_package", body=create_body(**other))
    await sdk.call("create_ota_package", body=create_body(package_type="softwarePackage"))
    module = {"package_type": "modulePackage", "module_name": "m1"}
    await sdk.call("create_ota_package", body=create_body(**module))
    await sdk.refused("create_ota_package", body=create_body(**module))


async def test_lists_by_marker_offset_and_filters(sdk: Sdk) -> None:
    ids = []
    for number in range(12):
        kind = "softwarePackage" if number % 2 else "firmwarePackage"
        made = await sdk.call(
            "create_ota_package", body=create_body(version=f"v{number}", package_type=kind, app_id="a")
        )
        ids.insert(0, made["package_id"])

    async def listed(**wanted: Any) -> list[str]:
        page = await sdk.call("list_ota_package_info", **wanted)
        return [one["package_id"] for one in page["packages"]]

    assert ids == sorted(ids, reverse=True)
    assert await listed() == ids[:10]
    assert await listed(marker=ids[9]) == ids[10:]
    assert await listed(marker=ids[2].upper(), offset=3, limit=2) == ids[6:8]
    assert await listed(package_type="softwarePackage", limit=50) == ids[::2]
    assert await listed(version="v3", app_id="a", product_id="lamp") == [ids[8]]
    assert await listed(app_id="b") == []
    page = await sdk.call("list_ota_package_info", package_type="softwarePackage", limit=2)
    assert page["page"] == {"count": 6, "marker": ids[2]}
    empty = await sdk.call("list_ota_package_info", app_id="b")
    assert empty["page"] == {"count": 0}


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"limit": 51}, "IOTDA.000017"),
        ({"limit": 0}, "IOTDA.000017"),
        ({"offset": 501}, "IOTDA.000006"),
        ({"offset": -1}, "IOTDA.000006"),
        ({"marker": "f" * 23}, "IOTDA.000006"),
        ({"package_type": "otherPackage"}, "IOTDA.000006"),
        ({"version": "a b"}, "IOTDA.000006"),
    ],
)
async def test_lists_that_are_refused(sdk: Sdk, wanted: dict[str, Any], code: str) -> None:
    assert (await sdk.refused("list_ota_package_info", **wanted))[:2] == (400, code)


def location(**changes: Any) -> dict[str, Any]:
    return {"file_location": {"obs_location": {**LOCATION, **changes}}}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"app_id": None}, "app_id"),
        ({"app_id": "a" * 37}, "app_id"),
        ({"package_type": None}, "package_type"),
        ({"package_type": "otherPackage"}, "package_type"),
        ({"product_id": "a/b"}, "product_id"),
        ({"version": None}, "version"),
        ({"version": ""}, "version"),
        ({"version": "v" * 257}, "version"),
        ({"version": "v 2"}, "version"),
        ({"version": "v2\n"}, "version"),
        ({"support_source_versions": ["v"] * (SOURCES_MOST + 1)}, "support_source_versions"),
        ({"support_source_versions": ["v 1"]}, "support_source_versions.0"),
        ({"description": "d" * 1025}, "description"),
        ({"description": "\0"}, "description"),
        ({"custom_info": "d" * 4097}, "custom_info"),
        ({"module_name": "m"}, "module_name goes with"),
        ({"package_type": "modulePackage"}, "module_name goes with"),
        ({"package_type": "modulePackage", "module_name": "m", "product_id": None}, "product_id is required"),
        ({"file_location": None}, "file_location"),
        ({"file_location": {}}, "file_location.obs_location"),
        (location(region_name="cn_north"), "file_location.obs_location.region_name"),
        (location(bucket_name="ab"), "file_location.obs_location.bucket_name"),
        (location(bucket_name="Pumps"), "file_location.obs_location.bucket_name"),
        (location(object_key=""), "file_location.obs_location.object_key"),
        (location(object_key="k" * 1025), "file_location.obs_location.object_key"),
        (location(sign_method="MD5"), "file_location.obs_location.sign_method"),
        (location(sign="5" * 63), "file_location.obs_location.sign"),
        (location(sign="g" * 64), "file_location.obs_location.sign"),
        ({"more": 1}, "more"),
    ],
)
async def test_bodies_that_are_refused(
    client_of: ClientOf, database: Database, changes: dict[str, Any], field: str
) -> None:
    client = await client_of("iot")
    token = await make_token(database, apis=["iot"], projects=[PROJECT])
    answer = await client.post(
        f"/{PROJECT}/ota-upgrades/packages", json=body(**changes), headers={"X-Auth-Token": token}
    )
    assert (answer.status_code, answer.json()["error_code"]) == (400, "IOTDA.000006")
    assert field in answer.json()["error_msg"]


async def test_at_the_limits(sdk: Sdk) -> None:
    await sdk.call(
        "create_ota_package",
        body=create_body(
            app_id="a" * 36,
            version="v" * 256,
            support_source_versions=["v" * 256] * SOURCES_MOST,
            description="d" * 1024,
            custom_info="c" * 4096,
        ),
    )


async def test_what_is_no_json_is_unparseable(client_of: ClientOf, database: Database) -> None:
    client = await client_of("iot")
    token = await make_token(database, apis=["iot"])
    answer = await client.post(
        f"/{PROJECT}/ota-upgrades/packages", content=b"{", headers={"X-Auth-Token": token}
    )
    assert (answer.status_code, answer.json()["error_code"]) == (400, "IOTDA.000008")


async def test_a_package_of_another_project_is_not_there(sdk: Sdk, database: Database) -> None:
    async with database.transaction() as connection:
        values = {
            **body(support_source_versions=None),
            **dict.fromkeys(("module_name", "description", "custom_info", "support_source_versions")),
        }
        foreign = await PackageService(connection, "other").create(values)
    for call in ("show_ota_package", "delete_ota_package"):
        assert (await sdk.refused(call, package_id=foreign.package_id))[0] == 404
    async with database.transaction() as connection:
        with pytest.raises(InvalidInputError, match="there is no package"):
            await resolve_package(connection, PROJECT, "firmwareUpgrade", {"package_id": foreign.package_id})


class TestTasksNeedTheirPackages:
    @pytest.mark.parametrize("spelling", ["package_id", "package_ids"])
    async def test_a_package_stays_until_its_tasks_have_ended(
        self, sdk: Sdk, database: Database, connection: psycopg.Connection, spelling: str
    ) -> None:
        package_id = await insert_package(database, "firmwarePackage")
        document = {spelling: package_id if spelling == "package_id" else [package_id]}
        task = await add_task(
            database,
            project_id=PROJECT,
            task_type="firmwareUpgrade",
            document=document,
            targets=["lamp-0"],
            expanded=False,
        )
        status, code, message = await sdk.refused("delete_ota_package", package_id=package_id)
        assert (status, code) == (400, "IOTDA.000006")
        assert message == f"the task {task.task_id}, which has not ended, needs this package"
        connection.execute("UPDATE batch_task SET status = 'Stopped', finished_at = now()")
        await sdk.call("delete_ota_package", package_id=package_id)

    async def test_nobody_deletes_what_a_task_is_just_created_with(self, database: Database) -> None:
        package_id = await insert_package(database, "firmwarePackage")
        async with database.transaction() as creating, database.transaction() as deleting:
            await resolve_package(creating, PROJECT, "firmwareUpgrade", {"package_ids": [package_id]})
            await deleting.execute("SET lock_timeout = '200ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                await PackageService(deleting, PROJECT).delete(package_id)
            await deleting.rollback()
        async with database.transaction() as connection:
            await PackageService(connection, PROJECT).delete(package_id)

    @pytest.mark.parametrize(
        ("document", "message"),
        [
            (None, "document.package_id: must be the id of a package"),
            ({}, "document.package_id: must be the id of a package"),
            ({"package_ids": []}, "document.package_ids: must be a list of one package id"),
            ({"package_ids": ["a", "b"]}, "document.package_ids: must be a list of one package id"),
            ({"package_ids": [7]}, "document.package_ids: must be the id of a package"),
            ({"package_id": "a\0"}, "document.package_id: must be the id of a package"),
            ({"package_id": "f" * 24}, "document.package_id: there is no package"),
        ],
    )
    async def test_documents_that_name_none(
        self, database: Database, document: dict[str, Any] | None, message: str
    ) -> None:
        async with database.transaction() as connection:
            with pytest.raises(InvalidInputError) as caught:
                await resolve_package(connection, PROJECT, "firmwareUpgrade", document)
        assert str(caught.value).startswith(message)

    async def test_the_type_must_fit(self, database: Database) -> None:
        package_id = await insert_package(database, "softwarePackage")
        async with database.transaction() as connection:
            found = await resolve_package(connection, PROJECT, "softwareUpgrade", {"package_id": package_id})
            assert found.package_id == package_id
            with pytest.raises(InvalidInputError, match="needs a firmwarePackage, not a softwarePackage"):
                await resolve_package(connection, PROJECT, "firmwareUpgrade", {"package_id": package_id})

    async def test_two_at_once_make_one(self, database: Database) -> None:
        await insert_package(database)
        with pytest.raises(ConflictError):
            await insert_package(database)
