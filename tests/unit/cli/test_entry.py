"""The shell script `carillon`: which Python it takes, when it installs, what it says when it cannot.

A stand-in for Python records how it is called, so nothing is downloaded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from include.cli.home import ROOT

STAND_IN = """#!/bin/sh
# -c: the version check and the check for the venv module; -m: what the script wants done
echo "$@" >>"$CALLS"
case "$1 ${2:-}" in
    "--version "*) echo "Python 3.12.0" ;;
    "-c import ensurepip, venv") exit "${NO_VENV:-0}" ;;
    "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m uv")
        if [ "$3" = pip ]; then exit "${UV_FAILS:-0}"; fi ;;
    "-m pip")
        if [ "$3" = install ]; then case "$*" in *requirements*) exit "${PIP_FAILS:-0}" ;; esac; fi ;;
    "-m include.cli.main") echo "ran with: $3"; exit 9 ;;
esac
"""

TOOLS = ("sh", "dirname", "cat", "cksum", "mkdir", "rm", "mv", "cp", "grep", "sleep", "touch")


@dataclass
class Checkout:
    """A folder with the script, a requirements file, and a PATH of our own making."""

    root: Path
    path: Path

    @property
    def calls(self) -> list[str]:
        """How the stand-in was called."""
        return (self.root / "calls").read_text().splitlines()

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        environment = {"PATH": str(self.path), "CALLS": str(self.root / "calls"), **env}
        words = [str(self.root / "carillon"), *arguments]
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def installs(self) -> int:
        """How often the requirements were installed."""
        return sum("--requirement" in call for call in self.calls)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root, path = tmp_path / "a checkout", tmp_path / "bin"
    root.mkdir()
    path.mkdir()
    shutil.copy(ROOT / "carillon", root)
    (root / "requirements.txt").write_text("one==1\ntwo==2\n")
    (root / "calls").touch()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (path / tool).symlink_to(found)
    python = path / "python3.12"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    return Checkout(root, path)


def test_first_start_makes_the_venv_and_installs(checkout: Checkout) -> None:
    done = checkout.run("up")
    assert (done.returncode, done.stdout) == (9, "ran with: up\n")
    assert checkout.installs() == 1
    assert "--only-binary :all:" in next(call for call in checkout.calls if "--requirement" in call)
    assert not (checkout.root / ".venv.lock").exists()


def test_second_start_installs_nothing(checkout: Checkout) -> None:
    checkout.run("up")
    (checkout.root / "calls").write_text("")
    assert checkout.run("up").returncode == 9
    assert checkout.calls == ["-m include.cli.main up"]


def test_changed_requirements_are_installed(checkout: Checkout) -> None:
    checkout.run("up")
    (checkout.root / "requirements.txt").write_text("one==2\n")
    checkout.run("up")
    assert checkout.installs() == 2


def test_failed_install_is_done_again(checkout: Checkout) -> None:
    failed = checkout.run("up", UV_FAILS="1", PIP_FAILS="1")
    assert failed.returncode == 1
    assert "could not be installed" in failed.stderr
    assert "compiler" in failed.stderr
    assert checkout.run("up").returncode == 9


def test_pip_takes_over_from_uv(checkout: Checkout) -> None:
    done = checkout.run("up", UV_FAILS="1")
    assert done.returncode == 9
    assert "trying pip" in done.stderr


def test_no_python_is_a_sentence(checkout: Checkout) -> None:
    (checkout.path / "python3.12").unlink()
    done = checkout.run("up")
    assert done.returncode == 1
    assert done.stderr == (
        "carillon: Python 3.11 to 3.14 is needed and none was found:"
        " install one, or name it in CARILLON_PYTHON\n"
    )
    assert not (checkout.root / ".venv.lock").exists()


def test_no_venv_module_is_a_sentence(checkout: Checkout) -> None:
    done = checkout.run("up", NO_VENV="1")
    assert done.returncode == 1
    assert "apt install python3-venv" in done.stderr


def test_checkout_that_cannot_be_written_is_a_sentence(checkout: Checkout) -> None:
    # A mkdir that refuses stands for a read-only folder: root, who may run this, can write to those.
    (checkout.path / "mkdir").unlink()
    (checkout.path / "mkdir").write_text("#!/bin/sh\nexit 1\n")
    (checkout.path / "mkdir").chmod(0o755)
    done = checkout.run("up")
    assert done.returncode == 1
    assert "cannot write" in done.stderr


def test_lock_of_a_dead_start_is_taken_over(checkout: Checkout) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    lock = checkout.root / ".venv.lock"
    lock.mkdir()
    (lock / "pid").write_text(str(ended.pid))
    assert checkout.run("up").returncode == 9


def test_two_first_starts_install_once(checkout: Checkout) -> None:
    lock = checkout.root / ".venv.lock"
    lock.mkdir()
    (lock / "pid").write_text(str(os.getpid()))
    environment = {"PATH": str(checkout.path), "CALLS": str(checkout.root / "calls")}
    waiting = subprocess.Popen(
        [str(checkout.root / "carillon"), "up"], env=environment, stderr=subprocess.PIPE
    )
    time.sleep(1)
    assert waiting.poll() is None
    shutil.rmtree(lock)
    _, words = waiting.communicate(timeout=30)
    assert waiting.returncode == 9
    assert b"waiting for another start" in words
    assert checkout.installs() == 1
