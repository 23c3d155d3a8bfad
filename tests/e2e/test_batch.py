"""Batch tasks on real Airflow: created over REST, run in the triggerers, seen in Airflow's API."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import requests

from tests.batch_rows import COMMAND, PROJECT, insert_lamps, lamps
from tests.e2e.client import Client
from tests.e2e.conftest import Up
from tests.e2e.killing import kill_now, triggerers
from tests.e2e.receiver import Receiver

FINISHED = ("Success", "Fail", "PartialSuccess", "Stopped")


@dataclass
class Batch:
    """A client of document 004 on one instance, and an admin of its simulator."""

    client: Client
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        token = self.client.command("token", "create", "--name", "batch", "--json")["token"]
        self.session.headers["X-Auth-Token"] = token

    def call(self, method: str, path: str = "", **options: Any) -> Any:
        url = f"{self.client.up.url}/v5/iot/{PROJECT}/batchtasks{path}"
        answer = self.session.request(method, url, timeout=60, **options)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def create(self, targets: Sequence[str], **fields: Any) -> str:
        body = {"task_name": "evening_路灯", "task_type": "createCommands", "document": COMMAND, **fields}
        return str(self.call("POST", json={**body, "targets": list(targets)})["task_id"])

    def show(self, task_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = self.call("GET", f"/{task_id}")["batchtask"]
        return shown

    def wait(self, task_id: str, timeout: float = 240) -> dict[str, Any]:
        """Return a task once it has finished."""

        def finished() -> dict[str, Any] | None:
            shown = self.show(task_id)
            return shown if shown["status"] in FINISHED else None

        found: dict[str, Any] = self.client.wait(f"{task_id} has finished", finished, timeout)
        return found

    def progress(self, task_id: str) -> dict[str, int]:
        return {name: n for name, n in self.show(task_id)["task_progress"].items() if n}

    def simulator(self, method: str, path: str, body: Any = None) -> Any:
        url = f"{self.client.up.instance.gateway_url}/_admin/{path}"
        answer = requests.request(method, url, json=body, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def faults(self, **faults: Any) -> None:
        self.simulator("PUT", "faults", faults)

    def executions(self, task_id: str) -> Counter[int]:
        """How often attempts of a task came to their device."""
        received = self.simulator("GET", "received")
        return Counter(
            times for ids in received.values() for id, times in ids.items() if id.startswith(task_id)
        )

    def run(self, task_id: str, suffix: str = "") -> str:
        """Return the path of a task's run in Airflow's API, once that has it."""
        path = f"/dags/batch.createCommands/dagRuns/evening-Lu-Deng_{task_id}{suffix}"
        statement = "SELECT 1 FROM dag_run WHERE run_id = %s"
        name = path.rpartition("/")[2]
        self.client.wait(f"{name} is there", lambda: self.client.rows(statement, name, airflow=True))
        return path

    def run_state(self, run: str, *states: str, timeout: float = 120) -> str:
        """Return the state of a run once it is one of these."""
        return str(
            self.client.wait(
                f"{run} is {states}",
                lambda: (s := self.client.airflow("GET", run)["state"]) in states and s,
                timeout,
            )
        )

    def instances(self, run: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.airflow("GET", f"{run}/taskInstances")["task_instances"]
        return found


@pytest.fixture(scope="module")
def batch(pair: Up, receiver: Receiver) -> Batch:
    batch = Batch(Client(pair, receiver))
    with psycopg.connect(pair.instance.database_url, autocommit=True) as connection:
        insert_lamps(connection, 10_000)
    return batch


@pytest.fixture(autouse=True)
def _calm(batch: Batch) -> None:
    batch.simulator("DELETE", "faults")
    batch.simulator("DELETE", "devices")


def test_a_thousand_commands_are_a_run_of_a_few_tasks(batch: Batch) -> None:
    task_id = batch.create([*lamps(1000), "nobody"])
    shown = batch.wait(task_id)
    assert shown["status"] == "PartialSuccess"
    assert batch.progress(task_id) == {"total": 1001, "success": 1000, "fail": 1}
    assert batch.executions(task_id) == {1: 1000}
    run = batch.run(task_id)
    assert batch.run_state(run, "failed", "success") == "failed"
    instances = batch.instances(run)
    assert Counter(one["task_id"] for one in instances) == {"expand": 1, "fan_out": 4, "settle": 1}
    assert {one["task_id"]: one["state"] for one in instances} == {
        "expand": "success",
        "fan_out": "success",
        "settle": "failed",
    }
    found = batch.client.airflow("GET", run)
    assert (found["conf"], found["logical_date"]) == ({"task_id": task_id}, None)
    xcom = batch.client.airflow("GET", f"{run}/taskInstances/fan_out/xcomEntries/summary?map_index=0")
    assert "1000" in str(xcom["value"])
    log = str(batch.client.airflow("GET", f"{run}/taskInstances/fan_out/logs/1?map_index=0"))
    assert "PartialSuccess: 1001 total, 1000 success, 1 fail" in log


def test_clearing_a_shard_sends_again_only_what_failed(batch: Batch) -> None:
    batch.faults(offline=lamps(5))
    task_id = batch.create(lamps(50))
    assert batch.wait(task_id)["status"] == "PartialSuccess"
    run = batch.run(task_id)
    batch.run_state(run, "failed")
    batch.faults()
    clear = {"dry_run": False, "only_failed": True, "dag_run_id": run.rpartition("/")[2]}
    batch.client.airflow("POST", "/dags/batch.createCommands/clearTaskInstances", json=clear)
    batch.client.wait("green", lambda: batch.show(task_id)["status"] == "Success", 120)
    batch.run_state(run, "success")
    assert batch.executions(task_id) == {1: 50}
    rows = batch.client.rows(
        "SELECT attempt, count(*) FROM batch_subtask s JOIN batch_task b ON b.id = s.batch_id"
        " WHERE b.task_id = %s GROUP BY 1 ORDER BY 1",
        task_id,
    )
    assert [tuple(row.values()) for row in rows] == [(1, 45), (2, 5)]


def test_a_retry_is_a_run_of_its_own(batch: Batch) -> None:
    batch.faults(offline=["lamp-3"])
    task_id = batch.create(lamps(5))
    batch.wait(task_id)
    batch.faults()
    batch.call("POST", f"/{task_id}/retry", json={})
    batch.client.wait("it succeeded", lambda: batch.show(task_id)["status"] == "Success", 120)
    assert batch.run_state(batch.run(task_id, "_r2"), "success") == "success"


def test_what_is_scheduled_waits_with_its_targets_shown(batch: Batch) -> None:
    due = (datetime.now(UTC) + timedelta(seconds=25)).replace(microsecond=0)
    policy = {"schedule_time": f"{due:%Y%m%dT%H%M%SZ}"}
    task_id = batch.create(lamps(10), task_policy=policy)
    batch.client.wait("expanded", lambda: batch.progress(task_id) == {"total": 10, "waitting": 10}, 15)
    assert batch.show(task_id)["status"] == "Waitting"
    run = batch.client.airflow("GET", batch.run(task_id))
    assert datetime.fromisoformat(run["run_after"]) == due
    batch.wait(task_id)
    received = batch.simulator("GET", "devices/lamp-4")["received"]
    assert [item["at"] >= due.timestamp() for item in received] == [True]


def test_a_run_by_hand_without_a_batch_task_ends_at_once(batch: Batch) -> None:
    runs = "/dags/batch.createMessages/dagRuns"
    made = batch.client.airflow("POST", runs, json={"logical_date": None})
    run = f"{runs}/{made['dag_run_id']}"
    assert batch.run_state(run, "failed", "success") == "failed"
    log = str(batch.client.airflow("GET", f"{run}/taskInstances/expand/logs/1"))
    assert "there is no batch task in the configuration of this run" in log


def test_triggerers_killed_in_the_middle_of_ten_thousand(batch: Batch) -> None:
    batch.faults(latency={"distribution": "uniform", "seconds": 0.5})
    task_id = batch.create(lamps(10_000))
    counters = lambda: batch.simulator("GET", "counters")  # noqa: E731
    batch.client.wait("under way", lambda: counters()["received"] > 2000, 120)
    kill_now(batch.client.up, triggerers(batch.client.up))
    assert batch.show(task_id)["status"] == "Processing"
    assert batch.wait(task_id, 400)["status"] == "Success"
    assert batch.progress(task_id) == {"total": 10_000, "success": 10_000}
    assert counters()["executed"] == 10_000
    times = batch.executions(task_id)
    assert times.keys() <= {1, 2, 3}
    assert times[1] > 8_000
    run = batch.run(task_id)
    assert batch.run_state(run, "success", "failed") == "success"
    assert len(batch.instances(run)) == 6


def test_the_scheduler_killed_in_the_middle_of_ten_thousand(batch: Batch) -> None:
    batch.faults(latency={"distribution": "uniform", "seconds": 0.3})
    task_id = batch.create(lamps(10_000))
    batch.client.wait("under way", lambda: batch.simulator("GET", "counters")["received"] > 1000, 120)
    kill_now(batch.client.up, ["scheduler"])
    assert batch.wait(task_id, 400)["status"] == "Success"
    assert batch.executions(task_id) == {1: 10_000}
    assert batch.run_state(batch.run(task_id), "success", "failed", timeout=240) == "success"


def test_a_stop_in_the_middle_is_exact(batch: Batch) -> None:
    batch.faults(latency={"distribution": "uniform", "seconds": 0.5})
    task_id = batch.create(lamps(10_000))
    batch.client.wait("under way", lambda: batch.simulator("GET", "counters")["received"] > 1000, 120)
    batch.call("POST", f"/{task_id}/stop", json={})
    received = batch.simulator("GET", "counters")["received"]
    assert batch.wait(task_id)["status"] == "Stopped"
    time.sleep(2)
    counters = batch.simulator("GET", "counters")
    assert (counters["received"], counters["duplicates"]) == (received, 0)
    progress = batch.progress(task_id)
    assert progress == {
        "total": 10_000,
        "success": received,
        "stopped": 10_000 - received,
    }


def test_airflow_dags_test_performs_a_task(batch: Batch) -> None:
    task_id = batch.create(lamps(3), task_policy={"schedule_time": in_an_hour()})
    batch.client.wait("expanded", lambda: batch.progress(task_id) == {"total": 3, "waitting": 3}, 30)
    batch.client.rows(
        "UPDATE batch_subtask SET wake_at = now() WHERE batch_id ="
        " (SELECT id FROM batch_task WHERE task_id = %s) RETURNING 1",
        task_id,
    )
    batch.client.rows("UPDATE batch_task SET schedule_time = now() WHERE task_id = %s RETURNING 1", task_id)
    batch.client.dags_test("batch.createCommands", "--conf", f'{{"task_id": "{task_id}"}}')
    assert batch.show(task_id)["status"] == "Success"
    assert batch.executions(task_id) == {1: 3}


def in_an_hour() -> str:
    return f"{datetime.now(UTC) + timedelta(hours=1):%Y%m%dT%H%M%SZ}"
