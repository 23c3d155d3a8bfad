"""Which instance the maintenance demo takes, and what it tells of the start of its own."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from include.cli import demo_maintenance, temporary
from include.cli.instance import Instance
from include.settings import get_settings

EPOCH = "2026-11-22T00:00:00+00:00"


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """What runs; the environment that the demo changes is restored."""
    for name in demo_maintenance.SHARED:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("CARILLON_HOME", str(tmp_path))
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def run(home: Path, environment: dict[str, str], running: list[subprocess.Popen[bytes]]) -> None:
    """Have an instance run there, as far as other commands see."""
    words = [sys.executable, "-c", "print(flush=True); input()"]
    process = subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # its environment is its own by now
    running.append(process)
    values = {one.name: "x" for one in fields(Instance)}
    (home / "instance.json").write_text(json.dumps({**values, "pid": process.pid, "processes": {}}))


@pytest.mark.parametrize(
    ("speed", "taken"), [("1440", True), ("7200", True), ("60", False), ("1000000", False)]
)
def test_an_instance_is_taken_if_its_days_take_about_a_minute(
    speed: str, taken: bool, tmp_path: Path, running: list[subprocess.Popen[bytes]]
) -> None:
    clock = {"CARILLON_MAINTENANCE_SPEED": speed, "CARILLON_MAINTENANCE_EPOCH": EPOCH}
    run(tmp_path, {**clock, "CARILLON_TIMEZONE": "Europe/Berlin"}, running)
    assert (demo_maintenance.running_fast() is not None) is taken
    settings = get_settings()
    assert settings.maintenance_speed == (float(speed) if taken else 1)
    assert settings.timezone == ("Europe/Berlin" if taken else "Asia/Shanghai")


def test_one_whose_clock_is_right_is_left_alone_and_so_is_none(
    tmp_path: Path, running: list[subprocess.Popen[bytes]]
) -> None:
    assert demo_maintenance.running_fast() is None
    run(tmp_path, {}, running)
    assert demo_maintenance.running_fast() is None


def test_stages_of_a_start_are_told_and_nothing_that_may_hold_a_password() -> None:
    log = io.StringIO(
        '[  1.2 s] making the database server\nwarning: x\n[100.0 s] ready\n{"admin_password": "p"}\n'
    )
    assert list(temporary._stages(log)) == ["making the database server", "ready"]
