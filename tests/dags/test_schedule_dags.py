"""The DAG file: every active schedule, in order, quickly, and also while the database is away."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import structlog
from airflow import plugins_manager
from airflow.dag_processing import processor
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from include.schedules import factory
from include.schedules.timetables import CrontabTimetable, OnceTimetable
from include.settings import get_settings
from plugins.carillon_plugin import CarillonPlugin

ROOT = Path(__file__).parents[2]


@pytest.fixture
def connection(
    database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[psycopg.Connection]:
    monkeypatch.setenv("CARILLON_HOME", str(tmp_path))
    get_settings.cache_clear()
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def add(connection: psycopg.Connection, expression: str, *, active: bool = True, shards: int = 1) -> str:
    dag_id = "callback." + expression.replace(" ", "_").replace("*", "x").replace("@", "").replace(
        "/", "-of-"
    )
    connection.execute(
        "INSERT INTO schedule (kind, expression, timezone, dag_id, description, active, active_since, shards)"
        " VALUES ('callback', %s, 'Asia/Shanghai', %s, 'in words', %s, '2026-03-01T00:00:00Z', %s)",
        [expression, dag_id, active, shards],
    )
    return dag_id


def parse(file: str = "schedule_dags.py") -> dict[str, DAG]:
    """Run the DAG file as Airflow does and return its DAGs in their order."""
    found: dict[str, Any] = runpy.run_path(str(ROOT / "dags" / file))
    return {name: value for name, value in found.items() if isinstance(value, DAG)}


def test_every_active_schedule_is_a_dag_in_a_stable_order(connection: psycopg.Connection) -> None:
    ids = [add(connection, f"{second} 30 9 * * *") for second in (30, 5, 0)]
    add(connection, "0 0 0 1 1 *", active=False)
    once = add(connection, "@once")
    dags = parse()
    assert list(dags) == sorted([*ids, once])
    assert [dag.dag_id for dag in dags.values()] == list(dags)


def test_recent_schedules_are_in_a_file_of_their_own_too(connection: psycopg.Connection) -> None:
    old, new = add(connection, "0 30 9 * * *"), add(connection, "0 30 10 * * *")
    connection.execute("UPDATE schedule SET changed_at = now() - interval '1 day' WHERE dag_id = %s", [old])
    assert list(parse("recent_schedule_dags.py")) == [new]
    assert list(parse()) == sorted([new, old])


def test_what_an_operator_sees(connection: psycopg.Connection) -> None:
    dag = parse_one(connection, "0 30 9 * * *")
    assert dag.tags == {"callback", "Asia/Shanghai"}
    assert dag.dag_display_name == "callback: in words"
    assert "definition_ids" in (dag.doc_md or "")
    assert isinstance(dag.timetable, CrontabTimetable)
    assert dag.timetable.summary == "0 30 9 * * * Asia/Shanghai"
    assert dag.task_ids == ["fire"]
    assert dag.get_task("fire").retries == 0


def test_one_shots_have_a_timetable_of_their_own(connection: psycopg.Connection) -> None:
    assert isinstance(parse_one(connection, "@once").timetable, OnceTimetable)


def test_it_survives_serialization_with_all_its_shards(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The plugins folder is found by a setting; here the plugin itself says what it registers.
    registered = {f"{t.__module__}.{t.__qualname__}": t for t in CarillonPlugin.timetables}
    monkeypatch.setattr(plugins_manager, "get_timetables_plugins", lambda: registered)
    dag_id = add(connection, "*/5 * * * * *", shards=4)
    data = DagSerialization.to_dict(parse()[dag_id])
    (task,) = data["dag"]["tasks"]
    assert task["__var"]["start_from_trigger"] is True
    assert task["__var"]["expand_input"]["value"]["__var"]["shard"] == [0, 1, 2, 3]
    again = DagSerialization.from_dict(data)
    assert again.timetable.serialize()["expression"] == "*/5 * * * * *"
    arguments = again.get_task("fire").start_trigger_args
    assert arguments.trigger_cls == "include.ledger.triggers.FireTrigger"
    assert arguments.trigger_kwargs["__var"]["shards"] == 4


def test_a_database_that_is_away_makes_no_dag_vanish(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    dag_id = add(connection, "0 30 9 * * *")
    assert list(parse()) == [dag_id]
    monkeypatch.setenv("CARILLON_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    get_settings.cache_clear()
    dags = parse()
    assert list(dags) == [dag_id]
    assert dags[dag_id].timetable.serialize()["since"] == "2026-03-01T00:00:00+00:00"


def test_without_database_and_snapshot_there_are_none(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARILLON_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    get_settings.cache_clear()
    assert parse() == {}


def test_a_bad_row_is_skipped_and_reported(
    connection: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    good = add(connection, "0 30 9 * * *")
    add(connection, "not a crontab")
    assert list(parse()) == [good]
    assert "cannot become a DAG" in caplog.text


def test_a_task_parses_its_own_dag_only(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, _ = add(connection, "0 30 9 * * *"), add(connection, "0 30 10 * * *")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", wanted)
    assert list(parse()) == [wanted]


def test_a_callback_request_builds_its_own_dags_only(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow's own parsing function, given a request as the triggerer's events leave it."""
    wanted, other = add(connection, "0 30 9 * * *"), add(connection, "0 30 10 * * *")
    retired = add(connection, "0 0 0 1 1 *", active=False)
    built: list[set[str]] = []
    monkeypatch.setattr(
        processor, "_execute_callbacks", lambda bag, requests, log: built.append(set(bag.dags))
    )
    for dag_ids in ([wanted], [wanted, retired], [other]):
        processor._parse_file(parse_request(dag_ids), structlog.get_logger())
    assert built == [{wanted}, {wanted, retired}, {other}]
    result = processor._parse_file(parse_request([]), structlog.get_logger())
    assert result is not None
    assert built == [{wanted}, {wanted, retired}, {other}]


def parse_request(dag_ids: list[str]) -> processor.DagFileParseRequest:
    file = ROOT / "dags" / "schedule_dags.py"
    callbacks = [SimpleNamespace(ti=SimpleNamespace(dag_id=dag_id)) for dag_id in dag_ids]
    return processor.DagFileParseRequest.model_construct(
        file=str(file), bundle_path=file.parent, bundle_name="dags-folder", callback_requests=callbacks
    )


def test_all_schedules_cost_one_query(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for minute in range(60):
        for hour in range(5):
            add(connection, f"0 {minute} {hour} * * *")
    queries: list[str] = []
    real = psycopg.Connection.execute

    def execute(self: psycopg.Connection, query: Any, *rest: Any, **more: Any) -> Any:
        queries.append(str(query))
        return real(self, query, *rest, **more)

    monkeypatch.setattr(psycopg.Connection, "execute", execute)
    assert len(factory.build_dags()) == 300
    assert len(queries) == 1


def parse_one(connection: psycopg.Connection, expression: str) -> DAG:
    dag_id = add(connection, expression)
    return parse()[dag_id]
