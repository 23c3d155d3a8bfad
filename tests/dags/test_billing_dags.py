"""The DAGs of billing schedules: what they consist of, and that they need no database once they are built."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow import plugins_manager
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import DataInterval, TimeRestriction

from include.schedules import timetables
from include.schedules.timetables import CrontabTimetable
from include.settings import get_settings
from plugins.carillon_plugin import CarillonPlugin

ROOT = Path(__file__).parents[2]
MONTHLY = "0 0 0 L * *"
UNION = "0 0 0 28 2 *|0 0 0 30 1,3-12 *"


@pytest.fixture
def connection(
    database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[psycopg.Connection]:
    monkeypatch.setenv("CARILLON_HOME", str(tmp_path))
    get_settings.cache_clear()
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def add(connection: psycopg.Connection, kind: str, expression: str, dag_id: str) -> str:
    connection.execute(
        "INSERT INTO schedule (kind, expression, timezone, dag_id, description, active, active_since)"
        " VALUES (%s, %s, 'Asia/Shanghai', %s, 'in words', true, '2026-03-01T00:00:00Z')",
        [kind, expression, dag_id],
    )
    return dag_id


def parse() -> dict[str, DAG]:
    """Run the DAG file as Airflow does and return its DAGs in their order."""
    found: dict[str, Any] = runpy.run_path(str(ROOT / "dags" / "schedule_dags.py"))
    return {name: value for name, value in found.items() if isinstance(value, DAG)}


def parse_billing(connection: psycopg.Connection, expression: str = MONTHLY) -> DAG:
    dag_id = add(connection, "billing", expression, "billing.it")
    return parse()[dag_id]


def test_kinds_stand_beside_each_other_in_a_stable_order(connection: psycopg.Connection) -> None:
    add(connection, "callback", "0 30 9 * * *", "callback.a")
    add(connection, "billing", MONTHLY, "billing.b")
    add(connection, "billing", UNION, "billing.a")
    dags = parse()
    assert list(dags) == ["billing.a", "billing.b", "callback.a"]
    assert [dag.task_ids for dag in dags.values()] == [["plan", "bill", "summary"]] * 2 + [["fire"]]


def test_what_an_operator_sees(connection: psycopg.Connection) -> None:
    dag = parse_billing(connection)
    assert dag.tags == {"billing", "Asia/Shanghai"}
    assert dag.dag_display_name == "billing: in words"
    assert "definition_ids" in (dag.doc_md or "")
    assert "executions?schedule_id=1`" in (dag.doc_md or "")
    assert "ahead" not in (dag.doc_md or "")
    assert dag.catchup is False
    assert dag.max_active_runs == 4


def test_a_plan_a_mapped_task_for_each_billing_task_and_a_summary(connection: psycopg.Connection) -> None:
    dag = parse_billing(connection)
    plan, bill, summary = (dag.get_task(name) for name in ("plan", "bill", "summary"))
    assert plan.downstream_task_ids == {"bill"}
    assert bill.downstream_task_ids == {"summary"}
    assert bill.is_mapped
    assert bill.map_index_template == "{{ task.item['name'][:200] }}"
    assert summary.trigger_rule == "all_done"
    # A worker that was killed is replaced by Airflow; that is what the tries are for.
    assert [(task.retries, task.retry_delay.total_seconds()) for task in (plan, bill, summary)] == [
        (2, 10)
    ] * 3


def test_nothing_is_armed_ahead(connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    timetable = parse_billing(connection).timetable
    assert isinstance(timetable, CrontabTimetable)
    assert timetable.lead.total_seconds() == 0
    assert timetable.dense is False
    monkeypatch.setattr(timetables, "system_clock", lambda: datetime(2026, 3, 2, tzinfo=UTC))
    info = timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(None, None, False)
    )
    due = datetime(2026, 3, 30, 16, tzinfo=UTC)
    assert info is not None
    assert (info.run_after, info.data_interval.start, info.data_interval.end) == (
        due,
        datetime(2026, 3, 1, tzinfo=UTC),
        due,
    )


def test_an_outage_of_months_is_one_run(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    timetable = parse_billing(connection).timetable
    now = datetime(2026, 9, 15, tzinfo=UTC)
    monkeypatch.setattr(timetables, "system_clock", lambda: now)
    before = DataInterval(
        datetime(2026, 2, 27, 16, tzinfo=UTC),  # type: ignore[arg-type]
        datetime(2026, 3, 30, 16, tzinfo=UTC),  # type: ignore[arg-type]
    )
    restriction = TimeRestriction(None, None, False)
    info = timetable.next_dagrun_info(last_automated_data_interval=before, restriction=restriction)
    assert info is not None
    assert info.data_interval.start == datetime(2026, 3, 30, 16, tzinfo=UTC)
    assert info.data_interval.end == datetime(2026, 8, 30, 16, tzinfo=UTC)
    assert info.run_after <= now


@pytest.mark.parametrize("expression", [MONTHLY, UNION])
def test_it_survives_serialization(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, expression: str
) -> None:
    # The plugins folder is found by a setting; here the plugin itself says what it registers.
    registered = {f"{t.__module__}.{t.__qualname__}": t for t in CarillonPlugin.timetables}
    monkeypatch.setattr(plugins_manager, "get_timetables_plugins", lambda: registered)
    data = DagSerialization.to_dict(parse_billing(connection, expression))
    again = DagSerialization.from_dict(data)
    assert again.timetable.serialize() == {
        "lead": 0.0,
        "since": "2026-03-01T00:00:00+00:00",
        "zone": "Asia/Shanghai",
        "expression": expression,
    }
    bill = again.get_task("bill")
    assert bill.is_mapped
    assert bill.partial_kwargs["retries"] == 2
    assert again.get_task("summary").upstream_task_ids == {"bill"}
    assert str(again.get_task("summary").trigger_rule) == "all_done"


def test_a_database_that_is_away_makes_no_dag_vanish(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert parse_billing(connection).task_ids == ["plan", "bill", "summary"]
    monkeypatch.setenv("CARILLON_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    get_settings.cache_clear()
    (dag,) = parse().values()
    assert (dag.dag_id, dag.task_ids) == ("billing.it", ["plan", "bill", "summary"])
