"""POST /crontab/update_task."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from tests.builders import make_token, task

STORED = """
    SELECT d.name, d.enabled, t.module, t.type, t.start_time, t.url, t.method, t.resp_regexp, t.body,
           t.body_type, t.redo_delays, t.secret, d.description, d.expires_at, d.misfire, s.timezone
    FROM definition d JOIN callback_task t ON t.definition_id = d.id JOIN schedule s ON s.id = d.schedule_id
    WHERE d.id = 1
"""


@pytest.fixture
async def client(client_of, database):
    client = await client_of("crontab", await make_token(database))
    full = task(
        "one", resp_regexp="ok", body="b", body_type=2, redo_param="1 2", secret="s" * 32,
        description="words", expires_at=4070908800,
    )  # fmt: skip
    answer = await client.post("/add_task", json={"task_list": [full, task("two")]})
    assert [result["err"] for result in answer.json()["data"]["task_result"]] == ["", ""]
    return client


async def update(client, *items: object) -> list[dict[str, str]]:
    answer = await client.post("/update_task", json={"task_list": list(items)})
    body = answer.json()
    assert (answer.status_code, body["state"], body["msg"]) == (200, 0, "")
    return body["data"]["task_result"]


async def test_the_task_is_found_by_number_by_its_text_or_by_name(client, connection: psycopg.Connection):
    results = await update(
        client,
        {"task_id": 1, "module": 3},
        {"task_id": "2", "module": 4},
        {"name": "one", "module": 5},
        {"task_id": 999, "name": "two", "module": 6},
        {"task_id": "no number", "name": "two", "body": "x"},
    )
    assert results == [
        {"task_id": "1", "name": "one", "err": ""},
        {"task_id": "2", "name": "two", "err": ""},
        {"task_id": "1", "name": "one", "err": ""},
        {"task_id": "2", "name": "two", "err": ""},
        {"task_id": "2", "name": "two", "err": ""},
    ]
    rows = connection.execute("SELECT definition_id, module FROM callback_task ORDER BY 1").fetchall()
    assert [tuple(row.values()) for row in rows] == [(1, 5), (2, 6)]


async def test_a_task_that_cannot_be_found_says_by_what(client):
    results = await update(
        client,
        {"task_id": 999, "enable": 2},
        {"name": "nobody", "enable": 2},
        {"enable": 2},
        {"task_id": 0, "name": "", "enable": 2},
        {"task_id": "no number", "enable": 2},
        {"task_id": 2**63, "enable": 2},
        {"task_id": -1, "enable": 2},
        {"task_id": True, "enable": 2},
        {"task_id": 1.0, "enable": 2},
        {"task_id": [1], "enable": 2},
        {"task_id": 2, "enable": 2},
    )
    wrong_type = "task_id: must be a number or its text"
    assert results == [
        {"task_id": "999", "name": "", "err": "task_id: no task 999"},
        {"task_id": "", "name": "nobody", "err": "name: no task has task_id None or name 'nobody'"},
        {"task_id": "", "name": "", "err": "name: task_id or name must be given"},
        {"task_id": "", "name": "", "err": "name: task_id or name must be given"},
        {"task_id": "no number", "name": "", "err": "task_id: is not the number of a task"},
        {"task_id": str(2**63), "name": "", "err": "task_id: is not the number of a task"},
        {"task_id": "-1", "name": "", "err": "task_id: is not the number of a task"},
        {"task_id": "", "name": "", "err": wrong_type},
        {"task_id": "", "name": "", "err": wrong_type},
        {"task_id": "", "name": "", "err": wrong_type},
        {"task_id": "2", "name": "two", "err": ""},
    ]


async def test_zero_values_and_missing_fields_stay(client, connection: psycopg.Connection):
    before = connection.execute(STORED).fetchone()
    [result] = await update(
        client,
        {
            "task_id": 1, "name": "one", "enable": 0, "module": 0, "type": 0, "start_time": "", "url": "",
            "method": "", "body_type": 0, "timezone": "", "misfire": "", "overlap": "", "headers": None,
            "resp_regexp": None, "timeout": None,
        },
    )  # fmt: skip
    assert result["err"] == ""
    [zero] = await update(client, {"task_id": 1, "start_time": 0})
    assert zero["err"] == ""
    assert connection.execute(STORED).fetchone() == before


async def test_an_empty_text_clears_an_optional_field(client, connection: psycopg.Connection):
    fields = ("resp_regexp", "body", "redo_param", "secret", "description", "expires_at")
    [result] = await update(client, {"task_id": 1, **dict.fromkeys(fields, "")})
    assert result["err"] == ""
    row = connection.execute(STORED).fetchone()
    assert [row[name] for name in ("resp_regexp", "body", "secret", "description", "expires_at")] == [
        None
    ] * 5
    assert row["redo_delays"] == []


async def test_every_field_can_be_changed(client, connection: psycopg.Connection):
    [result] = await update(
        client,
        {
            "task_id": 1, "enable": 2, "module": 9, "type": 3, "start_time": "0 5 * * * *",
            "url": "http://example.org/new", "method": "GET", "resp_regexp": "yes", "body": "c",
            "body_type": 1, "redo_param": "7", "description": "new", "misfire": "fire_all",
            "timezone": "Europe/London",
        },
    )  # fmt: skip
    assert result["err"] == ""
    row = connection.execute(STORED).fetchone()
    assert row.pop("secret") is not None
    assert row.pop("expires_at") is not None
    assert row == {
        "name": "one",
        "enabled": False,
        "module": 9,
        "type": 3,
        "start_time": "0 5 * * * *",
        "url": "http://example.org/new",
        "method": "get",
        "resp_regexp": "yes",
        "body": "c",
        "body_type": 1,
        "redo_delays": [7],
        "description": "new",
        "misfire": "fire_all",
        "timezone": "Europe/London",
    }


async def test_a_bad_field_is_named_and_the_other_items_are_changed(client, connection: psycopg.Connection):
    results = await update(
        client,
        {"task_id": 1, "start_time": "0 0 0 30 2 *"},
        {"task_id": 1, "type": 9},
        {"task_id": 1, "redo_param": "x"},
        {"task_id": 1, "nonsense": 1},
        {"task_id": 1, "url": "file:///etc/passwd"},
        7,
        {"task_id": 2, "body": "changed"},
    )
    assert [result["err"].split(":")[0] for result in results] == [
        "start_time", "type", "redo_param", "nonsense", "url", "task_list", "",
    ]  # fmt: skip
    assert connection.execute("SELECT body FROM callback_task ORDER BY definition_id").fetchall() == [
        {"body": "b"},
        {"body": "changed"},
    ]


async def test_what_was_done_is_announced_to_airflow_at_once(
    client, client_of, database, connection, parse_requests
):
    await client_of("management", await make_token(database))
    await asyncio.sleep(0.3)
    parse_requests.clear()
    [result] = await update(client, {"task_id": 2, "start_time": "30 1 2 3 4 *"})
    assert result["err"] == ""
    await asyncio.sleep(0.25)
    assert parse_requests == ["recent_schedule_dags.py"]
    assert connection.execute("SELECT bool_and(announced) AS done FROM schedule").fetchone() == {"done": True}


async def test_two_requests_that_take_the_same_schedules_in_another_order_both_end_well(client, connection):
    crons = [f"{second} 0 0 1 1 *" for second in range(30)]

    async def batch(prefix: str, starts: list[str]) -> dict:
        items = [task(f"{prefix} {number}", start_time=start) for number, start in enumerate(starts)]
        return (await client.post("/add_task", json={"task_list": items})).json()

    answers = await asyncio.gather(
        *(batch(f"up {n}", crons) for n in range(3)), *(batch(f"down {n}", crons[::-1]) for n in range(3))
    )
    assert [answer["state"] for answer in answers] == [0] * 6
    assert connection.execute("SELECT count(*) AS n FROM definition").fetchone() == {"n": 182}
