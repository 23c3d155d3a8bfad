"""The processes of an instance: one table, which docker-compose.yaml follows too."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from include.cli.postgres import LocalPostgres, child_argv, find_free_port
from include.settings import Settings

#: What Airflow consists of: name of the process → words after `python -m airflow`.
AIRFLOW_COMMANDS: dict[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler",),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer",),
}


@dataclass(frozen=True, slots=True)
class Process:
    """One process under the manager."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    autostart: bool = False
    stop_signal: str = "TERM"
    stop_wait_seconds: int = 20
    group: str = "airflow"


def airflow_argv(name: str) -> list[str]:
    """Return the command of one of Airflow's processes."""
    return [sys.executable, "-m", "airflow", *AIRFLOW_COMMANDS[name]]


def build_processes(
    settings: Settings,
    postgres: LocalPostgres,
    simulator_port: int | None = None,
    token_file: Path | None = None,
) -> list[Process]:
    """Return all processes of an instance, the database first; the device simulator if it has a port.

    :param token_file: the token with which the simulator tells us what its devices say
    """
    # SIGINT is Postgres's fast shutdown: clients are cut off, data is written.
    server = Process(
        "postgres", postgres.argv(), autostart=True, stop_signal="INT", stop_wait_seconds=60, group="database"
    )
    simulator = [] if simulator_port is None else [_simulator(simulator_port, settings, token_file)]
    return [server, *simulator, *_airflow_processes(settings)]


def _simulator(port: int, settings: Settings, token_file: Path | None) -> Process:
    argv = [*child_argv(), sys.executable, "-m", "include.simulator", "--port", str(port)]
    if token_file is not None:
        url = f"http://127.0.0.1:{settings.port}/carillon/v1/device-events"
        argv += ["--push-url", url, "--push-token-file", str(token_file)]
    return Process("simulator", argv, autostart=True, group="devices")


def _airflow_processes(settings: Settings) -> list[Process]:
    counts = {"scheduler": settings.schedulers, "triggerer": settings.triggerers}
    processes = []
    for name in AIRFLOW_COMMANDS:
        for number in range(1, counts.get(name, 1) + 1):
            label = name if number == 1 else f"{name}-{number}"
            processes.append(Process(label, [*child_argv(), *airflow_argv(name)]))
    return [_with_log_port(process) for process in processes]


def _with_log_port(process: Process) -> Process:
    """Give scheduler and triggerer a free port for their log server, so that instances run side by side."""
    setting = {"scheduler": "WORKER_LOG_SERVER_PORT", "triggerer": "TRIGGER_LOG_SERVER_PORT"}
    kind = process.name.rstrip("-0123456789")
    if kind not in setting:
        return process
    return Process(process.name, process.argv, {f"AIRFLOW__LOGGING__{setting[kind]}": str(find_free_port())})
