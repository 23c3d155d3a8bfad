"""Callbacks through the whole system: posted over HTTP, run by Airflow, received by real servers."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.client import Client, crontab_at, whole_second
from tests.e2e.conftest import Up
from tests.e2e.receiver import Receiver

#: Enough for a new schedule to become a DAG and to arm its first window.
AHEAD = 22


@pytest.fixture(scope="module")
def client(instance: Up, receiver: Receiver) -> Client:
    return Client(instance, receiver)


def test_a_posted_callback_fires_at_its_second_and_its_log_tells(client: Client) -> None:
    due = whole_second(AHEAD)
    (task,) = client.add("/ok/thread", start_time=crontab_at(due), secret="whsec_" + "A" * 32)
    (hit,) = client.receiver.wait("/ok/thread")
    assert due <= hit.at < due + 1
    assert hit.body == '{"hello": "world"}'
    assert hit.headers["content-type"] == "application/json"
    assert hit.due_at == due
    assert hit.headers["carillon-attempt"] == "1"
    assert hit.headers["webhook-signature"].startswith("v1,")
    (entry,) = client.wait("logged", lambda: [e for e in client.log(task) if e["status"] == 2])
    assert (entry["task_id"], entry["run_type"], entry["resp"]) == (task, 1, "ok")
    time.sleep(1)
    assert len(client.receiver.of("/ok/thread")) == 1


def test_a_batch_of_kinds_at_one_instant(client: Client) -> None:
    """Retries by redo_param, a failure for good, a rejected answer, a form, RPC and GET, each by itself."""
    due, receiver = whole_second(AHEAD), client.receiver
    at = {"start_time": crontab_at(due)}
    (flaky,) = client.add("/flaky/2", redo_param="1 2", **at)
    (failing,) = client.add("/fail/a", redo_param="1", **at)
    (rejected,) = client.add("/ok/rejected", resp_regexp="^never$", **at)
    (matched,) = client.add("/ok/matched", resp_regexp="*", **at)
    client.add("/ok/form", body="a=1&b=2", body_type=2, **at)
    client.add("/ok/get", method="GET", **at)
    client.add("/hang/a", timeout=3, **at)
    (rpc,) = client.add("/x", method="rpc", url=f"127.0.0.1:{receiver.rpc_port}/Meter.Read", **at)
    hits = receiver.wait("/flaky/2", 3)
    assert len({hit.webhook_id for hit in hits}) == 1
    assert [hit.headers["carillon-attempt"] for hit in hits] == ["1", "2", "3"]
    assert 1 <= hits[1].at - hits[0].at < 2.5
    assert 2 <= hits[2].at - hits[1].at < 3.5
    receiver.wait("/fail/a", 2)
    client.wait("retried", lambda: [e["status"] for e in client.log(flaky)] == [2, 3, 3])
    assert [e["run_type"] for e in client.log(flaky)] == [2, 2, 1]
    client.wait("failed", lambda: [e["status"] for e in client.log(failing)] == [3, 3])
    assert [e["status"] for e in client.log(rejected)] == [3]
    assert [e["status"] for e in client.log(matched)] == [2]
    assert [(e["status"], e["resp"]) for e in client.log(rpc)] == [(2, '"done"')]
    (form,), (get,) = receiver.of("/ok/form"), receiver.of("/ok/get")
    assert (form.headers["content-type"], form.body) == ("application/x-www-form-urlencoded", "a=1&b=2")
    assert get.body == ""
    (at_rpc, call) = receiver.rpc_calls[0]
    assert (call["method"], call["params"], at_rpc >= due) == ("Meter.Read", [{"hello": "world"}], True)
    assert all(hit.at >= hit.due_at for hit in receiver.hits)


def test_changes_while_armed_take_effect(client: Client) -> None:
    due = whole_second(AHEAD)
    at = {"start_time": crontab_at(due)}
    disabled, deleted, edited = client.add("/ok/disabled", "/ok/deleted", "/ok/before", **at)
    client.wait_armed(edited, due)
    client.update(disabled, enable=2)
    client.update(edited, url=client.receiver.url("/ok/after"))
    client.own("DELETE", f"/definitions/{deleted}")
    (late,) = client.add("/ok/late", **at)  # created inside the armed window
    assert time.time() < due - 1, "the machine was too slow for this test to mean anything"
    client.receiver.wait("/ok/after")
    client.receiver.wait("/ok/late")
    time.sleep(2)
    assert not client.receiver.of("/ok/disabled") + client.receiver.of("/ok/deleted")
    assert not client.receiver.of("/ok/before")
    assert [e["status"] for e in client.log(late)] == [2]


def test_one_shots_and_reruns_while_armed_fire_on_time(client: Client) -> None:
    (first,) = client.add("/ok/once", type=1, start_time=whole_second(20))
    client.receiver.wait("/ok/once")
    client.wait_live(first)
    due = whole_second(3)
    client.add("/ok/soon", type=1, start_time=str(due))
    (hit,) = client.receiver.wait("/ok/soon")
    assert due <= hit.at < due + 1
    (off,) = client.add("/ok/rerun", start_time="0 0 0 1 1 *", enable=2)
    asked = time.time()
    client.post("run_again_task", [{"task_id": off}])
    (hit,) = client.receiver.wait("/ok/rerun")
    assert hit.at - asked < 5
    client.wait("logged", lambda: [(e["run_type"], e["status"]) for e in client.log(off)] == [(2, 2)])
    assert [e["status"] for e in client.log(first)] == [2]  # still there after it ran


def test_airflow_clear_and_trigger(client: Client) -> None:
    due = whole_second(AHEAD)
    at = {"start_time": crontab_at(due)}
    good, bad, other = client.add("/ok/clear", "/flaky/1/clear", "/ok/other", **at)
    client.receiver.wait("/flaky/1/clear")
    dag = client.dag_id(good)
    runs = f"/dags/{dag}/dagRuns"
    client.wait("failed", lambda: client.airflow("GET", runs)["dag_runs"][0]["state"] == "failed")
    run_id = client.airflow("GET", runs)["dag_runs"][0]["dag_run_id"]
    client.airflow("POST", f"{runs}/{run_id}/clear", json={"dry_run": False, "only_failed": False})
    client.receiver.wait("/flaky/1/clear", 2)
    client.wait("green", lambda: client.airflow("GET", f"{runs}/{run_id}")["state"] == "success")
    assert len(client.receiver.of("/ok/clear")) == 1
    ids = {"definition_ids": [int(other)]}
    client.airflow("POST", runs, json={"logical_date": None, "conf": ids})
    client.receiver.wait("/ok/other", 2)
    time.sleep(1)
    assert len(client.receiver.of("/ok/clear")) == 1
    client.airflow("POST", runs, json={"logical_date": None})
    for path, times in (("/ok/clear", 2), ("/ok/other", 3), ("/flaky/1/clear", 3)):
        client.receiver.wait(path, times)
    assert bad


def test_airflow_dags_test_fires_a_generated_dag(client: Client) -> None:
    (task,) = client.add("/ok/dagstest", start_time="0 0 0 1 1 *")
    client.wait_live(task)
    client.dags_test(client.dag_id(task))
    assert len(client.receiver.of("/ok/dagstest")) == 1


def test_a_schedule_without_definitions_leaves(client: Client) -> None:
    (task,) = client.add("/ok/leaving", start_time="7 7 7 7 7 *")
    client.wait_live(task)
    dag_id = client.dag_id(task)
    client.update(task, enable=2)
    statement = "SELECT 1 FROM dag WHERE dag_id = %s AND is_stale"
    client.wait("stale", lambda: client.rows(statement, dag_id, airflow=True), timeout=120)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")
def test_the_api_document_opens_in_a_browser(client: Client, tmp_path: Path) -> None:
    words = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
    done = subprocess.run(
        [
            "chromium",
            *words.split(),
            *("--disable-background-networking", "--disable-component-update"),
            *(f"--user-data-dir={tmp_path}", "--virtual-time-budget=15000", "--dump-dom"),
            f"{client.up.url}/carillon/v1/docs",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert "opblock-summary-path" in done.stdout, done.stderr[-2000:]
    assert "/executions" in done.stdout
    assert "Authorize" in done.stdout
