"""Billing through the whole system: created over document 000, run by Airflow, shown by the history."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import psutil
import psycopg
import pytest
import requests

from include.billing_plan.repository import TURN_LOCK_CLASS
from include.cli.home import ROOT
from tests.e2e.client import Client
from tests.e2e.conftest import Up
from tests.e2e.meters import insert_project, read, worth
from tests.e2e.receiver import Receiver

ZONE = ZoneInfo("Asia/Shanghai")
PASSWORD = "correct horse battery staple"
METERS = 50_000
NEVER = {"month": 2, "day": 29, "hour": 4, "minute": 5}


@dataclass
class Biller:
    """A user of document 000, logged in, and what tests look into beside it."""

    client: Client
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        up = self.client.up
        subprocess.run(
            [str(ROOT / "carillon"), "user", "create", "biller", "--password-stdin"],
            env={**os.environ, "CARILLON_HOME": str(up.home), "CARILLON_PORT": str(up.port)},
            input=f"{PASSWORD}\n",
            text=True,
            check=True,
            capture_output=True,
            timeout=60,
        )
        answer = self.call("POST", "/login/", json={"username": "biller", "password": PASSWORD})
        self.session.headers["Authorization"] = f"token {answer['token']}"

    def call(self, method: str, path: str, **options: Any) -> Any:
        url = f"{self.client.up.url}/api/v1/scheduler{path}"
        answer = self.session.request(method, url, timeout=60, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def create(self, project: int, crontab: dict[str, Any], name: str = "electricity") -> dict[str, Any]:
        body = {"name": name, "project_id": project, "crontab": crontab, "device_type": 2}
        task: dict[str, Any] = self.call("POST", "/task/", json=body)
        return task

    def task(self, key: str) -> dict[str, Any]:
        task: dict[str, Any] = self.call("GET", f"/tasks/{key}/")
        return task

    def switch(self, key: str, *, enabled: bool) -> None:
        self.call("PUT", f"/tasks/{key}/status/", json={"enabled": enabled})

    def history(self, project: int) -> list[dict[str, Any]]:
        """Return the bills of the last days, the newest first."""
        today = datetime.now(ZONE).date()
        query = {"start_date": today - timedelta(days=1), "end_date": today + timedelta(days=1)}
        data = self.call("GET", "/history/time/", params={"project_id": project, "device_type": 10, **query})
        bills: list[dict[str, Any]] = data["results"] if isinstance(data, dict) else data
        return bills

    def definition_id(self, key: str) -> int:
        [row] = self.client.rows("SELECT definition_id FROM billing_task WHERE natrual_key = %s", key)
        return int(row["definition_id"])

    def executions(self, key: str) -> list[dict[str, Any]]:
        """Return them from the own API, the newest first."""
        data = self.client.own("GET", f"/executions?definition_id={self.definition_id(key)}")
        executions: list[dict[str, Any]] = data["items"]
        return executions

    def totals(self, project: int) -> tuple[int, int, Decimal]:
        """Return how many bills there are, of how many service points, and what they come to."""
        [row] = self.client.rows(
            "SELECT count(*), count(DISTINCT service_point_id) AS points, coalesce(sum(charge), 0) AS total"
            " FROM bill WHERE project_id = %s AND state = 'final'",
            str(project),
        )
        return row["count"], row["points"], row["total"]

    def trigger(self, key: str, *definition_ids: int) -> str:
        """Trigger the task's DAG for these definitions, for all of them without; return the run's id."""
        definition = str(self.definition_id(key))
        self.client.wait_live(definition)
        conf = {"definition_ids": list(definition_ids)} if definition_ids else {}
        runs = f"/dags/{self.client.dag_id(definition)}/dagRuns"
        run = self.client.airflow("POST", runs, json={"logical_date": None, "conf": conf})
        return f"{runs}/{run['dag_run_id']}"

    def wait_run(self, run: str, timeout: float = 120) -> str:
        """Return the state in which a run ends."""
        return str(
            self.client.wait(
                "the run ended",
                lambda: (
                    found["state"]
                    if (found := self.client.airflow("GET", run))["state"] in ("success", "failed")
                    else None
                ),
                timeout,
            )
        )

    def summary(self, run: str) -> dict[str, Any]:
        url = f"{run}/taskInstances/summary/xcomEntries/return_value"
        value = self.client.airflow("GET", url)["value"]
        found: dict[str, Any] = json.loads(value) if isinstance(value, str) else value
        return found


def next_minute() -> dict[str, Any]:
    """Return the crontab that is due when the next minute begins, by the clocks of the default zone."""
    local = datetime.now(ZONE) + timedelta(minutes=1)
    return {"month": "*", "day": "*", "hour": local.hour, "minute": local.minute}


@pytest.fixture(scope="module")
def biller(instance: Up) -> Biller:
    return Biller(Client(instance, Receiver()))


@pytest.fixture(scope="module")
def url(biller: Biller) -> str:
    return biller.client.up.instance.database_url


@dataclass(frozen=True)
class Town:
    """Project 101 after its first scheduled run: 61 meters, of which the last was not read."""

    key: str
    off: str
    run: str
    due: datetime


@pytest.fixture(scope="module")
def town(biller: Biller, url: str) -> Town:
    insert_project(url, "101", 61, unread=1)
    crontab = next_minute()
    key = biller.create(101, crontab, "总表")["natrual_key"]
    off = biller.create(101, crontab, "switched off")["natrual_key"]
    biller.switch(off, enabled=False)
    client = biller.client
    [entry] = client.wait("billed", lambda: closed(biller, key), timeout=120)
    run = f"/dags/{client.dag_id(str(biller.definition_id(key)))}/dagRuns/{entry['run_id']}"
    assert biller.wait_run(run) == "success"
    return Town(key, off, run, datetime.fromisoformat(entry["due_at"]))


def closed(biller: Biller, key: str) -> list[dict[str, Any]]:
    return [entry for entry in biller.executions(key) if entry["finished_at"]]


class TestScheduled:
    def test_bills_appear_in_the_history(self, biller: Biller, town: Town) -> None:
        bills = biller.history(101)
        assert len(bills) == 60
        assert sum(Decimal(bill["charge"]) for bill in bills) == worth(60)
        assert {bill["to_time"] for bill in bills} == {f"{town.due.astimezone(ZONE):%Y-%m-%dT%H:%M:%S}"}
        task = biller.task(town.key)
        assert (task["last_run_at"], task["run_count"]) == (bills[0]["to_time"], 1)

    def test_it_began_within_seconds_of_its_instant(self, biller: Biller, town: Town) -> None:
        [entry] = biller.executions(town.key)
        assert (entry["state"], entry["origin"], entry["attempts"]) == ("succeeded", "scheduled", 1)
        assert entry["reason"] == "1 service point parked"
        assert 0 <= entry["lateness_ms"] < 20_000

    def test_a_task_that_was_switched_off_bills_nothing(self, biller: Biller, town: Town) -> None:
        assert biller.executions(town.off) == []
        assert biller.task(town.off)["run_count"] == 0

    def test_airflow_shows_it_under_its_name(self, biller: Biller, town: Town) -> None:
        found = biller.client.airflow("GET", f"{town.run}/taskInstances")["task_instances"]
        labels = {one["task_id"]: one["rendered_map_index"] for one in found}
        assert labels["bill"] == "总表"
        assert {one["task_id"]: one["state"] for one in found} == dict.fromkeys(
            ("plan", "bill", "summary"), "success"
        )
        summary = biller.summary(town.run)
        assert (summary["tasks"], summary["partial"], summary["failed"]) == (1, 1, 0)
        assert (summary["billed"], summary["parked"], Decimal(summary["total"])) == (60, 1, worth(60))

    def test_explain_tells(self, biller: Biller, town: Town) -> None:
        number = str(biller.definition_id(town.key))
        found = biller.client.command("explain", number, "--at", town.due.isoformat(), "--json")
        assert found["reason_code"] == "fired"
        assert "(1 service point parked)" in found["sentence"]
        assert found["attempts"][0]["response"].startswith("60 billed, 0 corrected, 1 parked")

    def test_clearing_bills_what_was_parked_and_nothing_twice(
        self, biller: Biller, town: Town, url: str
    ) -> None:
        before = {bill["id"] for bill in biller.history(101)}
        read(url, "101", 61, 61)
        biller.client.airflow("POST", f"{town.run}/clear", json={"dry_run": False, "only_failed": False})
        assert biller.wait_run(town.run) == "success"
        after = {bill["id"] for bill in biller.history(101)}
        assert before < after
        assert biller.totals(101) == (61, 61, worth(61))
        assert biller.summary(town.run)["succeeded"] == 1
        assert biller.task(town.key)["run_count"] == 1
        biller.client.airflow("POST", f"{town.run}/clear", json={"dry_run": False, "only_failed": False})
        assert biller.wait_run(town.run) == "success"
        assert biller.totals(101) == (61, 61, worth(61))


class TestManual:
    def test_trigger_bills_those_that_are_named_up_to_now(self, biller: Biller, town: Town) -> None:
        before, points, total = biller.totals(101)
        run = biller.trigger(town.key, biller.definition_id(town.off))
        assert biller.wait_run(run) == "success"
        # Everything up to the last bill is paid for, and nothing was used since.
        assert biller.totals(101) == (before + points, points, total)
        newest = biller.history(101)[:points]
        assert {bill["from_time"] for bill in newest} == {f"{town.due.astimezone(ZONE):%Y-%m-%dT%H:%M:%S}"}
        [entry] = biller.executions(town.off)
        assert (entry["origin"], entry["state"]) == ("manual", "succeeded")
        assert len(biller.executions(town.key)) == 1

    def test_two_runs_of_one_task_take_turns(self, biller: Biller, town: Town, url: str) -> None:
        """Somebody bills the task: the run waits for it, without a worker."""
        before, points, _ = biller.totals(101)
        with psycopg.connect(url, autocommit=True) as somebody:
            number = biller.definition_id(town.key)
            somebody.execute("SELECT pg_advisory_lock(%s, %s)", [TURN_LOCK_CLASS, number])
            run = biller.trigger(town.key)
            instances = f"{run}/taskInstances"

            def states() -> set[str]:
                found = biller.client.airflow("GET", instances)["task_instances"]
                return {one["state"] for one in found if one["task_id"] == "bill"}

            biller.client.wait("it waits", lambda: states() == {"deferred"})
            assert biller.totals(101)[0] == before
        assert biller.wait_run(run) == "success"
        assert biller.totals(101)[0] == before + points

    def test_one_that_hangs_elsewhere_fails_the_run(self, biller: Biller, town: Town) -> None:
        before = biller.totals(101)
        run = biller.trigger(town.key, 999_999)
        assert biller.wait_run(run) == "failed"
        assert biller.totals(101) == before

    def test_airflow_dags_test(self, biller: Biller) -> None:
        key = biller.create(199, NEVER, "dags test")["natrual_key"]
        number = str(biller.definition_id(key))
        biller.client.wait_live(number)
        biller.client.dags_test(biller.client.dag_id(number))
        [entry] = biller.executions(key)
        assert (entry["origin"], entry["state"]) == ("manual", "succeeded")
        biller.switch(key, enabled=False)


class TestSource:
    """The connection `meter_source`: readings that lack are asked for before the bill."""

    @contextmanager
    def source(self, biller: Biller) -> Iterator[list[dict[str, Any]]]:
        asked: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked.append({**body, "authorization": self.headers["Authorization"], "path": self.path})
                at = (datetime.fromisoformat(body["at"]) - timedelta(minutes=1)).isoformat()
                rows = [
                    {"device_id": device, "register": "TOTAL", "value": "100", "read_at": at}
                    for device in body["device_ids"]
                ]
                answer = json.dumps({"readings": rows}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *words: object) -> None:
                return None

        server = HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        connection = {"connection_id": "meter_source", "conn_type": "http", "host": "127.0.0.1"}
        login = {"port": server.server_port, "login": "carillon", "password": "secret"}
        biller.client.airflow("POST", "/connections", json={**connection, **login})
        try:
            yield asked
        finally:
            delete(biller.client, "/connections/meter_source")
            server.shutdown()
            thread.join(10)
            server.server_close()

    def test_it_is_asked_before_the_bill(self, biller: Biller, url: str) -> None:
        insert_project(url, "102", 3, unread=3)
        key = biller.create(102, NEVER)["natrual_key"]
        with self.source(biller) as asked:
            run = biller.trigger(key, biller.definition_id(key))
            assert biller.wait_run(run) == "success"
        [question] = asked
        assert question["project_id"] == "102"
        assert sorted(question["device_ids"]) == [f"{n:012d}" for n in (1, 2, 3)]
        assert question["path"] == "/readings/query"
        assert question["authorization"].startswith("Basic ")
        assert biller.totals(102) == (3, 3, Decimal("150.00"))
        biller.switch(key, enabled=False)


def delete(client: Client, path: str) -> None:
    instance = client.up.instance
    login = {"username": instance.admin_user, "password": instance.admin_password}
    token = requests.post(f"{client.up.url}/auth/token", json=login, timeout=30).json()["access_token"]
    answer = requests.delete(
        f"{client.up.url}/api/v2{path}", headers={"Authorization": f"Bearer {token}"}, timeout=30
    )
    assert answer.status_code == 204, answer.text


@pytest.fixture(scope="module")
def city(biller: Biller, url: str) -> str:
    """The task of project 103, which has very many meters."""
    insert_project(url, "103", METERS)
    return str(biller.create(103, NEVER, "city")["natrual_key"])


class TestKilled:
    """Workers killed in the middle of 50,000 meters: each is billed once, by whoever comes after."""

    def wait_midway(self, biller: Biller, key: str) -> psutil.Process:
        """Return the process that bills, once some of the meters are billed and some are not."""
        statement = (
            "SELECT a.client_port FROM billing_run r, pg_locks l JOIN pg_stat_activity a USING (pid)"
            " WHERE r.definition_id = %s AND r.state = 'running' AND r.billed > 0 AND r.billed < %s"
            " AND l.locktype = 'advisory' AND l.classid = %s AND l.objid = %s AND l.granted"
        )
        number = biller.definition_id(key)
        deadline = time.monotonic() + 90
        while not (found := biller.client.rows(statement, number, METERS, TURN_LOCK_CLASS, number)):
            assert time.monotonic() < deadline, "no run was seen midway"
        port, server = found[0]["client_port"], urlsplit(biller.client.up.instance.database_url).port
        [pid] = {
            one.pid
            for one in psutil.net_connections("tcp")
            if one.raddr and (one.laddr.port, one.raddr.port) == (port, server) and one.pid
        }
        return psutil.Process(pid)

    def check(self, biller: Biller, key: str, run: str, bills: int) -> None:
        assert biller.wait_run(run, timeout=300) == "success"
        assert biller.totals(103) == (bills, METERS, worth(METERS))
        summary = biller.summary(run)
        assert (summary["succeeded"], summary["parked"]) == (1, 0)
        assert summary["billed"] == METERS
        [entry, *_] = biller.executions(key)
        assert (entry["state"], entry["attempts"]) == ("succeeded", 2)
        attempts = biller.client.own("GET", f"/executions/{entry['id']}/attempts")["items"]
        assert [one["state"] for one in attempts] == ["failed", "succeeded"]
        assert attempts[0]["error"].startswith("interrupted")

    def test_the_task_alone(self, biller: Biller, city: str) -> None:
        run = biller.trigger(city)
        self.wait_midway(biller, city).send_signal(signal.SIGKILL)
        self.check(biller, city, run, METERS)

    def test_the_worker_with_its_task(self, biller: Biller, city: str) -> None:
        run = biller.trigger(city)
        task = self.wait_midway(biller, city)
        worker = task.parent()
        assert worker is not None
        for process in (worker, task):
            process.send_signal(signal.SIGKILL)
        self.check(biller, city, run, 2 * METERS)
        biller.switch(city, enabled=False)


def test_lateness_counts_billing(biller: Biller, town: Town) -> None:
    moments = {"from": (town.due - timedelta(hours=1)).isoformat(), "to": datetime.now(UTC).isoformat()}
    found = biller.client.own("GET", "/lateness", params={**moments, "kind": "billing"})
    assert [(row["kind"], row["executions"]) for row in found["kinds"]] == [("billing", 1)]
