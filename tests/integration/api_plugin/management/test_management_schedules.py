"""/carillon/v1: schedules and definitions."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.builders import insert_definition, insert_execution, insert_schedule, make_token, task

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _still_clock(monkeypatch):
    monkeypatch.setattr("api_plugin.management.routes.system_clock", lambda: NOW)


@pytest.fixture
async def client(client_of, database):
    return await client_of("management", await make_token(database))


@pytest.fixture
async def narrow(client_of, database):
    return await client_of("management", await make_token(database, projects=["42"]))


def problem(status: int, kind: str, title: str, detail: str, path: str) -> dict[str, object]:
    return {
        "type": f"urn:carillon:problem:{kind}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": f"/carillon/v1{path}",
    }


SCHEDULE = {
    "id": 1,
    "kind": "callback",
    "expression": "0 30 9 * * *",
    "timezone": "Asia/Shanghai",
    "dag_id": "callback.0",
    "description": "At 09:30",
    "active": True,
    "active_since": "2026-01-01T00:00:00Z",
    "shards": 1,
    "definitions": 0,
    "next_instants": ["2026-11-23T01:30:00Z", "2026-11-24T01:30:00Z", "2026-11-25T01:30:00Z"],
}

DEFINITION = {
    "id": 1,
    "kind": "callback",
    "name": "definition 0",
    "project_id": None,
    "description": None,
    "schedule_id": 1,
    "expression": "0 30 9 * * *",
    "timezone": "Asia/Shanghai",
    "enabled": True,
    "active_since": "2026-01-01T00:00:00Z",
    "weekdays": None,
    "due_at": None,
    "spent": False,
    "expires_at": None,
    "misfire": "fire_once",
    "misfire_grace_seconds": 3600.0,
    "overlap": "allow",
    "revision": 1,
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
    "callback": {
        "module": 2,
        "type": 4,
        "start_time": "0 30 9 * * *",
        "url": "http://example.com/hook",
        "method": "post",
        "resp_regexp": None,
        "body": None,
        "body_type": 1,
        "redo_delays": [2, 4],
        "timeout": 10.0,
        "headers": {"X-One": "1", "Authorization": "***"},
        "signed": True,
    },
    "timer": None,
    "next_instants": ["2026-11-23T01:30:00Z", "2026-11-24T01:30:00Z", "2026-11-25T01:30:00Z"],
}


class TestListSchedules:
    async def test_200(self, client, connection: psycopg.Connection):
        schedule = insert_schedule(connection)
        insert_definition(connection, schedule)
        insert_definition(connection, schedule, enabled=False)
        answer = await client.get("/schedules")
        assert (answer.status_code, answer.json()) == (
            200,
            {"items": [{**SCHEDULE, "definitions": 1}], "next": None},
        )

    async def test_200_inactive_and_one_shot_schedules_have_no_next_instants(self, client, connection):
        insert_schedule(connection, active=False)
        insert_schedule(connection, expression="@once")
        items = (await client.get("/schedules")).json()["items"]
        assert [item["next_instants"] for item in items] == [[], []]

    async def test_200_pages_touch(self, client, connection):
        ids = [insert_schedule(connection, expression=f"0 {minute} 9 * * *") for minute in range(5)]
        seen, cursor = [], None
        for _ in range(3):
            page = (
                await client.get(
                    "/schedules",
                    params={"limit": 2, "n": 1, "cursor": cursor or ""} if cursor else {"limit": 2, "n": 1},
                )
            ).json()
            assert all(len(item["next_instants"]) == 1 for item in page["items"])
            seen += [item["id"] for item in page["items"]]
            cursor = page["next"]
        assert (seen, cursor) == (ids, None)

    async def test_200_filters(self, client, connection):
        insert_schedule(connection, active=False)
        insert_schedule(connection, kind="timer")

        async def ids(**params):
            return [item["id"] for item in (await client.get("/schedules", params=params)).json()["items"]]

        assert await ids(kind="timer") == [2]
        assert await ids(active="false") == [1]
        assert await ids(kind="timer", active="false") == []

    async def test_200_a_token_of_projects_sees_what_its_definitions_hang_on(self, narrow, connection):
        mine, other = (insert_schedule(connection, expression=f"0 {m} 9 * * *") for m in (1, 2))
        insert_definition(connection, mine, project_id="42")
        insert_definition(connection, mine, project_id="49")
        insert_definition(connection, other, project_id="49")
        insert_definition(connection, other, project_id="42", deleted_at=NOW)
        items = (await narrow.get("/schedules")).json()["items"]
        assert [(item["id"], item["definitions"]) for item in items] == [(mine, 1)]
        assert (await narrow.get(f"/schedules/{other}")).status_code == 404

    @pytest.mark.parametrize(
        ("params", "field", "message"),
        [
            ({"limit": 0}, "limit", "must be greater than or equal to 1"),
            ({"limit": 501}, "limit", "must be less than or equal to 500"),
            ({"limit": "x"}, "limit", "must be a valid integer, unable to parse string as an integer"),
            ({"n": 21}, "n", "must be less than or equal to 20"),
            ({"kind": "x"}, "kind", "must be 'callback', 'timer', 'billing' or 'maintenance'"),
            ({"active": "x"}, "active", "must be a valid boolean, unable to interpret input"),
            ({"cursor": "x"}, "cursor", "is not the `next` of a page"),
            ({"cursor": "WyJhIl0"}, "cursor", "is not the `next` of a page"),
            ({"cursor": "WzFd*"}, "cursor", "is not the `next` of a page"),
        ],
    )
    async def test_422(self, client, params, field, message):
        answer = await client.get("/schedules", params=params)
        expected = problem(422, "invalid-input", "Unprocessable Content", f"{field}: {message}", "/schedules")
        assert (answer.status_code, answer.json()) == (
            422,
            {**expected, "errors": [{"field": field, "message": message}]},
        )
        assert answer.headers["content-type"] == "application/problem+json"


class TestGetSchedule:
    async def test_200(self, client, connection):
        insert_schedule(connection)
        answer = await client.get("/schedules/1", params={"n": 3})
        assert (answer.status_code, answer.json()) == (200, SCHEDULE)

    async def test_404(self, client):
        answer = await client.get("/schedules/1")
        expected = problem(404, "not-found", "Not Found", "there is no schedule 1", "/schedules/1")
        assert (answer.status_code, answer.json()) == (404, expected)

    @pytest.mark.parametrize("path", ["/schedules/x", "/schedules/0", f"/schedules/{2**63}"])
    async def test_422(self, client, path):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "schedule_id")


class TestDefinitions:
    async def test_200_get(self, client, connection):
        insert_definition(connection, insert_schedule(connection))
        answer = await client.get("/definitions/1")
        assert (answer.status_code, answer.json()) == (200, DEFINITION)

    async def test_200_list_pages_touch_and_leave_deleted_ones_out(self, client, connection):
        schedule = insert_schedule(connection)
        for number in range(4):
            insert_definition(connection, schedule, deleted_at=NOW if number == 1 else None)
        insert_definition(connection, insert_schedule(connection, expression="0 1 1 * * *"))
        first = (await client.get(f"/schedules/{schedule}/definitions", params={"limit": 2, "n": 3})).json()
        assert first["items"][0] == DEFINITION
        second = (
            await client.get(
                f"/schedules/{schedule}/definitions", params={"limit": 2, "cursor": first["next"]}
            )
        ).json()
        assert [item["id"] for item in first["items"] + second["items"]] == [1, 3, 4]
        assert second["next"] is None

    async def test_200_of_another_kind_there_is_no_callback(self, client, connection):
        insert_definition(connection, insert_schedule(connection, kind="timer"), kind="timer")
        assert (await client.get("/definitions/1")).json()["callback"] is None

    @pytest.mark.parametrize(
        ("changes", "instants"),
        [
            ({"enabled": False}, []),
            ({"expires_at": datetime(2026, 11, 23, 1, 30, tzinfo=UTC)}, ["2026-11-23T01:30:00Z"]),
            ({"active_since": datetime(2099, 1, 1, tzinfo=UTC)}, ["2099-01-01T01:30:00Z"]),
            ({"due_at": NOW + timedelta(hours=1)}, ["2026-11-22T03:00:00Z"]),
            ({"due_at": NOW, "spent": True}, []),
        ],
    )
    async def test_200_next_instants_are_those_it_will_answer_for(
        self, client, connection, changes, instants
    ):
        insert_definition(connection, insert_schedule(connection), **changes)
        found = (await client.get("/definitions/1", params={"n": 1})).json()
        assert found["next_instants"] == instants

    async def test_404_for_another_project(self, narrow, connection):
        insert_definition(connection, insert_schedule(connection), project_id="49")
        for method, path in (
            ("GET", "/definitions/1"),
            ("DELETE", "/definitions/1"),
            ("POST", "/definitions/1/enable"),
            ("POST", "/definitions/1/disable"),
        ):
            answer = await narrow.request(method, path)
            expected = problem(404, "not-found", "Not Found", "there is no definition 1", path)
            assert (answer.status_code, answer.json()) == (404, expected)
        assert connection.execute("SELECT revision FROM definition").fetchone() == {"revision": 1}
        assert (await narrow.get("/schedules/1/definitions")).json() == {"items": [], "next": None}


class TestSwitching:
    """Every change bumps the revision and tells the schedule, so that an armed window hears of it."""

    @pytest.fixture
    async def listener(self, database_url):
        connection = await psycopg.AsyncConnection.connect(database_url, autocommit=True)
        await connection.execute("LISTEN carillon_schedule")
        yield connection
        await connection.close()

    async def heard(self, listener) -> list[str]:
        return [note.payload async for note in listener.notifies(timeout=0.2)]

    async def test_204_delete(self, client, connection, listener):
        insert_definition(connection, insert_schedule(connection))
        answer = await client.delete("/definitions/1")
        assert (answer.status_code, answer.content) == (204, b"")
        assert await self.heard(listener) == ["1"]
        row = connection.execute(
            "SELECT d.deleted_at IS NOT NULL AS gone, d.revision, s.active FROM definition d, schedule s"
        ).fetchone()
        assert row == {"gone": True, "revision": 2, "active": False}
        assert (await client.get("/definitions/1")).status_code == 404
        assert (await client.delete("/definitions/1")).status_code == 404

    async def test_an_armed_execution_of_a_deleted_definition_is_refused(self, client, connection, database):
        from include.ledger.model import Due
        from include.ledger.repository import LedgerRepository

        insert_definition(connection, insert_schedule(connection))
        ahead = datetime(2999, 1, 1, tzinfo=UTC)  # not overdue: the app's own duties leave it alone
        execution = insert_execution(
            connection, 1, NOW, state="pending", finished_at=None, next_attempt_at=ahead, attempts=0
        )
        await client.delete("/definitions/1")
        due = Due(execution, NOW, 1, "scheduled", 0, 0, NOW, 1)
        async with database.transaction() as session:
            [verdict] = await LedgerRepository(session).claim([due], claimer=1, now=NOW)
        assert (verdict.verdict, verdict.attempt) == ("deleted", None)

    async def test_200_disable_and_enable(self, client, connection, listener):
        insert_definition(connection, insert_schedule(connection))
        answer = await client.post("/definitions/1/disable")
        body = answer.json()
        assert (answer.status_code, body["enabled"], body["revision"], body["next_instants"]) == (
            200,
            False,
            2,
            [],
        )
        assert await self.heard(listener) == ["1"]
        assert connection.execute("SELECT active FROM schedule").fetchone() == {"active": False}
        body = (await client.post("/definitions/1/enable")).json()
        assert (body["enabled"], body["revision"]) == (True, 3)
        assert body["active_since"] > DEFINITION["active_since"]
        assert await self.heard(listener) == ["1"]
        assert connection.execute("SELECT active FROM schedule").fetchone() == {"active": True}

    async def test_200_doing_it_again_changes_nothing(self, client, connection, listener):
        insert_definition(connection, insert_schedule(connection))
        assert (await client.post("/definitions/1/enable")).json() == DEFINITION
        await client.post("/definitions/1/disable")
        assert (await client.post("/definitions/1/disable")).json()["revision"] == 2
        assert await self.heard(listener) == ["1"]

    async def test_409_a_one_shot_whose_moment_passed(self, client, connection):
        once = insert_schedule(connection, expression="@once")
        insert_definition(connection, once, enabled=False, due_at=datetime(2026, 1, 1, tzinfo=UTC))
        answer = await client.post("/definitions/1/enable")
        expected = problem(
            409,
            "conflict",
            "Conflict",
            "its moment 2026-01-01T00:00:00+00:00 has passed: give it a new start time instead",
            "/definitions/1/enable",
        )
        assert (answer.status_code, answer.json()) == (409, expected)

    async def test_200_a_one_shot_that_ran_can_be_enabled(self, client, connection):
        once = insert_schedule(connection, expression="@once")
        past = datetime(2026, 1, 1, tzinfo=UTC)
        insert_definition(connection, once, enabled=False, due_at=past, spent=True)
        assert (await client.post("/definitions/1/enable")).status_code == 200

    async def test_a_schedule_that_goes_is_noted_and_hurries_nobody(self, client, connection, parse_requests):
        insert_definition(connection, insert_schedule(connection))
        await asyncio.sleep(0.3)
        parse_requests.clear()
        await client.delete("/definitions/1")
        await asyncio.sleep(0.25)
        row = connection.execute("SELECT active, announced FROM schedule").fetchone()
        assert (row, parse_requests) == ({"active": False, "announced": True}, [])


async def test_what_the_crontab_api_made_is_seen_here(client, client_of, database):
    crontab = await client_of("crontab", await make_token(database))
    await crontab.post("/add_task", json={"task_list": [task("from 003", headers={"X-Api-Key": "k"})]})
    [schedule] = (await client.get("/schedules", params={"n": 1})).json()["items"]
    assert (schedule["dag_id"], schedule["definitions"]) == ("callback.0_30_9_x_x_x", 1)
    [definition] = (await client.get(f"/schedules/{schedule['id']}/definitions")).json()["items"]
    assert (definition["name"], definition["callback"]["url"]) == ("from 003", "http://example.com/hook")
