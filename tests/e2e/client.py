"""A client of a running instance: document 003, Airflow's API, and both databases to look into."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import requests
from psycopg.rows import dict_row

from include.cli.airflow_env import instance_environment
from include.cli.home import ROOT
from tests.e2e.conftest import Up
from tests.e2e.receiver import Receiver

_numbers = count(1)


@dataclass
class Client:
    """Speaks to one instance with a token of its own."""

    up: Up
    receiver: Receiver
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        answer = self.command("token", "create", "--name", "e2e", "--json")
        self.session.headers["Authorization"] = f"token {answer['token']}"

    def command(self, *words: str) -> Any:
        """Run a `./carillon` command that prints JSON."""
        env = {**os.environ, "CARILLON_HOME": str(self.up.home), "CARILLON_PORT": str(self.up.port)}
        done = subprocess.run(
            [str(ROOT / "carillon"), *words],
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def post(self, endpoint: str, task_list: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
        url = f"{self.up.url}/crontab/{endpoint}"
        answer = self.session.post(url, json={"task_list": list(task_list), **more}, timeout=60)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        assert body["state"] == 0, body
        return body

    def add(self, *paths: str, **fields: Any) -> list[str]:
        """Create a task for each path of the receiver; returns their ids."""
        items = [{**self._task(path), **fields} for path in paths]
        results = self.post("add_task", items)["data"]["task_result"]
        assert [result["err"] for result in results] == [""] * len(items), results
        return [result["task_id"] for result in results]

    def update(self, task_id: str, **fields: Any) -> None:
        body = self.post("update_task", [{"task_id": task_id, **fields}])
        assert body["data"]["task_result"][0]["err"] == "", body

    def log(self, *task_ids: str) -> list[dict[str, Any]]:
        body = self.post("query_task_status", [{"task_id": task_id} for task_id in task_ids])
        log: list[dict[str, Any]] = body["data"]["log_list"]
        return log

    def own(self, method: str, path: str, **options: Any) -> Any:
        answer = self.session.request(method, f"{self.up.url}/carillon/v1{path}", timeout=30, **options)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def airflow(self, method: str, path: str, **options: Any) -> Any:
        instance = self.up.instance
        login = {"username": instance.admin_user, "password": instance.admin_password}
        token = requests.post(f"{self.up.url}/auth/token", json=login, timeout=30).json()["access_token"]
        answer = requests.request(
            method,
            f"{self.up.url}/api/v2{path}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
            **options,
        )
        assert answer.status_code < 300, answer.text
        return answer.json()

    def dags_test(self, dag_id: str, *words: str) -> None:
        """Run `airflow dags test` on a DAG.

        Paused meanwhile: the scheduler of the instance would take the tasks of that run, too.
        """
        self.airflow("PATCH", f"/dags/{dag_id}", json={"is_paused": True})
        try:
            done = subprocess.run(
                [sys.executable, "-m", "airflow", "dags", "test", dag_id, *words],
                env={**os.environ, **self.up.env, **instance_environment(self.up.instance)},
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=300,
            )
        except subprocess.TimeoutExpired as error:
            said = (error.stdout or b"").decode(errors="replace")
            raise AssertionError(f"no end after {error.timeout:g} s:\n{said[-3000:]}") from None
        finally:
            self.airflow("PATCH", f"/dags/{dag_id}", json={"is_paused": False})
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-3000:]

    def rows(self, statement: str, *parameters: Any, airflow: bool = False) -> list[dict[str, Any]]:
        instance = self.up.instance
        url = instance.airflow_database_url if airflow else instance.database_url
        with psycopg.connect(url, row_factory=dict_row) as connection:
            return connection.execute(statement, parameters).fetchall()  # type: ignore[arg-type]

    def dag_id(self, task_id: str) -> str:
        statement = (
            "SELECT s.dag_id FROM schedule s JOIN definition d ON d.schedule_id = s.id WHERE d.id = %s"
        )
        return str(self.rows(statement, int(task_id))[0]["dag_id"])

    def wait(self, what: str, check: Callable[[], Any], timeout: float = 60) -> Any:
        """Return what `check` returns once it is true."""
        deadline = time.monotonic() + timeout
        while not (found := check()):
            assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
            time.sleep(0.1)
        return found

    def wait_live(self, task_id: str) -> None:
        """Return when Airflow has the DAG of the task's schedule, with its next run planned."""
        dag_id = self.dag_id(task_id)
        statement = "SELECT 1 FROM dag WHERE dag_id = %s AND NOT is_stale AND next_dagrun IS NOT NULL"
        self.wait(f"{dag_id} is live", lambda: self.rows(statement, dag_id, airflow=True))

    def wait_armed(self, task_id: str, due: float, timeout: float = 60) -> None:
        """Return when the execution of that instant stands in the ledger."""
        statement = "SELECT 1 FROM execution WHERE definition_id = %s AND due_at = %s"
        moment = datetime.fromtimestamp(due, UTC)
        self.wait("armed", lambda: self.rows(statement, int(task_id), moment), timeout)

    def _task(self, path: str) -> dict[str, Any]:
        return {
            "name": f"e2e {path} {next(_numbers)} {time.time_ns()}",
            "enable": 1,
            "module": 1,
            "type": 4,
            "url": self.receiver.url(path),
            "method": "post",
            "body": '{"hello": "world"}',
        }


def crontab_at(due: float) -> str:
    """Return the crontab of document 003 that is due at this second, daily, in the default zone."""
    local = datetime.fromtimestamp(due, ZoneInfo("Asia/Shanghai"))
    return f"{local.second} {local.minute} {local.hour} * * *"


def whole_second(ahead: float) -> int:
    """Return a Unix second this far ahead."""
    return int(time.time() + ahead)
