"""Every sample of document 002: the request letter by letter, on data that its response shows.

What cannot be that of the sample (a number just drawn, the present moment) is looked at and taken out.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.integration.api_plugin.maintenance.maintenance_wire import (
    CREATE,
    RUNNING,
    insert_handle,
    insert_project,
    insert_task,
    moment,
    refusal,
)

ST_TEST = {
    "uid": "st_test",
    "name": "st_test",
    "alias": "st_test",
    "description": "",
    "cycle_type": "统计周期",
    "statistics_id": "STATISTICS3275464806184",
    "period_num": 25,
    "period_unit": "",
    "notice_num": 1,
    "notice_unit": "日",
    "guide": "",
    "object_id_list": ["cdp_test"],
    "is_active": 1,
    "organization_id": "",
    "created": "2024-05-09 18:14:16",
    "created_by": 0,
    "last_modified": "2024-05-10 09:46:59",
    "last_modified_by": 0,
}
NA_TEST = {
    "uid": "na_test",
    "name": "na_test",
    "alias": "na_test",
    "description": "",
    "cycle_type": "自然时间周期",
    "statistics_id": "",
    "period_num": 25,
    "period_unit": "日",
    "notice_num": 1,
    "notice_unit": "日",
    "guide": "",
    "object_id_list": ["a", "c", "asdasd"],
    "is_active": 1,
    "organization_id": "",
    "created": "2024-05-09 17:58:11",
    "created_by": 0,
    "last_modified": "2024-05-11 11:59:33",
    "last_modified_by": 0,
}
MTP = {
    "uid": "MTP4533512300005",
    "name": "test",
    "alias": "",
    "description": "test",
    "cycle_type": "统计周期",
    "statistics_id": "",
    "period_num": 2,
    "period_unit": "日",
    "notice_num": 2,
    "notice_unit": "日",
    "guide": "",
    "object_id_list": ["g", "b", "c"],
    "is_active": 0,
    "organization_id": "",
    "created": "2024-05-13 10:29:35",
    "created_by": 0,
    "last_modified": "2024-05-13 10:30:48",
    "last_modified_by": 0,
}
TASK = {
    "uid": "MTT4514097700001",
    "description": "",
    "project_id": "st_test",
    "project_name": "st_test",
    "project_alias": "st_test",
    "object_id": "cdp_test",
    "object_name": "cdp_test(不删不更新)",
    "object_alias": "cdp_test",
    "cycle_type": "统计周期",
    "statistics_id": "STATISTICS3275464806184",
    "period_num": 25,
    "period_unit": "",
    "notice_num": 1,
    "notice_unit": "日",
    "guide": "",
    "organization_id": "",
    "created": "2024-05-11 15:11:00",
    "created_by": 0,
    "last_modified": "2024-05-11 15:11:00",
    "last_modified_by": 0,
}
HANDLE = {
    "uid": "MTH4511303300006",
    "description": "",
    "task_id": "MTT4505857000001",
    "project_id": "st_test",
    "project_alias": "st_test",
    "project_name": "st_test",
    "object_id": "cdp_test",
    "object_name": "cdp_test(不删不更新)",
    "object_alias": "cdp_test",
    "handler_id_list": [1, 2],
    "handler_name_list": ["1", "2"],
    "fee": 0,
    "result": "",
    "images": "",
    "organization_id": "",
    "created": "2024-05-11 12:35:13",
    "created_by": 0,
    "last_modified": "2024-05-11 12:35:13",
    "last_modified_by": 0,
}

UPDATE = """{
    "action": "update_v2_project",
    "uid": "MTP4533512300005",
    "name": "test",
    "alias": "",
    "description": "test",
    "cycle_type": "统计周期",
    "statistics_id": "",
    "period_num": 2,
    "period_unit": "日",
    "notice_num": 2,
    "notice_unit": "日",
    "guide": "",
    "object_id_list": [
        "b",
        "c",
        "g"
    ]
}"""
LIST_PROJECTS = r"""{
    "action":"get_v2_project_list",
    "page_size": 10,
    "page_index": 1,
    "where_and": "[[\"uid\",\"like\",\"%test%\"],[\"name\",\"like\",\"%test%\"],[\"alias\",\"like\",\"%test%\"]]",
    "where_or": "",
    "where_in": ""
}"""  # noqa: E501  as it stands in the document
LIST_TASKS = r"""{
    "action":"get_v2_task_list",
    "page_size": 20,
    "page_index": 1,
    "where_and": "[[\"object_id\",\"like\",\"%test%\"],[\"object_name\",\"=\",\"%test%\"],[\"object_alias\",\"=\",\"%test%\"],[\"project_id\",\"like\",\"%test%\"],[\"project_name\",\"=\",\"%test%\"],[\"project_alias\",\"=\",\"%test%\"],[\"period_num\",\">\",\"20\"],[\"period_unit\",\"=\",\"\"],[\"created\",\">\",\"2024-05-11 12:35:10\"]]",
    "where_or": "",
    "where_in": ""
}"""  # noqa: E501  as it stands in the document
LIST_HANDLES = r"""{
    "action":"get_v2_handle_list",
    "page_size": 10,
    "page_index": 1,
    "where_and": "[[\"handler_id_list\",\"=\",\"1\"],[\"object_id\",\"like\",\"%test%\"],[\"object_name\",\"=\",\"%test%\"],[\"object_alias\",\"=\",\"%test%\"],[\"project_id\",\"like\",\"%test%\"],[\"project_name\",\"like\",\"%test%\"],[\"project_alias\",\"=\",\"%test%\"],[\"result\",\"like\",\"%%\"],[\"created\",\">\",\"2024-05-11 12:35:10\"]]",
    "where_or": "",
    "where_in": ""
}"""  # noqa: E501  as it stands in the document
#: With the comma too much that the document has (B24).
HANDLE_WITH_COMMA = """{
    "action": "v2_handle",
    "description": "",
    "task_id": "MTT4514097700001",
    "handler_id_list": [1,2],
    "handler_name_list": ["1","2"],
    "fee": 0,
    "result": "",
    "images": "",

}"""


@pytest.fixture
def data(connection):
    """What the samples show, and rows beside it that they do not ask for."""
    st_test = insert_project(connection, ST_TEST)
    insert_project(connection, NA_TEST)
    insert_project(connection, MTP)
    handled = {**TASK, "uid": "MTT4505857000001", "created": "2024-05-10 12:00:00"}
    handle = insert_task(
        connection, st_test, handled, state="handled", closed_at=moment("2024-05-11 12:35:13")
    )
    insert_handle(connection, handle, HANDLE)
    insert_task(connection, st_test, TASK)
    other = {
        **TASK,
        "uid": "MTT1",
        "object_id": "other",
        "object_name": "other",
        "created": "2024-05-12 00:00:00",
    }
    closed = insert_task(connection, st_test, other, state="ignored", closed_at=moment("2024-05-12 01:00:00"))
    insert_handle(connection, closed, {**HANDLE, "uid": "MTH1", "handler_id_list": [3]}, "IGNORE")


async def send(client, text: str, path: str = "/api") -> Any:
    answer = await client.post(path, content=text.encode(), headers={"Content-Type": "json"})
    assert answer.status_code == 200
    return answer.json()


def good(resp: str, result: Any) -> dict[str, Any]:
    return {"resp": resp, "code": 200, "msg": "成功", "result": result}


async def test_create(client):
    text = """{
    "action": "create_v2_project",
    "uid": "",
    "name": "na_test",
    "alias": "",
    "description": "",
    "cycle_type": "自然时间周期",
    "statistics_id": "",
    "period_num": 2,
    "period_unit": "日",
    "notice_num": 1,
    "notice_unit": "日",
    "guide": "",
    "object_id_list": [
        "a",
        "c"
    ]
}"""
    body = await send(client, text)
    uid = body["result"].pop("uid")
    assert re.fullmatch(r"MTP\d{13}", uid)
    assert body == good("create_v2_project", {"name": "na_test"})
    made = (await client.post("/api", json={"action": "get_v2_project", "uid": uid})).json()["result"]
    for name in ("created", "last_modified"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", made.pop(name))
    assert made == {
        **CREATE,
        "uid": uid,
        "alias": uid,
        "is_active": 0,
        "organization_id": "",
        "created_by": 1,
        "last_modified_by": 1,
    }


async def test_update(client, data):
    assert await send(client, UPDATE) == good("update_v2_project", {"name": "test", "uid": MTP["uid"]})
    made = (await client.post("/api", json={"action": "get_v2_project", "uid": MTP["uid"]})).json()["result"]
    assert made.pop("last_modified") != MTP["last_modified"]
    # The order of objects is that of the request, which says the same of them as the sample does.
    assert made == {
        **{name: value for name, value in MTP.items() if name != "last_modified"},
        "object_id_list": ["b", "c", "g"],
        "last_modified_by": 1,
    }


async def test_delete(client, data):
    text = '{\n    "action":"delete_v2_project",\n    "uid":"MTP4533512300005"\n}'
    assert await send(client, text) == good("delete_v2_project", {"uid": "MTP4533512300005"})
    gone = await send(client, '{"action":"get_v2_project","uid": "MTP4533512300005"}')
    assert gone == refusal("get_v2_project", "there is no project MTP4533512300005")


async def test_get(client, data):
    text = '{\n    "action":"get_v2_project",\n    "uid": "MTP4533512300005"\n}'
    assert await send(client, text) == good("get_v2_project", MTP)


async def test_list(client, data):
    page = {
        "page_index": 1,
        "page_size": 10,
        "total_pages": 1,
        "total_records": 2,
        "data": [ST_TEST, NA_TEST],
    }
    assert await send(client, LIST_PROJECTS) == good("get_v2_project_list", page)


async def test_stop_and_start(client, data):
    stop = '{\n    "action":"stop_v2_project",\n    "uid": "na_test"\n}'
    start = '{\n    "action":"start_v2_project",\n    "uid": "na_test"\n}'
    get = '{"action":"get_v2_project","uid": "na_test"}'
    assert await send(client, stop) == good("stop_v2_project", {})
    assert (await send(client, get))["result"]["is_active"] == 0
    assert await send(client, start) == good("start_v2_project", {})
    assert (await send(client, get))["result"]["is_active"] == 1


async def test_restart(client, data):
    restart = '{\n    "action":"restart_v2_project",\n    "uid": "na_test"\n}'
    # The sample of the error says `update_timer_project`; ours names the action that was sent (B10).
    assert await send(client, restart) == refusal("restart_v2_project", RUNNING)
    await send(client, '{"action":"stop_v2_project","uid": "na_test"}')
    # The sample of a good answer has no `result`; all others do.
    assert await send(client, restart) == good("restart_v2_project", {})


async def test_get_task(client, data):
    text = '{\n    "action":"get_v2_task",\n    "uid": "MTT4514097700001"\n}'
    assert await send(client, text) == good("get_v2_task", TASK)


async def test_list_tasks(client, data):
    page = {"page_index": 1, "page_size": 20, "total_pages": 1, "total_records": 1, "data": [TASK]}
    assert await send(client, LIST_TASKS) == good("get_v2_task_list", page)


async def test_handle(client, data):
    assert await send(client, HANDLE_WITH_COMMA) == {
        **refusal("", ""),
        "info": "the body is not JSON: trailing comma is not allowed: line 9 column 17 (char 201)",
    }
    text = HANDLE_WITH_COMMA.replace('"images": "",', '"images": ""')
    body = await send(client, text)
    uid = body["result"].pop("uid")
    assert re.fullmatch(r"MTH\d{13}", uid)
    assert body == good("v2_handle", {})
    assert await send(client, text) == refusal("v2_handle", "task not found")
    made = (await send(client, f'{{"action":"get_v2_handle","uid":"{uid}"}}'))["result"]
    moving = ("created", "last_modified", "created_by", "last_modified_by")
    assert {**made, **{name: HANDLE[name] for name in moving}} == {
        **HANDLE,
        "uid": uid,
        "task_id": TASK["uid"],
    }


async def test_ignore(client, data):
    text = '{\n    "action": "v2_handle_ignore",\n    "task_id": "MTT4514097700001"\n}'
    body = await send(client, text)
    assert re.fullmatch(r"MTH\d{13}", body["result"].pop("uid"))
    assert body == good("v2_handle_ignore", {})
    assert await send(client, text) == refusal("v2_handle_ignore", "task not found")


async def test_get_handle(client, data):
    text = '{\n    "action":"get_v2_handle",\n    "uid": "MTH4511303300006"\n}'
    assert await send(client, text) == good("get_v2_handle", HANDLE)


async def test_list_handles(client, data):
    page = {"page_index": 1, "page_size": 10, "total_pages": 1, "total_records": 1, "data": [HANDLE]}
    assert await send(client, LIST_HANDLES) == good("get_v2_handle_list", page)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/v2/project/get_v2_project", '{"action":"get_v2_project","uid":"st_test"}'),
        ("/v2/project/get_v2_project_list", LIST_PROJECTS),
        ("/v2/project/stop_v2_project", '{"action":"stop_v2_project","uid":"na_test"}'),
        ("/v2/task/get_v2_task", '{"uid":"MTT4514097700001"}'),
        ("/v2/task/get_v2_task_list", LIST_TASKS),
        ("/v2/handle/get_v2_handle", '{"uid":"MTH4511303300006"}'),
        ("/v2/handle/get_v2_handle_list", LIST_HANDLES),
    ],
)
async def test_each_path_does_what_its_action_does(client, data, path, text):
    action = path.rpartition("/")[2]
    with_action = text if '"action"' in text else text.replace("{", f'{{"action":"{action}",')
    body = await send(client, text, path)
    assert body["code"] == 200
    assert body == await send(client, with_action)
