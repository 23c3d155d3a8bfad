"""The device simulator under the process manager, without the rest of an instance."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from include.cli.gateway import choose_gateway
from include.cli.home import ROOT, Home
from include.cli.processes import build_processes
from include.cli.readiness import fetch, wait_simulator
from include.cli.supervisor import Manager
from include.errors import StartupError
from include.settings import Settings


class NoServer:
    def argv(self) -> list[str]:
        return ["false"]


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_it_answers_comes_back_and_ends(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    gateway = choose_gateway(Settings())
    processes = build_processes(Settings(), NoServer(), gateway.simulator_port)  # type: ignore[arg-type]
    manager = Manager(home)
    try:
        simulators = [process for process in processes if process.name == "simulator"]
        manager.start(simulators, {**os.environ, "PYTHONPATH": str(ROOT)})
        wait_simulator(gateway.url, home.logs)
        pid = manager.pids()["simulator"]
        psutil.Process(pid).kill()
        wait_until(lambda: manager.pids().get("simulator", pid) != pid)
        wait_simulator(gateway.url, home.logs)
        assert fetch(f"{gateway.url}/_admin/counters") is not None
    finally:
        manager.stop()
    assert fetch(f"{gateway.url}/_admin/health") is None


def test_one_that_does_not_answer_is_named(tmp_path: Path) -> None:
    (tmp_path / "simulator.log").write_text("the reason\n")
    with pytest.raises(StartupError, match="simulator does not answer") as caught:
        wait_simulator("http://127.0.0.1:9", tmp_path, patience=0.2)
    assert "the reason" in str(caught.value)
