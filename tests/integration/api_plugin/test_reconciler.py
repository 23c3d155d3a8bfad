"""The reconciler: a task that was committed gets its run, whatever goes wrong in between."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from api_plugin.common import airflow_adapter, duties
from api_plugin.common.airflow_adapter import DagNotParsedError
from api_plugin.common.reconciler import Reconciler, nudge, reconciling, run_id_of
from include.batch.model import TaskPolicy
from include.batch.repository import TaskRepository, WantedRun
from include.kit.db import Database
from tests.batch_rows import NOW, add_task, insert_lamps, lamps, progress, task_row

LATER = NOW + timedelta(hours=5)


class Airflow:
    """Remembers the runs it was asked for; knows the DAGs it is told to."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.asked = 0
        self.unknown: set[str] = set()

    def __call__(self, dag_id: str, run_id: str, **more: Any) -> None:
        self.asked += 1
        if dag_id in self.unknown:
            raise DagNotParsedError(f"Airflow does not know the DAG {dag_id} yet")
        self.runs.setdefault(run_id, {"dag_id": dag_id, **more})


@pytest.fixture
def airflow() -> Airflow:
    return Airflow()


@pytest.fixture
def reconciler(database: Database, airflow: Airflow) -> Reconciler:
    return Reconciler(database, airflow, clock=lambda: NOW)


async def test_a_task_gets_its_run(database: Database, connection, reconciler, airflow) -> None:
    task = await add_task(database, expanded=False, task_name="路灯 one", created_by="alice")
    await reconciler.reconcile()
    await reconciler.reconcile()
    assert airflow.runs == {
        f"Lu-Deng-one_{task.task_id}": {
            "dag_id": "batch.createCommands",
            "conf": {"task_id": task.task_id},
            "run_after": None,
            "user": "alice",
        }
    }
    assert airflow.asked == 1
    assert task_row(connection, task)["runs_started"] == 1
    # What is due now is expanded in its run, where Airflow shows it.
    assert task_row(connection, task)["status"] == "Initializing"


async def test_a_crash_between_start_and_its_note_starts_nothing_twice(
    database: Database, connection: psycopg.Connection, reconciler, airflow
) -> None:
    task = await add_task(database, expanded=False)
    await reconciler.reconcile()
    connection.execute("UPDATE batch_task SET runs_started = 0")
    await reconciler.reconcile()
    assert (len(airflow.runs), airflow.asked) == (1, 2)
    assert task_row(connection, task)["runs_started"] == 1


async def test_a_retry_is_another_run_and_due_now(database: Database, reconciler, airflow) -> None:
    task = await add_task(database, expanded=False, policy=TaskPolicy(LATER))
    await reconciler.reconcile()
    async with database.transaction() as transaction:
        await TaskRepository(transaction).want_run(task.id)
    await reconciler.reconcile()
    assert {id: run["run_after"] for id, run in airflow.runs.items()} == {
        f"evening-lights_{task.task_id}": LATER,
        f"evening-lights_{task.task_id}_r2": None,
    }


async def test_a_dag_that_airflow_does_not_know_yet_keeps_no_other_task_waiting(
    database: Database, connection, reconciler, airflow
) -> None:
    first = await add_task(database, expanded=False)
    await add_task(database, expanded=False, task_type="createMessages")
    airflow.unknown.add("batch.createCommands")
    with pytest.raises(DagNotParsedError):
        await reconciler.reconcile()
    assert [run["dag_id"] for run in airflow.runs.values()] == ["batch.createMessages"]
    assert "does not know" in task_row(connection, first)["run_failure"]
    airflow.unknown.clear()
    await reconciler.reconcile()
    row = task_row(connection, first)
    assert (len(airflow.runs), row["runs_started"], row["run_failure"]) == (2, 1, None)


async def test_more_tasks_than_a_page(database: Database, reconciler, airflow) -> None:
    for _ in range(105):
        await add_task(database, expanded=False)
    await reconciler.reconcile()
    assert len(airflow.runs) == 105


async def test_what_must_not_wait_for_its_run_is_expanded(
    database: Database, connection: psycopg.Connection, reconciler
) -> None:
    insert_lamps(connection, 3)
    later = await add_task(database, expanded=False, targets=lamps(3), policy=TaskPolicy(LATER))
    file = await add_task(
        database, expanded=False, task_type="deleteDevices", targets=None, document_source="gone"
    )
    now = await add_task(database, expanded=False, targets=lamps(3))
    await reconciler.reconcile()
    assert task_row(connection, later)["status"] == "Waitting"
    assert progress(connection, later) == {"total": 3, "waitting": 3}
    assert (task_row(connection, file)["status"], task_row(connection, file)["status_desc"]) == (
        "Fail",
        "no target",
    )
    assert task_row(connection, now)["status"] == "Initializing"


async def test_what_waited_too_long_for_its_device_ends(
    database: Database, connection: psycopg.Connection, reconciler
) -> None:
    insert_lamps(connection, 1)
    connection.execute(
        "INSERT INTO device_command"
        " (command_id, device_id, paras, send_strategy, status, expires_at, created_at)"
        " SELECT 'c', id, '{}', 'delay', 'PENDING', %s, %s FROM device",
        [NOW - timedelta(seconds=1), NOW - timedelta(days=1)],
    )
    connection.execute(
        "INSERT INTO device_message (message_id, device_id, message, status, expires_at, created_at)"
        " SELECT 'm', id, '{}', 'PENDING', %s, %s FROM device",
        [NOW - timedelta(seconds=1), NOW - timedelta(days=1)],
    )
    await reconciler.expire()
    assert connection.execute("SELECT status FROM device_command").fetchone() == {"status": "EXPIRED"}
    assert connection.execute("SELECT status FROM device_message").fetchone() == {"status": "TIMEOUT"}


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [
        ("evening lights", 1, "evening-lights_{}"),
        ("固件", 3, "Gu-Jian_{}_r3"),
        ("!!", 1, "createCommands_{}"),
        ("x" * 128, 1, "x" * 80 + "_{}"),
        ("a/../b%20c", 1, "a-b-20c_{}"),
    ],
)
def test_run_ids_can_be_read(name: str, number: int, expected: str) -> None:
    run = WantedRun(1, "0" * 24, name, "createCommands", None, number, None)
    assert run_id_of(run) == expected.format("0" * 24)


async def test_the_loop_answers_a_nudge(database: Database, airflow, monkeypatch) -> None:
    monkeypatch.setattr(airflow_adapter, "start_run", airflow)
    async with reconciling(database):
        await asyncio.sleep(0.3)
        await add_task(database, expanded=False)
        nudge()
        async with asyncio.timeout(0.6):
            while not airflow.runs:
                await asyncio.sleep(0.02)


async def test_the_loop_sees_what_another_process_wrote_and_outlives_failures(
    database: Database, airflow, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(airflow_adapter, "start_run", airflow)
    monkeypatch.setattr(duties, "RETRY_SECONDS", 0.1)
    airflow.unknown.add("batch.createCommands")
    await add_task(database, expanded=False)
    async with reconciling(database):
        async with asyncio.timeout(10):
            while airflow.asked < 3:
                await asyncio.sleep(0.02)
            airflow.unknown.clear()
            while not airflow.runs:
                await asyncio.sleep(0.02)
    said = [record for record in caplog.records if "reconcile failed" in record.message]
    assert [(record.levelname, record.exc_info) for record in said] == [("WARNING", None)]


class TestStartingARun:
    """What Airflow's function answers, and what becomes of it."""

    @pytest.fixture(autouse=True)
    def _session(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from contextlib import nullcontext

        monkeypatch.setattr("airflow.utils.session.create_session", lambda scoped: nullcontext("session"))

    def start(self, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> dict[str, Any]:
        asked: dict[str, Any] = {}

        def trigger_dag(dag_id: str, **more: Any) -> None:
            asked.update(more, dag_id=dag_id)
            if error:
                raise error

        monkeypatch.setattr("airflow.api.common.trigger_dag.trigger_dag", trigger_dag)
        airflow_adapter.start_run("batch.x", "run", conf={"task_id": "t"}, run_after=LATER, user="alice")
        return asked

    def test_it_has_no_logical_date_and_begins_when_it_is_due(self, monkeypatch) -> None:
        asked = self.start(monkeypatch)
        assert (asked["run_id"], asked["run_after"], asked["conf"]) == ("run", LATER, {"task_id": "t"})
        assert asked["triggering_user_name"] == "alice"
        assert "logical_date" not in asked

    def test_a_run_that_is_there_is_as_good(self, monkeypatch) -> None:
        from types import SimpleNamespace

        from airflow.exceptions import DagRunAlreadyExists

        run = SimpleNamespace(dag_id="batch.x", run_id="run", logical_date=None)
        self.start(monkeypatch, DagRunAlreadyExists(run))

    def test_a_dag_that_is_not_there_is_asked_for(self, monkeypatch, parse_requests) -> None:
        from airflow.exceptions import DagNotFound

        parses: list[str] = []
        monkeypatch.setattr(airflow_adapter, "request_parse", parses.append)
        with pytest.raises(DagNotParsedError, match=r"batch\.x"):
            self.start(monkeypatch, DagNotFound("x"))
        assert parses == ["batch_dags.py"]
