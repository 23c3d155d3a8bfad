"""Retry, stop, confirm and delete: what they act on, what they say of each target, when they are refused."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest

from include.batch.departures import SendingLocks
from include.batch.model import Step, Task, TaskPolicy
from include.batch.repository import TaskRepository
from include.batch.settling import record
from include.batch.subtask_repository import SubtaskRepository, read_subtask
from include.kit.clock import system_clock
from include.kit.db import Database
from include.settings import get_settings
from tests.batch_rows import add_task, insert_lamps, lamps, progress, subtasks, task_row
from tests.builders import make_token
from tests.integration.api_plugin.iot_batch.iot_wire import PROJECT

UPGRADE = {"task_type": "softwareUpgrade", "document": {"package_id": "p"}}


async def add(database: Database, targets: int = 4, **changes: Any) -> Task:
    """Make a task of lamps that is at work."""
    values = {"project_id": PROJECT, "targets": lamps(targets), "now": system_clock(), **changes}
    return await add_task(database, **values)


async def perform(database: Database, task: Task, outcomes: dict[str, str | None], claimer: int = 7) -> None:
    """Claim all that is due and record what became of the lamps that are named; the rest stays in hand."""
    async with database.transaction() as connection:
        locked = await TaskRepository(connection).lock_task(task.id)
        assert locked is not None
        claimed = await SubtaskRepository(connection).claim_subtasks(
            locked, limit=100, fresh=100, claimer=claimer, now=system_clock()
        )
    steps = []
    for one in claimed:
        outcome = outcomes.get(one.subtask.target)
        if outcome is not None:
            error = None if outcome == "Success" else "IOTDA.014016"
            steps.append((one.subtask, Step(one.subtask.id, outcome, error_code=error)))  # type: ignore[arg-type]
    async with database.transaction() as connection:
        locked = await TaskRepository(connection).lock_task(task.id)
        assert locked is not None
        await record(connection, locked, steps, claimer=claimer, now=system_clock())


def statuses(connection: psycopg.Connection, task: Task) -> dict[str, str]:
    return dict(subtasks(connection, task))


def status(connection: psycopg.Connection, task: Task) -> str:
    return str(task_row(connection, task)["status"])


@pytest.fixture
def devices(connection: psycopg.Connection) -> None:
    """Four lamps."""
    insert_lamps(connection, 4, PROJECT)


@pytest.fixture
async def sending(database: Database):
    """The locks of somebody who sends."""
    locks = SendingLocks(database)
    yield locks
    await locks.close()


@pytest.fixture
async def client(url: str, database: Database):
    """A plain client, for bodies that the SDK does not send."""
    headers = {"X-Auth-Token": await make_token(database, projects=[PROJECT])}
    async with httpx.AsyncClient(base_url=f"{url}/v5/iot/{PROJECT}/batchtasks", headers=headers) as client:
        yield client


def named(*targets: str) -> dict[str, Any]:
    return {"body": {"targets": list(targets)}}


def unfit(target: str, reason: str) -> dict[str, str]:
    return {"target": target, "status": "failure", "error_code": "IOTDA.014219", "error_msg": reason}


def done(target: str) -> dict[str, str]:
    return {"target": target, "status": "success"}


@pytest.mark.usefixtures("devices")
class TestStop:
    async def test_all_of_a_task(self, sdk, database, connection):
        task = await add(database)
        assert await sdk.call("stop_batch_task", task_id=task.task_id, body={}) == {"targets": []}
        assert status(connection, task) == "Stopped"
        assert progress(connection, task) == {"total": 4, "stopped": 4}
        assert task_row(connection, task)["finished_at"] is not None

    async def test_without_a_body(self, sdk, database, connection):
        task = await add(database)
        await sdk.call("stop_batch_task", task_id=task.task_id)
        assert status(connection, task) == "Stopped"

    async def test_what_is_in_hand_settles(self, sdk, database, connection):
        task = await add(database)
        await perform(database, task, {"lamp-0": "Success", "lamp-1": "Fail"})
        await sdk.call("stop_batch_task", task_id=task.task_id, body={})
        assert status(connection, task) == "Stopping"
        assert statuses(connection, task) == {
            "lamp-0": "Success",
            "lamp-1": "Fail",
            "lamp-2": "Processing",
            "lamp-3": "Processing",
        }
        async with database.transaction() as session:
            tasks = TaskRepository(session)
            locked = await tasks.lock_task(task.id)
            rows = connection.execute(
                "SELECT id FROM batch_subtask WHERE status = 'Processing' ORDER BY id"
            ).fetchall()
            steps = [(await _subtask(session, row["id"]), Step(row["id"], "Success")) for row in rows]
            await record(session, locked, steps, claimer=7, now=system_clock())
        assert status(connection, task) == "Stopped"
        assert progress(connection, task) == {"total": 4, "success": 3, "fail": 1}

    async def test_what_waits_for_its_next_try_ends(self, sdk, database, connection):
        policy = TaskPolicy(None, 3, timedelta(minutes=5))
        task = await add(database, policy=policy)
        await perform(database, task, dict.fromkeys(lamps(4), "Fail"))
        assert progress(connection, task) == {"total": 4, "fail_wait_retry": 4}
        await sdk.call("stop_batch_task", task_id=task.task_id, body={})
        assert progress(connection, task) == {"total": 4, "stopped": 4}

    async def test_before_there_is_a_sub_task(self, sdk, database, connection):
        task = await add(database, expanded=False)
        await sdk.call("stop_batch_task", task_id=task.task_id, body={})
        assert status(connection, task) == "Stopped"
        assert progress(connection, task) == {"total": 4, "stopped": 4}

    async def test_named_targets(self, sdk, database, connection):
        task = await add(database)
        await perform(database, task, {"lamp-0": "Success", "lamp-1": "Success", "lamp-3": "Fail"})
        connection.execute(
            "UPDATE batch_subtask SET claimed_by = NULL, wake_at = now() WHERE target = 'lamp-2'"
        )
        answer = await sdk.call(
            "stop_batch_task", task_id=task.task_id, **named("lamp-2", "lamp-0", "nobody", "lamp-2")
        )
        assert answer == {
            "targets": [
                done("lamp-2"),
                unfit("lamp-0", "is Success"),
                unfit("nobody", "is not a target of this task"),
            ]
        }
        assert statuses(connection, task)["lamp-2"] == "Stopped"
        assert status(connection, task) == "PartialSuccess"

    async def test_a_named_target_that_is_in_hand_is_not_stopped(self, sdk, database, connection):
        task = await add(database)
        await perform(database, task, {})
        answer = await sdk.call("stop_batch_task", task_id=task.task_id, **named("lamp-1"))
        assert answer == {"targets": [unfit("lamp-1", "is being performed just now")]}
        assert progress(connection, task) == {"total": 4, "processing": 4}

    async def test_all_of_its_targets_by_name_stop_the_task(self, sdk, database, connection):
        task = await add(database)
        answer = await sdk.call("stop_batch_task", task_id=task.task_id, **named(*lamps(4)))
        assert answer == {"targets": [done(target) for target in lamps(4)]}
        assert status(connection, task) == "Stopped"

    async def test_it_waits_for_what_is_about_to_leave(self, sdk, database, connection, sending):
        task = await add(database)
        async with sending.held(task.id):
            stopping = asyncio.create_task(sdk.call("stop_batch_task", task_id=task.task_id, body={}))
            await asyncio.sleep(0.5)
            assert not stopping.done()
            assert status(connection, task) == "Processing"
        assert await stopping == {"targets": []}
        assert status(connection, task) == "Stopped"

    async def test_what_does_not_leave_is_said(self, client, database, connection, sending, monkeypatch):
        monkeypatch.setattr("include.batch.actions.STOP_WAIT", timedelta(milliseconds=100))
        task = await add(database)
        async with sending.held(task.id):
            answer = await client.post(f"/{task.task_id}/stop")
        assert (answer.status_code, answer.json()["error_code"]) == (503, "CARILLON.0503")
        assert status(connection, task) == "Processing"


async def _subtask(session: Any, id: int) -> Any:
    cursor = await session.execute("SELECT * FROM batch_subtask WHERE id = %s", [id])
    return read_subtask(await cursor.fetchone())


@pytest.mark.usefixtures("devices")
class TestRetry:
    async def test_all_that_failed_of_a_task_that_has_ended(self, sdk, database, connection):
        task = await add(database)
        await perform(database, task, {**dict.fromkeys(lamps(4), "Fail"), "lamp-0": "Success"})
        assert status(connection, task) == "PartialSuccess"
        assert await sdk.call("retry_batch_task", task_id=task.task_id, body={}) == {"targets": []}
        row = task_row(connection, task)
        assert (row["status"], row["finished_at"], row["runs_wanted"]) == ("Processing", None, 2)
        assert progress(connection, task) == {"total": 4, "success": 1, "waitting": 3}
        await perform(database, task, dict.fromkeys(lamps(4), "Success"))
        assert status(connection, task) == "Success"

    async def test_of_a_task_at_work_no_further_run_is_wanted(self, sdk, database, connection):
        task = await add(database)
        await perform(database, task, {"lamp-1": "Fail"})
        await sdk.call("retry_batch_task", task_id=task.task_id, body={})
        assert progress(connection, task) == {"total": 4, "waitting": 1, "processing": 3}
        assert task_row(connection, task)["runs_wanted"] == 1

    async def test_what_waits_for_its_next_try_need_not_wait(self, sdk, database, connection):
        task = await add(database, policy=TaskPolicy(None, 2, timedelta(minutes=5)))
        await perform(database, task, {"lamp-1": "Fail"})
        await sdk.call("retry_batch_task", task_id=task.task_id, body={})
        [row] = connection.execute(
            "SELECT status, wake_at <= now() AS due, retries_left FROM batch_subtask WHERE target = 'lamp-1'"
        ).fetchall()
        assert row == {"status": "Waitting", "due": True, "retries_left": 2}

    async def test_a_target_that_was_stopped_in_a_task_that_failed(self, sdk, database, connection):
        task = await add(database)
        await sdk.call("stop_batch_task", task_id=task.task_id, **named("lamp-0"))
        await perform(database, task, dict.fromkeys(lamps(4), "Fail"))
        assert status(connection, task) == "Fail"
        answer = await sdk.call("retry_batch_task", task_id=task.task_id, **named("lamp-0", "lamp-1"))
        assert answer == {"targets": [done("lamp-0"), done("lamp-1")]}
        assert progress(connection, task) == {"total": 4, "fail": 2, "waitting": 2}

    async def test_what_is_under_way_is_not_begun_anew(self, sdk, database, connection):
        task = await add(database)
        await perform(database, task, {"lamp-0": "Fail"})
        answer = await sdk.call("retry_batch_task", task_id=task.task_id, **named("lamp-0", "lamp-1"))
        assert answer == {"targets": [done("lamp-0"), unfit("lamp-1", "is Processing")]}
        answer = await sdk.call("retry_batch_task", task_id=task.task_id, **named("lamp-0"))
        assert answer == {"targets": [unfit("lamp-0", "is Waitting")]}
        assert progress(connection, task) == {"total": 4, "waitting": 1, "processing": 3}

    async def test_named_targets_that_do_not_fit_change_nothing(self, sdk, database, connection):
        task = await add(database)
        await perform(database, task, {**dict.fromkeys(lamps(4), "Fail"), "lamp-0": "Success"})
        answer = await sdk.call("retry_batch_task", task_id=task.task_id, **named("lamp-0", "nobody"))
        assert answer == {
            "targets": [unfit("lamp-0", "is Success"), unfit("nobody", "is not a target of this task")]
        }
        assert status(connection, task) == "PartialSuccess"
        assert task_row(connection, task)["runs_wanted"] == 1


@pytest.mark.usefixtures("devices")
class TestConfirm:
    async def test_all_of_a_task(self, sdk, database, connection):
        task = await add(database, need_confirm=True, **UPGRADE)
        assert status(connection, task) == "Waitting"
        assert set(subtasks(connection, task, "wake_at")) == {None}
        assert await sdk.call("confirm_batch_task", task_id=task.task_id, body={}) == {"targets": []}
        assert status(connection, task) == "Processing"
        assert None not in subtasks(connection, task, "wake_at")

    async def test_named_targets(self, sdk, database, connection):
        task = await add(database, need_confirm=True, **UPGRADE)
        answer = await sdk.call("confirm_batch_task", task_id=task.task_id, **named("lamp-1", "nobody"))
        assert answer == {"targets": [done("lamp-1"), unfit("nobody", "is not a target of this task")]}
        assert status(connection, task) == "Processing"
        waiting = subtasks(connection, task, "target, wake_at IS NULL")
        assert dict(waiting) == {"lamp-0": True, "lamp-1": False, "lamp-2": True, "lamp-3": True}
        await sdk.call("confirm_batch_task", task_id=task.task_id, body={})
        assert None not in subtasks(connection, task, "wake_at")

    async def test_no_target_that_fits_leaves_the_task_waiting(self, sdk, database, connection):
        task = await add(database, need_confirm=True, **UPGRADE)
        await sdk.call("confirm_batch_task", task_id=task.task_id, **named("nobody"))
        assert status(connection, task) == "Waitting"

    async def test_no_sooner_than_it_is_scheduled(self, sdk, database, connection):
        at = system_clock() + timedelta(hours=1)
        task = await add(database, need_confirm=True, policy=TaskPolicy(at), **UPGRADE)
        await sdk.call("confirm_batch_task", task_id=task.task_id, body={})
        assert status(connection, task) == "Waitting"
        assert set(subtasks(connection, task, "wake_at")) == {at}

    async def test_before_there_is_a_sub_task(self, sdk, database, connection):
        task = await add(database, need_confirm=True, expanded=False, **UPGRADE)
        await sdk.call("confirm_batch_task", task_id=task.task_id, body={})
        assert status(connection, task) == "Processing"

    async def test_one_that_needs_none_goes_on(self, sdk, database, connection):
        task = await add(database, **UPGRADE)
        before = subtasks(connection, task, "wake_at")
        answer = await sdk.call("confirm_batch_task", task_id=task.task_id, **named("lamp-0"))
        assert answer == {"targets": [done("lamp-0")]}
        assert subtasks(connection, task, "wake_at") == before


#: How a task of two lamps gets into a status.
PATHS: dict[str, list[str]] = {
    "Initializing": [],
    "Waitting": ["Waitting"],
    "Processing": ["Processing"],
    "Stopping": ["Processing", "Stopping"],
    "Success": ["Processing", "Success"],
    "Fail": ["Processing", "Fail"],
    "PartialSuccess": ["Processing", "PartialSuccess"],
    "Stopped": ["Processing", "Stopped"],
}
FINISHED = {"Success", "Fail", "PartialSuccess", "Stopped"}
REFUSED = {
    "retry_batch_task": ("retried", {"Success", "Stopped", "Stopping", "Waitting", "Initializing"}),
    "stop_batch_task": ("stopped", {*FINISHED, "Stopping"}),
    "confirm_batch_task": ("confirmed", {*FINISHED, "Stopping"}),
    "delete_batch_task": ("deleted", set(PATHS) - FINISHED),
}


@pytest.mark.usefixtures("devices")
class TestRefusals:
    @pytest.mark.parametrize("call", REFUSED)
    async def test_by_the_status_of_the_task(self, sdk, database, connection, call):
        word, refused = REFUSED[call]
        for name, path in PATHS.items():
            task = await add(database, expanded=False, **UPGRADE)
            for step in path:
                connection.execute(
                    "UPDATE batch_task SET status = %s, finished_at = CASE WHEN %s THEN now() END"
                    " WHERE id = %s",
                    [step, step in FINISHED, task.id],
                )
            if name in refused:
                assert await sdk.refused(call, task_id=task.task_id) == (
                    403,
                    "IOTDA.014219",
                    f"a task that is {name} cannot be {word}",
                )
                assert status(connection, task) == name
            else:
                await sdk.call(call, task_id=task.task_id)

    @pytest.mark.parametrize("call", ["retry_batch_task", "stop_batch_task"])
    async def test_a_setting_keeps_to_the_vendors_types(self, sdk, database, monkeypatch, call):
        task = await add(database)
        monkeypatch.setenv("CARILLON_BATCH_ACTIONS_ALL_TYPES", "false")
        get_settings.cache_clear()
        word = REFUSED[call][0]
        assert await sdk.refused(call, task_id=task.task_id) == (
            403,
            "IOTDA.014219",
            f"a task of type createCommands cannot be {word}",
        )
        await sdk.call(call, task_id=(await add(database, **UPGRADE)).task_id)

    async def test_only_upgrades_can_be_confirmed(self, sdk, database):
        task = await add(database)
        assert await sdk.refused("confirm_batch_task", task_id=task.task_id) == (
            403,
            "IOTDA.014219",
            "a task of type createCommands cannot be confirmed",
        )

    @pytest.mark.parametrize("call", REFUSED)
    async def test_a_task_that_is_not_there(self, sdk, call):
        assert (await sdk.refused(call, task_id="0" * 24))[:2] == (404, "CARILLON.0404")

    @pytest.mark.parametrize("call", ["retry", "stop", "confirm"])
    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({"targets": []}, "targets: List should have at least 1 item after validation, not 0"),
            (
                {"targets": lamps(101)},
                "targets: List should have at most 100 items after validation, not 101",
            ),
            ({"targets": None}, "targets must not be null"),
            ({"targets": "lamp-0"}, "targets: must be a valid list"),
            ({"targets": ["a b"]}, "targets.0: must match pattern"),
            ({"targets": ["d" * 129]}, "targets.0: must match pattern"),
            ({"target": "lamp-0"}, "target: is not a field of this request"),
        ],
    )
    async def test_targets_that_cannot_be_used(self, client, database, connection, call, body, message):
        task = await add(database, **UPGRADE)
        answer = await client.post(f"/{task.task_id}/{call}", json=body)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "IOTDA.000006")
        assert answer.json()["error_msg"].startswith(message)
        assert progress(connection, task) == {"total": 4, "waitting": 4}

    async def test_a_hundred_targets_may_be_named(self, client, database):
        task = await add(database)
        answer = await client.post(f"/{task.task_id}/stop", json={"targets": lamps(100)})
        assert answer.status_code == 200
        assert [one["status"] for one in answer.json()["targets"]] == ["success"] * 4 + ["failure"] * 96


@pytest.mark.usefixtures("devices")
class TestDelete:
    async def test_a_task_that_has_finished_goes_with_its_sub_tasks(self, sdk, client, database, connection):
        task = await add(database)
        await sdk.call("stop_batch_task", task_id=task.task_id)
        answer = await client.delete(f"/{task.task_id}")
        assert (answer.status_code, answer.content) == (204, b"")
        assert connection.execute("SELECT count(*) AS n FROM batch_subtask").fetchone() == {"n": 0}
        assert (await sdk.refused("delete_batch_task", task_id=task.task_id))[:2] == (404, "CARILLON.0404")
