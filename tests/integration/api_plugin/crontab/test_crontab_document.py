"""Every sample of document 003, made valid JSON, as the contract.

Where a sample leaves a value out (`start_time`) or writes a placeholder ("xx"), the least that makes it valid
stands in its place.
"""

from __future__ import annotations

import psycopg
import pytest

from tests.builders import make_token

ADD_SAMPLE = {
    "task_list": [
        {
            "name": "任务名称",
            "enable": 1,
            "module": 2,
            "type": 1,
            "start_time": 4070908800,
            "url": "http://addr.example:8000/path/aa",
            "method": "post",
            "resp_regexp": "*",
            "body": "xxx",
            "body_type": 1,
            "redo_param": "2 4 8",
        }
    ]
}

UPDATE_SAMPLE = {
    "task_list": [
        {
            "task_id": 1,
            "name": "定时改价",
            "enable": 1,
            "module": 2,
            "type": 1,
            "start_time": "4070908860",
            "url": "http://addr.example:8000/path/bb",
            "method": "post",
            "resp_regexp": "*",
            "body": "xxx",
            "body_type": 1,
            "redo_param": "2 4 8",
        }
    ]
}

REF_SAMPLE = {"task_list": [{"task_id": 1, "name": "定时改价"}]}

DONE = {
    "state": 0,
    "msg": "",
    "data": {"task_result": [{"task_id": "1", "name": "任务名称", "err": ""}]},
}


@pytest.fixture
async def client(client_of, database):
    return await client_of("crontab", await make_token(database))


class TestAddTask:
    async def test_200_the_sample(self, client):
        answer = await client.post("/add_task", json=ADD_SAMPLE)
        assert (answer.status_code, answer.json()) == (200, DONE)

    async def test_200_each_method_and_type_of_the_document(self, client):
        first = ADD_SAMPLE["task_list"][0]
        items = [
            {**first, "name": f"task {number}", **changes}
            for number, changes in enumerate(
                [
                    {"method": "post", "url": "http://addr.example:80/path/aa"},
                    {"method": "get", "url": "http://addr.example:80/path/aa"},
                    {"method": "rpc", "url": "addr.example:8000/handler.function"},
                    {"type": 1, "start_time": "4070908800"},
                    {"type": 1, "start_time": "0 0 0 1 1 *"},
                    {"type": 2, "start_time": "@every 30s"},
                    {"type": 2, "start_time": "30"},
                    {"type": 2, "start_time": 30},
                    {"type": 3, "start_time": "0 15 * * * *"},
                    {"type": 4, "start_time": "0 30 9 * * *"},
                    {"type": 5, "start_time": "0 0 0 1 * *"},
                    {"type": 6, "start_time": "0 0 0 1 1 *"},
                    {"type": 7, "start_time": "0 0 9 * * 1"},
                ]
            )
        ]
        answer = await client.post("/add_task", json={"task_list": items})
        assert answer.json() == {
            "state": 0,
            "msg": "",
            "data": {
                "task_result": [
                    {"task_id": str(number + 1), "name": f"task {number}", "err": ""}
                    for number in range(len(items))
                ]
            },
        }


class TestUpdateTask:
    async def test_200_the_sample(self, client, connection: psycopg.Connection):
        await client.post("/add_task", json=ADD_SAMPLE)
        answer = await client.post("/update_task", json=UPDATE_SAMPLE)
        assert (answer.status_code, answer.json()) == (200, DONE)
        row = connection.execute("SELECT url, start_time, redo_delays FROM callback_task").fetchone()
        assert row == {
            "url": "http://addr.example:8000/path/bb",
            "start_time": "4070908860",
            "redo_delays": [2, 4, 8],
        }


class TestQueryTaskStatus:
    async def test_200_the_sample(self, client, connection: psycopg.Connection):
        await client.post("/add_task", json=ADD_SAMPLE)
        connection.execute(
            """
            INSERT INTO execution (id, definition_id, schedule_id, due_at, origin, state, finished_at)
            SELECT 7, id, schedule_id, '2026-11-22 01:30:00Z', 'scheduled', 'succeeded', now()
            FROM definition;
            INSERT INTO attempt (execution_id, due_at, number, definition_id, run_type, state, begin_at,
                                 end_at, url, body, status, response)
            VALUES (7, '2026-11-22 01:30:00Z', 1, 1, 1, 'succeeded', '2026-11-22 01:30:00.002Z',
                    '2026-11-22 01:30:01.5Z', 'http://addr.example:8000/path/aa', 'xxx', 200, 'pong')
            """
        )
        answer = await client.post("/query_task_status", json=REF_SAMPLE)
        assert (answer.status_code, answer.json()) == (
            200,
            {
                "state": 0,
                "msg": "",
                "data": {
                    "log_list": [
                        {
                            "task_id": "1",
                            "name": "任务名称",
                            "run_type": 1,
                            "status": 2,
                            "begin_time": "2026-11-22 09:30:00",
                            "end_time": "2026-11-22 09:30:01",
                            "url": "http://addr.example:8000/path/aa",
                            "body": "xxx",
                            "resp": "pong",
                            "err": "",
                        }
                    ],
                    "task_result": [],
                },
            },
        )


class TestRunAgainTask:
    async def test_200_the_sample(self, client, connection: psycopg.Connection):
        await client.post("/add_task", json=ADD_SAMPLE)
        answer = await client.post("/run_again_task", json=REF_SAMPLE)
        assert (answer.status_code, answer.json()) == (200, DONE)
        row = connection.execute("SELECT definition_id, origin, state FROM execution").fetchone()
        assert row == {"definition_id": 1, "origin": "manual", "state": "pending"}
