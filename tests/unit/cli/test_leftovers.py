"""Ending what a killed instance left: ours, and nothing else."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from include.cli.leftovers import end_leftovers, record

Sleeper = Callable[[], psutil.Process]


@pytest.fixture
def sleeper() -> Iterator[Sleeper]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> psutil.Process:
        started.append(subprocess.Popen(["sleep", "60"], process_group=0))
        return psutil.Process(started[-1].pid)

    yield start
    for process in started:
        process.kill()
        process.wait()


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_ends_what_is_on_record(tmp_path: Path, sleeper: Sleeper) -> None:
    process, other = sleeper(), sleeper()
    record(tmp_path / "processes.json", [process.pid])
    assert end_leftovers(tmp_path / "processes.json", tmp_path / "data") == 1
    assert is_gone(process)
    assert not is_gone(other)
    assert not (tmp_path / "processes.json").exists()


def test_spares_a_stranger_with_a_used_id(tmp_path: Path, sleeper: Sleeper) -> None:
    """The id is the one on record, the start time is not: the system gave the id to somebody else."""
    process = sleeper()
    (tmp_path / "processes.json").write_text(json.dumps({str(process.pid): process.create_time() - 3600}))
    assert end_leftovers(tmp_path / "processes.json", tmp_path / "data") == 0
    assert not is_gone(process)


def test_spares_a_stranger_in_postmaster_pid(tmp_path: Path, sleeper: Sleeper) -> None:
    process = sleeper()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "postmaster.pid").write_text(f"{process.pid}\n/somewhere\n")
    assert end_leftovers(tmp_path / "processes.json", tmp_path / "data") == 0
    assert not is_gone(process)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}'])
def test_a_damaged_record_is_no_record(tmp_path: Path, content: str) -> None:
    (tmp_path / "processes.json").write_text(content)
    assert end_leftovers(tmp_path / "processes.json", tmp_path / "data") == 0
