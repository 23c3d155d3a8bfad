"""The simulator as a real process, and an admin client of it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from include.cli.home import ROOT
from include.gateway.connect import create_gateway, parse_connection
from include.gateway.http import HttpGateway
from include.gateway.model import Command


class SimulatorProcess:
    """One simulator; a second start takes the same port."""

    def __init__(self) -> None:
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "include.simulator", "--port", str(self.port)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().rpartition(":")[2])

    def kill(self) -> None:
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        """End it as the process manager would; return its exit code."""
        self.process.terminate()
        return self._reap()

    def _reap(self) -> int:
        code = self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        return call_admin(self.url, method, path, body)

    def faults(self, **faults: Any) -> None:
        self.admin("PUT", "faults", faults)


def call_admin(url: str, method: str, path: str, body: Any = None) -> Any:
    """Call the admin API of the simulator at this URL."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/_admin/{path}", data, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@contextmanager
def simulator_process() -> Iterator[SimulatorProcess]:
    process = SimulatorProcess()
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.stop()


@asynccontextmanager
async def opened(connection: str) -> AsyncIterator[HttpGateway]:
    """A gateway made from a connection, as the product makes it."""
    gateway = create_gateway(parse_connection(connection))
    assert isinstance(gateway, HttpGateway)
    await gateway.open()
    try:
        yield gateway
    finally:
        await gateway.close()


def command(number: int = 0, *, timeout: float = 20.0, request_id: str | None = None) -> Command:
    return Command(f"d{number}", request_id or f"r{number}", "light", "on", {"level": number}, timeout)
