"""A user of document 001 on a running instance: devices, groups of timers, and what came of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from tests.e2e.client import Client
from tests.timer_rows import LOCAL, USER

DAILY = "1111111"


@dataclass
class TimerUser:
    """Speaks document 001 with a JSON Web Token of its own; `client` is the operator beside it."""

    client: Client
    name: str = USER
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        answer = self.client.command("token", "jwt", "--user", self.name, "--json")
        self.session.headers["Authorization"] = f"jwt {answer['jwt']}"

    def call(self, method: str, path: str, **options: Any) -> Any:
        url = f"{self.client.up.url}/v3/schedule{path}"
        answer = self.session.request(method, url, timeout=60, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def own_devices(self, *device_ids: str) -> None:
        """Register devices and bind the user to them."""
        rows = [
            {"device_id": name, "node_id": name, "name": name, "project_id": "p1", "product_id": "lamp"}
            for name in device_ids
        ]
        self.client.own("POST", "/devices/bulk", json={"items": rows})
        for name in device_ids:
            self.client.own("PUT", f"/devices/{name}/users/{self.name}")

    def create(
        self, device_id: str, due: datetime, *commands: str, period: str = DAILY, **options: Any
    ) -> dict[str, Any]:
        """Create a group with a timer for each of the commands, all at the time of day of `due`."""
        local = due.astimezone(LOCAL)
        at = {"hour": f"{local.hour:02}", "minute": f"{local.minute:02}"}
        tasks = [{**at, "commands": text} for text in commands]
        body = {"device_id": device_id, "period": period, "tasks": tasks, **options}
        group: dict[str, Any] = self.call("POST", "/task/", json=body)["data"]
        return group

    def get(self, group: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self.call("GET", f"/task/{group['group_id']}/")
        return answer

    def definition_ids(self, device_id: str) -> list[str]:
        """Return the ids of a device's timers."""
        groups = self.client.own("GET", f"/devices/{device_id}/timers")["groups"]
        return [str(timer["definition_id"]) for group in groups for timer in group["timers"]]

    def executions(self, device_id: str) -> list[dict[str, Any]]:
        """Return the executions of a device's timers from the own API, timer by timer, the latest first."""
        return [
            execution
            for each in self.definition_ids(device_id)
            for execution in self.client.own("GET", f"/executions?definition_id={each}")["items"]
        ]

    def wait_ended(self, device_id: str, timeout: float = 30) -> list[dict[str, Any]]:
        """Return the executions of a device once there are some and all of them have ended."""

        def ended() -> list[dict[str, Any]] | None:
            found = self.executions(device_id)
            return found if found and all(each["finished_at"] for each in found) else None

        executions: list[dict[str, Any]] = self.client.wait(f"{device_id}: ended", ended, timeout)
        return executions

    def trigger(self, device_id: str) -> datetime:
        """Have Airflow trigger the DAG of a device's first timer; return the instant of its executions."""
        first = self.definition_ids(device_id)[0]
        self.client.wait_live(first)
        runs = f"/dags/{self.client.dag_id(first)}/dagRuns"
        run = self.client.airflow("POST", runs, json={"logical_date": None})["dag_run_id"]
        statement = "SELECT due_at FROM execution WHERE run_id = %s LIMIT 1"
        rows = self.client.wait("armed", lambda: self.client.rows(statement, run))
        due: datetime = rows[0]["due_at"]
        return due


def next_minute(ahead: float) -> datetime:
    """Return the first full minute that is at least so many seconds ahead."""
    earliest = datetime.now(UTC) + timedelta(seconds=ahead)
    return earliest.replace(second=0, microsecond=0) + timedelta(minutes=1)


def sleep_until(moment: datetime) -> None:
    time.sleep(max(0.0, moment.timestamp() - time.time()))
