"""Device timers in the own API: next fires, pause and resume, run now, and how they show elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.kit.clock import system_clock
from include.timers.model import GroupFields, TimerFields, TimerGroup
from include.timers.service import TimerService
from tests.builders import make_token
from tests.timer_rows import LAMP, USER, insert_device

NOBODY = "0" * 32


@pytest.fixture
async def client(client_of, database, connection):
    insert_device(connection)
    return await client_of("management", await make_token(database, projects=["p1"]))


@pytest.fixture
async def stranger(client_of, database, client):
    return await client_of("management", await make_token(database, projects=["p2"]))


async def add(database, period: str = "1111111", *, device_id: str = LAMP, **options) -> TimerGroup:
    timers = [TimerFields("7", "30", '{"switch":1}'), TimerFields("19", "15", '{"switch":0}')]
    async with database.transaction() as connection:
        fields = GroupFields(period, timers, **options)
        return await TimerService(connection, user=USER).create(device_id, fields)


def missing(what: str, path: str) -> dict:
    return {
        "type": "urn:carillon:problem:not-found",
        "title": "Not Found",
        "status": 404,
        "detail": f"there is no {what}",
        "instance": f"/carillon/v1{path}",
    }


class TestList:
    async def test_200(self, client, database):
        group = await add(database)
        answer = await client.get(f"/devices/{LAMP}/timers")
        body = answer.json()
        [shown] = body["groups"]
        instants = [_next(7, 30), _next(19, 15)]
        assert (answer.status_code, body["device_id"], body["paused"]) == (200, LAMP, False)
        assert [datetime.fromisoformat(timer["next_at"]) for timer in shown.pop("timers")] == instants
        assert datetime.fromisoformat(shown.pop("next_at")) == min(instants)
        for name in ("created_at", "updated_at"):
            shown.pop(name)
        assert shown == {
            "group_id": group.group_id,
            "period": "1111111",
            "first_day": "sunday",
            "timezone": "Asia/Shanghai",
            "enabled": True,
            "offline": "skip",
            "offline_ttl": 3600.0,
            "created_by": USER,
        }

    async def test_404_of_another_project_and_none(self, client, stranger, database):
        await add(database)
        path = f"/devices/{LAMP}/timers"
        answer = await stranger.get(path)
        assert (answer.status_code, answer.json()) == (404, missing(f"device {LAMP}", path))
        assert (await client.get("/devices/lamp-9/timers")).status_code == 404

    async def test_422_what_cannot_be_a_device(self, client):
        assert (await client.get("/devices/a%20b/timers")).status_code == 422


class TestPause:
    async def test_200_all_rest_and_go_on_as_they_were_set(self, client, database, connection):
        on, off = await add(database), await add(database, enabled=False)
        body = (await client.post(f"/devices/{LAMP}/timers/pause")).json()
        assert body["paused"] is True
        assert [group["next_at"] for group in body["groups"]] == [None, None]
        assert [group["enabled"] for group in body["groups"]] == [False, True], "as their users set them"
        assert not connection.execute("SELECT FROM definition WHERE enabled").fetchall()
        assert not connection.execute("SELECT FROM schedule WHERE active").fetchall()
        later = await add(database)
        before = system_clock()
        body = (await client.post(f"/devices/{LAMP}/timers/resume")).json()
        assert body["paused"] is False
        running = [group["group_id"] for group in body["groups"] if group["next_at"]]
        assert running == [later.group_id, on.group_id]
        assert off.group_id not in running
        rows = connection.execute("SELECT active_since FROM definition WHERE enabled").fetchall()
        assert len(rows) == 4
        assert all(row["active_since"] >= before for row in rows)

    async def test_200_twice_changes_nothing(self, client, database, connection):
        await add(database)
        await client.post(f"/devices/{LAMP}/timers/resume")
        rows = connection.execute("SELECT revision FROM definition").fetchall()
        assert {row["revision"] for row in rows} == {1}

    @pytest.mark.parametrize("word", ["pause", "resume"])
    async def test_404(self, stranger, word: str):
        assert (await stranger.post(f"/devices/{LAMP}/timers/{word}")).status_code == 404


class TestRun:
    async def test_202(self, client, database, connection):
        group = await add(database, "0000001")
        answer = await client.post(f"/timer-groups/{group.group_id}/run")
        body = answer.json()
        rows = connection.execute("SELECT id, origin, state, due_at FROM execution ORDER BY id").fetchall()
        assert (answer.status_code, body["group_id"]) == (202, group.group_id)
        assert body["execution_ids"] == [row["id"] for row in rows]
        assert {(row["origin"], row["state"]) for row in rows} == {("manual", "pending")}
        assert datetime.fromisoformat(body["due_at"]) == rows[0]["due_at"]
        active = connection.execute("SELECT active FROM schedule WHERE dag_id = 'timer.once'").fetchone()
        assert active == {"active": True}

    async def test_404(self, client, stranger, database):
        group = await add(database)
        path = f"/timer-groups/{NOBODY}/run"
        answer = await client.post(path)
        assert (answer.status_code, answer.json()) == (404, missing(f"timer group {NOBODY}", path))
        assert (await stranger.post(f"/timer-groups/{group.group_id}/run")).status_code == 404

    async def test_409_nothing_to_run(self, client, database, connection):
        group = await add(database)
        connection.execute("UPDATE definition SET deleted_at = now()")
        assert (await client.post(f"/timer-groups/{group.group_id}/run")).status_code == 409

    async def test_422_what_cannot_be_a_group(self, client):
        assert (await client.post("/timer-groups/x/run")).status_code == 422


class TestDeletedDevice:
    async def test_its_timers_go_with_it(self, client, database, connection):
        insert_device(connection, "lamp-2")
        group = await add(database)
        await add(database, enabled=False)
        other = await add(database, device_id="lamp-2")
        await client.post(f"/timer-groups/{group.group_id}/run")
        assert (await client.delete(f"/devices/{LAMP}")).status_code == 204
        left = connection.execute("SELECT group_id FROM timer_group WHERE deleted_at IS NULL").fetchall()
        assert [row["group_id"] for row in left] == [other.group_id]
        rows = connection.execute("SELECT deleted_at, revision FROM definition ORDER BY id").fetchall()
        assert [row["deleted_at"] is not None for row in rows] == [True] * 4 + [False] * 2
        assert [row["revision"] for row in rows] == [2] * 4 + [1] * 2, "what is armed is looked at again"
        assert len((await client.get("/executions?kind=timer")).json()["items"]) == 2, "history stays"
        await client.delete("/devices/lamp-2")
        active = connection.execute("SELECT dag_id FROM schedule WHERE active").fetchall()
        assert [row["dag_id"] for row in active] == ["timer.once"]

    async def test_a_device_that_stays_keeps_its_timers(self, client, database, connection):
        insert_device(connection, "lamp-2", gateway_id=LAMP)
        await add(database)
        assert (await client.delete(f"/devices/{LAMP}")).status_code == 409
        assert connection.execute("SELECT FROM definition WHERE deleted_at IS NULL").rowcount == 2

    async def test_one_of_another_project_keeps_its_timers(self, stranger, database, connection):
        await add(database)
        assert (await stranger.delete(f"/devices/{LAMP}")).status_code == 404
        assert connection.execute("SELECT FROM definition WHERE deleted_at IS NULL").rowcount == 2


class TestElsewhere:
    async def test_a_definition_shows_its_timer_and_its_own_days(self, client, database):
        group = await add(database, "0000001")
        body = (await client.get(f"/definitions/{group.timers[0].definition_id}?n=2")).json()
        assert (body["kind"], body["weekdays"], body["callback"]) == ("timer", 32, None)
        assert body["timer"] == {
            "group_id": group.group_id,
            "device_id": LAMP,
            "period": "0000001",
            "first_day": "sunday",
            "hour": "7",
            "minute": "30",
            "commands": '{"switch":1}',
            "offline": "skip",
            "offline_ttl": 3600.0,
        }
        first, second = map(datetime.fromisoformat, body["next_instants"])
        assert (first + timedelta(hours=8)).isoweekday() == 6
        assert second - first == timedelta(days=7)

    async def test_a_schedule_shows_the_days_on_which_something_is_due(self, client, database):
        await add(database, "0000001")
        await add(database, "0000010")
        [shown, _] = (await client.get("/schedules?kind=timer&n=4")).json()["items"]
        days = [
            (datetime.fromisoformat(at) + timedelta(hours=8)).isoweekday() for at in shown["next_instants"]
        ]
        assert sorted(set(days)) == [5, 6]
        assert (shown["dag_id"], shown["definitions"]) == ("timer.0730", 2)

    async def test_why_it_did_not_fire_on_another_day(self, client, database):
        group = await add(database, "0000001")
        sunday = "2026-11-22T07:30:00+08:00"
        body = (
            await client.get(
                "/explain", params={"definition_id": group.timers[0].definition_id, "at": sunday}
            )
        ).json()
        assert body["reason_code"] == "not_an_instant"
        assert body["sentence"] == (
            "0 30 7 * * * on Sat (Asia/Shanghai) is not due then; its next instant is"
            " 2026-11-27 23:30:00 UTC."
        )

    async def test_executions_of_the_kind(self, client, database):
        group = await add(database)
        await client.post(f"/timer-groups/{group.group_id}/run")
        items = (await client.get("/executions?kind=timer")).json()["items"]
        assert {item["definition_name"] for item in items} == {timer.name for timer in group.timers}


def _next(hour: int, minute: int) -> datetime:
    """The next such time in Shanghai."""
    now = datetime.now(UTC) + timedelta(hours=8)
    at = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (at if at > now else at + timedelta(days=1)) - timedelta(hours=8)
