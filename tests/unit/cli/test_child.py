"""child.py: the program becomes the process, and ends with the parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from include.cli.postgres import child_argv


def test_becomes_the_program_and_hands_on_its_exit_code() -> None:
    done = subprocess.run([*child_argv(), "/bin/sh", "-c", "echo $$; exit 7"], capture_output=True, text=True)
    assert done.returncode == 7
    assert int(done.stdout) > 0


def test_a_missing_program_is_a_sentence() -> None:
    done = subprocess.run([*child_argv(), "/no/such/program"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (127, "/no/such/program: No such file or directory\n")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has ended")
def test_ends_with_a_parent_that_was_killed() -> None:
    words = [*child_argv(), "/bin/sleep", "60"]
    script = f"import subprocess, time; print(subprocess.Popen({words!r}).pid, flush=True); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    _await_program(child, "sleep")
    parent.kill()
    parent.wait()
    parent.stdout.close()
    psutil.wait_procs([child], timeout=5)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_drops_to_another_user() -> None:
    done = subprocess.run(
        [*child_argv("65534:65534"), "/usr/bin/id", "-u"], capture_output=True, text=True, cwd="/"
    )
    assert done.stdout == "65534\n"


def test_death_signal_is_an_option() -> None:
    assert f"--death-signal={int(signal.SIGINT)}" in child_argv(death_signal=signal.SIGINT)


def _await_program(process: psutil.Process, name: str) -> None:
    for _ in range(500):
        if process.name() == name:
            return
        time.sleep(0.01)
    raise AssertionError(f"{name} did not start")
