"""The device timers' API beyond the samples: what is refused, who sees what, what an update does."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.builders import serve
from tests.integration.api_plugin.device_schedule.timer_wire import (
    CREATE,
    LOCAL,
    NO_DEVICE,
    NO_TASK,
    NOT_BOUND,
    UPDATE,
    create,
    next_local,
    refused,
)
from tests.timer_rows import insert_device, jwt_of

NOBODY = "0" * 32
TASK = CREATE["tasks"][0]

MASK = "period: must be seven digits, each 0 or 1"
HOUR, MINUTE = "tasks.0.hour: must be 0 to 23 in digits", "tasks.0.minute: must be 0 to 59 in digits"

#: (what is changed, the message), for POST and PUT alike.
BAD = [
    ({"period": "010101"}, MASK),
    ({"period": "01010101"}, MASK),
    ({"period": "0101012"}, MASK),
    ({"period": "MTWTFSS"}, MASK),
    ({"period": "٠١٠١٠١٠"}, MASK),
    ({"period": 1010101}, "period: must be a valid string"),
    ({"tasks": [{**TASK, "hour": "24"}]}, HOUR),
    ({"tasks": [{**TASK, "hour": 24}]}, HOUR),
    ({"tasks": [{**TASK, "hour": "-1"}]}, HOUR),
    ({"tasks": [{**TASK, "hour": "*"}]}, HOUR),
    ({"tasks": [{**TASK, "hour": ""}]}, HOUR),
    ({"tasks": [{**TASK, "hour": True}]}, HOUR),
    ({"tasks": [{**TASK, "hour": "7-7"}]}, HOUR),
    ({"tasks": [{**TASK, "hour": "007"}]}, HOUR),
    ({"tasks": [{**TASK, "hour": 7.0}]}, HOUR),
    ({"tasks": [{**TASK, "minute": "60"}]}, MINUTE),
    ({"tasks": [{**TASK, "minute": None}]}, MINUTE),
    (
        {"tasks": [{**TASK, "commands": "{'switch':1}"}]},
        'tasks.0.commands: must be JSON, such as {"switch":1}',
    ),
    ({"tasks": [{**TASK, "commands": ""}]}, 'tasks.0.commands: must be JSON, such as {"switch":1}'),
    (
        {"tasks": [{**TASK, "commands": "\ud800"}]},
        "tasks.0.commands: must be a valid string, unable to parse raw data as a unicode string",
    ),
    ({"tasks": [{**TASK, "commands": "[1]"}]}, "tasks.0.commands: must be a JSON object"),
    ({"tasks": [{**TASK, "commands": {"switch": 1}}]}, "tasks.0.commands: must be a valid string"),
    ({"tasks": [{"hour": "1", "minute": "1"}]}, "tasks.0.commands: is required"),
    ({"tasks": []}, "tasks: List should have at least 1 item after validation, not 0"),
    ({"tasks": [TASK] * 101}, "tasks: List should have at most 100 items after validation, not 101"),
    ({"tasks": TASK}, "tasks: must be a valid list"),
    ({"tasks": [{**TASK, "second": "0"}]}, "tasks.0.second: is not a field of this request"),
    ({"timezone": "Mars/Olympus"}, "timezone: the time zone 'Mars/Olympus' is not known"),
    ({"first_day": "tuesday"}, "first_day: must be 'sunday' or 'monday'"),
    ({"offline": "panic"}, "offline: must be 'skip', 'deliver_when_online' or 'shadow_desired'"),
    ({"offline_ttl": 0}, "offline_ttl: must be greater than or equal to 1"),
    ({"offline_ttl": 604801}, "offline_ttl: must be less than or equal to 604800"),
    ({"nonsense": 1}, "nonsense: is not a field of this request"),
]


class TestCreate:
    @pytest.mark.parametrize(("change", "message"), BAD)
    async def test_400_bad_input(self, client, change: dict[str, Any], message: str):
        answer = await client.post("/task/", content=_json({**CREATE, **change}))
        assert (answer.status_code, answer.json()) == (400, refused(message))

    @pytest.mark.parametrize("missing", ["device_id", "period", "tasks"])
    async def test_400_a_missing_field(self, client, missing: str):
        body = {name: value for name, value in CREATE.items() if name != missing}
        answer = await client.post("/task/", json=body)
        assert (answer.status_code, answer.json()) == (400, refused(f"{missing}: is required"))

    async def test_400_not_json(self, client):
        answer = await client.post("/task/", content=b'{"device_id"')
        assert answer.status_code == 400
        assert answer.json()["meta"]["code"] == 10000

    async def test_400_no_such_device(self, client):
        answer = await client.post("/task/", json={**CREATE, "device_id": "lamp-9"})
        assert (answer.status_code, answer.json()) == (400, NO_DEVICE)

    async def test_403_a_user_that_is_not_bound(self, stranger):
        answer = await stranger.post("/task/", json=CREATE)
        assert (answer.status_code, answer.json()) == (403, NOT_BOUND)

    async def test_400_more_groups_than_a_device_may_have(self, client, monkeypatch):
        monkeypatch.setattr("include.timers.service.GROUPS_MOST", 1)
        await create(client)
        answer = await client.post("/task/", json=CREATE)
        message = "the device has 1 groups of timers already"
        assert (answer.status_code, answer.json()) == (400, refused(message))

    async def test_200_numbers_and_any_spelling_of_them(self, client):
        tasks = [{"hour": 7, "minute": 5, "commands": "{}"}, {"hour": "07", "minute": "5", "commands": "{}"}]
        made = await create(client, tasks=tasks)
        assert [task["crontab"] for task in made["tasks"]] == [
            {"hour": "7", "minute": "5"},
            {"hour": "07", "minute": "5"},
        ]

    async def test_200_one_schedule_a_time_of_day_whatever_the_days(self, client, connection):
        for period in ("1000000", "0111110", "1111111"):
            await create(client, period=period, tasks=[{"hour": "7", "minute": "30", "commands": "{}"}])
        await create(
            client, timezone="Europe/Berlin", tasks=[{"hour": "7", "minute": "30", "commands": "{}"}]
        )
        rows = connection.execute(
            "SELECT dag_id, expression, timezone, active FROM schedule ORDER BY id"
        ).fetchall()
        assert rows == [
            {
                "dag_id": "timer.0730",
                "expression": "0 30 7 * * *",
                "timezone": "Asia/Shanghai",
                "active": True,
            },
            {
                "dag_id": "timer.0730.Europe-Berlin",
                "expression": "0 30 7 * * *",
                "timezone": "Europe/Berlin",
                "active": True,
            },
        ]
        rows = connection.execute("SELECT weekdays, misfire, overlap FROM definition ORDER BY id").fetchall()
        assert [row["weekdays"] for row in rows] == [0b1000000, 0b0011111, 0b1111111, 0b0010101]
        assert {(row["misfire"], row["overlap"]) for row in rows} == {("skip", "allow")}

    async def test_200_a_week_that_begins_on_monday(self, client, connection):
        made = await create(client, period="1000000", first_day="monday")
        assert made["next_run_at"] == next_local((19, 15), (22, 30), days="0100000")
        assert {row["weekdays"] for row in connection.execute("SELECT weekdays FROM definition")} == {1}

    async def test_200_the_setting_says_where_a_week_begins(self, client, connection, monkeypatch):
        from include.settings import get_settings

        monkeypatch.setenv("CARILLON_TIMER_FIRST_DAY", "monday")
        get_settings.cache_clear()
        client.headers["Authorization"] = f"jwt {jwt_of()}"
        await create(client, period="1000000")
        assert {row["weekdays"] for row in connection.execute("SELECT weekdays FROM definition")} == {1}
        assert connection.execute("SELECT first_day FROM timer_group").fetchone() == {"first_day": "monday"}

    async def test_200_the_zone_of_the_device(self, client, connection):
        insert_device(connection, "lamp-2", timezone="Europe/Berlin")
        await create(client, device_id="lamp-2")
        assert connection.execute("SELECT timezone FROM timer_group").fetchone() == {
            "timezone": "Europe/Berlin"
        }

    async def test_200_a_one_shot_is_due_at_the_next_such_time(self, client, connection):
        made = await create(client, period="0000000", tasks=[TASK])
        row = connection.execute(
            "SELECT d.due_at, d.weekdays, s.dag_id FROM definition d JOIN schedule s ON s.id = d.schedule_id"
        ).fetchone()
        due = f"{row['due_at'].astimezone(LOCAL):%Y-%m-%d %H:%M:%S}"
        assert made["next_run_at"] == due == next_local((19, 15), days="1111111")
        assert (row["weekdays"], row["dag_id"]) == (None, "timer.once")

    async def test_200_airflow_is_told_of_the_new_schedule(self, client, connection):
        await create(client)
        assert connection.execute("SELECT count(*) AS n FROM schedule WHERE NOT announced").fetchone()["n"]


class TestGet:
    async def test_404_no_such_group(self, client):
        answer = await client.get(f"/task/{NOBODY}/")
        assert (answer.status_code, answer.json()) == (404, NO_TASK)

    @pytest.mark.parametrize("key", ["x", "A" * 32, "0" * 31, "%00"])
    async def test_404_what_cannot_be_a_key(self, client, key: str):
        answer = await client.get(f"/task/{key}/")
        assert (answer.status_code, answer.json()["meta"]["code"]) == (404, 11600)

    async def test_404_somebody_elses(self, client, stranger):
        made = await create(client)
        answer = await stranger.get(f"/task/{made['group_id']}/")
        assert (answer.status_code, answer.json()["meta"]["code"]) == (404, 11600)

    async def test_200_everybody_who_is_bound_to_the_device_sees_it(self, client, stranger, connection):
        made = await create(client)
        connection.execute(
            "INSERT INTO device_binding (user_name, device_id, created_at)"
            " SELECT 'mallory', id, now() FROM device"
        )
        assert (await stranger.get(f"/task/{made['group_id']}/")).json() == made

    async def test_404_after_the_binding_has_ended(self, client, connection):
        made = await create(client)
        connection.execute("DELETE FROM device_binding")
        assert (await client.get(f"/task/{made['group_id']}/")).status_code == 404

    async def test_200_both_versions_and_both_spellings(self, client):
        made = await create(client)
        for path in (
            f"/v3/schedule/task/{made['group_id']}/",
            f"/v3/schedule/task/{made['group_id']}",
            f"/v3_1/schedule/task/{made['group_id']}/",
            f"/v3_1/schedule/task/{made['group_id']}",
        ):
            answer = await client.get(f"http://test{path}")
            assert (answer.status_code, answer.json()) == (200, made)

    async def test_200_a_one_shot_that_was_is_not_enabled(self, client, connection):
        made = await create(client, period="0000000")
        connection.execute("UPDATE definition SET spent = true")
        group = (await client.get(f"/task/{made['group_id']}/")).json()
        assert group["enabled"] is True, "it is armed, and not due yet"
        connection.execute("UPDATE definition SET due_at = now() - interval '1 minute'")
        group = (await client.get(f"/task/{made['group_id']}/")).json()
        assert (group["enabled"], group["next_run_at"]) == (False, None)


class TestUpdate:
    @pytest.mark.parametrize(("change", "message"), BAD)
    async def test_400_bad_input(self, client, change: dict[str, Any], message: str):
        made = await create(client)
        answer = await client.put(f"/task/{made['group_id']}/", content=_json({**UPDATE, **change}))
        assert (answer.status_code, answer.json()) == (400, refused(message))
        assert (await client.get(f"/task/{made['group_id']}/")).json() == made

    @pytest.mark.parametrize("missing", ["enabled", "period", "tasks"])
    async def test_400_a_missing_field(self, client, missing: str):
        made = await create(client)
        body = {name: value for name, value in UPDATE.items() if name != missing}
        answer = await client.put(f"/task/{made['group_id']}/", json=body)
        assert (answer.status_code, answer.json()) == (400, refused(f"{missing}: is required"))

    @pytest.mark.parametrize("value", ["true", 1, None])
    async def test_400_enabled_is_a_boolean(self, client, value: Any):
        made = await create(client)
        answer = await client.put(f"/task/{made['group_id']}/", json={**UPDATE, "enabled": value})
        assert (answer.status_code, answer.json()) == (400, refused("enabled: must be a valid boolean"))

    async def test_400_a_name_twice(self, client):
        made = await create(client)
        tasks = [{**TASK, "name": made["tasks"][0]["name"]}] * 2
        answer = await client.put(f"/task/{made['group_id']}/", json={**UPDATE, "tasks": tasks})
        message = "tasks.1.name: stands twice in this request"
        assert (answer.status_code, answer.json()) == (400, refused(message))

    async def test_400_a_name_of_another_group(self, client):
        made, other = await create(client), await create(client)
        tasks = [{**TASK, "name": other["tasks"][0]["name"]}]
        answer = await client.put(f"/task/{made['group_id']}/", json={**UPDATE, "tasks": tasks})
        message = "tasks.0.name: is not a timer of this group"
        assert (answer.status_code, answer.json()) == (400, refused(message))

    async def test_400_another_group_or_device_in_the_body(self, client, connection):
        insert_device(connection, "lamp-2")
        made = await create(client)
        path = f"/task/{made['group_id']}/"
        answer = await client.put(path, json={**UPDATE, "group_id": NOBODY})
        assert answer.json() == refused("group_id: is not that of the path")
        answer = await client.put(path, json={**UPDATE, "device_id": "lamp-2"})
        assert answer.json() == refused("device_id: a group cannot move to another device")
        answer = await client.put(path, json={**UPDATE, "group_id": made["group_id"], "device_id": "lamp-1"})
        assert answer.status_code == 200

    async def test_404_no_such_group_and_somebody_elses(self, client, stranger):
        made = await create(client)
        answer = await client.put(f"/task/{NOBODY}/", json=UPDATE)
        assert (answer.status_code, answer.json()) == (404, NO_TASK)
        answer = await stranger.put(f"/task/{made['group_id']}/", json=UPDATE)
        assert (answer.status_code, answer.json()["meta"]["code"]) == (404, 11600)

    async def test_200_named_stay_unnamed_are_new_the_rest_goes(self, client, connection):
        made = await create(client)
        first, second = made["tasks"]
        tasks = [{**TASK, "hour": "6"}, {**TASK, "hour": "8", "name": second["name"]}]
        answer = await client.put(
            f"/task/{made['group_id']}/", json={**UPDATE, "enabled": True, "tasks": tasks}
        )
        new, kept = answer.json()["data"]["tasks"]
        assert (kept["name"], kept["crontab"]["hour"]) == (second["name"], "8")
        assert new["name"] not in (first["name"], second["name"])
        rows = connection.execute(
            "SELECT t.name, d.deleted_at IS NULL AS live, s.dag_id FROM device_timer t"
            " JOIN definition d ON d.id = t.definition_id JOIN schedule s ON s.id = d.schedule_id"
        ).fetchall()
        assert {row["name"]: (row["live"], row["dag_id"]) for row in rows} == {
            first["name"]: (False, "timer.1915"),
            second["name"]: (True, "timer.0815"),
            new["name"]: (True, "timer.0615"),
        }
        active = connection.execute("SELECT dag_id FROM schedule WHERE active ORDER BY 1").fetchall()
        assert [row["dag_id"] for row in active] == ["timer.0615", "timer.0815"]

    async def test_200_what_is_given_as_it_was_moves_nothing(self, client, connection):
        made = await create(client)
        before = connection.execute("SELECT id, active_since FROM definition ORDER BY id").fetchall()
        await client.put(f"/task/{made['group_id']}/", json={**_body(made), "enabled": True})
        assert connection.execute("SELECT id, active_since FROM definition ORDER BY id").fetchall() == before

    async def test_200_new_days_count_from_now_on(self, client, connection):
        made = await create(client)
        before = connection.execute("SELECT max(active_since) AS m FROM definition").fetchone()["m"]
        await client.put(
            f"/task/{made['group_id']}/", json={**_body(made), "enabled": True, "period": "1111111"}
        )
        rows = connection.execute("SELECT weekdays, active_since FROM definition").fetchall()
        assert {row["weekdays"] for row in rows} == {127}
        assert all(row["active_since"] > before for row in rows)

    async def test_200_settings_that_are_not_given_stay(self, client, connection):
        made = await create(
            client,
            timezone="Europe/Berlin",
            offline="deliver_when_online",
            offline_ttl=600,
            first_day="monday",
        )
        await client.put(f"/task/{made['group_id']}/", json=UPDATE)
        row = connection.execute(
            "SELECT timezone, offline, extract(epoch FROM offline_ttl)::int AS ttl, first_day"
            " FROM timer_group"
        ).fetchone()
        assert row == {
            "timezone": "Europe/Berlin",
            "offline": "deliver_when_online",
            "ttl": 600,
            "first_day": "monday",
        }

    async def test_200_a_spent_one_shot_is_due_again_when_it_is_enabled(self, client, connection):
        made = await create(client, period="0000000", tasks=[TASK])
        connection.execute("UPDATE definition SET spent = true, due_at = now() - interval '1 hour'")
        path, body = f"/task/{made['group_id']}/", {**_body(made), "period": "0000000"}
        off = (await client.put(path, json={**body, "enabled": False})).json()["data"]
        assert (off["enabled"], off["next_run_at"]) == (False, None)
        on = (await client.put(path, json={**body, "enabled": True})).json()["data"]
        assert (on["enabled"], on["next_run_at"]) == (True, made["next_run_at"])
        assert connection.execute("SELECT spent FROM definition").fetchone() == {"spent": False}

    async def test_200_a_one_shot_becomes_weekly_and_weekly_a_one_shot(self, client, connection):
        made = await create(client, period="0000000", tasks=[TASK])
        path = f"/task/{made['group_id']}/"
        weekly = {**_body(made), "enabled": True, "period": "0000001"}
        assert (await client.put(path, json=weekly)).json()["data"]["next_run_at"] == next_local(
            (19, 15), days="0000001"
        )
        statement = "SELECT weekdays, due_at IS NULL AS weekly FROM definition"
        assert connection.execute(statement).fetchone() == {"weekdays": 32, "weekly": True}
        await client.put(path, json={**weekly, "period": "0000000"})
        assert connection.execute(statement).fetchone() == {"weekdays": None, "weekly": False}


class TestDelete:
    async def test_404_no_such_group_and_somebody_elses(self, client, stranger):
        made = await create(client)
        answer = await client.delete(f"/task/{NOBODY}/")
        assert (answer.status_code, answer.json()) == (404, NO_TASK)
        assert (await stranger.delete(f"/task/{made['group_id']}/")).status_code == 404

    async def test_404_the_second_time(self, client, connection):
        made = await create(client)
        assert (await client.delete(f"/task/{made['group_id']}")).status_code == 200
        assert (await client.delete(f"/task/{made['group_id']}/")).status_code == 404
        assert (await client.get("/tasks/?device_id=lamp-1")).json()["data"]["count"] == 0
        assert not connection.execute("SELECT 1 FROM definition WHERE deleted_at IS NULL").fetchall()
        assert not connection.execute("SELECT 1 FROM schedule WHERE active").fetchall()


class TestList:
    async def test_400_no_device_given_or_known(self, client):
        answer = await client.get("/tasks/")
        assert (answer.status_code, answer.json()) == (400, refused("device_id: is required"))
        answer = await client.get("/tasks/?device_id=lamp-9")
        assert (answer.status_code, answer.json()) == (400, NO_DEVICE)

    async def test_403_a_user_that_is_not_bound(self, stranger):
        answer = await stranger.get("/tasks/?device_id=lamp-1")
        assert (answer.status_code, answer.json()) == (403, NOT_BOUND)

    async def test_200_nothing(self, client):
        answer = await client.get("/tasks?device_id=lamp-1")
        assert answer.json() == {
            "meta": {"message": "task list info", "code": 0},
            "data": {"count": 0, "next": None, "previous": None, "results": []},
        }

    async def test_200_a_page(self, client):
        made = [await create(client) for _ in range(3)]
        path = "http://test/v3/schedule/tasks/?device_id=lamp-1&page_size=2"
        first = (await client.get(path)).json()["data"]
        assert (first["count"], first["results"]) == (3, [made[2], made[1]])
        assert (first["next"], first["previous"]) == (f"{path}&page=2", None)
        second = (await client.get(first["next"])).json()["data"]
        assert (second["results"], second["next"], second["previous"]) == ([made[0]], None, f"{path}&page=1")
        beyond = (await client.get(f"{path}&page=9")).json()["data"]
        assert (beyond["count"], beyond["results"]) == (3, [])

    @pytest.mark.parametrize("query", ["page=0", "page_size=0", "page_size=101", "page=x"])
    async def test_400_a_page_that_cannot_be(self, client, query: str):
        answer = await client.get(f"/tasks/?device_id=lamp-1&{query}")
        assert (answer.status_code, answer.json()["meta"]["code"]) == (400, 10000)


class TestMethods:
    async def test_405(self, client):
        answer = await client.patch(f"/task/{NOBODY}/")
        assert (answer.status_code, answer.json()["meta"]["code"]) == (405, 10000)


async def test_two_updates_at_once_leave_a_whole_group(client, connection: psycopg.Connection):
    import asyncio

    made = await create(client)
    path = f"/task/{made['group_id']}/"
    answers = await asyncio.gather(
        *[
            client.put(path, json={**UPDATE, "enabled": True, "tasks": [{**TASK, "hour": hour}]})
            for hour in range(6)
        ]
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len((await client.get(path)).json()["tasks"]) == 1
    live = connection.execute("SELECT count(*) AS n FROM definition WHERE deleted_at IS NULL").fetchone()
    assert live["n"] == 1


async def test_nobody_sees_a_thing_without_a_token(database_url, parse_requests, lamp):
    async with serve("timers") as client:
        answer = await client.get("/tasks/?device_id=lamp-1")
    message = "one Authorization header is needed: jwt <JSON Web Token>"
    assert (answer.status_code, answer.json()) == (
        401,
        {"meta": {"code": 10101, "message": message}, "data": {}},
    )


def _body(group: dict[str, Any]) -> dict[str, Any]:
    """What a client sends back of a group that it got."""
    tasks = [
        {**task["crontab"], "name": task["name"], "commands": task["commands"]} for task in group["tasks"]
    ]
    return {"period": group["period"], "tasks": tasks}


def _json(body: dict[str, Any]) -> bytes:
    import json

    return json.dumps(body).encode()
