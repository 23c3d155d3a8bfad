"""Batch tasks in the own API: lists, pause and resume, waves, the look ahead, sub-tasks and their export."""

from __future__ import annotations

import asyncio
import csv
import io
from datetime import UTC, datetime, timedelta

import pytest

from include.batch import export
from include.batch.model import TaskPolicy
from include.batch.repository import TaskRepository
from include.kit.clock import system_clock
from tests.batch_rows import COMMAND, NOW, add_task, insert_lamps, lamps, task_row
from tests.builders import make_token

PATH = "/batch-tasks"
BODY = {"task_name": "lights", "task_type": "createCommands", "targets": lamps(9), "document": COMMAND}
WAVES = {"waves": [{"count": 1, "approval": True}, {"percent": 50, "success_percent": 90}, {"rest": True}]}


@pytest.fixture
async def client(client_of, database):
    return await client_of("management", await make_token(database, name="ann", projects=["p1", "p2"]))


@pytest.fixture
async def stranger(client_of, database):
    return await client_of("management", await make_token(database, projects=["p3"]))


def missing(task_id: str, path: str) -> dict:
    return {
        "type": "urn:carillon:problem:not-found",
        "title": "Not Found",
        "status": 404,
        "detail": f"there is no batch task {task_id!r}",
        "instance": f"/carillon/v1{path}",
    }


class TestShow:
    async def test_200_all_that_there_is(self, client, database, connection):
        insert_lamps(connection, 3)
        task = await add_task(
            database,
            targets=lamps(3),
            rollout={**WAVES, "rate": {"per_minute": 60}},
            policy=TaskPolicy(retry_count=2, retry_interval=timedelta(minutes=5)),
            created_by="bob",
        )
        connection.execute(
            "UPDATE batch_task SET run_failure = 'Airflow is away', runs_wanted = 2, runs_started = 1"
        )
        answer = await client.get(f"{PATH}/{task.task_id}")
        closed = {"opened_at": None, "approved_at": None, "approved_by": None, "succeeded": 0, "failed": 0}
        assert answer.json() == {
            "task_id": task.task_id,
            "project_id": "p1",
            "app_id": None,
            "task_name": "evening lights",
            "task_type": "createCommands",
            "task_mode": None,
            "need_confirm": False,
            "task_ext_info": None,
            "targets_filter": None,
            "document": COMMAND,
            "document_source": None,
            "schedule_time": None,
            "retry_count": 2,
            "retry_interval": 5,
            "rollout": {**WAVES, "rate": {"per_minute": 60}},
            "status": "Processing",
            "status_desc": None,
            "progress": {
                "total": 3, "waitting": 3, "processing": 0, "success": 0, "fail": 0, "fail_wait_retry": 0,
                "stopped": 0, "removed": 0,
            },
            "paused_at": None,
            "pause_reason": None,
            "attempts_begun": 0,
            "open_wave": 1,
            "dag_id": "batch.createCommands",
            "runs": [
                {"run_id": f"evening-lights_{task.task_id}", "started": True},
                {"run_id": f"evening-lights_{task.task_id}_r2", "started": False},
            ],
            "run_failure": "Airflow is away",
            "created_by": "bob",
            "created_at": "2026-11-22T02:00:00Z",
            "started_at": "2026-11-22T02:00:00Z",
            "finished_at": None,
            "waves": [
                {
                    **closed, "wave": 1, "success_percent": None, "approval": True, "size": 1, "open": 1,
                    "opened_at": "2026-11-22T02:00:00Z",
                },
                {**closed, "wave": 2, "success_percent": 90.0, "approval": False, "size": 2, "open": 2},
                {**closed, "wave": 3, "success_percent": None, "approval": False, "size": 0, "open": 0},
            ],
        }  # fmt: skip

    async def test_404(self, client, stranger, database, connection):
        insert_lamps(connection, 1)
        task = await add_task(database)
        for who, task_id in ((stranger, task.task_id), (client, "0" * 24)):
            answer = await who.get(f"{PATH}/{task_id}")
            assert (answer.status_code, answer.json()) == (404, missing(task_id, f"{PATH}/{task_id}"))

    async def test_422_what_cannot_be_one(self, client):
        assert (await client.get(f"{PATH}/xyz")).status_code == 422


class TestList:
    @pytest.fixture
    async def tasks(self, database, connection) -> list[str]:
        insert_lamps(connection, 1)
        insert_lamps(connection, 1, project="p2", start=1)
        insert_lamps(connection, 1, project="p3", start=2)
        made = [
            await add_task(database, now=NOW + timedelta(seconds=number), **changes)
            for number, changes in enumerate(
                [
                    {"task_name": "Evening lights"},
                    {"task_name": "morning", "project_id": "p2", "targets": ["lamp-1"]},
                    {"task_name": "strange", "project_id": "p3", "targets": ["lamp-2"]},
                    {"task_name": "evening_messages", "task_type": "createMessages", "targets": ["none"]},
                ]
            )
        ]
        connection.execute("UPDATE batch_task SET paused_at = now() WHERE task_name = 'morning'")
        return [task.task_id for task in made]

    @pytest.mark.parametrize(
        ("params", "expected"),
        [
            ({}, [3, 1, 0]),
            ({"project": "p2"}, [1]),
            ({"project": "p3"}, []),
            ({"task_type": "createMessages"}, [3]),
            ({"status": "Fail"}, [3]),
            ({"status": "Processing"}, [1, 0]),
            ({"name": "EVENING"}, [3, 0]),
            ({"name": "%"}, []),
            ({"paused": "true"}, [1]),
            ({"paused": "false"}, [3, 0]),
            ({"name": "evening", "task_type": "createCommands"}, [0]),
        ],
    )
    async def test_200_what_meets_the_conditions(self, client, tasks, params, expected):
        answer = await client.get(PATH, params=params)
        assert [item["task_id"] for item in answer.json()["items"]] == [tasks[number] for number in expected]

    async def test_200_pages(self, client, tasks):
        first = (await client.get(PATH, params={"limit": 2})).json()
        second = (await client.get(PATH, params={"limit": 2, "cursor": first["next"]})).json()
        found = [item["task_id"] for page in (first, second) for item in page["items"]]
        assert (found, second["next"]) == ([tasks[3], tasks[1], tasks[0]], None)

    async def test_422(self, client):
        for params in ({"task_type": "all"}, {"status": "done"}, {"cursor": "x"}, {"limit": 0}):
            assert (await client.get(PATH, params=params)).status_code == 422


class TestPauseAndResume:
    async def test_200(self, client, database, connection):
        insert_lamps(connection, 1)
        task = await add_task(database)
        path = f"{PATH}/{task.task_id}"
        paused = (await client.post(f"{path}/pause")).json()
        assert (paused["status"], paused["pause_reason"]) == ("Processing", "paused by ann")
        again = (await client.post(f"{path}/pause", json={"reason": "storm"})).json()
        assert again == paused, "the first reason stays"
        resumed = (await client.post(f"{path}/resume")).json()
        assert (resumed["paused_at"], resumed["pause_reason"]) == (None, None)
        assert (await client.post(f"{path}/resume")).json() == resumed
        other = (await client.post(f"{path}/pause", json={"reason": "storm"})).json()
        assert other["pause_reason"] == "storm"

    async def test_200_a_pause_waits_until_what_was_claimed_has_left(self, client, database, connection):
        insert_lamps(connection, 1)
        task = await add_task(database)
        async with database.transaction() as sender:
            tasks = TaskRepository(sender)
            assert await tasks.try_lock_sending(task.id)
            call = asyncio.create_task(client.post(f"{PATH}/{task.task_id}/pause"))
            await asyncio.sleep(0.5)
            assert task_row(connection, task)["paused_at"] is None
            await tasks.unlock_sending(task.id)
        assert (await call).status_code == 200
        assert task_row(connection, task)["paused_at"] is not None

    async def test_409_what_has_ended(self, client, database):
        task = await add_task(database)
        answer = await client.post(f"{PATH}/{task.task_id}/pause")
        assert (answer.status_code, answer.json()["detail"]) == (409, "a task that is Fail cannot be paused")

    async def test_422_a_reason_that_is_none(self, client, database, connection):
        insert_lamps(connection, 1)
        task = await add_task(database)
        for body in ({"reason": ""}, {"reason": "x" * 501}, {"why": "x"}):
            assert (await client.post(f"{PATH}/{task.task_id}/pause", json=body)).status_code == 422

    @pytest.mark.parametrize("word", ["pause", "resume", "waves/1/approve"])
    async def test_404(self, stranger, database, connection, word: str):
        insert_lamps(connection, 1)
        task = await add_task(database, rollout=WAVES)
        assert (await stranger.post(f"{PATH}/{task.task_id}/{word}")).status_code == 404
        assert task_row(connection, task)["paused_at"] is None


class TestApprove:
    async def test_200_ahead_and_again(self, client, database, connection):
        insert_lamps(connection, 4)
        task = await add_task(database, targets=lamps(4), rollout=WAVES)
        path = f"{PATH}/{task.task_id}/waves/1/approve"
        first = (await client.post(path)).json()
        assert (first["open_wave"], first["waves"][0]["approved_by"]) == (1, "ann")
        assert first["waves"][0]["approved_at"] is not None
        assert (await client.post(path)).json() == first

    async def test_200_a_wave_that_has_ended(self, client, database, connection):
        insert_lamps(connection, 4)
        task = await add_task(database, targets=lamps(4), rollout=WAVES)
        for status in ("Processing", "Success"):
            connection.execute(
                "UPDATE batch_subtask SET status = %s, finished_at = CASE WHEN %s = 'Success' THEN now() END"
                " WHERE wave = 1",
                [status, status],
            )
        opened = (await client.post(f"{PATH}/{task.task_id}/waves/1/approve")).json()
        assert (opened["open_wave"], opened["waves"][1]["opened_at"] is not None) == (2, True)
        assert (await client.post(f"{PATH}/{task.task_id}/waves/1/approve")).json() == opened, "it is past"

    @pytest.mark.parametrize(
        ("wave", "status", "detail"),
        [
            (2, 409, "wave 2 has not begun"),
            (3, 409, "wave 3 has not begun"),
            (4, 404, "the task has no wave 4"),
            (0, 422, None),
        ],
    )
    async def test_what_cannot_be_approved(self, client, database, connection, wave, status, detail):
        insert_lamps(connection, 4)
        task = await add_task(database, targets=lamps(4), rollout=WAVES)
        answer = await client.post(f"{PATH}/{task.task_id}/waves/{wave}/approve")
        assert answer.status_code == status
        assert detail is None or answer.json()["detail"] == detail

    async def test_409_nothing_to_approve(self, client, database, connection):
        insert_lamps(connection, 4)
        gated = {"waves": [{"count": 1, "success_percent": 50}, {"rest": True}]}
        task = await add_task(database, targets=lamps(4), rollout=gated)
        answer = await client.post(f"{PATH}/{task.task_id}/waves/1/approve")
        assert answer.json()["detail"] == "wave 1 has not ended, and needs no approval before that"
        over = await add_task(database, targets=["none"], rollout=gated)
        answer = await client.post(f"{PATH}/{over.task_id}/waves/1/approve")
        assert (answer.status_code, answer.json()["detail"]) == (
            409, "a task that is Fail goes on with no wave"
        )  # fmt: skip
        without = await add_task(database)
        assert (await client.post(f"{PATH}/{without.task_id}/waves/1/approve")).status_code == 404


class TestSubtasks:
    @pytest.fixture
    async def task(self, database, connection):
        insert_lamps(connection, 3)
        made = await add_task(database, targets=["ghost", *lamps(3)], rollout=WAVES)
        connection.execute(
            "UPDATE batch_subtask SET status = 'Processing', attempt = 1, wake_at = NULL"
            " WHERE target = 'lamp-0'"
        )
        return made

    async def test_200(self, client, task):
        body = (await client.get(f"{PATH}/{task.task_id}/subtasks")).json()
        first, second, third, _ = body["items"]
        assert first == {
            "id": 1, "target": "ghost", "wave": 1, "status": "Fail", "attempt": 0, "retries_left": 0,
            "phase": None, "phase_ends_at": None, "wake_at": None, "window_ends_at": None, "progress": None,
            "output": None, "error_code": "IOTDA.014000", "error_msg": "there is no such device",
            "created_at": "2026-11-22T02:00:00Z", "updated_at": "2026-11-22T02:00:00Z",
            "finished_at": "2026-11-22T02:00:00Z",
        }  # fmt: skip
        assert [second["target"], second["status"], second["attempt"]] == ["lamp-0", "Processing", 1]
        assert [third["target"], third["wave"], third["wake_at"]] == ["lamp-1", 2, "2026-11-22T02:00:00Z"]

    async def test_200_conditions_and_pages(self, client, task):
        path = f"{PATH}/{task.task_id}/subtasks"

        async def targets(**params) -> list[str]:
            return [item["target"] for item in (await client.get(path, params=params)).json()["items"]]

        assert await targets(status="Waitting") == ["lamp-1", "lamp-2"]
        assert await targets(wave=1) == ["ghost", "lamp-0"]
        assert await targets(wave=2, status="Fail") == []
        first = (await client.get(path, params={"limit": 3})).json()
        assert await targets(limit=3, cursor=first["next"]) == ["lamp-2"]

    async def test_200_a_far_end_that_stands_for_none_is_not_shown(self, client, task, connection):
        connection.execute("UPDATE batch_subtask SET window_ends_at = '9999-01-01 00:00+00'")
        body = (await client.get(f"{PATH}/{task.task_id}/subtasks")).json()
        assert {item["window_ends_at"] for item in body["items"]} == {None}

    async def test_404(self, stranger, task):
        assert (await stranger.get(f"{PATH}/{task.task_id}/subtasks")).status_code == 404
        answer = await stranger.get(f"{PATH}/{task.task_id}/subtasks/export")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


class TestExport:
    async def test_200(self, client, database, connection, monkeypatch):
        monkeypatch.setattr(export, "PIECE", 2)
        insert_lamps(connection, 4)
        task = await add_task(database, targets=["ghost", *lamps(4)])
        connection.execute("UPDATE batch_subtask SET output = '=1+1', error_msg = 'a,\"b' WHERE id = 1")
        answer = await client.get(f"{PATH}/{task.task_id}/subtasks/export")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["content-disposition"] == f'attachment; filename="{task.task_id}.csv"'
        rows = list(csv.reader(io.StringIO(answer.text)))
        assert rows[0] == list(export.COLUMNS)
        moment = "2026-11-22T02:00:00Z"
        assert rows[1] == [
            "ghost", "1", "Fail", "0", "", "IOTDA.014000", 'a,"b', "'=1+1", moment, moment, moment
        ]  # fmt: skip
        assert [row[0] for row in rows[2:]] == lamps(4)
        assert rows[2][-1] == ""

    async def test_200_conditions_and_a_mark(self, client, database, connection):
        insert_lamps(connection, 1)
        task = await add_task(database, targets=["ghost", "lamp-0"])
        path = f"{PATH}/{task.task_id}/subtasks/export"
        answer = await client.get(path, params={"status": "Waitting", "bom": "true"})
        assert answer.content.startswith(b"\xef\xbb\xbftarget,")
        assert [line.partition(",")[0] for line in answer.text.splitlines()[1:]] == ["lamp-0"]
        empty = await client.get(path, params={"status": "Success"})
        assert empty.text.splitlines() == [",".join(export.COLUMNS)]


class TestPreview:
    async def ask(self, client, **changes) -> dict:
        answer = await client.post(f"{PATH}/preview?project_id=p1", json={**BODY, **changes})
        assert answer.status_code == 200, answer.text
        return answer.json()

    @pytest.fixture
    def devices(self, connection) -> None:
        """Eight lamps: 0 frozen, 1 and 2 offline, 3 in an upgrade, 4 of version 2; lamp-8 is unknown."""
        insert_lamps(connection, 8)
        connection.execute(
            "UPDATE device SET status = 'FROZEN', status_before_freeze = 'ONLINE' WHERE device_id = 'lamp-0'"
        )
        connection.execute("UPDATE device SET status = 'OFFLINE' WHERE device_id IN ('lamp-1', 'lamp-2')")
        connection.execute("UPDATE device SET fw_version = '2', sw_version = '3' WHERE device_id = 'lamp-4'")

    @pytest.mark.usefixtures("devices")
    async def test_200_commands(self, client):
        rollout = {"rate": {"per_minute": 60}, "waves": [{"count": 3}, {"rest": True}]}
        before = system_clock()
        found = await self.ask(client, x_rollout=rollout)
        ends_at = datetime.fromisoformat(found.pop("ends_at"))
        assert found == {
            "total": 9,
            "excluded": {"unknown": 1, "frozen": 1, "offline": 2},
            "waiting": {},
            "waves": [3, 5],
        }
        assert before + timedelta(seconds=7) <= ends_at <= datetime.now(UTC) + timedelta(seconds=9)

    @pytest.mark.usefixtures("devices")
    async def test_200_what_can_wait_for_a_device_does(self, client):
        found = await self.ask(client, task_type="createMessages", document={"message": "hi"})
        assert found == {
            "total": 9, "excluded": {"unknown": 1, "frozen": 1}, "waiting": {}, "waves": [], "ends_at": None
        }  # fmt: skip

    @pytest.mark.usefixtures("devices")
    async def test_200_upgrades(self, client, database, connection):
        connection.execute(
            "INSERT INTO ota_package (package_id, project_id, app_id, package_type, product_id, version,"
            " file_location, created_at)"
            " VALUES (repeat('a', 24), 'p1', 'app', 'firmwarePackage', 'lamp', '2', '{}', now())"
        )
        other = await add_task(database, targets=["lamp-3"])
        connection.execute(
            "INSERT INTO device_upgrade (device_id, subtask_id, attempt, stage, since, kind, target)"
            " SELECT target, id, 1, 'online', now(), 'firmware', '2' FROM batch_subtask"
            " WHERE batch_id = %s",
            [other.id],
        )
        document = {"package_id": "a" * 24}
        found = await self.ask(client, task_type="firmwareUpgrade", document=document)
        assert found["excluded"] == {"unknown": 1, "frozen": 1, "in_conflict": 1, "same_version": 1}
        assert found["waiting"] == {"offline": 2}
        rate = {"rate": {"per_minute": 60}}
        confirmed = await self.ask(
            client, task_type="firmwareUpgrade", document=document, need_confirm=True, x_rollout=rate
        )
        assert confirmed["ends_at"] is None, "nobody knows when it will be confirmed"

    @pytest.mark.usefixtures("devices")
    async def test_200_of_what_the_platform_does_alone(self, client):
        unfreeze = await self.ask(client, task_type="unfreezeDevices", document=None)
        assert unfreeze["excluded"] == {"unknown": 1, "not_frozen": 7}
        delete = await self.ask(client, task_type="deleteDevices", document=None)
        assert delete["excluded"] == {"unknown": 1}

    @pytest.mark.usefixtures("devices")
    async def test_200_windows_of_several_zones(self, client, connection):
        connection.execute("UPDATE device SET timezone = 'UTC' WHERE device_id = 'lamp-7'")
        now = system_clock()
        begin, end = now + timedelta(hours=1), now + timedelta(hours=2)
        window = {"start": f"{begin:%H:%M}", "end": f"{end:%H:%M}"}
        found = await self.ask(client, x_rollout={"window": window})
        # The clocks of Shanghai are eight hours ahead: there it was open seven hours ago.
        ends_at = datetime.fromisoformat(found["ends_at"])
        assert ends_at == (now + timedelta(hours=17)).replace(second=0, microsecond=0)

    @pytest.mark.usefixtures("devices")
    async def test_nothing_is_written(self, client, connection):
        def counts() -> list[int]:
            return [
                connection.execute(f"SELECT count(*) AS n FROM {table}").fetchone()["n"]
                for table in ("batch_task", "batch_subtask", "batch_wave", "event")
            ]

        connection.execute(
            "INSERT INTO event_subscription (project_id, url, secret, resources, created_at)"
            " VALUES ('p1', 'http://example.com', 's', '{batchtask}', now())"
        )
        await self.ask(client, x_rollout=WAVES)
        assert counts() == [0, 0, 0, 0]

    async def test_404_a_project_of_others(self, client):
        answer = await client.post(f"{PATH}/preview?project_id=p3", json=BODY)
        assert (answer.status_code, answer.json()["detail"]) == (404, "there is no project 'p3'")

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"task_name": ""}, "task_name"),
            ({"targets": None}, "targets"),
            ({"x_rollout": {"rate": {"per_minute": 0}}}, "x_rollout.rate.per_minute"),
            ({"x_rollout": {"speed": 1}}, "x_rollout.speed"),
            ({"targets": None, "targets_filter": {"group_ids": ["none"]}}, "targets_filter.group_ids"),
        ],
    )
    async def test_422_as_where_it_were_created(self, client, changes, field):
        answer = await client.post(f"{PATH}/preview?project_id=p1", json={**BODY, **changes})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
