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
    """Return which process has the window of a DAG armed: the one that writes the log of its run."""

    def writer() -> str | None:
        running = pids(client.up)
        for name in triggerers(client.up):
            files = psutil.Process(running[name]).open_files() if running[name] else []
            if any(f"/dag_id={dag_id}/" in file.path for file in files):
                return name
        return None

    name: str = client.wait("armed", writer, timeout=40)
    return name


def wait_settled(client: Client, due: float, count: int, timeout: float = 90) -> Counter[str]:
    """Return the states of the executions of an instant once all of them have ended."""
    moment = datetime.fromtimestamp(due, UTC)

    def settled() -> Counter[str] | None:
        statement = "SELECT state, count(*) FROM execution WHERE due_at = %s GROUP BY state"
        states = Counter({row["state"]: row["count"] for row in client.rows(statement, moment)})
        done = sum(states[s] for s in ("succeeded", "failed", "skipped", "missed"))
        return states if done == count == states.total() else None

    try:
        found: Counter[str] = client.wait(f"{count} executions ended", settled, timeout)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{_what_is_left(client, moment)}") from None
    return found


def _what_is_left(client: Client, moment: datetime) -> str:
    """Tell of the executions of an instant and of the task instances that are to do them."""
    executions = client.rows(
        "SELECT e.state, a.state AS attempt, a.error, s.dag_id, count(*) FROM execution e"
        " JOIN definition d ON d.id = e.definition_id JOIN schedule s ON s.id = d.schedule_id"
        " LEFT JOIN attempt a ON a.execution_id = e.id AND a.due_at = e.due_at"
        " WHERE e.due_at = %s GROUP BY 1, 2, 3, 4",
        moment,
    )
    tasks = client.rows(
        "SELECT t.dag_id, t.run_id, t.state, t.try_number, t.trigger_id, g.triggerer_id, t.end_date"
        " FROM task_instance t LEFT JOIN trigger g ON g.id = t.trigger_id WHERE t.dag_id = ANY(%s)"
        " ORDER BY t.start_date DESC LIMIT 10",
        [row["dag_id"] for row in executions],
        airflow=True,
    )
    return "\n".join(map(str, [*executions, *tasks]))
