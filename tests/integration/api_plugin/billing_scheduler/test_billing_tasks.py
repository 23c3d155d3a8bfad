"""The billing tasks of document 000, one class an endpoint."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import psycopg
import pytest

from include.billing_tasks.service import BillingTaskService
from include.errors import CronExpressionError
from tests.billing_rows import at, insert_project
from tests.builders import make_token
from tests.integration.api_plugin.billing_scheduler.billing_wire import (
    CREATE,
    CRONTAB,
    NO_TASK,
    UPDATE,
    create,
    forbidden,
    refused,
)

WHOLE = "must be a whole number"
VALUE = "must be a text such as * or 1,15, or a whole number"
MISSING = object()
UNKNOWN = "0" * 32
SPELLINGS = ["/task/", "/task", "/tasks/", "/tasks"]


def without(body: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**body, **changes}.items() if value is not MISSING}


def crontab(**changes: Any) -> dict[str, Any]:
    return {"crontab": without(CRONTAB, changes)}


#: Bad values of the fields that POST and PUT share, and what is said of them.
BAD_FIELDS = [
    ({"name": MISSING}, "name: is required"),
    ({"name": None}, "name: must be a valid string"),
    ({"name": 5}, "name: must be a valid string"),
    ({"name": ""}, "name: must have at least 1 character"),
    ({"name": "x" * 256}, "name: must have at most 255 characters"),
    ({"name": " \t"}, "name: must have printable characters only, and one that is not blank"),
    ({"name": "  "}, "name: must have printable characters only, and one that is not blank"),
    ({"name": "a\0b"}, "name: must not contain NUL characters"),
    ({"name": "a\nb"}, "name: must have printable characters only, and one that is not blank"),
    ({"enabled": None}, "enabled: must be a valid boolean"),
    ({"enabled": "true"}, "enabled: must be a valid boolean"),
    ({"enabled": 1}, "enabled: must be a valid boolean"),
    ({"description": None}, "description: must be a valid string"),
    ({"description": 1}, "description: must be a valid string"),
    ({"description": "\0"}, "description: must not contain NUL characters"),
    ({"description": "x" * 2001}, "description: must have at most 2000 characters"),
    ({"crontab": MISSING}, "crontab: is required"),
    ({"crontab": None}, "crontab: must be a valid dictionary"),
    ({"crontab": "0 1 1 * *"}, "crontab: must be a valid dictionary"),
    ({"crontab": {}}, "crontab.month: is required"),
    (crontab(minute=MISSING), "crontab.minute: is required"),
    (crontab(hour=MISSING), "crontab.hour: is required"),
    (crontab(day=MISSING), "crontab.day: is required"),
    (crontab(month=MISSING), "crontab.month: is required"),
    (crontab(minute=None), f"crontab.minute: {VALUE}"),
    (crontab(minute=True), f"crontab.minute: {VALUE}"),
    (crontab(minute=0.5), f"crontab.minute: {VALUE}"),
    (crontab(minute=[0]), f"crontab.minute: {VALUE}"),
    (crontab(minute="60"), "crontab.minute: minute '60': 60 is outside 0 to 59"),
    (crontab(minute=60), "crontab.minute: minute '60': 60 is outside 0 to 59"),
    (crontab(hour="24"), "crontab.hour: hour '24': 24 is outside 0 to 23"),
    (crontab(day="32"), "crontab.day: day of month '32': 32 is outside 1 to 31"),
    (crontab(day="0"), "crontab.day: day of month '0': 0 is outside 1 to 31"),
    (crontab(month=13), "crontab.month: month '13': 13 is outside 1 to 12"),
    (crontab(day=""), "crontab.day: day of month '': it is empty"),
    (crontab(hour="*/0"), "crontab.hour: hour '*/0': the step must be at least 1"),
    (crontab(weekday="*"), "crontab.weekday: is not a key of a crontab: give month, day, hour, minute"),
    ({"colour": "red"}, "colour: is not a field of this request"),
]


def spelled(path: str, key: str, tail: str = "") -> str:
    """Return the path of a task in one of the spellings of the path of all."""
    return f"{path.rstrip('/')}/{key}{tail}{'/' if path.endswith('/') else ''}"


def schedule_of(connection: psycopg.Connection, key: str) -> dict[str, Any]:
    row = connection.execute(
        """
        SELECT s.kind, s.expression, s.timezone, s.dag_id, s.active, d.misfire, d.misfire_grace, d.overlap,
               d.project_id, d.active_since, d.updated_at, d.revision, d.enabled, t.crontab
        FROM billing_task t
        JOIN definition d ON d.id = t.definition_id
        JOIN schedule s ON s.id = d.schedule_id
        WHERE t.natrual_key = %s
        """,
        [key],
    ).fetchone()
    assert row is not None
    return row


def long_ago(connection: psycopg.Connection) -> datetime:
    """Have every definition be active since 2020."""
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    connection.execute("UPDATE definition SET active_since = %s, updated_at = %s", [moment, moment])
    return moment


class TestCreate:
    async def test_200_each_spelling_of_the_path(self, client):
        for path in SPELLINGS:
            answer = await client.post(path, json=CREATE)
            assert answer.json()["meta"] == {"code": 0, "message": "create crontab ok."}, path

    async def test_200_its_schedule_is_there_at_once(self, client, connection: psycopg.Connection):
        row = schedule_of(connection, await create(client))
        assert datetime.now(UTC) - row.pop("active_since") < timedelta(minutes=2)
        assert datetime.now(UTC) - row.pop("updated_at") < timedelta(minutes=2)
        assert row == {
            "kind": "billing",
            "expression": "0 0 1 1 * *",
            "timezone": "Asia/Shanghai",
            "dag_id": "billing.0_0_1_1_x_x",
            "active": True,
            "misfire": "run",
            "misfire_grace": timedelta(days=400),
            "overlap": "queue",
            "project_id": "49",
            "revision": 1,
            "enabled": True,
            "crontab": CRONTAB,
        }

    async def test_200_what_may_be_left_out(self, client, connection: psycopg.Connection):
        body = without(CREATE, {"enabled": MISSING, "description": MISSING})
        data = (await client.post("/task/", json=body)).json()["data"]
        assert (data["enabled"], data["description"]) == (True, "")

    async def test_200_two_tasks_may_have_one_name_and_one_schedule(
        self, client, connection: psycopg.Connection
    ):
        keys = {await create(client), await create(client), await create(client, project_id=42)}
        assert len(keys) == 3
        assert connection.execute("SELECT count(*) AS n FROM schedule").fetchone() == {"n": 1}

    async def test_200_one_that_is_off_makes_no_dag(self, client, connection: psycopg.Connection):
        answer = await client.post("/task/", json={**CREATE, "enabled": False})
        data = answer.json()["data"]
        assert (data["enabled"], data["next_run_at"]) == (False, None)
        assert schedule_of(connection, data["natrual_key"])["active"] is False

    async def test_200_numbers_and_their_digits(self, client):
        body = {**CREATE, "project_id": "49", "device_type": "2", **crontab(day=15, minute=30)}
        data = (await client.post("/task/", json=body)).json()["data"]
        assert data["crontab"] == {"month": "*", "day": 15, "hour": "1", "minute": 30}
        assert (data["project_id"], data["device_type"]) == (49, 2)

    async def test_200_the_calendar_of_the_project(self, client, connection: psycopg.Connection):
        insert_project(connection, "49", timezone="America/New_York", month_end="skip")
        key = await create(client, **crontab(day="30"))
        row = schedule_of(connection, key)
        assert (row["expression"], row["timezone"]) == ("0 0 1 30 * *", "America/New_York")
        assert row["dag_id"] == "billing.0_0_1_30_x_x.America-New_York"

    async def test_200_a_day_that_february_lacks(self, client, connection: psycopg.Connection):
        row = schedule_of(connection, await create(client, **crontab(day="30")))
        assert row["expression"] == "0 0 1 30 1,3-12 *|0 0 1 L 2 *"
        assert row["dag_id"] == "billing.0_0_1_30_1.3-12_x-or-0_0_1_L_2_x"

    async def test_400_a_day_that_never_comes_in_a_project_that_skips(
        self, client, connection: psycopg.Connection
    ):
        insert_project(connection, "49", month_end="skip")
        answer = await client.post("/task/", json={**CREATE, **crontab(day="31", month="4,6")})
        assert (answer.status_code, answer.json()) == (
            400,
            refused("crontab: '0 0 1 31 4,6 *' never fires: there is no such date"),
        )

    BAD = (
        *BAD_FIELDS,
        ({"project_id": MISSING}, "project_id: is required"),
        ({"project_id": None}, f"project_id: {WHOLE}"),
        ({"project_id": True}, f"project_id: {WHOLE}"),
        ({"project_id": 49.0}, f"project_id: {WHOLE}"),
        ({"project_id": "49.0"}, f"project_id: {WHOLE}"),
        ({"project_id": "-49"}, f"project_id: {WHOLE}"),
        ({"project_id": "四"}, f"project_id: {WHOLE}"),
        ({"project_id": ""}, f"project_id: {WHOLE}"),
        ({"project_id": -1}, "project_id: must be greater than or equal to 0"),
        ({"project_id": 2**63}, f"project_id: must be less than or equal to {2**63 - 1}"),
        ({"device_type": MISSING}, "device_type: is required"),
        ({"device_type": 0}, "device_type: must be 1 (water) or 2 (electricity)"),
        ({"device_type": 3}, "device_type: must be 1 (water) or 2 (electricity)"),
        ({"device_type": 10}, "device_type: must be 1 (water) or 2 (electricity)"),
        ({"device_type": True}, f"device_type: {WHOLE}"),
        ({"device_type": "water"}, f"device_type: {WHOLE}"),
        ({"natrual_key": UNKNOWN}, "natrual_key: is not a field of this request"),
    )

    async def test_400_names_the_field(self, client, connection: psycopg.Connection):
        for changes, message in self.BAD:
            answer = await client.post("/task/", json=without(CREATE, changes))
            assert (answer.status_code, answer.json()) == (400, refused(message)), changes
        assert connection.execute("SELECT count(*) AS n FROM definition").fetchone() == {"n": 0}

    async def test_400_names_every_field_at_once(self, client):
        answer = await client.post("/task/", json={"enabled": 1})
        assert answer.json() == refused(
            "name: is required; project_id: is required; crontab: is required; device_type: is required; "
            "enabled: must be a valid boolean"
        )

    NO_OBJECTS = (
        (b"", "the body is not JSON: "),
        (b"{", "the body is not JSON: "),
        (b"[]", "the body must be a JSON object"),
        (b'"x"', "the body must be a JSON object"),
        (b'{"name": "\xff"}', "the body is not JSON: "),
        (b"[" * 40 + b"]" * 40, "the body is nested deeper than 32 levels"),
    )

    async def test_400_what_is_no_object(self, client):
        for content, message in self.NO_OBJECTS:
            answer = await client.post("/task/", content=content)
            body = answer.json()
            assert (answer.status_code, body["meta"]["code"], body["data"]) == (400, 10000, {}), content
            assert body["meta"]["message"].startswith(message), content

    async def test_400_half_of_a_surrogate_pair(self, client):
        half = "\ud800"
        for changes, begin in (
            ({"name": half}, "name: must be a valid string"),
            ({"description": half}, "description: must be a valid string"),
            (crontab(minute=half), "crontab.minute: minute "),
            (crontab(**{half: 1}), "crontab.?: is not a key of a crontab"),
            ({half: 1}, "must be a valid string"),
        ):
            answer = await client.post("/task/", content=json.dumps({**CREATE, **changes}))
            assert (answer.status_code, answer.json()["meta"]["code"]) == (400, 10000), begin
            assert answer.json()["meta"]["message"].startswith(begin)

    async def test_403_a_project_of_somebody_else(self, stranger, connection: psycopg.Connection):
        answer = await stranger.post("/task/", json=CREATE)
        assert (answer.status_code, answer.json()) == (403, forbidden(49))
        assert connection.execute("SELECT count(*) AS n FROM schedule").fetchone() == {"n": 0}


class TestList:
    async def test_200_each_spelling_of_the_path(self, client):
        await create(client)
        for path in SPELLINGS:
            answer = await client.get(f"{path}?project_id=49&device_type=1")
            assert answer.json()["data"]["count"] == 1, path

    async def test_200_by_type(self, client):
        water, power = await create(client), await create(client, device_type=2)
        await create(client, project_id=42)
        for code, keys in ((0, [water, power]), (1, [water]), (2, [power])):
            data = (await client.get(f"/tasks/?project_id=49&device_type={code}")).json()["data"]
            assert [task["natrual_key"] for task in data["results"]] == keys
            assert data["count"] == len(keys)

    async def test_200_pages(self, client):
        for _ in range(5):
            await create(client)
        pages = [(1, 2, True, None), (2, 2, True, True), (3, 1, None, True), (4, 0, None, True)]
        for page, shown, following, previous in pages:
            answer = await client.get(f"/tasks/?project_id=49&device_type=0&page_size=2&page={page}")
            data = answer.json()["data"]
            assert len(data.pop("results")) == shown
            assert data == {"count": 5, "page_size": 2, "next": following, "previous": previous}

    async def test_200_a_page_has_ten_unless_more_is_asked_for(self, client):
        for _ in range(11):
            await create(client)
        data = (await client.get("/tasks/?project_id=49&device_type=0")).json()["data"]
        assert (len(data["results"]), data["page_size"], data["next"]) == (10, 10, True)
        data = (await client.get("/tasks/?project_id=49&device_type=0&page_size=100")).json()["data"]
        assert (len(data["results"]), data["page_size"], data["next"]) == (11, 100, None)

    async def test_200_nothing_of_a_project_without_tasks(self, client):
        answer = await client.get("/tasks/?project_id=28&device_type=0&page=92233720368547758&page_size=100")
        assert (answer.status_code, answer.json()) == (
            200,
            {
                "meta": {"code": 0, "message": "task list info"},
                "data": {"count": 0, "page_size": 100, "next": None, "previous": None, "results": []},
            },
        )

    BAD = (
        ("device_type=0", "project_id: is required"),
        ("project_id=42", "device_type: is required"),
        ("project_id=abc&device_type=0", f"project_id: {WHOLE}"),
        ("project_id=&device_type=0", f"project_id: {WHOLE}"),
        ("project_id=42.0&device_type=0", f"project_id: {WHOLE}"),
        ("project_id=%2B42&device_type=0", f"project_id: {WHOLE}"),
        ("project_id=-1&device_type=0", f"project_id: {WHOLE}"),
        ("project_id=4_2&device_type=0", f"project_id: {WHOLE}"),
        ("project_id=%D9%A4&device_type=0", f"project_id: {WHOLE}"),
        (
            f"project_id={10**30}&device_type=0",
            f"project_id: must be less than or equal to {2**63 - 1}",
        ),
        ("project_id=42&device_type=3", "device_type: must be 0 (all), 1 (water) or 2 (electricity)"),
        ("project_id=42&device_type=10", "device_type: must be 0 (all), 1 (water) or 2 (electricity)"),
        ("project_id=42&device_type=true", f"device_type: {WHOLE}"),
        ("project_id=42&device_type=0&page=0", "page: must be greater than or equal to 1"),
        ("project_id=42&device_type=0&page=x", f"page: {WHOLE}"),
        (
            f"project_id=42&device_type=0&page={2**63}",
            f"page: must be less than or equal to {(2**63 - 1) // 100}",
        ),
        ("project_id=42&device_type=0&page_size=0", "page_size: must be greater than or equal to 1"),
        (
            "project_id=42&device_type=0&page_size=10000",
            "page_size: must be less than or equal to 100",
        ),
        ("project_id=42&device_type=0&page_size=-1", f"page_size: {WHOLE}"),
    )

    async def test_400_names_the_parameter(self, client):
        for query, message in self.BAD:
            answer = await client.get(f"/tasks/?{query}")
            assert (answer.status_code, answer.json()) == (400, refused(message)), query

    async def test_403_a_project_of_somebody_else(self, stranger):
        answer = await stranger.get("/tasks/?project_id=49&device_type=0")
        assert (answer.status_code, answer.json()) == (403, forbidden(49))

    async def test_200_a_token_of_all_projects(self, client_of, database, client):
        await create(client)
        everyone = await client_of("billing", await make_token(database))
        answer = await everyone.get("/tasks/?project_id=49&device_type=0")
        assert answer.json()["data"]["count"] == 1


class TestGet:
    async def test_200_each_spelling_of_the_path(self, client):
        for path in SPELLINGS:
            key = await create(client)
            url = spelled(path, key)
            answer = await client.get(url)
            assert answer.json()["data"]["natrual_key"] == key, path

    async def test_200_after_runs(self, client, connection: psycopg.Connection):
        key = await create(client)
        connection.execute(
            "UPDATE billing_task SET run_count = 3, last_run_at = %s", [at("2026-11-01T01:00:00")]
        )
        data = (await client.get(f"/tasks/{key}/")).json()["data"]
        assert (data["last_run_at"], data["run_count"]) == ("2026-11-01T01:00:00", 3)

    async def test_200_times_by_the_clocks_of_the_project(self, client, connection: psycopg.Connection):
        insert_project(connection, "49", timezone="Asia/Tokyo")
        key = await create(client)
        connection.execute("UPDATE billing_task SET last_run_at = %s", [at("2026-11-01T01:00:00")])
        data = (await client.get(f"/tasks/{key}/")).json()["data"]
        assert data["last_run_at"] == "2026-11-01T02:00:00"
        assert data["next_run_at"].endswith("01T01:00:00")

    async def test_404_what_is_no_key(self, client):
        verbs = (("GET", None), ("PUT", UPDATE), ("DELETE", None))
        for key, (verb, body) in product(["x", UNKNOWN[:-1], "C" * 32, "%00", f"{UNKNOWN}%00", "..."], verbs):
            answer = await client.request(verb, f"/tasks/{key}/", json=body)
            assert (answer.status_code, answer.json()["meta"]["code"]) == (404, 11600)


class TestUpdate:
    async def test_200_each_spelling_of_the_path(self, client):
        for path in SPELLINGS:
            key = await create(client)
            url = spelled(path, key)
            answer = await client.put(url, json=UPDATE)
            assert answer.json()["meta"] == {"code": 0, "message": "task update ok."}, path

    async def test_200_another_crontab_moves_it(self, client, connection: psycopg.Connection):
        key = await create(client)
        long_ago(connection)
        await client.put(f"/tasks/{key}/", json=UPDATE)
        row = schedule_of(connection, key)
        assert datetime.now(UTC) - row["active_since"] < timedelta(minutes=2)
        assert (row["expression"], row["active"], row["crontab"]) == (
            "0 0 1 2 * *",
            True,
            {**CRONTAB, "day": "2"},
        )
        active = connection.execute("SELECT dag_id FROM schedule WHERE active").fetchall()
        assert active == [{"dag_id": "billing.0_0_1_2_x_x"}]

    @pytest.mark.parametrize("same", [CRONTAB, {"month": "*", "day": 1, "hour": "01", "minute": "0"}])
    async def test_200_the_same_crontab_moves_nothing(self, client, connection: psycopg.Connection, same):
        key = await create(client)
        since = long_ago(connection)
        body = {**UPDATE, "name": "另一个", "description": "", "crontab": same}
        data = (await client.put(f"/tasks/{key}/", json=body)).json()["data"]
        assert (data["name"], data["description"], data["crontab"]) == ("另一个", "", same)
        row = schedule_of(connection, key)
        assert (row["active_since"], row["revision"]) == (since, 2)
        assert row["updated_at"] > since

    async def test_200_the_same_crontab_is_good_though_it_is_not_due_for_long(
        self, client, connection: psycopg.Connection
    ):
        key = await create(client)
        leap_day = {"month": "2", "day": "29", "hour": "1", "minute": "0"}
        insert_project(connection, "49", month_end="skip")
        connection.execute("UPDATE billing_task SET crontab = %s::jsonb", [psycopg.types.json.Json(leap_day)])
        answer = await client.put(f"/tasks/{key}/", json={**UPDATE, "crontab": leap_day})
        assert answer.status_code == 200

    async def test_200_off_and_on_again_catches_nothing_up(self, client, connection: psycopg.Connection):
        key = await create(client)
        since = long_ago(connection)
        data = (
            await client.put(f"/tasks/{key}/", json={**UPDATE, "crontab": CRONTAB, "enabled": False})
        ).json()["data"]
        assert (data["enabled"], data["next_run_at"]) == (False, None)
        row = schedule_of(connection, key)
        assert (row["active"], row["active_since"]) == (False, since)
        await client.put(f"/tasks/{key}/", json={**UPDATE, "crontab": CRONTAB})
        row = schedule_of(connection, key)
        assert row["active"] is True
        assert datetime.now(UTC) - row["active_since"] < timedelta(minutes=2)

    async def test_200_where_it_belongs_stays(self, client):
        key = await create(client)
        body = {**UPDATE, "project_id": 42, "device_type": "both"}
        data = (await client.put(f"/tasks/{key}/", json=body)).json()["data"]
        assert (data["project_id"], data["device_type"]) == (49, 1)

    BAD = (
        *BAD_FIELDS,
        ({"enabled": MISSING}, "enabled: is required"),
        ({"description": MISSING}, "description: is required"),
        ({"natrual_key": UNKNOWN}, "natrual_key: is not a field of this request"),
    )

    async def test_400_names_the_field(self, client, connection: psycopg.Connection):
        key = await create(client)
        for changes, message in self.BAD:
            answer = await client.put(f"/tasks/{key}/", json=without(UPDATE, changes))
            assert (answer.status_code, answer.json()) == (400, refused(message)), changes
        assert schedule_of(connection, key)["revision"] == 1

    async def test_404_for_somebody_else_as_for_a_key_that_is_none(self, client, stranger):
        key = await create(client)
        theirs = await stranger.put(f"/tasks/{key}/", json=UPDATE)
        nobody = await client.put(f"/tasks/{UNKNOWN}/", json=UPDATE)
        assert (theirs.status_code, nobody.status_code) == (404, 404)
        assert nobody.json() == NO_TASK
        assert theirs.json()["meta"] == {"code": 11600, "message": f"there is no task {key}"}


class TestDelete:
    async def test_200_each_spelling_of_the_path(self, client):
        for path in SPELLINGS:
            key = await create(client)
            url = spelled(path, key)
            answer = await client.delete(url)
            assert answer.json() == {"meta": {"code": 0, "message": "delete ok."}, "data": {}}, path

    async def test_200_it_is_gone_with_its_dag_and_its_runs_stay(
        self, client, connection: psycopg.Connection
    ):
        key = await create(client)
        await client.delete(f"/tasks/{key}/")
        listed = await client.get("/tasks/?project_id=49&device_type=0")
        assert listed.json()["data"]["count"] == 0
        assert schedule_of(connection, key)["active"] is False
        for verb, path, body in (
            ("GET", f"/tasks/{key}/", None),
            ("PUT", f"/tasks/{key}/", UPDATE),
            ("DELETE", f"/tasks/{key}/", None),
            ("PUT", f"/tasks/{key}/status/", {"enabled": True}),
        ):
            answer = await client.request(verb, path, json=body)
            assert (answer.status_code, answer.json()["meta"]["code"]) == (404, 11600), (verb, path)

    async def test_404_for_somebody_else(self, client, stranger, connection: psycopg.Connection):
        key = await create(client)
        answer = await stranger.delete(f"/tasks/{key}/")
        assert (answer.status_code, answer.json()["meta"]["code"]) == (404, 11600)
        assert schedule_of(connection, key)["active"] is True


class TestStatus:
    async def test_200_each_spelling_of_the_path(self, client):
        for path in SPELLINGS:
            key = await create(client)
            url = spelled(path, key, "/status")
            answer = await client.put(url, json={"enabled": False})
            assert answer.json() == {"meta": {"code": 0, "message": "update ok."}, "data": {}}, path

    async def test_200_off_and_on_again_catches_nothing_up(self, client, connection: psycopg.Connection):
        key = await create(client)
        since = long_ago(connection)
        await client.put(f"/tasks/{key}/status/", json={"enabled": True})
        assert schedule_of(connection, key)["active_since"] == since
        await client.put(f"/tasks/{key}/status/", json={"enabled": False})
        row = schedule_of(connection, key)
        assert (row["enabled"], row["active"], row["active_since"]) == (False, False, since)
        await client.put(f"/tasks/{key}/status/", json={"enabled": True})
        row = schedule_of(connection, key)
        assert (row["enabled"], row["active"]) == (True, True)
        assert datetime.now(UTC) - row["active_since"] < timedelta(minutes=2)

    BAD = (
        ({}, "enabled: is required"),
        ({"enabled": "false"}, "enabled: must be a valid boolean"),
        ({"enabled": 0}, "enabled: must be a valid boolean"),
        ({"enabled": None}, "enabled: must be a valid boolean"),
        ({"enabled": True, "name": "x"}, "name: is not a field of this request"),
    )

    async def test_400_names_the_field(self, client):
        key = await create(client)
        for body, message in self.BAD:
            answer = await client.put(f"/tasks/{key}/status/", json=body)
            assert (answer.status_code, answer.json()) == (400, refused(message)), body

    async def test_404_for_somebody_else_as_for_a_key_that_is_none(self, client, stranger):
        key = await create(client)
        theirs = await stranger.put(f"/tasks/{key}/status/", json={"enabled": False})
        nobody = await client.put(f"/tasks/{UNKNOWN}/status/", json={"enabled": False})
        assert (theirs.status_code, nobody.status_code) == (404, 404)
        assert nobody.json() == NO_TASK


class TestFollowingAProject:
    """`BillingTaskService.follow_project`: whoever changes a project's clocks calls it."""

    async def test_tasks_move_to_the_new_clocks(self, client, database, connection: psycopg.Connection):
        key = await create(client, **crontab(day="30"))
        other = await create(client, project_id=42)
        since = long_ago(connection)
        insert_project(connection, "49", timezone="Asia/Tokyo", month_end="skip")
        async with database.transaction() as session:
            await BillingTaskService(session).follow_project("49")
        row = schedule_of(connection, key)
        assert (row["expression"], row["timezone"], row["active"]) == ("0 0 1 30 * *", "Asia/Tokyo", True)
        assert datetime.now(UTC) - row["active_since"] < timedelta(minutes=2)
        assert schedule_of(connection, other)["active_since"] == since
        [left] = connection.execute("SELECT dag_id FROM schedule WHERE NOT active").fetchall()
        assert left == {"dag_id": "billing.0_0_1_30_1.3-12_x-or-0_0_1_L_2_x"}

    async def test_nothing_moves_where_nothing_changed(
        self, client, database, connection: psycopg.Connection
    ):
        key = await create(client)
        since = long_ago(connection)
        insert_project(connection, "49", month_end="skip")
        async with database.transaction() as session:
            await BillingTaskService(session).follow_project("49")
        assert schedule_of(connection, key)["active_since"] == since

    async def test_a_task_that_would_never_be_due_stands_in_the_way(
        self, client, database, connection: psycopg.Connection
    ):
        await create(client, **crontab(day="31", month="4"))
        insert_project(connection, "49", month_end="skip")
        with pytest.raises(CronExpressionError, match="never fires"):
            async with database.transaction() as session:
                await BillingTaskService(session).follow_project("49")
