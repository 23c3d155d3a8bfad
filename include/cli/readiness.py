"""Waits until every part of Airflow says that it is well."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Any

from include.cli.supervisor import Manager
from include.errors import StartupError
from include.settings import Settings

#: Part in the health document → the field with its last heartbeat.
PARTS = {
    "scheduler": "latest_scheduler_heartbeat",
    "dag_processor": "latest_dag_processor_heartbeat",
    "triggerer": "latest_triggerer_heartbeat",
}


def wait_healthy(settings: Settings, manager: Manager, logs: Path, *, since: float) -> None:
    """Return when the database and all parts are healthy.

    Raises:
        StartupError: some are not in time, or do not start at all; the message names them.
    """
    deadline = time.monotonic() + settings.start_timeout_seconds
    url = f"http://127.0.0.1:{settings.port}/api/v2/monitor/health"
    while waiting := unhealthy(fetch(url), since):
        manager.check()
        _check_processes(manager, logs)
        if time.monotonic() > deadline:
            raise StartupError(
                f"not ready after {settings.start_timeout_seconds:.0f} s, waiting for {', '.join(waiting)}:"
                f" see the files in {logs}, or set CARILLON_START_TIMEOUT_SECONDS higher on a slow machine"
            )
        time.sleep(0.25)


def wait_simulator(url: str, logs: Path, patience: float = 15.0) -> None:
    """Return when the device simulator answers; it started long before Airflow was healthy.

    Raises:
        StartupError: it does not.
    """
    deadline = time.monotonic() + patience
    while fetch(f"{url}/_admin/health") is None:
        if time.monotonic() > deadline:
            raise StartupError(
                f"the device simulator does not answer; the end of {logs / 'simulator'}.log:\n"
                f"{_tail(logs, 'simulator')}"
            )
        time.sleep(0.1)


def fetch(url: str) -> dict[str, Any] | None:
    """Return the health document; None while the server does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            document: dict[str, Any] = json.load(answer)
            return document
    except (OSError, ValueError, urllib.error.URLError):
        return None


def unhealthy(document: dict[str, Any] | None, since: float) -> list[str]:
    """Name the parts that are not healthy yet.

    A heartbeat from before `since` (Unix seconds) does not count: right after a crash the dead processes
    still look alive.
    """
    if document is None:
        return ["api-server"]
    waiting = [] if document["metadatabase"]["status"] == "healthy" else ["metadatabase"]
    return waiting + [
        part for part, field in PARTS.items() if not _alive(document.get(part) or {}, field, since)
    ]


def _alive(part: dict[str, Any], field: str, since: float) -> bool:
    heartbeat = part.get(field)
    if part.get("status") != "healthy" or not heartbeat:
        return False
    return datetime.fromisoformat(heartbeat).timestamp() >= since


def _check_processes(manager: Manager, logs: Path) -> None:
    for state in manager.supervisor.states():
        if state.state == "FATAL":
            raise StartupError(
                f"{state.name} does not start; the end of {logs / state.name}.log:\n{_tail(logs, state.name)}"
            )


def _tail(logs: Path, name: str, lines: int = 15) -> str:
    try:
        return "\n".join((logs / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"
