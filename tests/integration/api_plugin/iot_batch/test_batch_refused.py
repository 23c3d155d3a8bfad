"""What creates no task: one for each rule over the wire; the limits themselves are in the unit tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from include.batch.expansion import expand
from tests.builders import make_token
from tests.integration.api_plugin.iot_batch.iot_wire import (
    COMMAND,
    PROJECT,
    insert_devices,
    insert_package,
)


def body(**changes: Any) -> dict[str, Any]:
    values = {
        "task_name": "testname",
        "task_type": "createCommands",
        "targets": ["d1"],
        "document": COMMAND,
        **changes,
    }
    return {name: value for name, value in values.items() if value is not None}


def upgrade(package: Any, **changes: Any) -> dict[str, Any]:
    return body(task_type="softwareUpgrade", document={"package_ids": [package]}, **changes)


def moment(**ahead: float) -> str:
    return f"{datetime.now(UTC) + timedelta(**ahead):%Y%m%dT%H%M%SZ}"


@pytest.fixture
async def client(url: str, database):
    headers = {"X-Auth-Token": await make_token(database, projects=[PROJECT, "other"])}
    async with httpx.AsyncClient(base_url=f"{url}/v5/iot/{PROJECT}", headers=headers) as client:
        yield client


def error(code: str, message: str) -> dict[str, str]:
    return {"error_code": f"IOTDA.{code}", "error_msg": message}


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({}, "000006", "task_name: is required; task_type: is required"),
        (body(task_name="x" * 129), "000006", "task_name: must match pattern"),
        (
            body(targets=[f"d{n}" for n in range(30_001)]),
            "000006",
            "targets: List should have at most 30000 items",
        ),
        (body(targets=["d" * 129]), "000006", "targets.0: must match pattern"),
        (body(targets=None), "000006", "targets: is required: targets, targets_filter"),
        (body(targets_filter={"group_ids": ["g"], "x": 1}), "000006", "targets_filter.x: is not a field"),
        (body(document={}), "000006", "document.paras: is required"),
        (body(need_confirm=True), "000006", "need_confirm: is for upgrades"),
        (body(task_policy={"retry_count": 1}), "000006", "task_policy.retry_interval: is required"),
        (
            body(task_policy={"retry_count": 6, "retry_interval": 1}),
            "000006",
            "task_policy.retry_count: must",
        ),
        (
            body(task_policy={"schedule_time": moment(minutes=-5)}),
            "000006",
            "task_policy.schedule_time: lies",
        ),
        (body(task_policy={"schedule_time": moment(days=8)}), "000006", "task_policy.schedule_time: is more"),
        (
            body(task_policy={"schedule_time": "2026-11-23T09:30:00+08:00"}),
            "000009",
            "task_policy.schedule_time: must be like 20151212T121212Z",
        ),
        (body(x_rollout={"unknown": 1}), "000006", "x_rollout"),
        (upgrade("nowhere"), "000006", "document.package_ids: there is no package 'nowhere'"),
        (
            body(targets=None, targets_filter={"group_ids": ["nowhere"]}),
            "000006",
            "targets_filter.group_ids: there is no group 'nowhere'",
        ),
    ],
)
async def test_a_body_that_cannot_be_used(client, connection, fields, code, message):
    answer = await client.post("/batchtasks", json=fields)
    assert answer.status_code == 400
    assert answer.json()["error_code"] == f"IOTDA.{code}"
    assert answer.json()["error_msg"].startswith(message)
    assert connection.execute("SELECT count(*) AS n FROM batch_task").fetchone() == {"n": 0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"task_name=testname", "the body is not JSON"),
        (b"[]", "the body must be a JSON object"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "the body is nested deeper than 32 levels"),
    ],
)
async def test_what_is_no_json_object(client, content, message):
    answer = await client.post("/batchtasks", content=content)
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "IOTDA.000008"
    assert answer.json()["error_msg"].startswith(message)


async def test_what_a_client_sends_is_not_repeated_where_it_might_be_secret(client):
    answer = await client.post("/batchtasks", json=body(document={"paras": "password"}))
    assert "password" not in answer.text


class TestForeign:
    async def test_a_package_of_another_type(self, client, database):
        package = await insert_package(database, "firmwarePackage")
        answer = await client.post("/batchtasks", json=upgrade(package))
        assert answer.json() == error(
            "000006", "document.package_ids: softwareUpgrade needs a softwarePackage, not a firmwarePackage"
        )

    async def test_a_package_of_another_project(self, client, database, connection):
        package = await insert_package(database)
        connection.execute("UPDATE ota_package SET project_id = 'other'")
        answer = await client.post("/batchtasks", json=upgrade(package))
        assert answer.json() == error("000006", f"document.package_ids: there is no package {package!r}")

    async def test_a_group_of_another_project(self, client, connection: psycopg.Connection):
        connection.execute(
            "INSERT INTO device_group (group_id, project_id, name, created_at)"
            " VALUES ('g', 'other', 'g', now())"
        )
        answer = await client.post(
            "/batchtasks", json=body(targets=None, targets_filter={"group_ids": ["g"]})
        )
        assert (answer.status_code, answer.json()) == (
            400,
            error("000006", "targets_filter.group_ids: there is no group 'g'"),
        )

    async def test_a_file_of_another_project(self, client, connection: psycopg.Connection):
        connection.execute(
            "INSERT INTO batch_file (file_id, project_id, owner, file_name, columns, rows, uploaded_at,"
            " expires_at) VALUES ('f', 'other', '1', 'f.csv', '{device_id}', 1, now(), now() + '1 h')"
        )
        fields = body(task_type="deleteDevices", document=None, targets=None, document_source="f")
        answer = await client.post("/batchtasks", json=fields)
        assert (answer.status_code, answer.json()) == (404, error("014600", "there is no file 'f'"))
        assert (await client.delete("/batchtask-files/f")).json() == answer.json()
        assert (await client.get("/batchtask-files")).json() == {"files": []}

    async def test_a_device_of_another_project_fails_as_one_that_is_not_there(
        self, client, database, connection
    ):
        insert_devices(connection, 1, "other")
        made = (await client.post("/batchtasks", json=body(targets=["lamp-0"]))).json()
        async with database.transaction() as session:
            row = connection.execute("SELECT id FROM batch_task").fetchone()
            await expand(session, row["id"], datetime.now(UTC))
        shown = (await client.get(f"/batchtasks/{made['task_id']}")).json()
        assert shown["batchtask"]["status"] == "Fail"
        assert shown["task_details"] == [
            {
                "target": "lamp-0",
                "status": "Fail",
                "error": error("014000", "there is no such device"),
            }
        ]

    async def test_a_project_that_cannot_be_one(self, client, url):
        answer = await client.get(f"{url}/v5/iot/{'p' * 65}/batchtasks?task_type=createCommands")
        assert (answer.status_code, answer.json()) == (
            400,
            error("000006", "project_id: must have 1 to 64 printable characters"),
        )

    async def test_a_task_of_another_project_is_not_there(self, client, url, database):
        made = (await client.post("/batchtasks", json=body())).json()
        other = {"X-Auth-Token": await make_token(database, projects=["other"])}
        path = f"/batchtasks/{made['task_id']}"
        async with httpx.AsyncClient(base_url=f"{url}/v5/iot/other", headers=other) as stranger:
            for method, place in [
                ("GET", path),
                ("DELETE", path),
                ("POST", f"{path}/stop"),
                ("POST", f"{path}/retry"),
                ("POST", f"{path}/confirm"),
            ]:
                answer = await stranger.request(method, place)
                assert (answer.status_code, answer.json()) == (
                    404,
                    {
                        "error_code": "CARILLON.0404",
                        "error_msg": f"there is no batch task {made['task_id']!r}",
                    },
                )
            answer = await stranger.get(f"{url}/v5/iot/{PROJECT}/batchtasks?task_type=createCommands")
            assert (answer.status_code, answer.json()["error_code"]) == (403, "IOTDA.000022")


class TestSources:
    @pytest.mark.parametrize(
        ("task_type", "sources"),
        [
            ("createCommands", {"targets_filter": {"group_ids": ["nowhere"]}, "document_source": "nowhere"}),
            ("freezeDevices", {"targets_filter": {"group_ids": ["nowhere"]}, "document_source": "nowhere"}),
        ],
    )
    async def test_what_does_not_count_need_not_be_there(self, client, task_type, sources):
        document = COMMAND if task_type == "createCommands" else None
        answer = await client.post(
            "/batchtasks", json=body(task_type=task_type, document=document, **sources)
        )
        assert (answer.status_code, answer.json()["targets"]) == (201, ["d1"])
        assert answer.json()["targets_filter"] == sources["targets_filter"]

    async def test_groups_count_before_a_file(self, client):
        fields = body(
            task_type="freezeDevices",
            document=None,
            targets=None,
            targets_filter={"group_ids": ["nowhere"]},
            document_source="nowhere",
        )
        answer = await client.post("/batchtasks", json=fields)
        assert (answer.status_code, answer.json()) == (
            400,
            error("000006", "targets_filter.group_ids: there is no group 'nowhere'"),
        )

    async def test_targets_count_before_groups(self, client, connection, database):
        insert_devices(connection, 3)
        connection.execute(
            "INSERT INTO device_group (group_id, project_id, name, created_at) VALUES ('g', %s, 'g', now())",
            [PROJECT],
        )
        connection.execute(
            "INSERT INTO device_group_member SELECT g.id, d.id FROM device_group g, device d"
            " WHERE d.device_id <> 'lamp-0'"
        )
        both = body(targets=["lamp-0"], targets_filter={"group_ids": ["g"]})
        groups = body(targets=[], targets_filter={"group_ids": ["g"]}, document_source="unused")
        found = []
        for fields in (both, groups):
            made = (await client.post("/batchtasks", json=fields)).json()
            async with database.transaction() as session:
                row = connection.execute(
                    "SELECT id FROM batch_task WHERE task_id = %s", [made["task_id"]]
                ).fetchone()
                await expand(session, row["id"], datetime.now(UTC))
            shown = (await client.get(f"/batchtasks/{made['task_id']}")).json()
            found.append([one["target"] for one in shown["task_details"]])
        assert found == [["lamp-0"], ["lamp-2", "lamp-1"]]
