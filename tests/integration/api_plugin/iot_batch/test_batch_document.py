"""Document 004 and the vendor's own samples, field for field, through the vendor's SDK."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import psycopg
import pytest

from include.settings import get_settings
from tests.builders import make_token
from tests.integration.api_plugin.iot_batch.iot_wire import PROJECT, insert_devices, insert_package

#: The answer of document 004. Its page is one of a longer list.
SAMPLE = {
    "batchtasks": [
        {
            "task_id": "5c8ba99030344005c02316ad",
            "task_name": "testname",
            "task_type": "softwareUpgrade",
            "targets": ["e495cf17-ff79-4294-8f64-4d367919d665"],
            "targets_filter": {"group_ids": ["e495cf17-ff79-4294-8f64-4d367919d665"]},
            "document": {"package_id": "32822e5744a45ede319d2c50"},
            "task_policy": {"schedule_time": "20151212T121212Z", "retry_count": 5, "retry_interval": 60},
            "status": "Success",
            "status_desc": "string",
            "task_progress": {
                "total": 0,
                "processing": 0,
                "success": 0,
                "fail": 0,
                "waitting": 0,
                "fail_wait_retry": 0,
                "stopped": 0,
            },
            "create_time": "20151212T121212Z",
        }
    ],
    "page": {"count": 10, "marker": "5c90fa7d3c4e4405e8525079"},
}

#: What a later edition of the document has beside that (research `iot.md` A5).
LATER: dict[str, Any] = {"need_confirm": False, "removed": 0}

INSERT = """
INSERT INTO batch_task (task_id, project_id, task_name, task_type, targets, targets_filter, document,
                        schedule_time, retry_count, retry_interval, status, status_desc, created_at,
                        updated_at, finished_at)
VALUES ('5c8ba99030344005c02316ad', %s, 'testname', 'softwareUpgrade',
        '{e495cf17-ff79-4294-8f64-4d367919d665}',
        '{"group_ids": ["e495cf17-ff79-4294-8f64-4d367919d665"]}',
        '{"package_id": "32822e5744a45ede319d2c50"}',
        '2015-12-12T12:12:12Z', 5, '60 minutes', 'Success', 'string', '2015-12-12T12:12:12Z',
        '2015-12-12T12:12:12Z', now())
"""


@pytest.fixture
def stored(connection: psycopg.Connection) -> None:
    """The task of the sample."""
    connection.execute(INSERT, [PROJECT])


def sample_task() -> dict[str, Any]:
    [task] = SAMPLE["batchtasks"]
    progress = {**task["task_progress"], "removed": LATER["removed"]}
    return {**task, "task_progress": progress, "need_confirm": LATER["need_confirm"]}


class TestTheList:
    async def test_its_answer_is_the_sample(self, sdk, stored):
        answer = await sdk.call("list_batch_tasks", task_type="softwareUpgrade")
        assert answer == {
            "batchtasks": [sample_task()],
            "page": {"count": 1, "marker": "5c8ba99030344005c02316ad"},
        }

    async def test_on_the_wire_it_has_no_field_more(self, url, database, stored):
        headers = {"X-Auth-Token": await make_token(database, projects=[PROJECT])}
        async with httpx.AsyncClient(headers=headers) as client:
            answer = await client.get(f"{url}/v5/iot/{PROJECT}/batchtasks?task_type=softwareUpgrade")
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["batchtasks"] == [sample_task()]

    async def test_the_text_wants_a_task_type_that_the_sample_request_lacks(self, sdk, stored):
        assert await sdk.refused("list_batch_tasks") == (400, "IOTDA.000006", "task_type: is required")

    async def test_a_setting_follows_the_sample(self, sdk, stored, monkeypatch):
        monkeypatch.setenv("CARILLON_BATCH_LIST_ALL_TYPES", "true")
        get_settings.cache_clear()
        assert (await sdk.call("list_batch_tasks"))["batchtasks"] == [sample_task()]

    async def test_the_other_calls_show_the_same_task(self, sdk, stored):
        answer = await sdk.call("show_batch_task", task_id="5c8ba99030344005c02316ad")
        assert answer == {"batchtask": sample_task(), "task_details": [], "page": {"count": 0}}


#: The documents that the parameter tables show.
DOCUMENTS: dict[str, dict[str, Any]] = {
    "createCommands": {"service_id": "water", "command_name": "ON_OFF", "paras": {"value": "ON"}},
    "createAsyncCommands": {
        "service_id": "water",
        "command_name": "ON_OFF",
        "paras": {"value": "ON"},
        "expire_time": 0,
        "send_strategy": "immediately",
    },
    "createMessages": {
        "message_id": "99b32da9-cd17-4cdf-a286-f6e849cbc364",
        "name": "messageName",
        "message": "HelloWorld",
        "encoding": "none",
        "payload_format": "standard",
        "topic": "messageDown",
    },
    "updateDeviceShadows": {"shadow": [{"service_id": "WaterMeter", "desired": {"temperature": "60"}}]},
}


class TestCreate:
    @pytest.mark.parametrize("task_type", DOCUMENTS)
    async def test_a_document_is_shown_as_it_was_sent(self, sdk, task_type):
        document = DOCUMENTS[task_type]
        made = await sdk.create(task_name="testname", task_type=task_type, targets=["d1"], document=document)
        assert len(made.pop("task_id")) == 24
        assert made.pop("create_time")
        assert made == {
            "task_name": "testname",
            "task_type": task_type,
            "need_confirm": False,
            "targets": ["d1"],
            "document": document,
            "status": "Initializing",
            "task_progress": {**SAMPLE["batchtasks"][0]["task_progress"], "removed": 0},
        }

    @pytest.mark.parametrize("spelling", ["package_id", "package_ids"])
    async def test_both_spellings_of_a_package(self, sdk, database, spelling):
        package = await insert_package(database)
        document = {spelling: [package] if spelling == "package_ids" else package}
        made = await sdk.create(
            task_name="testname",
            task_type="softwareUpgrade",
            task_mode="GATEWAY",
            need_confirm=True,
            task_ext_info={"note": "水", "depth": [1, 2.5, None]},
            targets=["d1"],
            document=document,
            task_policy={"retry_count": 5, "retry_interval": 60},
        )
        assert made["document"] == document
        assert made["task_mode"] == "GATEWAY"
        assert made["need_confirm"] is True
        assert made["task_ext_info"] == {"note": "水", "depth": [1, 2.5, None]}
        assert made["task_policy"] == {"retry_count": 5, "retry_interval": 60}

    async def test_null_in_a_document_stays(self, url, database):
        """In a shadow it means that a key goes."""
        document = {"shadow": [{"service_id": "s", "desired": {"gone": None}}]}
        body = {"task_name": "t", "task_type": "updateDeviceShadows", "targets": ["d"], "document": document}
        headers = {"X-Auth-Token": await make_token(database, projects=[PROJECT])}
        async with httpx.AsyncClient(headers=headers) as client:
            answer = await client.post(f"{url}/v5/iot/{PROJECT}/batchtasks", json=body)
        assert answer.status_code == 201
        assert answer.json()["document"] == document

    async def test_thirty_thousand_targets(self, sdk, connection):
        targets = [f"{n:0128}" for n in range(30_000)]
        made = await sdk.create(
            task_name="all", task_type="createCommands", targets=targets, document=DOCUMENTS["createCommands"]
        )
        shown = await sdk.call("show_batch_task", task_id=made["task_id"])
        assert made["targets"] == shown["batchtask"]["targets"] == targets

    async def test_a_task_belongs_to_its_resource_space(self, sdk):
        common = {"task_type": "createCommands", "targets": ["d"], "document": DOCUMENTS["createCommands"]}
        mine = await sdk.create(task_name="mine", app_id="space-1", **common)
        await sdk.create(task_name="other", app_id="space-2", **common)
        await sdk.create(task_name="none", **common)
        found = await sdk.call("list_batch_tasks", task_type="createCommands", app_id="space-1")
        assert [task["task_id"] for task in found["batchtasks"]] == [mine["task_id"]]
        assert found["page"] == {"count": 1, "marker": mine["task_id"]}

    async def test_it_is_run_at_once(self, sdk, connection, started_runs):
        made = await sdk.create(
            task_name="夜灯_1",
            task_type="createCommands",
            targets=["d"],
            document=DOCUMENTS["createCommands"],
        )
        async with asyncio.timeout(10):
            while not started_runs:
                await asyncio.sleep(0.02)
        assert started_runs == [f"Ye-Deng-1_{made['task_id']}"]
        row = connection.execute("SELECT created_by, runs_wanted FROM batch_task").fetchone()
        assert row == {"created_by": "sdk", "runs_wanted": 1}

    async def test_targets_of_a_group(self, sdk, connection):
        insert_devices(connection, 2)
        connection.execute(
            "INSERT INTO device_group (group_id, project_id, name, created_at) VALUES ('g', %s, 'g', now())",
            [PROJECT],
        )
        made = await sdk.create(
            task_name="t",
            task_type="createCommands",
            targets_filter={"group_ids": ["g"]},
            document=DOCUMENTS["createCommands"],
        )
        assert made["targets_filter"] == {"group_ids": ["g"]}
        assert "targets" not in made
