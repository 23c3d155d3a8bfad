"""The statements on batch tasks and their sub-tasks, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import psycopg
import pytest
from psycopg.errors import LockNotAvailable

from include.batch.expansion import expand
from include.batch.model import Step, Task, TaskPolicy
from include.batch.repository import TaskRepository
from include.batch.settling import record, release
from include.batch.subtask_repository import Claimed, SubtaskRepository
from include.kit.db import Database
from include.ledger.repository import LedgerRepository
from tests.batch_rows import NOW, add_task, insert_lamps, lamps, progress, subtasks, task_row

MINUTE = timedelta(minutes=1)


@asynccontextmanager
async def locked(database: Database, task: Task) -> AsyncIterator[tuple[SubtaskRepository, Task]]:
    async with database.transaction() as connection:
        now_task = await TaskRepository(connection).lock_task(task.id)
        assert now_task is not None
        yield SubtaskRepository(connection), now_task


async def claim(
    database: Database, task: Task, limit: int = 100, *, fresh: int = 100, claimer: int = 7, now=NOW
) -> list[Claimed]:
    async with locked(database, task) as (repository, fresh_task):
        return await repository.claim_subtasks(fresh_task, limit=limit, fresh=fresh, claimer=claimer, now=now)


async def write(
    database: Database, task: Task, claimed: list[Claimed], *, claimer: int = 7, now=NOW, **step: object
) -> dict[int, str]:
    async with locked(database, task) as (repository, now_task):
        steps = [
            (one.subtask, Step(one.subtask.id, **{"status": "Success", **step}))  # type: ignore[arg-type]
            for one in claimed
        ]
        return dict(await record(repository.connection, now_task, steps, claimer=claimer, now=now))


class TestTasks:
    async def test_what_was_asked_for_is_kept(self, database: Database, connection) -> None:
        policy = TaskPolicy(NOW + MINUTE, retry_count=2, retry_interval=5 * MINUTE)
        task = await add_task(
            database,
            expanded=False,
            targets=lamps(3),
            task_ext_info={"a": 1},
            policy=policy,
            rollout={"max_in_flight": 5},
        )
        assert task.asked.policy == policy
        assert (task.asked.task_ext_info, task.asked.rollout) == ({"a": 1}, {"max_in_flight": 5})
        assert (task.status, task.due_at, task.asked.targets) == ("Initializing", NOW + MINUTE, None)
        async with database.transaction() as transaction:
            tasks = TaskRepository(transaction)
            found = await tasks.find_task(task_id=task.task_id, projects=["p1"], with_targets=True)
            assert found is not None
            assert found.asked.targets == lamps(3)
            assert await tasks.find_task(task_id=task.task_id, projects=["p2"]) is None
            assert await tasks.find_task(task.id + 1) is None

    async def test_task_ids_sort_by_creation(self, database: Database) -> None:
        moments = [NOW, NOW, NOW + timedelta(milliseconds=1), NOW + timedelta(days=4000)]
        ids = [(await add_task(database, now=moment, expanded=False)).task_id for moment in moments]
        assert ids == sorted(ids)
        assert len(set(ids)) == 4
        assert {len(id) for id in ids} == {24}

    async def test_runs_that_are_wanted(self, database: Database) -> None:
        task = await add_task(database, expanded=False)
        async with database.transaction() as transaction:
            tasks = TaskRepository(transaction)
            [wanted] = await tasks.runless_tasks(10)
            assert (wanted.task_id, wanted.number) == (task.task_id, 1)
            await tasks.mark_run_failed(task.id, "no such DAG")
            await tasks.mark_run_started(task.id, 1)
            assert await tasks.runless_tasks(10) == []
            await tasks.want_run(task.id)
            [wanted] = await tasks.runless_tasks(10)
            assert wanted.number == 2
            assert await tasks.runless_tasks(10, after=task.id) == []


class TestExpansion:
    async def test_targets_in_their_order_each_once(self, database: Database, connection) -> None:
        insert_lamps(connection, 3)
        task = await add_task(database, targets=["lamp-2", "lamp-0", "lamp-2", "gone", "lamp-1", "gone"])
        columns = "target, status, error_code, finished_at"
        assert subtasks(connection, task, columns) == [
            ("lamp-2", "Waitting", None, None),
            ("lamp-0", "Waitting", None, None),
            ("gone", "Fail", "IOTDA.014000", NOW),
            ("lamp-1", "Waitting", None, None),
        ]
        assert (task.status, progress(connection, task)) == (
            "Processing",
            {"total": 4, "waitting": 3, "fail": 1},
        )

    async def test_devices_of_another_project_are_unknown(self, database: Database, connection) -> None:
        insert_lamps(connection, 1, project="p2")
        task = await add_task(database, targets=["lamp-0"])
        assert subtasks(connection, task, "status") == ["Fail"]
        assert (task.status, task.status_desc) == (
            "Fail",
            "1 failed of 1; mostly IOTDA.014000 there is no such device",
        )

    async def test_groups_of_the_project(self, database: Database, connection) -> None:
        insert_lamps(connection, 5)
        for group, project, members in (("g1", "p1", (1, 3)), ("g2", "p1", (2, 3)), ("g3", "p2", (4, 4))):
            connection.execute(
                "WITH g AS (INSERT INTO device_group (group_id, project_id, name, created_at)"
                " VALUES (%s, %s, %s, now()) RETURNING id)"
                " INSERT INTO device_group_member SELECT g.id, d.id FROM g, device d"
                " WHERE d.device_id = ANY(%s)",
                [group, project, group, [f"lamp-{n}" for n in range(members[0], members[1] + 1)]],
            )
        task = await add_task(database, targets=None, targets_filter={"group_ids": ["g1", "g2", "g3", "g4"]})
        assert subtasks(connection, task, "target") == ["lamp-1", "lamp-2", "lamp-3"]

    async def test_of_several_sources_the_first_counts(self, database: Database, connection) -> None:
        insert_lamps(connection, 2)
        task = await add_task(
            database, targets=["lamp-1"], targets_filter={"group_ids": ["g"]}, document_source="f"
        )
        assert subtasks(connection, task, "target") == ["lamp-1"]

    @pytest.mark.parametrize(
        ("task_type", "expected"),
        [
            ("freezeDevices", [("lamp-0", "Waitting"), ("nobody", "Fail"), ("row 4", "Fail")]),
            ("createDevices", [("row 2", "Waitting"), ("lamp_n1", "Waitting")]),
        ],
    )
    async def test_rows_of_a_file(self, database: Database, connection, task_type, expected) -> None:
        insert_lamps(connection, 1)
        connection.execute(
            "WITH f AS (INSERT INTO batch_file (file_id, project_id, owner, file_name, columns, rows,"
            " uploaded_at, expires_at) VALUES ('f', 'p1', 'o', 'n', '{}', 3, now(), now()) RETURNING id)"
            " INSERT INTO batch_file_row SELECT f.id, r.row, r.cells::jsonb FROM f, (VALUES"
            ' (2, \'{"device_id": "lamp-0"}\'), (3, \'{"device_id": "nobody"}\'),'
            ' (4, \'{"product_id": "lamp", "node_id": "n1"}\')) r (row, cells)'
        )
        task = await add_task(database, task_type=task_type, targets=None, document_source="f")
        found = subtasks(connection, task)
        assert [one for one in found if one in expected] == expected
        assert subtasks(connection, task, "input")[0] == {"device_id": "lamp-0"}

    async def test_nothing_to_expand(self, database: Database, connection) -> None:
        task = await add_task(database, targets=None, targets_filter={"group_ids": ["none"]})
        assert (task.status, task.status_desc, task.progress.total) == ("Fail", "no target", 0)

    async def test_it_may_be_repeated(self, database: Database, connection) -> None:
        insert_lamps(connection, 2)
        task = await add_task(database, targets=lamps(2))
        async with database.transaction() as transaction:
            await expand(transaction, task.id, NOW)
            assert await expand(transaction, 999, NOW) is None
        assert progress(connection, task) == {"total": 2, "waitting": 2}

    async def test_what_is_scheduled_or_to_be_confirmed_waits(self, database: Database, connection) -> None:
        insert_lamps(connection, 1)
        later = await add_task(database, policy=TaskPolicy(NOW + MINUTE))
        confirm = await add_task(database, task_type="firmwareUpgrade", need_confirm=True)
        assert (later.status, confirm.status) == ("Waitting", "Waitting")
        assert subtasks(connection, later, "wake_at") == [NOW + MINUTE]
        assert subtasks(connection, confirm, "wake_at") == [None]

    async def test_a_hundred_thousand_rows_in_one_statement(self, database: Database, connection) -> None:
        insert_lamps(connection, 100_000)
        task = await add_task(database, targets=lamps(100_000))
        assert progress(connection, task) == {"total": 100_000, "waitting": 100_000}
        connection.execute("ANALYZE batch_subtask")
        claimed = await claim(database, task, 3)
        assert [one.subtask.target for one in claimed] == lamps(3)


class TestClaims:
    @pytest.fixture
    async def task(self, database: Database, connection: psycopg.Connection) -> Task:
        insert_lamps(connection, 40)
        return await add_task(database, targets=lamps(40))

    async def test_they_never_overlap(self, database: Database, task: Task) -> None:
        async def work(claimer: int) -> list[int]:
            found: list[int] = []
            while claimed := await claim(database, task, 3, claimer=claimer):
                found += [one.subtask.id for one in claimed]
            return found

        one, two, three = await asyncio.gather(*map(work, (1, 2, 3)))
        assert len({*one, *two, *three}) == len(one) + len(two) + len(three) == 40

    async def test_attempts_are_numbered(self, database: Database, connection, task: Task) -> None:
        [one] = await claim(database, task, 1)
        assert (one.was, one.device_status, one.subtask.attempt) == ("Waitting", "ONLINE", 1)
        assert one.subtask.request_id(task.task_id) == f"{task.task_id}-{one.subtask.id}-1"
        assert progress(connection, task) == {"total": 40, "waitting": 39, "processing": 1}

    async def test_only_what_is_due(self, database: Database, task: Task) -> None:
        assert await claim(database, task, now=NOW - MINUTE) == []

    async def test_a_rate_holds_what_begins_not_what_goes_on(
        self, database: Database, connection, task: Task
    ) -> None:
        begun = await claim(database, task, 5)
        await write(database, task, begun, status="Processing", phase="version", wake_at=NOW)
        going = await claim(database, task, 10, fresh=2)
        assert [(one.was, one.subtask.attempt, one.subtask.phase) for one in going] == [
            *[("Processing", 1, "version")] * 5,
            *[("Waitting", 1, None)] * 2,
        ]
        await write(database, task, going[:3], status="Processing", phase="download", wake_at=NOW)
        assert len(await claim(database, task, 2, fresh=2)) == 2

    async def test_later_waves_wait(self, database: Database, connection, task: Task) -> None:
        connection.execute("UPDATE batch_subtask SET wave = 2 WHERE id % 2 = 0")
        assert len(await claim(database, task)) == 20
        connection.execute("UPDATE batch_task SET open_wave = 2")
        assert len(await claim(database, task)) == 20

    async def test_a_device_that_is_gone_or_frozen(self, database: Database, connection, task: Task) -> None:
        connection.execute("DELETE FROM device WHERE device_id = 'lamp-0'")
        connection.execute(
            "UPDATE device SET status = 'FROZEN', status_before_freeze = 'ONLINE' WHERE device_id = 'lamp-1'"
        )
        found = await claim(database, task, 3)
        assert [one.device_status for one in found] == [None, "FROZEN", "ONLINE"]

    async def test_next_wake(self, database: Database, connection, task: Task) -> None:
        async def next_wake():
            async with locked(database, task) as (repository, now_task):
                return await repository.next_wake(now_task)

        assert await next_wake() == NOW
        claimed = await claim(database, task)
        assert await next_wake() is None
        await write(database, task, claimed[:1], status="Processing", phase="online", wake_at=NOW + MINUTE)
        assert await next_wake() == NOW + MINUTE
        connection.execute("UPDATE batch_subtask SET wave = 2 WHERE phase IS NULL")
        await write(database, task, claimed[1:2], status="Processing", wake_at=NOW - MINUTE)
        assert await next_wake() == NOW - MINUTE


class TestDeadClaims:
    @pytest.fixture
    async def task(self, database: Database, connection: psycopg.Connection) -> Task:
        insert_lamps(connection, 4)
        return await add_task(database, targets=lamps(4))

    @pytest.fixture(autouse=True)
    def _old_server(self, database: Database, connection: psycopg.Connection) -> None:
        # Just after its start the server's word on who lives is not taken.
        connection.execute(
            "SELECT pg_sleep(greatest(0, 5.1 - extract(epoch FROM now() - pg_postmaster_start_time())))"
        )

    async def free(
        self, database: Database, task: Task, claimer: int = 1, held: list[int] | None = None
    ) -> int:
        async with locked(database, task) as (repository, now_task):
            return await release(repository.connection, now_task, claimer=claimer, held=held or [], now=NOW)

    async def test_those_of_a_living_process_stay(self, database: Database, task: Task) -> None:
        other = await database.connect()
        assert await LedgerRepository(other).hold_claimer_lock(9)
        await claim(database, task, 2, claimer=9)
        assert await self.free(database, task) == 0
        await other.close()
        for _ in range(100):
            if freed := await self.free(database, task):
                break
            await asyncio.sleep(0.05)
        assert freed == 2

    async def test_what_goes_on_keeps_its_attempt(self, database: Database, connection, task: Task) -> None:
        first = await claim(database, task, 2, claimer=9)
        assert await self.free(database, task) == 2
        assert progress(connection, task) == {"total": 4, "waitting": 2, "processing": 2}
        again = await claim(database, task, 2, fresh=0, claimer=1)
        assert [one.subtask.request_id("t") for one in again] == [
            one.subtask.request_id("t") for one in first
        ]

    async def test_what_this_process_has_not_in_hand(self, database: Database, task: Task) -> None:
        held, lost = await claim(database, task, 2, claimer=1)
        assert await self.free(database, task, held=[held.subtask.id]) == 1
        [again] = await claim(database, task, 1, fresh=0, claimer=1)
        assert again.subtask.id == lost.subtask.id

    async def test_of_a_stopping_task_nothing_is_sent_again(
        self, database: Database, connection, task: Task
    ) -> None:
        await claim(database, task, 4, claimer=9)
        connection.execute("UPDATE batch_task SET status = 'Stopping'")
        assert await self.free(database, task) == 4
        assert set(subtasks(connection, task, "status, error_code")) == {("Stopped", "CARILLON.0201")}
        assert task_row(connection, task)["status"] == "Stopped"

    async def test_a_result_of_a_claim_that_was_taken_back_counts(
        self, database: Database, connection, task: Task
    ) -> None:
        one, two = await claim(database, task, 2, claimer=9)
        await self.free(database, task)
        assert await write(database, task, [one], claimer=9) == {one.subtask.id: "Success"}
        await claim(database, task, 1, fresh=0, claimer=1)
        assert await write(database, task, [two], claimer=9) == {}


class TestRecords:
    @pytest.fixture
    async def task(self, database: Database, connection: psycopg.Connection) -> Task:
        insert_lamps(connection, 3)
        policy = TaskPolicy(retry_count=1, retry_interval=5 * MINUTE)
        return await add_task(database, targets=lamps(3), policy=policy)

    async def test_the_last_one_ends_the_task(self, database: Database, connection, task: Task) -> None:
        claimed = await claim(database, task)
        await write(database, task, claimed[:2], output="{}")
        assert task_row(connection, task)["status"] == "Processing"
        await write(database, task, claimed[2:], now=NOW + MINUTE)
        row = task_row(connection, task)
        assert (row["status"], row["status_desc"], row["finished_at"]) == ("Success", None, NOW + MINUTE)
        assert subtasks(connection, task, "output") == ["{}", "{}", None]

    async def test_a_failure_is_tried_again_as_the_policy_says(
        self, database: Database, connection, task: Task
    ) -> None:
        fault = {"status": "Fail", "error_code": "IOTDA.014016", "error_msg": "offline"}
        claimed = await claim(database, task)
        await write(database, task, claimed, **fault)
        assert progress(connection, task) == {"total": 3, "fail_wait_retry": 3}
        assert await claim(database, task, now=NOW + 4 * MINUTE) == []
        again = await claim(database, task, now=NOW + 5 * MINUTE)
        assert {(one.was, one.subtask.attempt) for one in again} == {("FailWaitRetry", 2)}
        await write(database, task, again, **fault)
        row = task_row(connection, task)
        assert (row["status"], row["status_desc"]) == (
            "Fail",
            "3 failed of 3; mostly IOTDA.014016 offline",
        )

    async def test_what_cannot_be_helped_is_not(self, database: Database, connection, task: Task) -> None:
        one, two, three = await claim(database, task)
        await write(database, task, [one], status="Fail", retryable=False)
        await write(database, task, [two], status="Removed")
        await write(database, task, [three])
        assert subtasks(connection, task, "status") == ["Fail", "Removed", "Success"]
        assert task_row(connection, task)["status"] == "PartialSuccess"

    async def test_of_a_stopping_task_nothing_goes_on(
        self, database: Database, connection, task: Task
    ) -> None:
        one, two, three = await claim(database, task)
        connection.execute("UPDATE batch_task SET status = 'Stopping'")
        await write(database, task, [one], status="Fail")
        await write(database, task, [two], status="Processing", phase="version", wake_at=NOW)
        await write(database, task, [three])
        assert subtasks(connection, task, "status") == ["Fail", "Stopped", "Success"]
        assert task_row(connection, task)["status"] == "Stopped"

    async def test_a_late_word_undoes_nothing(self, database: Database, connection, task: Task) -> None:
        claimed = await claim(database, task, 1)
        connection.execute(
            "UPDATE batch_subtask SET status = 'Stopped', claimed_by = NULL, finished_at = now()"
            " WHERE id = %s",
            [claimed[0].subtask.id],
        )
        assert await write(database, task, claimed) == {}
        async with locked(database, task) as (repository, now_task):
            assert await repository.reopen_subtasks(
                now_task, {"Stopped"}, wake_at=NOW, now=NOW, targets=["lamp-0", "lamp-1"]
            ) == ["lamp-0"]
        again = await claim(database, task, 1)
        assert again[0].subtask.attempt == 2
        assert await write(database, task, claimed) == {}
        assert await write(database, task, again) == {again[0].subtask.id: "Success"}

    async def test_a_step_that_an_event_overtook_is_dropped(
        self, database: Database, connection, task: Task
    ) -> None:
        [one] = await claim(database, task, 1)
        connection.execute(
            "UPDATE batch_subtask SET phase = 'download', claimed_by = NULL WHERE id = %s", [one.subtask.id]
        )
        assert await write(database, task, [one], status="Processing", phase="version") == {}
        assert subtasks(connection, task, "phase")[0] == "download"


class TestStopping:
    async def test_a_stop_waits_for_what_is_leaving(self, database: Database, connection) -> None:
        task = await add_task(database)
        done = asyncio.Event()

        async def stop() -> None:
            async with database.transaction() as transaction:
                await TaskRepository(transaction).lock_stopping(task.id, timedelta(seconds=5))
                done.set()

        async with database.transaction() as transaction:
            tasks = TaskRepository(transaction)
            assert await tasks.try_lock_sending(task.id)
            await transaction.commit()
            stopping = asyncio.create_task(stop())
            await asyncio.sleep(0.3)
            assert not done.is_set()
            await tasks.unlock_sending(task.id)
            await stopping
        assert done.is_set()

    async def test_it_does_not_wait_for_ever(self, database: Database) -> None:
        task = await add_task(database)
        async with database.transaction() as transaction:
            assert await TaskRepository(transaction).try_lock_sending(task.id)
            with pytest.raises(LockNotAvailable):
                async with database.pool.connection() as other:
                    await TaskRepository(other).lock_stopping(task.id, timedelta(milliseconds=100))
            await TaskRepository(transaction).unlock_sending(task.id)
