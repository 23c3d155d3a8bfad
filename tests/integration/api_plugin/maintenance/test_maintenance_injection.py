"""Two hundred texts that mean something to SQL, in every place of a filter: refused, or they find nothing."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from tests.integration.api_plugin.maintenance.maintenance_wire import (
    answer,
    insert_handle,
    insert_project,
    insert_task,
    moment,
)
from tests.integration.api_plugin.maintenance.test_maintenance_document import HANDLE, ST_TEST, TASK

_HEADS = [
    "'",
    "''",
    '"',
    "')",
    "'))",
    "\\'",
    "\\",
    "%'",
    "1",
    "1'",
    "x",
    "$1",
    "%(projects)s",
    "{}",
    "0x27",
    "％'",
]
_TAILS = [
    " OR 1=1",
    " OR 1=1 --",
    " OR ''=''",
    " OR true) --",
    "; DROP TABLE maintenance_task; --",
    "; UPDATE token SET revoked_at = now(); --",
    " UNION SELECT * FROM maintenance_task --",
    "; SELECT pg_sleep(60) --",
    " || (SELECT uid FROM maintenance_task LIMIT 1) || '",
    "/**/OR/**/1=1#",
    " AND 1=CAST((SELECT uid FROM maintenance_task LIMIT 1) AS int)",
    "; COPY token TO '/tmp/x'; --",
    " IS NOT NULL OR organization_id IS NOT NULL",
]
TEXTS = [head + tail for head, tail in itertools.product(_HEADS, _TAILS)]

LISTS = {
    "get_v2_project_list": ("uid", "period_num", "created", "object_id_list"),
    "get_v2_task_list": ("object_name", "period_num", "created", "state"),
    "get_v2_handle_list": ("result", "fee", "created", "handler_id_list"),
}
COUNTS = """
SELECT (SELECT count(*) FROM maintenance_task) AS tasks, (SELECT count(*) FROM maintenance_handle) AS handles,
       (SELECT count(*) FROM maintenance_project) AS projects,
       (SELECT count(*) FROM token WHERE revoked_at IS NULL) AS tokens
"""


@pytest.fixture
def theirs(connection):
    """What no filter of `ours` may ever show."""
    project = insert_project(connection, {**ST_TEST, "organization_id": "theirs"})
    closed = {"state": "handled", "closed_at": moment("2024-05-11 12:35:13")}
    task = insert_task(
        connection, project, {**TASK, "uid": "done", "object_id": "x", "organization_id": "theirs"}, **closed
    )
    insert_handle(connection, task, {**HANDLE, "organization_id": "theirs"})
    insert_task(connection, project, {**TASK, "organization_id": "theirs"})


def places(text: str, fields: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the filters that have a text in each of its places."""
    wheres: list[dict[str, Any]] = [
        {"where_and": [[text, "=", "a"]]},
        {"where_or": [[fields[0], text, "a"]]},
        {"where_and": text},
        {"where_in": [[text, ["a"]]]},
    ]
    for field in fields:
        wheres += [
            {"where_or": [[field, "=", text]]},
            {"where_or": json.dumps([[field, "like", text]])},
            {"where_in": [[field, [text, "a"]]]},
        ]
    return wheres


def test_there_are_two_hundred():
    assert len(set(TEXTS)) >= 200


@pytest.mark.parametrize("action", LISTS)
async def test_an_error_or_no_rows(ours, connection, theirs, action):
    before = connection.execute(COUNTS).fetchone()
    for number, text in enumerate(TEXTS):
        # As field, as operator, and in turn in one of the other places.
        field, operator, *others = places(text, LISTS[action])
        for where in (field, operator, others[number % len(others)]):
            body = await answer(ours, {"action": action, **where})
            assert body["code"] == 10013 or body["result"]["data"] == [], (where, body)
            assert body["code"] in (200, 10013), (where, body)
    assert connection.execute(COUNTS).fetchone() == before


async def test_they_are_looked_for_as_they_stand(ours, connection):
    for number, text in enumerate(TEXTS):
        project = {**ST_TEST, "uid": f"p{number}", "name": text, "organization_id": "ours"}
        insert_project(connection, {**project, "object_id_list": []})
    for text in TEXTS[::10]:
        body = await answer(
            ours, {"action": "get_v2_project_list", "where_in": [["name", [text]]], "page_size": 200}
        )
        assert [row["name"] for row in body["result"]["data"]] == [text]


@pytest.mark.parametrize(
    "body",
    [
        {"action": "get_v2_project", "uid": "' OR 1=1 --"},
        {"action": "get_v2_project", "uid": "st_test", "organization_id": "' OR 1=1 --"},
        {"action": "get_v2_task", "uid": "' OR 1=1 --"},
        {"action": "v2_handle", "task_id": "' OR 1=1 --"},
        {"action": "' OR 1=1 --", "uid": "st_test"},
        {"action": "get_v2_project_list", "page_index": "1; DROP TABLE token"},
        {"action": "get_v2_project_list", "page_size": "1; DROP TABLE token"},
        {"action": "get_v2_project_list", "sort": "uid; DROP TABLE token"},
    ],
)
async def test_other_fields_refuse_them(ours, theirs, body):
    assert (await answer(ours, body))["code"] == 10013
