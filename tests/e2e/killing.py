"""Killing the processes of an instance, and what the ledger says once all is over."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import psutil

from include.cli.supervisor import Supervisor
from tests.e2e.client import Client
from tests.e2e.conftest import Up


def pids(up: Up) -> dict[str, int]:
    return {state.name: state.pid for state in Supervisor(Path(up.instance.control_socket)).states()}


def triggerers(up: Up) -> list[str]:
    return sorted(name for name in pids(up) if name.startswith("triggerer"))


def kill_now(up: Up, names: list[str], *, hold: float = 0) -> None:
    """Kill the processes that run under these names now; with `hold`, keep them down that long."""
    control, running = Supervisor(Path(up.instance.control_socket)), pids(up)
    for name in names:
        process = psutil.Process(running[name])
        for member in [*process.children(recursive=True), process]:
            os.kill(member.pid, signal.SIGKILL)
    if hold:
        for name in names:
            control.stop(name)
        time.sleep(hold)
        for name in names:
            control.start(name)


def armed_triggerer(client: Client, dag_id: str) -> str:
    """Return which process has the window of a DAG armed, by the order in which Airflow's jobs started."""
    statement = (
        "SELECT j.id, j.hostname FROM trigger t JOIN task_instance ti ON ti.trigger_id = t.id"
        " JOIN job j ON j.id = t.triggerer_id WHERE ti.dag_id = %s"
    )
    (row,) = client.wait("armed", lambda: client.rows(statement, dag_id, airflow=True), timeout=40)
    # Jobs are numbered in the order of their start; so are the names, when neither was restarted since.
    jobs = client.rows(
        "SELECT id FROM job WHERE job_type = 'TriggererJob' AND state = 'running'"
        " AND latest_heartbeat > now() - interval '5 seconds' ORDER BY id",
        airflow=True,
    )
    started = sorted(
        triggerers(client.up), key=lambda name: psutil.Process(pids(client.up)[name]).create_time()
    )
    return started[[job["id"] for job in jobs].index(row["id"])]


def wait_settled(client: Client, due: float, count: int, timeout: float = 90) -> Counter[str]:
    """Return the states of the executions of an instant once all of them have ended."""
    moment = datetime.fromtimestamp(due, UTC)

    def settled() -> Counter[str] | None:
        statement = "SELECT state, count(*) FROM execution WHERE due_at = %s GROUP BY state"
        states = Counter({row["state"]: row["count"] for row in client.rows(statement, moment)})
        done = sum(states[s] for s in ("succeeded", "failed", "skipped", "missed"))
        return states if done == count == states.total() else None

    found: Counter[str] = client.wait(f"{count} executions ended", settled, timeout)
    return found
