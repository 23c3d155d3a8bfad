"""Lists of document 002: what filters find, pages, order, and whose rows they show."""

from __future__ import annotations

import json

import pytest

from tests.builders import make_token
from tests.integration.api_plugin.maintenance.maintenance_wire import (
    CREATE,
    call,
    create,
    insert_handle,
    insert_project,
    insert_task,
    moment,
    refused,
    uids,
)
from tests.integration.api_plugin.maintenance.test_maintenance_document import HANDLE, NA_TEST, ST_TEST, TASK

PROJECTS, TASKS, HANDLES = "get_v2_project_list", "get_v2_task_list", "get_v2_handle_list"

STATES = ("noticed", "due", "overdue", "stopped", "handled", "ignored", "cancelled")


@pytest.fixture
def projects(connection):
    """Four of them, the newest last."""
    insert_project(connection, {**NA_TEST, "uid": "p1", "name": "Pump", "period_num": 2, "is_active": 0})
    insert_project(
        connection,
        {**NA_TEST, "uid": "p2", "name": "pump 50%", "description": "", "object_id_list": ["x"],
         "created": "2024-05-10 00:00:00"},
    )  # fmt: skip
    insert_project(
        connection,
        {**ST_TEST, "uid": "p3", "name": "a_b", "description": "old", "object_id_list": ["x", "y"],
         "created": "2024-05-10 00:00:01"},
    )  # fmt: skip
    insert_project(
        connection,
        {**ST_TEST, "uid": "p4", "name": r"a\b", "period_num": 25.5, "created": "2024-05-11 00:00:00"},
    )


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (["uid", "=", "p1"], "p1"),
        (["uid", "==", "p1"], "p1"),
        (["uid", "!=", "p1"], "p2 p3 p4"),
        (["uid", "<>", "p1"], "p2 p3 p4"),
        (["uid", ">", "p2"], "p3 p4"),
        (["uid", ">=", "p2"], "p2 p3 p4"),
        (["uid", "<", "p2"], "p1"),
        (["uid", "<=", "p2"], "p1 p2"),
        (["uid", "in", ["p1", "p9"]], "p1"),
        (["uid", "in", []], ""),
        (["uid", "not in", ["p1"]], "p2 p3 p4"),
        (["uid", "not in", []], "p1 p2 p3 p4"),
        (["uid", "between", ["p2", "p3"]], "p2 p3"),
        (["uid", "between", ["p3", "p2"]], ""),
        (["uid", "not between", ["p2", "p3"]], "p1 p4"),
        (["uid", "is null"], ""),
        (["uid", "is not null"], "p1 p2 p3 p4"),
        (["name", "=", "pump"], ""),
        (["name", "like", "pump"], "p1"),
        (["name", "like", "pump%"], "p1 p2"),
        (["name", "=", "pump%"], "p1 p2"),
        (["name", "!=", "pump%"], "p3 p4"),
        (["name", "not like", "%pump%"], "p3 p4"),
        (["name", "like", "%%"], "p1 p2 p3 p4"),
        (["name", "like", "%"], "p1 p2 p3 p4"),
        (["name", "like", r"%50\%"], "p2"),
        (["name", "=", r"pump 50\%"], "p2"),
        (["name", "like", "a_b"], "p3"),
        (["name", "like", "%_%"], "p3"),
        (["name", "like", "%\\"], ""),
        (["name", "like", r"a\b"], "p4"),
        (["name", "=", r"a\b"], "p4"),
        (["description", "=", ""], "p1 p2 p4"),
        (["description", "=", None], "p1 p2 p4"),
        (["description", "!=", ""], "p3"),
        (["description", "like", "%%"], "p1 p2 p3 p4"),
        (["period_unit", "=", ""], "p3 p4"),
        (["period_unit", "=", "日"], "p1 p2"),
        (["cycle_type", "like", "自然%"], "p1 p2"),
        (["period_num", "=", "25"], "p2 p3"),
        (["period_num", "=", 25.0], "p2 p3"),
        (["period_num", "<", "24.9"], "p1"),
        (["period_num", "in", ["2", 25.5]], "p1 p4"),
        (["period_num", "between", [1, "2"]], "p1"),
        (["period_num", "is null"], ""),
        (["is_active", "=", 0], "p1"),
        (["is_active", "=", True], "p2 p3 p4"),
        (["object_id_list", "=", "x"], "p2 p3"),
        (["object_id_list", "in", ["x", "a"]], "p1 p2 p3"),
        (["object_id_list", "!=", "x"], "p1 p4"),
        (["object_id_list", "not in", ["x", "a"]], "p4"),
        (["object_id_list", "like", "%TEST%"], "p4"),
        (["object_id_list", "is null"], ""),
        (["created", "=", "2024-05-10 00:00:00"], "p2"),
        (["created", "=", "2024-05-10"], "p2"),
        (["created", "!=", "2024-05-10"], "p1 p3 p4"),
        (["created", ">", "2024-05-10 00:00:00"], "p3 p4"),
        (["created", ">=", "2024-05-10 00:00:00"], "p2 p3 p4"),
        (["created", "<", "2024-05-10 00:00:01"], "p1 p2"),
        (["created", "<=", "2024-05-10 00:00:01"], "p1 p2 p3"),
        (["created", "in", ["2024-05-10 00:00:00", "2024-05-11"]], "p2 p4"),
        (["created", "between", ["2024-05-10", "2024-05-10 00:00:01"]], "p2 p3"),
        (["created", "between", ["2024-05-11", "2024-05-10"]], ""),
        (["created", "is not null"], "p1 p2 p3 p4"),
        (["organization_id", "=", ""], "p1 p2 p3 p4"),
        (["created_by", "=", "0"], "p1 p2 p3 p4"),
    ],
)
async def test_conditions_on_projects(client, connection, projects, condition, found):
    # A list prints whole seconds, and so it finds what is printed.
    connection.execute("UPDATE definition SET created_at = created_at + interval '0.7 s'")
    expected = found.split()[::-1]
    assert await uids(client, PROJECTS, where_and=[condition]) == expected
    assert await uids(client, PROJECTS, where_and=json.dumps([condition])) == expected
    assert await uids(client, PROJECTS, where_or=[condition]) == expected


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({}, "p1 p2 p3 p4"),
        ({"where_and": [["uid", ">", "p1"], ["uid", "<", "p3"]]}, "p2"),
        ({"where_or": [["uid", "=", "p1"], ["uid", "=", "p3"]]}, "p1 p3"),
        ({"where_in": [["uid", ["p1", "p2"]], ["name", "in", ["Pump", "a_b"]]]}, "p1"),
        ({"where_and": [["uid", "!=", "p1"]], "where_or": [["uid", "=", "p1"], ["uid", "=", "p2"]]}, "p2"),
        (
            {"where_and": [["uid", ">", "p1"]], "where_or": [["uid", "=", "p3"], ["uid", "=", "p2"]],
             "where_in": [["uid", ["p3", "p1"]]]},
            "p3",
        ),
        ({"where_in": [["uid", []]]}, ""),
        ({"where_or": []}, "p1 p2 p3 p4"),
    ],
)  # fmt: skip
async def test_lists_of_conditions_together(client, projects, where, found):
    assert await uids(client, PROJECTS, **where) == found.split()[::-1]


class TestPages:
    @pytest.mark.parametrize(
        ("page", "shown"),
        [
            ({}, (1, 10, 1, ["p4", "p3", "p2", "p1"])),
            ({"page_index": "", "page_size": ""}, (1, 10, 1, ["p4", "p3", "p2", "p1"])),
            ({"page_index": 1, "page_size": 3}, (1, 3, 2, ["p4", "p3", "p2"])),
            ({"page_index": 2, "page_size": 3}, (2, 3, 2, ["p1"])),
            ({"page_index": 3, "page_size": 2}, (3, 2, 2, [])),
            ({"page_index": 10**9, "page_size": 200}, (10**9, 200, 1, [])),
        ],
    )
    async def test_200(self, client, projects, page, shown):
        found = await call(client, PROJECTS, **page)
        assert found["total_records"] == 4
        rows = [row["uid"] for row in found["data"]]
        assert (found["page_index"], found["page_size"], found["total_pages"], rows) == shown

    async def test_200_nothing(self, client):
        empty = {"page_index": 1, "page_size": 10, "total_pages": 0, "total_records": 0, "data": []}
        for action in (PROJECTS, TASKS, HANDLES):
            assert await call(client, action) == empty

    async def test_10013(self, client):
        for page in ({"page_index": 0}, {"page_size": 0}, {"page_size": 201}, {"page_size": "many"}):
            told = await refused(client, PROJECTS, **page)
            assert told.startswith(next(iter(page)))

    async def test_rows_of_one_moment_are_in_the_order_of_their_uids(self, client, connection):
        for uid in ("b", "c", "a"):
            insert_project(connection, {**NA_TEST, "uid": uid})
        assert await uids(client, PROJECTS, page_size=2) == ["a", "b"]
        assert await uids(client, PROJECTS, page_size=2, page_index=2) == ["c"]


class TestTasks:
    @pytest.fixture
    def tasks(self, connection):
        """One in each state."""
        project = insert_project(connection, {**ST_TEST, "object_id_list": [*STATES]})
        for state in STATES:
            closed = {"closed_at": moment("2024-06-01 00:00:00")} if state in STATES[4:] else {}
            sample = {**TASK, "uid": state, "object_id": state}
            insert_task(connection, project, sample, state=state, **closed)

    async def test_open_ones(self, client, tasks):
        assert await uids(client, TASKS) == sorted(STATES[:4])
        assert await uids(client, TASKS, where_and=[["object_id", "like", "%ed"]]) == ["noticed", "stopped"]

    @pytest.mark.parametrize("where", ["where_and", "where_or"])
    async def test_any_state_that_is_asked_for(self, client, tasks, where):
        assert await uids(client, TASKS, **{where: [["state", "=", "handled"]]}) == ["handled"]
        assert await uids(client, TASKS, **{where: [["state", "like", "%%"]]}) == sorted(STATES)
        assert await uids(client, TASKS, where_in=[["state", ["ignored", "due"]]]) == ["due", "ignored"]

    async def test_each_by_its_uid(self, client, tasks):
        for state in STATES:
            assert (await call(client, "get_v2_task", uid=state))["object_id"] == state

    async def test_those_that_a_stop_left_can_be_handled(self, client, tasks):
        await call(client, "stop_v2_project", uid="st_test")
        assert await uids(client, TASKS, where_and=[["state", "=", "stopped"]]) == sorted(STATES[:4])
        await call(client, "v2_handle", task_id="due")
        assert await uids(client, TASKS) == ["noticed", "overdue", "stopped"]


class TestHandles:
    @pytest.fixture
    def handles(self, connection):
        project = insert_project(connection, ST_TEST)
        for number, (ids, names, more) in enumerate(
            [([1, 2], ["Ann", "Bo"], {"fee": 12.5, "result": "ok", "images": ["a.png"]}),
             (["1"], ["Ann"], {"object_id": "other"}),
             ([], [], {"images": "b.png"}),
             ([12], ["Cy"], {})],
            start=1,
        ):  # fmt: skip
            task = {**TASK, **more, "uid": f"t{number}"}
            task_id = insert_task(
                connection, project, {name: task[name] for name in TASK}, state="handled",
                closed_at=moment("2024-06-01 00:00:00"),
            )  # fmt: skip
            handle = {**HANDLE, **more, "uid": f"h{number}"}
            insert_handle(connection, task_id, {**handle, "handler_id_list": ids, "handler_name_list": names})

    @pytest.mark.parametrize(
        ("condition", "found"),
        [
            (["handler_id_list", "=", "1"], "h1 h2"),
            (["handler_id_list", "=", 1], "h1 h2"),
            (["handler_id_list", "!=", "1"], "h3 h4"),
            (["handler_id_list", "in", ["2", 12]], "h1 h4"),
            (["handler_id_list", "like", "1%"], "h1 h2 h4"),
            (["handler_id_list", "=", ""], "h3"),
            (["handler_id_list", "is not null"], "h1 h2 h4"),
            (["handler_name_list", "=", "Ann"], "h1 h2"),
            (["handler_name_list", "=", "%n%"], "h1 h2"),
            (["handler_name_list", "not like", "%n%"], "h3 h4"),
            (["fee", ">", "12.4"], "h1"),
            (["fee", "=", 0], "h2 h3 h4"),
            (["result", "like", "%%"], "h1 h2 h3 h4"),
            (["result", "=", ""], "h2 h3 h4"),
            (["images", "like", "%.png%"], "h1 h3"),
            (["images", "=", "b.png"], "h3"),
            (["object_id", "=", "other"], "h2"),
            (["task_id", "in", ["t3", "t4"]], "h3 h4"),
            (["kind", "=", "HANDLE"], "h1 h2 h3 h4"),
            (["created", ">", "2024-05-11 12:35:13"], ""),
        ],
    )
    async def test_conditions(self, client, handles, condition, found):
        assert await uids(client, HANDLES, where_and=[condition]) == found.split()


class TestTenants:
    async def test_each_sees_its_own(self, client, ours, stranger):
        assert await create(ours, uid="same", name="ours") == "same"
        assert await create(stranger, uid="same", name="theirs") == "same"
        assert await create(client, uid="same", name="nobody's") == "same"
        for one, name in ((ours, "ours"), (stranger, "theirs")):
            assert (await call(one, "get_v2_project", uid="same"))["organization_id"] == name
            for where in (
                {},
                {"where_or": [["name", "=", "theirs"], ["name", "=", "ours"], ["uid", "!=", ""]]},
            ):
                page = await call(one, PROJECTS, **where)
                assert [row["name"] for row in page["data"]] == [name]
        assert (await call(client, PROJECTS))["total_records"] == 3

    async def test_whose_it_is_has_to_be_said_where_several_have_it(self, client, ours, stranger):
        await create(ours, uid="same", name="ours")
        await create(stranger, uid="same", name="theirs")
        told = await refused(client, "get_v2_project", uid="same")
        assert told == "organization_id: several organisations have a project same"
        for name in ("ours", "theirs"):
            found = await call(client, "get_v2_project", uid="same", organization_id=name)
            assert found["name"] == name
        await call(client, "delete_v2_project", uid="same", organization_id="theirs")
        assert (await call(client, "get_v2_project", uid="same"))["name"] == "ours"

    async def test_a_token_of_several_says_for_whom_it_creates(self, client_of, database):
        client = await client_of("maintenance", await make_token(database, projects=["ours", "more"]))
        told = await refused(client, "create_v2_project", **CREATE)
        assert told == "organization_id: is required: the token has several projects"
        uid = await create(client, organization_id="more")
        assert (await call(client, "get_v2_project", uid=uid))["organization_id"] == "more"
        assert (await refused(client, "create_v2_project", **CREATE, organization_id="theirs")).startswith(
            "there is no project"
        )

    async def test_what_is_another_s_is_not_there(self, ours, stranger, connection):
        project = insert_project(connection, {**ST_TEST, "organization_id": "ours"})
        task = insert_task(connection, project, {**TASK, "uid": "done", "organization_id": "ours",
                                                 "object_id": "x"}, state="handled",
                           closed_at=moment("2024-06-01 00:00:00"))  # fmt: skip
        insert_handle(connection, task, {**HANDLE, "organization_id": "ours"})
        insert_task(connection, project, {**TASK, "organization_id": "ours"})
        for action in ("get_v2_project", "stop_v2_project", "start_v2_project", "restart_v2_project",
                       "delete_v2_project", "update_v2_project"):  # fmt: skip
            assert await refused(stranger, action, uid="st_test") == "there is no project st_test"
            told = await refused(stranger, action, uid="st_test", organization_id="ours")
            assert told == "there is no project st_test"
        assert await refused(stranger, "get_v2_task", uid=TASK["uid"]) == "task not found"
        assert await refused(stranger, "v2_handle", task_id=TASK["uid"]) == "task not found"
        assert await refused(stranger, "v2_handle_ignore", task_id=TASK["uid"]) == "task not found"
        assert await refused(stranger, "get_v2_handle", uid=HANDLE["uid"]) == "handle not found"
        for action in (PROJECTS, TASKS, HANDLES):
            assert await uids(stranger, action) == []
            assert await uids(stranger, action, where_or=[["organization_id", "=", "ours"]]) == []
            assert len(await uids(ours, action)) == 1
