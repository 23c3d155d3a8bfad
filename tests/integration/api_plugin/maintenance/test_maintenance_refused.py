"""What document 002's clients may do wrong, and what they are told: code 10013, the field in `info`."""

from __future__ import annotations

import psycopg_pool
import pytest

from tests.integration.api_plugin.maintenance.maintenance_wire import (
    CREATE,
    RUNNING,
    answer,
    call,
    create,
    insert_project,
    insert_task,
    refusal,
    refused,
)
from tests.integration.api_plugin.maintenance.test_maintenance_document import ST_TEST, TASK

STATISTICS = {"cycle_type": "统计周期", "period_num": 25, "period_unit": ""}


class TestEnvelope:
    @pytest.mark.parametrize(
        ("body", "resp", "info"),
        [
            ({}, "", "action: is required"),
            ({"action": None}, "", "action: is required"),
            ({"action": 7}, "", "action: is required"),
            ({"action": ""}, "", "action: there is no action ''"),
            (
                {"action": "drop_v2_project"},
                "drop_v2_project",
                "action: there is no action 'drop_v2_project'",
            ),
            ({"action": "__class__"}, "__class__", "action: there is no action '__class__'"),
            ({"action": "a" * 100}, "a" * 64, f"action: there is no action '{'a' * 64}'"),
            ([], "", "the body must be a JSON object"),
            ("text", "", "the body must be a JSON object"),
        ],
    )
    async def test_10013_for_a_body_without_an_action(self, client, body, resp, info):
        assert await answer(client, body) == refusal(resp, info)

    @pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"a=1", b'{"action": NaN}'])
    async def test_10013_for_what_is_not_json(self, client, content):
        got = await client.post("/api", content=content)
        assert got.status_code == 200
        body = got.json()
        assert body.pop("info").startswith("the body is not JSON: ")
        assert body == {"resp": "", "code": 10013, "msg": "请求-参数错误", "result": {}}

    async def test_at_a_path_of_its_own_the_action_is_named_too(self, client):
        got = await client.post("/v2/project/stop_v2_project", content=b"{")
        assert (got.status_code, got.json()["resp"], got.json()["code"]) == (200, "stop_v2_project", 10013)
        got = await client.post(
            "/v2/project/stop_v2_project", json={"action": "start_v2_project", "uid": "x"}
        )
        assert got.json() == refusal("stop_v2_project", "action: must be 'stop_v2_project' here")

    async def test_what_is_no_path(self, client):
        assert (await client.post("/v2/project/nope", json={})).json() == refusal("nope", "Not Found")
        assert (await client.get("/api")).json() == refusal("", "Method Not Allowed")

    async def test_unknown_fields_are_refused(self, client):
        told = await refused(client, "get_v2_project", uid="x", colour="red")
        assert told == "colour: is not a field of this request"

    async def test_a_body_that_is_too_large(self, client):
        got = await client.post("/api", content=b" " * 8_388_609)
        assert (got.status_code, got.json()) == (200, refusal("", "the body is larger than 8388608 bytes"))


class TestCredential:
    async def test_10012_without_one(self, client_of, database):
        nobody = await client_of("maintenance")
        got = await nobody.post("/v2/task/get_v2_task", json={"uid": "x"})
        told = "one Authorization header is needed: token <id>:<40 hex digits>"
        assert (got.status_code, got.json()) == (
            401,
            refusal("get_v2_task", told, 10012, "请求-认证错误"),
        )
        assert got.headers["www-authenticate"] == 'Bearer realm="carillon"'
        got = await nobody.post("/api", json={"action": "get_v2_task", "uid": "x"})
        assert (got.status_code, got.json()) == (401, refusal("", told, 10012, "请求-认证错误"))


class TestWithoutDatabase:
    async def test_10500_and_the_log_has_the_rest(self, client, monkeypatch, caplog):
        await call(client, "get_v2_project_list")

        def unreachable(*words, **more):
            raise psycopg_pool.PoolTimeout("no route")

        monkeypatch.setattr("include.kit.db.AsyncConnectionPool.connection", unreachable)
        body = await answer(client, {"action": "get_v2_project_list"})
        told = body.pop("info")
        assert body == {"resp": "get_v2_project_list", "code": 10500, "msg": "系统-内部错误", "result": {}}
        error_id = told.removeprefix("the database cannot be reached at the moment (id ").rstrip(")")
        assert f"error {error_id}: the database cannot be reached: no route" in caplog.text


class TestUid:
    @pytest.mark.parametrize(
        "action",
        ["update_v2_project", "delete_v2_project", "get_v2_project", "stop_v2_project", "start_v2_project",
         "restart_v2_project", "get_v2_task", "get_v2_handle"],
    )  # fmt: skip
    async def test_10013_without_one(self, client, action):
        assert await refused(client, action) == "uid: is required"
        assert await refused(client, action, uid="") == "uid: must not be empty"
        assert await refused(client, action, uid="a'b") == "uid: must have 1 to 64 letters, digits, _ and -"

    @pytest.mark.parametrize("action", ["v2_handle", "v2_handle_ignore"])
    async def test_10013_without_a_task(self, client, action):
        assert await refused(client, action) == "task_id: is required"
        assert await refused(client, action, task_id="MTT1") == "task not found"

    async def test_what_is_not_there(self, client):
        for action in ("delete_v2_project", "get_v2_project", "stop_v2_project", "start_v2_project",
                       "restart_v2_project", "update_v2_project"):  # fmt: skip
            assert await refused(client, action, uid="nope") == "there is no project nope"
        assert await refused(client, "get_v2_task", uid="nope") == "task not found"
        assert await refused(client, "get_v2_handle", uid="nope") == "handle not found"

    async def test_10013_for_one_that_is_taken(self, client):
        await create(client, uid="taken")
        told = await refused(client, "create_v2_project", **{**CREATE, "uid": "taken"})
        assert told == "uid: the uid taken is taken"

    async def test_one_of_a_deleted_project_is_free(self, client):
        await create(client, uid="again")
        await call(client, "delete_v2_project", uid="again")
        assert await create(client, uid="again") == "again"


class TestProject:
    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"name": ""}, "name"),
            ({"name": None}, "name"),
            ({"uid": "a b"}, "uid"),
            ({"cycle_type": "每天"}, "cycle_type"),
            ({"cycle_type": None}, "cycle_type"),
            ({"period_num": 0}, "period_num"),
            ({"period_num": -1}, "period_num"),
            ({"period_num": "2"}, "period_num"),
            ({"period_num": 1.5}, "period_num"),
            ({"period_num": None}, "period_num"),
            ({"period_num": 36_501}, "period_num"),
            (STATISTICS | {"period_num": 0}, "period_num"),
            (STATISTICS | {"period_num": -1}, "period_num"),
            ({"period_unit": ""}, "period_unit"),
            ({"period_unit": "季"}, "period_unit"),
            ({"notice_num": 2}, "notice_num"),
            ({"notice_num": 3}, "notice_num"),
            ({"notice_unit": "月"}, "notice_num"),
            ({"notice_num": -1}, "notice_num"),
            ({"notice_unit": "周"}, "notice_unit"),
            ({"object_id_list": []}, "object_id_list"),
            ({"object_id_list": None}, "object_id_list"),
            ({"object_id_list": [str(n) for n in range(10_001)]}, "object_id_list"),
            ({"object_id_list": ["a", ""]}, "object_id_list.1"),
            ({"organization_id": 7}, "organization_id"),
        ],
    )
    async def test_10013_names_the_field(self, client, changes, field):
        assert (await refused(client, "create_v2_project", **{**CREATE, **changes})).startswith(f"{field}: ")
        page = await call(client, "get_v2_project_list")
        assert page["total_records"] == 0

    async def test_objects_that_come_twice_are_taken_once(self, client):
        uid = await create(client, object_id_list=["b", "a", "b"])
        assert (await call(client, "get_v2_project", uid=uid))["object_id_list"] == ["b", "a"]

    async def test_as_many_objects_as_there_may_be(self, client):
        objects = [f"object-{n}" for n in range(10_000)]
        uid = await create(client, object_id_list=objects)
        assert (await call(client, "get_v2_project", uid=uid))["object_id_list"] == objects

    async def test_of_statistics_the_notice_may_be_longer(self, client):
        uid = await create(client, **STATISTICS | {"notice_num": 2})
        assert (await call(client, "get_v2_project", uid=uid))["notice_num"] == 2

    async def test_both_spellings_of_statistics(self, client):
        uid = await create(client, **STATISTICS | {"cycle_type": "统计时间周期"})
        assert (await call(client, "get_v2_project", uid=uid))["cycle_type"] == "统计周期"

    @pytest.mark.parametrize("statistics_id", ["", "unknown"])
    @pytest.mark.parametrize("action", ["start_v2_project", "restart_v2_project"])
    async def test_10013_to_start_without_a_statistic(self, client, statistics_id, action):
        uid = await create(client, **STATISTICS | {"statistics_id": statistics_id})
        assert (await refused(client, action, uid=uid)).startswith("statistics_id: ")
        assert (await call(client, "get_v2_project", uid=uid))["is_active"] == 0


class TestActive:
    @pytest.fixture
    async def active(self, client):
        uid = await create(client, uid="active")
        await call(client, "start_v2_project", uid=uid)
        return uid

    @pytest.mark.parametrize(
        "changes",
        [
            {"period_num": 3},
            {"period_unit": "周"},
            {"notice_num": 0},
            {"cycle_type": "统计周期"},
            {"object_id_list": ["a"]},
            {"object_id_list": ["a", "c", "d"]},
        ],
    )
    async def test_10013_to_change_what_is_counted(self, client, active, changes):
        assert await refused(client, "update_v2_project", uid=active, **changes) == RUNNING

    async def test_200_to_change_its_words(self, client, active):
        words = {"name": "n", "alias": "", "description": "d", "guide": "g"}
        same = {name: CREATE[name] for name in ("cycle_type", "period_num", "period_unit", "notice_num")}
        result = await call(
            client, "update_v2_project", uid=active, **words, **same, object_id_list=["c", "a", "c"]
        )
        assert result == {"name": "n", "uid": active}
        stored = await call(client, "get_v2_project", uid=active)
        assert {name: stored[name] for name in words} == words

    async def test_200_what_is_not_sent_stays(self, client, active):
        before = await call(client, "get_v2_project", uid=active)
        await call(client, "update_v2_project", uid=active, guide="new")
        after = await call(client, "get_v2_project", uid=active)
        assert {**after, "last_modified": ""} == {
            **before, "guide": "new", "last_modified": "", "last_modified_by": 1
        }  # fmt: skip

    @pytest.mark.parametrize("action", ["restart_v2_project", "delete_v2_project"])
    async def test_10013_to_restart_or_delete(self, client, active, action):
        assert await refused(client, action, uid=active) == RUNNING

    async def test_200_to_start_or_stop_twice(self, client, active):
        assert await call(client, "start_v2_project", uid=active) == {}
        assert await call(client, "stop_v2_project", uid=active) == {}
        assert await call(client, "stop_v2_project", uid=active) == {}

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"name": ""}, "name"),
            ({"cycle_type": "每天"}, "cycle_type"),
            ({"period_num": 0}, "period_num"),
            ({"notice_num": 2}, "notice_num"),
            ({"notice_unit": "周"}, "notice_unit"),
            ({"object_id_list": []}, "object_id_list"),
        ],
    )
    async def test_10013_for_new_values_as_for_first_ones(self, client, active, changes, field):
        await call(client, "stop_v2_project", uid=active)
        told = await refused(client, "update_v2_project", uid=active, **changes)
        assert told.startswith(f"{field}: ")


class TestHandle:
    @pytest.fixture
    def task(self, connection):
        insert_task(connection, insert_project(connection, ST_TEST), TASK)
        return TASK["uid"]

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"fee": -1}, "fee"),
            ({"fee": "12"}, "fee"),
            ({"fee": "free"}, "fee"),
            ({"handler_id_list": ["x"]}, "handler_id_list.0"),
            ({"handler_id_list": [1], "handler_name_list": ["a", "b"]}, "handler_name_list"),
            ({"images": ["x"] * 21}, "images"),
        ],
    )
    async def test_10013_names_the_field(self, client, task, fields, field):
        assert (await refused(client, "v2_handle", task_id=task, **fields)).startswith(field)
        assert (await call(client, "get_v2_task_list"))["total_records"] == 1

    async def test_10013_to_handle_twice(self, client, task):
        await call(client, "v2_handle", task_id=task)
        assert await refused(client, "v2_handle", task_id=task) == "task not found"
        assert await refused(client, "v2_handle_ignore", task_id=task) == "task not found"

    async def test_what_was_handled_can_be_looked_at(self, client, task):
        images = ["https://example.com/1.png", "2.png"]
        handle = await call(
            client, "v2_handle", task_id=task, fee=12.35, images=images, handler_id_list=["07"], result="ok"
        )
        shown = await call(client, "get_v2_handle", uid=handle["uid"])
        assert (shown["fee"], shown["images"], shown["handler_id_list"]) == (12.35, images, ["07"])
        assert (await call(client, "get_v2_task", uid=task))["uid"] == task

    async def test_what_was_ignored_has_no_handlers_and_no_fee(self, client, task):
        handle = await call(client, "v2_handle_ignore", task_id=task)
        shown = await call(client, "get_v2_handle", uid=handle["uid"])
        assert (shown["fee"], shown["handler_id_list"], shown["task_id"]) == (0, [], task)
        page = await call(client, "get_v2_handle_list", where_and=[["kind", "=", "IGNORE"]])
        assert [row["uid"] for row in page["data"]] == [handle["uid"]]


class TestFilters:
    @pytest.mark.parametrize("action", ["get_v2_project_list", "get_v2_task_list", "get_v2_handle_list"])
    @pytest.mark.parametrize(
        ("where", "info"),
        [
            (
                [["colour", "=", "red"]],
                'where_and.0: ["colour","=","red"]: there is no such field, but uid, ',
            ),
            ([["uid", "~", "a"]], 'where_and.0: ["uid","~","a"]: there is no such operator, but =, '),
            ([["uid", "=", "a"], ["uid", "="]], 'where_and.1: ["uid","="]: must be [field, operator, value]'),
            ([[["uid", "=", "a"]]], 'where_and.0: [["uid","=","a"]]: must be [field, operator, value]'),
            ([[[["uid", "=", "a"]]]], 'where_and.0: [[["uid","=","a"]]]: must be [field, operator, value]'),
            ([["uid", "in", [["a"]]]], 'where_and.0: ["uid","in",[["a"]]]: takes texts'),
            ([["uid", "=", "a" * 17_000]], "where_and: must have at most 16384 bytes"),
            ('[["uid","=","a"],]', "where_and: is not JSON"),
            ("uid = 'a' OR 1=1", "where_and: is not JSON"),
            ({"uid": "a"}, "where_and: must be a list of [field, operator, value]"),
            ([["created", ">", "yesterday"]], "where_and.0: "),
            ([["uid", "=", "a"]] * 21, "where_and: must have at most 20 conditions"),
        ],
    )
    async def test_10013_shows_the_triple(self, client, action, where, info):
        assert (await refused(client, action, where_and=where)).startswith(info)
