"""The process manager over an instance's processes: supervisord, its configuration and its control.

It brings back a process that ends (Airflow's do when Postgres restarts), ends whole process groups, and
rotates the log files.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from include.cli.home import ROOT, Home
from include.cli.leftovers import end, record
from include.cli.postgres import child_argv
from include.cli.processes import Process
from include.errors import StartupError


def render_config(home: Home, processes: Sequence[Process], control_socket: Path) -> str:
    """Return supervisord's configuration file."""
    logs = home.logs
    head = f"""\
[supervisord]
nodaemon=true
silent=true
{_as_root()}logfile={_escape(str(logs / "supervisord.log"))}
logfile_maxbytes=10MB
logfile_backups=2
pidfile={_escape(str(home.path / "supervisord.pid"))}
directory={_escape(str(ROOT))}

[unix_http_server]
file={control_socket}
chmod=0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
    groups: dict[str, list[Process]] = {}
    for process in processes:
        groups.setdefault(process.group, []).append(process)
    sections = [head]
    for priority, (group, members) in enumerate(groups.items(), start=1):
        names = ",".join(member.name for member in members)
        sections.append(f"[group:{group}]\nprograms={names}\npriority={priority}\n")
        sections += [_render_program(member, logs) for member in members]
    return "\n".join(sections)


def _as_root() -> str:
    # Said outright, because supervisord warns of an oversight otherwise.
    return "user=root\n" if os.geteuid() == 0 else ""


def _render_program(process: Process, logs: Path) -> str:
    environment = ",".join(f'{key}="{_escape(value)}"' for key, value in process.env.items())
    return f"""\
[program:{process.name}]
command={_escape(shlex.join(process.argv))}
environment={environment}
autostart={str(process.autostart).lower()}
autorestart=true
startsecs=2
startretries=20
stopsignal={process.stop_signal}
stopwaitsecs={process.stop_wait_seconds}
killasgroup=true
redirect_stderr=true
stdout_logfile={_escape(str(logs / process.name))}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=3
"""


def _escape(text: str) -> str:
    return text.replace("%", "%%")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(self._path)


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path)
        # Kept where the base class looks for it when it closes.
        self._connection = host, connection
        return connection


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What the manager says of a process; `pid` is 0 while it does not run."""

    name: str
    state: str
    pid: int


class Supervisor:
    """Talks to a running supervisord over its Unix socket."""

    def __init__(self, control_socket: Path) -> None:
        self._socket = str(control_socket)

    @contextmanager
    def _rpc(self) -> Iterator[Any]:
        # A new connection per call: calls are few and far between, and the server may have gone meanwhile.
        with xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport(self._socket)) as proxy:
            yield proxy.supervisor

    def states(self) -> list[ProcessState]:
        """Return every process with its state as supervisord spells it (`RUNNING`, `BACKOFF`, `FATAL` …)."""
        with self._rpc() as rpc:
            return [
                ProcessState(info["name"], info["statename"], info["pid"]) for info in rpc.getAllProcessInfo()
            ]

    def start_group(self, group: str) -> None:
        """Start all processes of a group, without waiting for them."""
        with self._rpc() as rpc:
            rpc.startProcessGroup(group, False)

    def start(self, name: str, group: str = "airflow") -> None:
        """Start one process and wait until it stays up."""
        with self._rpc() as rpc:
            rpc.startProcess(f"{group}:{name}", True)

    def stop(self, name: str, group: str = "airflow") -> None:
        """Stop one process and wait until it has ended."""
        with self._rpc() as rpc:
            rpc.stopProcess(f"{group}:{name}", True)


class Manager:
    """A supervisord that is our child, from its start to its end."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        # The path of a Unix socket has 107 characters at most, which a home deep in a tree would exceed.
        digest = hashlib.sha256(str(home.path).encode()).hexdigest()[:16]
        self._folder = Path("/tmp") / f"carillon-{os.geteuid()}-{digest}"
        self.control_socket = self._folder / "control"
        self.supervisor = Supervisor(self.control_socket)

    def start(
        self, processes: Sequence[Process], environment: Mapping[str, str], timeout: float = 30.0
    ) -> None:
        """Start it; return when it takes orders."""
        self._make_folder()
        config = self._home.path / "supervisord.conf"
        config.write_text(render_config(self._home, processes, self.control_socket))
        # Airflow's log server and the like outlive the process that was killed: they stay in the family.
        argv = [
            *child_argv(adopting=True),
            sys.executable,
            "-m",
            "supervisor.supervisord",
            "-n",
            "-c",
            str(config),
        ]
        with (self._home.logs / "supervisord.out").open("wb") as log:
            # A group of its own: Ctrl-C in a terminal reaches `up` alone, which ends the others in order.
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(environment), process_group=0
            )
        record(self._home.process_file, [self._process.pid])
        self._await_control(timeout)

    def _make_folder(self) -> None:
        """Make the socket's folder, or take over the one that a killed start of ours left."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        state = self._folder.lstat()
        # Everybody may write to /tmp: a folder that somebody else laid there must not be trusted.
        if state.st_uid != os.geteuid() or stat.S_IMODE(state.st_mode) != 0o700:
            raise StartupError(f"{self._folder} belongs to somebody else: remove it and start again")
        self.control_socket.unlink(missing_ok=True)

    def _await_control(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while True:
            self.check()
            with suppress(OSError):
                self.pids()
                return
            if time.monotonic() > deadline:
                raise StartupError(
                    f"the process manager does not answer: see {self._home.logs / 'supervisord.log'}"
                )
            time.sleep(0.02)

    def check(self) -> None:
        """Raise `StartupError` when it has ended by itself."""
        if self._process is None or self._process.poll() is not None:
            raise StartupError(f"the process manager has ended: see {self._home.logs / 'supervisord.log'}")

    def pids(self) -> dict[str, int]:
        """Return the process id of each process that runs, and put them on record for the next start."""
        pids = {state.name: state.pid for state in self.supervisor.states() if state.pid}
        record(self._home.process_file, [*pids.values(), *self._manager_and_children()])
        return pids

    def stop(self, timeout: float = 90.0) -> None:
        """End everything: Airflow first, the database last, and whatever outlived its parent."""
        process, self._process = self._process, None
        if process is not None:
            family = self._family(process.pid)
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout)
            end(family, patience=2.0)
            process.wait()
        self._home.process_file.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _manager_and_children(self) -> list[int]:
        if self._process is None:
            return []
        with suppress(psutil.NoSuchProcess):
            manager = psutil.Process(self._process.pid)
            return [manager.pid, *(child.pid for child in manager.children())]
        return []

    @staticmethod
    def _family(pid: int) -> list[psutil.Process]:
        try:
            manager = psutil.Process(pid)
            return [*manager.children(recursive=True), manager]
        except psutil.NoSuchProcess:
            return []
