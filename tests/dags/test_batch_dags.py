"""The DAGs of batch tasks: what they consist of, and that they need no database."""

from __future__ import annotations

import runpy
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, TaskDeferred
from airflow.serialization.serialized_objects import DagSerialization
from airflow.triggers.base import TaskFailedEvent

from include.batch.model import TASK_TYPES
from include.batch.operators import BatchOperator
from include.batch.triggers import BatchTrigger, cleared_at
from include.settings import get_settings

FILE = Path(__file__).parents[2] / "dags" / "batch_dags.py"


def parse() -> dict[str, DAG]:
    """Run the DAG file as Airflow does and return its DAGs in their order."""
    found: dict[str, Any] = runpy.run_path(str(FILE))
    return {name: value for name, value in found.items() if isinstance(value, DAG)}


def test_a_dag_for_each_task_type_without_any_database(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a database was asked")

    monkeypatch.setattr(psycopg, "connect", refuse)
    monkeypatch.setattr(psycopg.AsyncConnection, "connect", refuse)
    assert list(parse()) == [f"batch.{task_type}" for task_type in TASK_TYPES]


def test_what_an_operator_sees() -> None:
    dag = parse()["batch.firmwareUpgrade"]
    assert dag.tags == {"batch", "firmwareUpgrade"}
    assert dag.dag_display_name == "batch: firmwareUpgrade"
    assert "*Clear* a shard" in (dag.doc_md or "")
    assert '{"task_id": "…"}' in (dag.doc_md or "")
    assert dag.task_ids == ["expand", "fan_out", "settle"]
    assert dag.get_task("expand").downstream_task_ids == {"fan_out"}
    assert dag.get_task("fan_out").downstream_task_ids == {"settle"}
    assert dag.get_task("settle").trigger_rule == "all_done"
    assert [dag.get_task(name).retries for name in dag.task_ids] == [0, 0, 0]


def test_all_tasks_start_in_the_triggerer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARILLON_BATCH_SHARDS", "3")
    get_settings.cache_clear()
    data = DagSerialization.to_dict(parse()["batch.createCommands"])
    tasks = {task["__var"]["task_id"]: task["__var"] for task in data["dag"]["tasks"]}
    assert all(task["start_from_trigger"] for task in tasks.values())
    assert tasks["fan_out"]["expand_input"]["value"]["__var"]["shard"] == [0, 1, 2]
    again = DagSerialization.from_dict(data)
    for name in ("expand", "fan_out", "settle"):
        arguments = again.get_task(name).start_trigger_args
        assert arguments.trigger_cls == "include.batch.triggers.BatchTrigger"
        assert arguments.trigger_kwargs["__var"]["step"] == name


def test_a_task_parses_its_own_dag_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "batch.createMessages")
    assert list(parse()) == ["batch.createMessages"]
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "callback.x")
    assert list(parse()) == []


def test_the_trigger_survives_serialization() -> None:
    trigger = BatchTrigger(step="fan_out", conf="{}", shard=2, cleared_at="2026-11-22T02:00:00+00:00")
    path, arguments = trigger.serialize()
    assert path == "include.batch.triggers.BatchTrigger"
    assert BatchTrigger(**arguments).serialize() == (path, arguments)


@pytest.mark.parametrize("conf", ["", "null", "{}", '{"task_id": 7}'])
@pytest.mark.parametrize("step", ["expand", "fan_out", "settle"])
async def test_a_run_without_a_batch_task_ends_at_once(step: Any, conf: str) -> None:
    events = [event async for event in BatchTrigger(step=step, conf=conf).run()]
    assert [type(event) for event in events] == [TaskFailedEvent]
    assert events[0].xcoms["summary"]["error"].startswith("there is no batch task")


def test_from_a_worker_it_defers_to_the_same_trigger() -> None:
    operator = BatchOperator(task_id="fan_out", step="fan_out", shard=3)
    operator.conf = '{"task_id": "x"}'
    execute = getattr(BatchOperator.execute, "__wrapped__", BatchOperator.execute)
    with pytest.raises(TaskDeferred) as deferred:
        execute(operator, {"ti": SimpleNamespace(try_number=1)})
    assert deferred.value.trigger.serialize()[1] == {
        "step": "fan_out",
        "conf": '{"task_id": "x"}',
        "shard": 3,
        "cleared_at": "",
    }
    assert operator.finish({}, "success") is None
    with pytest.raises(AirflowException):
        operator.finish({}, "failed")


def test_when_a_task_was_cleared_stands_in_the_id_of_its_next_try() -> None:
    from airflow.models.taskinstance import uuid7

    before = time.time()
    found = cleared_at(SimpleNamespace(try_number=2, id=uuid.UUID(str(uuid7()))))
    assert found is not None
    assert before - 0.01 <= found.timestamp() <= time.time() + 0.01
    assert cleared_at(SimpleNamespace(try_number=1, id=uuid.uuid4())) is None
    assert found > datetime(2026, 1, 1, tzinfo=UTC)
