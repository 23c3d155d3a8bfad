"""The operators of a billing DAG, executed as a worker does, with Airflow's context made by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from airflow.sdk import Connection
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    TaskDeferred,
)

from include.billing import operators, runs
from include.billing.operators import BillingRunOperator, PlanOperator, SummaryOperator
from include.billing.runs import RunOrder, RunReport
from include.billing_plan.repository import TURN_LOCK_CLASS
from include.errors import DatabaseUnavailableError
from include.settings import get_settings
from tests.builders import insert_definition, insert_schedule

DUE = datetime(2026, 5, 31, 16, tzinfo=UTC)
ASKED = datetime(2026, 6, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(name: str) -> None:
        raise AirflowNotFoundException(name)

    monkeypatch.setattr(Connection, "get", get)


@pytest.fixture
def task(connection: psycopg.Connection) -> int:
    """A billing task, due on the first of each month; its schedule is number 1."""
    schedule_id = insert_schedule(connection, kind="billing", expression="0 0 0 1 * *")
    task = insert_definition(connection, schedule_id, kind="billing", project_id="42", name="one")
    connection.execute(
        "INSERT INTO billing_task (definition_id, natrual_key, commodity, crontab)"
        " VALUES (%s, repeat('a', 32), 'water', '{}')",
        [task],
    )
    return task


class TaskInstance(SimpleNamespace):
    """What the operators use of it."""

    def __init__(self, **xcoms: Any) -> None:
        super().__init__(try_number=1, max_tries=2, xcoms=xcoms, pushed={})

    def xcom_pull(self, task_ids: str | list[str], map_indexes: int | None = None) -> Any:
        return self.xcoms.get(task_ids if isinstance(task_ids, str) else task_ids[0])

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def context(run_type: str = "scheduled", conf: Any = None, **xcoms: Any) -> dict[str, Any]:
    dag_run = SimpleNamespace(run_id="the run", run_type=run_type, conf=conf, run_after=ASKED)
    found = {"dag_run": dag_run, "ti": TaskInstance(**xcoms)}
    if run_type == "scheduled":
        found |= {"data_interval_start": DUE - timedelta(days=31), "data_interval_end": DUE}
    return found


def execute(operator: Any, found: dict[str, Any]) -> Any:
    """Airflow lets only its own runner call `execute`."""
    inner: Callable[..., Any] = getattr(type(operator).execute, "__wrapped__", type(operator).execute)
    return inner(operator, found)


def plan(found: dict[str, Any]) -> Any:
    operator = PlanOperator(
        task_id="plan", schedule_id=1, expression="0 0 0 1 * *", zone="Asia/Shanghai", retries=0
    )
    return execute(operator, found)


def item(task: int) -> dict[str, Any]:
    return {"definition_id": task, "name": "one", "due_at": [DUE.isoformat()], "origin": "scheduled"}


def bill(task: int, found: dict[str, Any] | None = None) -> Any:
    return execute(BillingRunOperator(task_id="bill", schedule_id=1, item=item(task)), found or context())


def sum_up(found: dict[str, Any]) -> Any:
    operator = SummaryOperator(task_id="summary", schedule_id=1, plan_task="plan", billing_task="bill")
    return execute(operator, found)


def answering(monkeypatch: pytest.MonkeyPatch, answer: RunReport | Exception) -> list[RunOrder]:
    orders: list[RunOrder] = []

    async def run(self: object, order: RunOrder) -> RunReport:
        orders.append(order)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(runs.BillingRuns, "run", run)
    return orders


GOOD = RunReport(7, "succeeded", 3, 0, 0, Decimal("9.99"), DUE, False)


class TestPlan:
    def test_a_window(self, task: int) -> None:
        assert plan(context()) == [item(task)]

    def test_a_manual_run_without_a_logical_date(self, task: int) -> None:
        [found] = plan(context("manual"))
        assert (found["due_at"], found["origin"]) == ([ASKED.isoformat()], "manual")

    def test_a_manual_run_for_a_date(self, task: int) -> None:
        [found] = plan({**context("manual"), "data_interval_start": DUE, "data_interval_end": DUE})
        assert found["due_at"] == [DUE.isoformat()]

    def test_names(self, task: int) -> None:
        assert len(plan(context("manual", {"definition_ids": [task]}))) == 1
        with pytest.raises(AirflowFailException, match="definition_ids: no billing task"):
            plan(context("manual", {"definition_ids": [task + 1]}))
        with pytest.raises(AirflowFailException, match="must be a list"):
            plan(context("manual", {"definition_ids": "all"}))

    def test_a_database_that_is_away_is_worth_another_try(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CARILLON_DATABASE_URL", "")
        monkeypatch.delenv("CARILLON_DATABASE_URL")
        get_settings.cache_clear()
        with pytest.raises(AirflowException) as caught:
            plan(context())
        assert not isinstance(caught.value, AirflowFailException)


def wait_for_turns_to_end(connection: psycopg.Connection) -> None:
    """A turn of billing is a lock of its session: the server gives it back a moment after that was closed."""
    deadline = time.monotonic() + 30
    while connection.execute("SELECT FROM pg_locks WHERE locktype = 'advisory'").rowcount:
        assert time.monotonic() < deadline
        time.sleep(0.01)


class TestBill:
    def test_a_report(self, task: int, monkeypatch: pytest.MonkeyPatch) -> None:
        orders = answering(monkeypatch, GOOD)
        plan(context())
        found = bill(task)
        assert orders == [RunOrder(task, DUE, "scheduled", "the run")]
        assert (found["state"], found["instants"][0]["total"]) == ("succeeded", "9.99")

    def test_a_failure_is_reported_and_not_tried_again(
        self, task: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answering(monkeypatch, ValueError("no"))
        plan(context())
        at = context()
        with pytest.raises(AirflowFailException):
            bill(task, at)
        assert at["ti"].pushed["return_value"]["state"] == "failed"

    def test_a_database_that_is_away_is_worth_another_try(
        self, task: int, monkeypatch: pytest.MonkeyPatch, connection: psycopg.Connection
    ) -> None:
        answering(monkeypatch, DatabaseUnavailableError("away"))
        plan(context())
        states = []
        for try_number in (1, 2, 3):
            at = context()
            at["ti"].try_number = try_number
            wait_for_turns_to_end(connection)
            with pytest.raises(AirflowException) as caught:
                bill(task, at)
            assert not isinstance(caught.value, AirflowFailException)
            states.append(connection.execute("SELECT state FROM execution").fetchone()["state"])
        assert states == ["retrying", "retrying", "failed"]

    def test_while_another_run_bills_the_task_the_worker_is_let_go(
        self, task: int, connection: psycopg.Connection
    ) -> None:
        plan(context())
        connection.execute("SELECT pg_advisory_lock(%s, %s)", [TURN_LOCK_CLASS, task])
        with pytest.raises(TaskDeferred) as caught:
            bill(task)
        assert caught.value.method_name == "execute"


class TestSummary:
    def test_totals(self, task: int, monkeypatch: pytest.MonkeyPatch) -> None:
        answering(monkeypatch, GOOD)
        items = plan(context())
        found = sum_up(context(plan=items, bill=[bill(task)]))
        assert (found["tasks"], found["succeeded"], found["total"]) == (1, 1, "9.99")

    def test_a_task_that_left_no_report_fails_the_run_and_is_ended(
        self, task: int, connection: psycopg.Connection
    ) -> None:
        at = context(plan=plan(context()), bill=[None])
        with pytest.raises(AirflowFailException, match="1 of 1 billing tasks failed"):
            sum_up(at)
        assert at["ti"].pushed["return_value"]["failures"] == [f"one ({task}): its worker stopped"]
        row = connection.execute("SELECT state, reason FROM execution").fetchone()
        assert row == {"state": "failed", "reason": "its worker stopped"}

    def test_nothing_was_due(self, database_url: str) -> None:
        assert sum_up(context(plan=[]))["tasks"] == 0

    def test_without_a_plan(self, database_url: str) -> None:
        with pytest.raises(AirflowFailException, match="there is no plan"):
            sum_up(context())


@pytest.mark.parametrize(
    ("fields", "url", "token"),
    [
        ({"host": "meters.example"}, "http://meters.example", None),
        ({"host": "meters.example", "schema": "https", "port": 8443}, "https://meters.example:8443", None),
        ({"host": "https://meters.example/v1"}, "https://meters.example/v1", None),
        ({"host": "https://meters.example/v1", "port": 8443}, "https://meters.example:8443/v1", None),
        ({"host": "meters.example", "extra": '{"token": "abc"}'}, "http://meters.example", "abc"),
    ],
)
def test_the_connection_of_the_source(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], url: str, token: str | None
) -> None:
    found = Connection(conn_id="meter_source", conn_type="http", login="me", password="secret", **fields)
    monkeypatch.setattr(Connection, "get", lambda name: found)
    source = operators._find_source()
    assert source is not None
    assert (source.base_url, source.login, source.password, source.token) == (url, "me", "secret", token)
