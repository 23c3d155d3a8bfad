"""/carillon/v1: executions, attempts, explain, lateness."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.builders import insert_definition, insert_execution, insert_schedule, make_token

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
DUE = datetime(2026, 11, 22, 1, 30, tzinfo=UTC)
DAY = timedelta(days=1)

EXECUTION = {
    "id": 1,
    "definition_id": 1,
    "definition_name": "definition 0",
    "kind": "callback",
    "schedule_id": 1,
    "due_at": "2026-11-22T01:30:00Z",
    "origin": "scheduled",
    "state": "succeeded",
    "reason": None,
    "covers_since": None,
    "covers_count": 1,
    "attempts": 1,
    "next_attempt_at": None,
    "run_id": None,
    "lateness_ms": 5.0,
    "finished_at": "2026-11-22T01:30:01Z",
    "created_at": "2026-11-22T01:29:45Z",
}


@pytest.fixture(autouse=True)
def _still_clock(monkeypatch):
    monkeypatch.setattr("api_plugin.management.ledger_routes.system_clock", lambda: NOW)


@pytest.fixture
async def client(client_of, database):
    return await client_of("management", await make_token(database))


@pytest.fixture
async def narrow(client_of, database):
    return await client_of("management", await make_token(database, projects=["42"]))


class TestListExecutions:
    async def test_200(self, client, connection: psycopg.Connection):
        insert_definition(connection, insert_schedule(connection))
        insert_execution(connection, 1, DUE)
        answer = await client.get("/executions")
        assert (answer.status_code, answer.json()) == (200, {"items": [EXECUTION], "next": None})

    async def test_200_pages_touch_even_where_instants_are_equal(self, client, connection):
        schedule = insert_schedule(connection)
        for number in range(5):
            insert_definition(connection, schedule)
            insert_execution(connection, number + 1, DUE if number < 3 else DUE + DAY)
        seen, params = [], {"limit": "2"}
        while True:
            page = (await client.get("/executions", params=params)).json()
            seen += [item["id"] for item in page["items"]]
            if page["next"] is None:
                break
            params["cursor"] = page["next"]
        assert seen == [5, 4, 3, 2, 1]

    async def test_200_filters(self, client, connection):
        first, second = insert_schedule(connection), insert_schedule(connection, kind="timer")
        insert_definition(connection, first)
        insert_definition(connection, second, kind="timer")
        insert_execution(connection, 1, DUE)
        insert_execution(connection, 1, DUE + DAY, state="failed", reason="HTTP 500")
        insert_execution(connection, 2, DUE, origin="manual")
        insert_execution(connection, 2, DUE - DAY)

        async def ids(**params):
            answer = await client.get("/executions", params=params)
            assert answer.status_code == 200, answer.json()
            return [item["id"] for item in answer.json()["items"]]

        assert await ids(definition_id=1) == [2, 1]
        assert await ids(schedule_id=second) == [3, 4]
        assert await ids(kind="timer") == [3, 4]
        assert await ids(state="failed") == [2]
        assert await ids(origin="manual") == [3]
        assert await ids(**{"from": DUE.isoformat()}) == [2, 3, 1]
        assert await ids(to=DUE.isoformat()) == [4]
        assert await ids(**{"from": "2026-11-22T09:30:00+08:00", "to": (DUE + DAY).isoformat()}) == [3, 1]
        assert await ids(definition_id=1, state="succeeded", kind="callback", origin="scheduled") == [1]

    async def test_200_only_those_of_the_tokens_projects(self, narrow, connection):
        schedule = insert_schedule(connection)
        for project in ("42", "49", None):
            insert_execution(connection, insert_definition(connection, schedule, project_id=project), DUE)
        assert [item["id"] for item in (await narrow.get("/executions")).json()["items"]] == [1]
        assert (await narrow.get("/executions/1")).status_code == 200
        for path in ("/executions/2", "/executions/2/attempts", "/executions/3"):
            answer = await narrow.get(path)
            assert (answer.status_code, answer.json()["detail"]) == (404, f"there is no execution {path[12]}")

    @pytest.mark.parametrize(
        ("params", "field"),
        [
            ({"state": "x"}, "state"),
            ({"origin": "x"}, "origin"),
            ({"definition_id": 0}, "definition_id"),
            ({"schedule_id": 2**63}, "schedule_id"),
            ({"from": "yesterday"}, "from"),
            ({"from": "2026-11-22T00:00:00"}, "from"),
            ({"to": "0001-01-01T00:00:00Z"}, "to"),
            ({"to": "9999-12-31T23:59:59-12:00"}, "to"),
            ({"cursor": "WzFd"}, "cursor"),
            ({"cursor": "WyJ4IiwxXQ"}, "cursor"),
            ({"cursor": "WyIyMDI2LTExLTIyIiwxXQ"}, "cursor"),
            ({"cursor": "é"}, "cursor"),
        ],
    )
    async def test_422(self, client, params, field):
        answer = await client.get("/executions", params=params)
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == [field]

    async def test_it_is_one_query(self, client, connection, monkeypatch):
        from psycopg import AsyncConnection

        await client.get("/whoami")
        executed = []
        execute = AsyncConnection.execute

        async def counted(self, query, *words, **more):
            if not asyncio.current_task().get_name().startswith("carillon-"):  # what goes on beside the apps
                executed.append(query)
            return await execute(self, query, *words, **more)

        for path in ("/executions", "/schedules", "/schedules/1/definitions"):
            executed.clear()
            monkeypatch.setattr(AsyncConnection, "execute", counted)
            assert (await client.get(path)).status_code == 200
            monkeypatch.undo()
            ours = [query for query in executed if "LIMIT" in str(query)]
            assert len(ours) == 1, path


class TestGetExecution:
    async def test_200(self, client, connection):
        insert_definition(connection, insert_schedule(connection))
        insert_execution(connection, 1, DUE)
        assert (await client.get("/executions/1")).json() == EXECUTION
        answer = await client.get("/executions/1", params={"due_at": "2026-11-22T01:30:00Z"})
        assert answer.json() == EXECUTION

    async def test_404(self, client, connection):
        insert_definition(connection, insert_schedule(connection))
        insert_execution(connection, 1, DUE)
        assert (await client.get("/executions/2")).status_code == 404
        answer = await client.get("/executions/1", params={"due_at": "2026-11-22T01:31:00Z"})
        assert answer.status_code == 404


class TestListAttempts:
    async def test_200(self, client, connection):
        insert_definition(connection, insert_schedule(connection))
        insert_execution(connection, 1, DUE)
        connection.execute(
            """
            INSERT INTO attempt (execution_id, due_at, number, definition_id, run_type, state, begin_at,
                                 end_at, url, body, status, response, error)
            VALUES (1, %(due)s, 2, 1, 2, 'started', %(due)s, NULL, NULL, NULL, NULL, NULL, NULL),
                   (1, %(due)s, 1, 1, 1, 'failed', %(due)s, %(due)s, 'http://x', 'b', 500, 'no', 'HTTP 500')
            """,
            {"due": DUE},
        )
        answer = await client.get("/executions/1/attempts")
        nothing = dict.fromkeys(("end_at", "url", "body", "status", "response", "error"))
        assert answer.json() == {
            "items": [
                {
                    "number": 1,
                    "run_type": 1,
                    "state": "failed",
                    "begin_at": "2026-11-22T01:30:00Z",
                    "end_at": "2026-11-22T01:30:00Z",
                    "url": "http://x",
                    "body": "b",
                    "status": 500,
                    "response": "no",
                    "error": "HTTP 500",
                },
                {
                    "number": 2,
                    "run_type": 2,
                    "state": "started",
                    "begin_at": "2026-11-22T01:30:00Z",
                    **nothing,
                },
            ]
        }

    async def test_200_none_yet(self, client, connection):
        insert_definition(connection, insert_schedule(connection))
        insert_execution(connection, 1, DUE)
        assert (await client.get("/executions/1/attempts")).json() == {"items": []}

    async def test_404(self, client):
        answer = await client.get("/executions/5/attempts")
        assert (answer.status_code, answer.json()["detail"]) == (404, "there is no execution 5")


class TestExplain:
    async def test_200_it_fired(self, client, connection):
        insert_definition(connection, insert_schedule(connection))
        insert_execution(connection, 1, DUE)
        answer = await client.get("/explain", params={"definition_id": 1, "at": "2026-11-22T09:30:00+08:00"})
        found = answer.json()
        assert len(found.pop("next_instants")) == 3
        assert (answer.status_code, found) == (
            200,
            {
                "definition_id": 1,
                "definition_name": "definition 0",
                "at": "2026-11-22T01:30:00Z",
                "reason_code": "fired",
                "sentence": "It fired and succeeded after 1 attempt, 5.0 ms after its instant.",
                "execution": EXECUTION,
            },
        )

    async def test_200_a_condensed_row_stands_for_the_instants_of_an_outage(self, client, connection):
        insert_definition(connection, insert_schedule(connection))
        insert_execution(
            connection, 1, DUE, state="missed", reason="outage", covers_since=DUE - 5 * DAY, covers_count=5,
            attempts=0, lateness_ms=None,
        )  # fmt: skip
        insert_execution(connection, 1, DUE + DAY)

        async def code(at: datetime) -> str:
            params = {"definition_id": 1, "at": at.isoformat()}
            return (await client.get("/explain", params=params)).json()["reason_code"]

        assert [await code(DUE + days * DAY) for days in (-6, -5, -4, -1, 0, 1)] == [
            "not_armed", "not_armed", "outage", "outage", "missed", "fired",
        ]  # fmt: skip

    async def test_200_a_manual_run_at_that_very_moment_is_shown(self, client, connection):
        insert_definition(connection, insert_schedule(connection))
        insert_execution(connection, 1, DUE + timedelta(minutes=1), origin="manual")
        params = {"definition_id": 1, "at": (DUE + timedelta(minutes=1)).isoformat()}
        assert (await client.get("/explain", params=params)).json()["execution"]["origin"] == "manual"
        params["at"] = (DUE + timedelta(seconds=30)).isoformat()
        assert (await client.get("/explain", params=params)).json()["reason_code"] == "not_an_instant"

    async def test_200_a_deleted_definition_can_be_asked_about(self, client, connection):
        insert_definition(connection, insert_schedule(connection), deleted_at=DUE - DAY)
        params = {"definition_id": 1, "at": DUE.isoformat()}
        found = (await client.get("/explain", params=params)).json()
        assert (found["reason_code"], found["next_instants"]) == ("deleted", [])

    async def test_404(self, client, narrow, connection):
        params = {"definition_id": 1, "at": DUE.isoformat()}
        assert (await client.get("/explain", params=params)).status_code == 404
        insert_definition(connection, insert_schedule(connection), project_id="49")
        assert (await narrow.get("/explain", params=params)).status_code == 404

    async def test_422(self, client):
        answer = await client.get("/explain")
        assert answer.json()["errors"] == [
            {"field": "definition_id", "message": "is required"},
            {"field": "at", "message": "is required"},
        ]


class TestLateness:
    async def test_200(self, client, connection):
        schedule = insert_schedule(connection)
        insert_definition(connection, schedule)
        for number in range(100):
            insert_execution(
                connection, 1, NOW - timedelta(minutes=number + 1), lateness_ms=float(number) * 0.1
            )
        insert_execution(connection, 1, NOW - timedelta(minutes=101), lateness_ms=70_000.0)
        insert_execution(connection, 1, NOW - timedelta(minutes=102), lateness_ms=None)
        insert_execution(connection, 1, NOW - 2 * DAY, lateness_ms=1e6)
        insert_execution(connection, 1, NOW - timedelta(minutes=1), lateness_ms=1e6, origin="manual")
        answer = await client.get(
            "/lateness", params={"from": (NOW - DAY).isoformat(), "to": NOW.isoformat()}
        )
        [kind] = answer.json().pop("kinds")
        buckets = {bucket["from_ms"]: bucket for bucket in kind.pop("buckets")}
        assert kind == {
            "kind": "callback", "executions": 101, "p50_ms": 5.0, "p95_ms": 9.5, "p99_ms": 9.9,
            "max_ms": 70_000.0,
        }  # fmt: skip
        assert {key: bucket["count"] for key, bucket in buckets.items() if bucket["count"]} == {
            None: 10, 1.0: 10, 2.0: 30, 5.0: 50, 60_000.0: 1,
        }  # fmt: skip
        assert buckets[60_000.0] == {"from_ms": 60_000.0, "below_ms": None, "count": 1}
        assert len(buckets) == 15

    async def test_200_nothing_measured_and_the_last_day_by_default(self, client):
        answer = await client.get("/lateness")
        assert answer.json() == {"from": "2026-11-21T02:00:00Z", "to": "2026-11-22T02:00:00Z", "kinds": []}
        answer = await client.get("/lateness", params={"from": "2026-11-01T00:00:00Z", "kind": "timer"})
        assert answer.json() == {"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z", "kinds": []}

    async def test_200_only_of_the_tokens_projects(self, narrow, connection):
        schedule = insert_schedule(connection)
        for project, late in (("42", 1.5), ("49", 99.0)):
            definition = insert_definition(connection, schedule, project_id=project)
            insert_execution(connection, definition, DUE, lateness_ms=late)
        [kind] = (await narrow.get("/lateness")).json()["kinds"]
        assert (kind["executions"], kind["max_ms"]) == (1, 1.5)

    @pytest.mark.parametrize("span", [timedelta(0), -DAY, 32 * DAY])
    async def test_422(self, client, span):
        params = {"from": NOW.isoformat(), "to": (NOW + span).isoformat()}
        answer = await client.get("/lateness", params=params)
        assert answer.status_code == 422
        assert answer.json()["errors"] == [
            {"field": "to", "message": "must lie after `from`, by 31 days at the most"}
        ]
