"""Pages of tasks and of sub-tasks: marker, offset, limit, filters, counts (document 004, research A1)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from include.batch.model import Task
from include.kit.db import Database
from tests.batch_rows import NOW, add_task, insert_lamps, lamps
from tests.integration.api_plugin.iot_batch.iot_wire import PROJECT


async def add_tasks(database: Database, count: int, **changes: Any) -> list[Task]:
    """Make tasks of the project a second apart, and return them with the newest first."""
    made = [
        await add_task(
            database,
            now=second(n),
            expanded=False,
            **{"project_id": PROJECT, "task_name": f"t{n}", **changes},
        )
        for n in range(count)
    ]
    return made[::-1]


def second(number: int) -> datetime:
    return NOW + timedelta(seconds=number)


def ids(answer: dict[str, Any]) -> list[str]:
    return [task["task_id"] for task in answer.get("batchtasks", [])]


class TestTasks:
    async def test_the_newest_come_first_ten_at_a_time(self, sdk, database):
        made = [task.task_id for task in await add_tasks(database, 12)]
        answer = await sdk.call("list_batch_tasks", task_type="createCommands")
        assert ids(answer) == made[:10]
        assert answer["page"] == {"count": 12, "marker": made[9]}

    async def test_a_marker_leads_through_all_of_them(self, sdk, database):
        made = [task.task_id for task in await add_tasks(database, 7)]
        seen, marker = [], "F" * 24
        while True:
            answer = await sdk.call("list_batch_tasks", task_type="createCommands", marker=marker, limit=3)
            assert answer["page"]["count"] == 7
            if not ids(answer):
                assert "marker" not in answer["page"]
                break
            seen += ids(answer)
            marker = answer["page"]["marker"]
        assert seen == made

    async def test_an_offset_skips_rows_after_the_marker(self, sdk, database):
        made = [task.task_id for task in await add_tasks(database, 6)]
        answer = await sdk.call(
            "list_batch_tasks", task_type="createCommands", marker=made[1], offset=2, limit=2
        )
        assert ids(answer) == made[4:6]
        assert await self.page(sdk, offset=500) == ([], {"count": 6})

    async def page(self, sdk, **fields: Any) -> tuple[list[str], dict[str, Any]]:
        answer = await sdk.call("list_batch_tasks", task_type="createCommands", **fields)
        return ids(answer), answer["page"]

    async def test_filters_narrow_the_page_and_the_count(self, sdk, database, connection):
        made = await add_tasks(database, 4)
        await add_tasks(database, 1, task_type="freezeDevices", document=None)
        await add_tasks(database, 1, project_id="other")
        connection.execute("UPDATE batch_task SET status = 'Processing' WHERE id = %s", [made[1].id])
        connection.execute(
            "UPDATE batch_task SET app_id = 'a' WHERE id = ANY(%s)", [[made[1].id, made[2].id]]
        )
        assert (await self.page(sdk))[1]["count"] == 4
        assert await self.page(sdk, status="Processing") == (
            [made[1].task_id],
            {"count": 1, "marker": made[1].task_id},
        )
        assert await self.page(sdk, app_id="a") == (
            [made[1].task_id, made[2].task_id],
            {"count": 2, "marker": made[2].task_id},
        )
        assert await self.page(sdk, app_id="a", status="Processing", limit=50) == (
            [made[1].task_id],
            {"count": 1, "marker": made[1].task_id},
        )
        assert await self.page(sdk, status="Success") == ([], {"count": 0})

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"task_type": "changeGateway"}, "IOTDA.000006"),
            ({"task_type": "createCommands", "status": "Waiting"}, "IOTDA.000006"),
            ({"task_type": "createCommands", "app_id": "a" * 37}, "IOTDA.000006"),
            ({"task_type": "createCommands", "limit": 0}, "IOTDA.000017"),
            ({"task_type": "createCommands", "limit": 51}, "IOTDA.000017"),
            ({"task_type": "createCommands", "limit": "many"}, "IOTDA.000017"),
            ({"task_type": "createCommands", "offset": -1}, "IOTDA.000006"),
            ({"task_type": "createCommands", "offset": 501}, "IOTDA.000006"),
            ({"task_type": "createCommands", "marker": "f" * 23}, "IOTDA.000006"),
            ({"task_type": "createCommands", "marker": "f" * 25}, "IOTDA.000006"),
            ({"task_type": "createCommands", "marker": "g" * 24}, "IOTDA.000006"),
        ],
    )
    async def test_a_parameter_that_cannot_be_used(self, sdk, fields, code):
        status, error_code, message = await sdk.refused("list_batch_tasks", **fields)
        assert (status, error_code) == (400, code)
        assert message.startswith(f"{list(fields)[-1]}: ")


class TestSubtasks:
    @pytest.fixture
    async def task(self, database, connection) -> Task:
        """Twelve lamps; of which lamp-0 to lamp-2 succeeded and lamp-3 failed."""
        insert_lamps(connection, 12, PROJECT)
        task = await add_task(database, project_id=PROJECT, targets=lamps(12))
        for status, targets in (("Success", lamps(3)), ("Fail", ["lamp-3"])):
            connection.execute(
                "UPDATE batch_subtask SET status = 'Processing' WHERE target = ANY(%s)", [targets]
            )
            connection.execute(
                "UPDATE batch_subtask SET status = %s, finished_at = now(), output = 'done',"
                " error_code = CASE WHEN %s = 'Fail' THEN 'IOTDA.014016' END, error_msg = NULL"
                " WHERE target = ANY(%s)",
                [status, status, targets],
            )
        return task

    async def page(self, sdk, task: Task, **fields: Any) -> tuple[list[str], int, str | None]:
        answer = await sdk.call("show_batch_task", task_id=task.task_id, **fields)
        assert answer["batchtask"]["task_progress"] == {
            "total": 12,
            "processing": 0,
            "success": 3,
            "fail": 1,
            "waitting": 8,
            "fail_wait_retry": 0,
            "stopped": 0,
            "removed": 0,
        }
        targets = [one["target"] for one in answer["task_details"]]
        return targets, answer["page"]["count"], answer["page"].get("marker")

    async def test_the_newest_come_first_ten_at_a_time(self, sdk, task):
        targets, count, _ = await self.page(sdk, task)
        assert (targets, count) == (lamps(12)[:1:-1], 12)

    async def test_a_marker_leads_through_all_of_them(self, sdk, task):
        seen, marker = [], "f" * 24
        while True:
            targets, count, following = await self.page(sdk, task, marker=marker, limit=5)
            assert count == 12
            seen += targets
            if following is None:
                break
            assert len(following) == 24
            marker = following
        assert seen == lamps(12)[::-1]

    async def test_an_offset_skips_rows_after_the_marker(self, sdk, task):
        _, _, marker = await self.page(sdk, task, limit=2)
        assert (await self.page(sdk, task, marker=marker, offset=3, limit=2))[0] == ["lamp-6", "lamp-5"]

    async def test_a_status_narrows_the_page_and_the_count(self, sdk, task):
        assert (await self.page(sdk, task, task_detail_status="Success"))[:2] == (lamps(3)[::-1], 3)
        assert (await self.page(sdk, task, task_detail_status="Waitting", limit=1))[:2] == (["lamp-11"], 8)
        assert await self.page(sdk, task, task_detail_status="Removed") == ([], 0, None)

    async def test_a_target_is_found(self, sdk, task):
        assert (await self.page(sdk, task, target="lamp-3"))[:2] == (["lamp-3"], 1)
        assert (await self.page(sdk, task, target="lamp-3", task_detail_status="Fail"))[:2] == (["lamp-3"], 1)
        assert await self.page(sdk, task, target="lamp-3", task_detail_status="Success") == ([], 0, None)
        assert await self.page(sdk, task, target="nobody") == ([], 0, None)

    async def test_a_subtask_says_what_became_of_it(self, sdk, task):
        answer = await sdk.call("show_batch_task", task_id=task.task_id, target="lamp-3")
        assert answer["task_details"] == [
            {
                "target": "lamp-3",
                "status": "Fail",
                "output": "done",
                "error": {"error_code": "IOTDA.014016"},
            }
        ]

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"task_detail_status": "Waiting"}, "IOTDA.000006"),
            ({"target": "d" * 129}, "IOTDA.000006"),
            ({"limit": 51}, "IOTDA.000017"),
            ({"offset": 501}, "IOTDA.000006"),
            ({"marker": "1"}, "IOTDA.000006"),
        ],
    )
    async def test_a_parameter_that_cannot_be_used(self, sdk, task, fields, code):
        status, error_code, message = await sdk.refused("show_batch_task", task_id=task.task_id, **fields)
        assert (status, error_code) == (400, code)
        assert message.startswith(f"{next(iter(fields))}: ")

    async def test_a_task_that_is_not_there(self, sdk):
        assert await sdk.refused("show_batch_task", task_id="0" * 24) == (
            404,
            "CARILLON.0404",
            f"there is no batch task '{'0' * 24}'",
        )
        for wrong in ("0" * 25, "5C8BA99030344005C02316AD", "x"):
            assert (await sdk.refused("show_batch_task", task_id=wrong))[:2] == (400, "IOTDA.000006")
