"""The DAGs of maintenance cycles: what they consist of, when they run, and what their operator does."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow import plugins_manager
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import DataInterval, TimeRestriction

from include.kit.db import Database
from include.maintenance.evaluation_repository import EvaluationRepository
from include.maintenance.model import STATISTICS
from include.maintenance.operators import EvaluateOperator
from include.maintenance.summary import alarms
from include.schedules import timetables
from include.schedules.timetables import CrontabTimetable
from include.settings import get_settings
from include.statistics.model import STATISTICS_ASSET
from plugins.carillon_plugin import CarillonPlugin
from tests.maintenance_rows import Bench, local

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def registered(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The plugins folder is found by a setting; here the plugin itself says what it registers.
    found = {f"{t.__module__}.{t.__qualname__}": t for t in CarillonPlugin.timetables}
    monkeypatch.setattr(plugins_manager, "get_timetables_plugins", lambda: found)
    monkeypatch.setenv("CARILLON_HOME", str(tmp_path))
    get_settings.cache_clear()


def add(connection: psycopg.Connection, cycle: str, expression: str = "0 0 0 * * *") -> int:
    row: Any = connection.execute(
        "INSERT INTO schedule (kind, expression, timezone, cycle, dag_id, description, active, active_since)"
        " VALUES ('maintenance', %s, 'Asia/Shanghai', %s, %s, 'in words', true, '2026-03-01T00:00:00Z')"
        " RETURNING id",
        [expression, cycle, f"maintenance.{cycle}"],
    ).fetchone()
    return int(row["id"])


def parse() -> dict[str, DAG]:
    """Run the DAG file as Airflow does and return its DAGs in their order."""
    found: dict[str, Any] = runpy.run_path(str(ROOT / "dags" / "schedule_dags.py"))
    return {name: value for name, value in found.items() if isinstance(value, DAG)}


def next_run(dag: DAG, monkeypatch: pytest.MonkeyPatch, now: datetime, last: datetime) -> Any:
    """Return what the scheduler plans, with the DAG as it reads it from its database."""
    monkeypatch.setattr(timetables, "system_clock", lambda: now)
    return DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable.next_dagrun_info(
        last_automated_data_interval=DataInterval(last, last),
        restriction=TimeRestriction(None, None, catchup=False),
    )


class TestDag:
    def test_one_task_and_one_run_at_a_time(self, connection: psycopg.Connection) -> None:
        add(connection, "every_2_days")
        add(connection, "every_day")
        dags = parse()
        assert list(dags) == ["maintenance.every_2_days", "maintenance.every_day"]
        dag = dags["maintenance.every_2_days"]
        assert dag.task_ids == ["evaluate"]
        assert (dag.max_active_runs, dag.catchup, dag.get_task("evaluate").retries) == (1, False, 2)
        assert dag.tags == {"maintenance", "Asia/Shanghai"}
        assert isinstance(dag.timetable, CrontabTimetable)
        assert dag.doc_md is not None
        assert dag.doc_md.startswith("**in words** (`0 0 0 * * *`, Asia/Shanghai)\n\nLooks at every")

    def test_at_midnight_without_lead(
        self, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add(connection, "every_2_days")
        midnight = datetime(2026, 3, 1, 16, tzinfo=UTC)
        found = next_run(parse()["maintenance.every_2_days"], monkeypatch, midnight, midnight)
        assert found.run_after == midnight + timedelta(days=1)

    def test_after_an_outage_one_run_for_all(
        self, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add(connection, "every_2_days")
        midnight = datetime(2026, 3, 1, 16, tzinfo=UTC)
        now = midnight + timedelta(days=5, hours=1)
        found = next_run(parse()["maintenance.every_2_days"], monkeypatch, now, midnight)
        assert found.run_after <= now
        assert found.data_interval.end == midnight + timedelta(days=5)

    def test_statistics_run_by_the_hour_and_by_their_asset(
        self, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add(connection, "statistics", "0 0 * * * *")
        dag = parse()["maintenance.statistics"]
        timetable = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable
        assert [key.name for key, _ in timetable.asset_condition.iter_assets()] == [STATISTICS_ASSET]
        hour = datetime(2026, 3, 1, 16, tzinfo=UTC)
        assert next_run(dag, monkeypatch, hour, hour).run_after == hour + timedelta(hours=1)

    def test_a_fast_clock_looks_every_minute(
        self, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CARILLON_MAINTENANCE_SPEED", "1440")
        monkeypatch.setenv("CARILLON_MAINTENANCE_EPOCH", "2026-03-01T00:00:00Z")
        get_settings.cache_clear()
        add(connection, "every_day")
        minute = datetime(2026, 3, 1, 16, 7, tzinfo=UTC)
        found = next_run(parse()["maintenance.every_day"], monkeypatch, minute, minute)
        assert found.run_after == minute + timedelta(minutes=1)


class TestOperator:
    async def test_it_says_what_came_to_which_state(self, database: Database, connection: psycopg.Connection):
        bench = Bench(database, connection, now=local(2025, 1, 1, 8))
        await bench.create("42", uid="st_test")
        await bench.create(uid="na_test", object_ids=["a"])
        [row] = bench.rows("SELECT id FROM schedule")
        operator = EvaluateOperator(task_id="evaluate", schedule_id=row["id"])
        nothing = {"noticed": 0, "due": 0}
        # By the clock of the machine both are overdue for long.
        assert execute(operator) == {
            **nothing,
            "overdue": 3,
            "projects": [
                {"organization_id": "", "uid": "na_test", **nothing, "overdue": 1},
                {"organization_id": "42", "uid": "st_test", **nothing, "overdue": 2},
            ],
            "projects_more": 0,
            "no_data": 0,
        }
        again = {**nothing, "overdue": 0, "projects": [], "projects_more": 0, "no_data": 0}
        assert execute(operator) == again

    async def test_it_counts_objects_without_a_sample(
        self, database: Database, connection: psycopg.Connection
    ):
        bench = Bench(database, connection)
        bench.sample("other", 1)
        by_hours = {"cycle_type": STATISTICS, "statistics_id": "st", "period_unit": ""}
        await bench.create(uid="st_test", **by_hours)
        await bench.create(uid="resting", start=False, **by_hours)
        [row] = bench.rows("SELECT id FROM schedule")
        operator = EvaluateOperator(task_id="evaluate", schedule_id=row["id"])
        assert execute(operator)["no_data"] == 2
        bench.sample("a", 5)
        assert execute(operator)["no_data"] == 1
        async with database.transaction() as transaction:
            lacking = await EvaluationRepository(transaction).count_no_data(row["id"])
        assert list(alarms(lacking)) == ["st_test: 1 objects have no sample, nobody knows when they are due"]

    def test_a_database_that_is_away_is_worth_another_try(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CARILLON_DATABASE_URL")
        get_settings.cache_clear()
        with pytest.raises(AirflowException) as caught:
            execute(EvaluateOperator(task_id="evaluate", schedule_id=1))
        assert not isinstance(caught.value, AirflowFailException)


def execute(operator: Any) -> Any:
    """Airflow lets only its own runner call `execute`, in a thread where no loop runs."""
    from concurrent.futures import ThreadPoolExecutor

    inner: Callable[..., Any] = getattr(type(operator).execute, "__wrapped__", type(operator).execute)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(inner, operator, {}).result()
