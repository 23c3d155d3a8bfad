"""POST /crontab/query_task_status and /crontab/run_again_task."""

from __future__ import annotations

import psycopg
import pytest

from include.settings import get_settings
from tests.builders import make_token, task

NOBODY = "name: no task has task_id None or name"


@pytest.fixture
async def client(client_of, database):
    client = await client_of("crontab", await make_token(database))
    await client.post("/add_task", json={"task_list": [task("one", body="sent"), task("two", enable=2)]})
    return client


def insert_attempts(connection: psycopg.Connection, definition_id: int, count: int) -> None:
    """One execution with `count` attempts, a second apart: the last one runs, those before it failed."""
    connection.execute(
        """
        INSERT INTO execution (id, definition_id, schedule_id, due_at, origin, state, attempts,
                               next_attempt_at)
        SELECT %(id)s, id, schedule_id, '2026-11-22Z', 'scheduled', 'retrying', %(count)s, now()
        FROM definition WHERE id = %(id)s
        """,
        {"id": definition_id, "count": count},
    )
    connection.execute(
        """
        INSERT INTO attempt (execution_id, due_at, number, definition_id, run_type, state, begin_at, end_at,
                             url, body, status, response, error)
        SELECT %(id)s, '2026-11-22Z', n, %(id)s, CASE n WHEN 1 THEN 1 ELSE 2 END,
               CASE WHEN n < %(count)s THEN 'failed' ELSE 'started' END,
               '2026-11-22Z'::timestamptz + n * interval '1 second',
               CASE WHEN n < %(count)s THEN '2026-11-22Z'::timestamptz + n * interval '1 second' END,
               CASE WHEN n < %(count)s THEN 'http://sent' END, NULL, NULL,
               CASE WHEN n = 2 THEN 'sorry' END, CASE WHEN n < %(count)s THEN 'HTTP 500' END
        FROM generate_series(1, %(count)s) AS n
        """,
        {"id": definition_id, "count": count},
    )


def line(**changes: object) -> dict[str, object]:
    values = {
        "task_id": "1",
        "name": "one",
        "run_type": 2,
        "status": 3,
        "begin_time": "",
        "end_time": "",
        "url": "http://sent",
        "body": "sent",
        "resp": "",
        "err": "HTTP 500",
    }
    return {**values, **changes}


class TestQueryTaskStatus:
    async def test_attempts_come_newest_first_with_what_they_met(self, client, connection):
        insert_attempts(connection, 1, 3)
        answer = await client.post("/query_task_status", json={"task_list": [{"task_id": "1"}]})
        assert answer.json()["data"] == {
            "log_list": [
                line(status=1, begin_time="2026-11-22 08:00:03", url="http://example.com/hook", err=""),
                line(begin_time="2026-11-22 08:00:02", end_time="2026-11-22 08:00:02", resp="sorry"),
                line(
                    run_type=1,
                    begin_time="2026-11-22 08:00:01",
                    end_time="2026-11-22 08:00:01",
                    resp="HTTP 500",
                ),
            ],
            "task_result": [],
        }

    async def test_times_are_in_the_zone_of_the_setting(self, client, connection, monkeypatch):
        monkeypatch.setenv("CARILLON_TIMEZONE", "America/New_York")
        get_settings.cache_clear()
        insert_attempts(connection, 1, 1)
        answer = await client.post("/query_task_status", json={"task_list": [{"name": "one"}]})
        assert answer.json()["data"]["log_list"][0]["begin_time"] == "2026-11-21 19:00:01"

    async def test_unknown_tasks_are_named_and_the_others_shown(self, client, connection):
        insert_attempts(connection, 1, 1)
        items = [{"task_id": 99}, {"name": "one"}, {"name": "nobody"}, {"task_id": 1, "url": "x"}]
        body = (await client.post("/query_task_status", json={"task_list": items})).json()
        problems = [
            {"task_id": "99", "name": "", "err": "task_id: no task 99"},
            {"task_id": "", "name": "nobody", "err": f"{NOBODY} 'nobody'"},
            {"task_id": "1", "name": "", "err": "url: is not a field of this request"},
        ]
        assert body["state"] == 0
        assert body["msg"] == "; ".join(problem["err"] for problem in problems)
        assert body["data"]["task_result"] == problems
        assert [entry["task_id"] for entry in body["data"]["log_list"]] == ["1"]

    @pytest.mark.parametrize(("extra", "shown"), [({}, 100), ({"limit": 5}, 5), ({"limit": 1000}, 1000)])
    async def test_limit_counts_for_each_task(self, client, connection, extra, shown):
        insert_attempts(connection, 1, 1001)
        insert_attempts(connection, 2, 2)
        items = [{"task_id": 1}, {"task_id": 2}, {"name": "one"}]
        body = (await client.post("/query_task_status", json={"task_list": items, **extra})).json()
        assert len(body["data"]["log_list"]) == shown + 2

    @pytest.mark.parametrize("limit", [0, -1, 1001, "5", 1.5, True, None])
    async def test_a_limit_that_cannot_be(self, client, limit):
        answer = await client.post("/query_task_status", json={"task_list": [{"task_id": 1}], "limit": limit})
        body = answer.json()
        assert (answer.status_code, body["state"], body["data"]) == (200, 1, {})
        assert body["msg"].startswith("limit: must be ")

    async def test_a_request_without_a_list(self, client):
        answer = await client.post("/query_task_status", json={"limit": 5})
        assert answer.json() == {"state": 1, "msg": "task_list: must be a list of tasks", "data": {}}


class TestRunAgainTask:
    async def test_each_task_runs_once_enabled_or_not_and_unknown_ones_say_so(self, client, connection):
        items = [{"task_id": 1}, {"name": "two"}, {"name": "nobody"}, {"task_id": 1}, "x"]
        answer = await client.post("/run_again_task", json={"task_list": items})
        assert (answer.status_code, answer.json()) == (
            200,
            {
                "state": 0,
                "msg": "",
                "data": {
                    "task_result": [
                        {"task_id": "1", "name": "one", "err": ""},
                        {"task_id": "2", "name": "two", "err": ""},
                        {"task_id": "", "name": "nobody", "err": f"{NOBODY} 'nobody'"},
                        {"task_id": "1", "name": "one", "err": ""},
                        {"task_id": "", "name": "", "err": "task_list: an item must be an object"},
                    ]
                },
            },
        )  # fmt: skip
        rows = connection.execute(
            "SELECT definition_id, origin, state, expression FROM execution"
            " JOIN schedule s ON s.id = schedule_id ORDER BY definition_id"
        ).fetchall()
        assert [tuple(row.values()) for row in rows] == [
            (1, "manual", "pending", "@once"),
            (2, "manual", "pending", "@once"),
        ]


class TestProjects:
    """A token of projects sees and changes the tasks of its projects only."""

    @pytest.fixture
    async def other(self, client_of, database):
        return await client_of("crontab", await make_token(database, projects=["42", "49"]))

    @pytest.mark.parametrize("path", ["update_task", "run_again_task", "query_task_status"])
    async def test_tasks_outside_are_as_good_as_absent(self, client, other, connection, path):
        answer = await other.post(f"/{path}", json={"task_list": [{"task_id": 1}, {"name": "two"}]})
        assert [result["err"] for result in answer.json()["data"]["task_result"]] == [
            "task_id: no task 1",
            f"{NOBODY} 'two'",
        ]
        assert connection.execute("SELECT count(*) AS n FROM execution").fetchone() == {"n": 0}

    async def test_new_tasks_go_to_the_first_project_and_their_names_are_their_own(
        self, client, other, connection
    ):
        answer = await other.post("/add_task", json={"task_list": [task("one")]})
        assert answer.json()["data"]["task_result"] == [{"task_id": "3", "name": "one", "err": ""}]
        assert connection.execute("SELECT project_id FROM definition WHERE id = 3").fetchone() == {
            "project_id": "42"
        }
        updated = await other.post("/update_task", json={"task_list": [{"name": "one", "module": 7}]})
        assert updated.json()["data"]["task_result"] == [{"task_id": "3", "name": "one", "err": ""}]

    async def test_a_token_of_another_project_does_not_see_them_either(
        self, client, other, client_of, database
    ):
        await other.post("/add_task", json={"task_list": [task("hidden")]})
        third = await client_of("crontab", await make_token(database, projects=["50"]))
        answer = await third.post("/query_task_status", json={"task_list": [{"name": "hidden"}]})
        assert answer.json()["msg"] == f"{NOBODY} 'hidden'"
