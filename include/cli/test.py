"""`./carillon test`: every test, in two goes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from include.cli.home import ROOT
from include.cli.postgres import child_argv
from include.cli.progress import Progress

NO_TESTS = 5
FAST = ("tests/unit", "tests/integration", "tests/dags")
END_TO_END = ("tests/e2e",)


def run_tests(arguments: Annotated[list[str] | None, typer.Argument(help="Handed to pytest.")] = None) -> int:
    """Run every test; arguments go to pytest, and paths among them replace the choice of tests."""
    arguments = arguments or []
    if any(_is_path(argument) for argument in arguments):
        return _pytest(arguments)
    progress = Progress()
    progress.say("unit, integration and DAG tests")
    fast = _pytest([*_existing(FAST), "-n", str(_workers()), *arguments])
    # Four groups of files at a time (tests/e2e/conftest.py), since they mostly wait for instants.
    progress.say("end-to-end tests, on real Airflow processes")
    spread = ("-n", "4", "--dist", "loadfile", "--no-loadscope-reorder")
    return worst(fast, _pytest([*_existing(END_TO_END), *spread, *arguments]))


run_tests.command_options = {  # type: ignore[attr-defined]  # read by main.load
    "context_settings": {"ignore_unknown_options": True, "allow_interspersed_args": False}
}


def worst(*codes: int) -> int:
    """Return the exit code of several runs: the first failure; "no tests" only when no run had one."""
    failures = [code for code in codes if code not in (0, NO_TESTS)]
    if failures:
        return failures[0]
    return 0 if 0 in codes else NO_TESTS


def _pytest(arguments: list[str]) -> int:
    argv = [*child_argv(), sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(argv, cwd=ROOT, check=False).returncode


def _is_path(argument: str) -> bool:
    return not argument.startswith("-") and (ROOT / argument.split("::")[0]).exists()


def _existing(folders: tuple[str, ...]) -> list[str]:
    return [folder for folder in folders if Path(ROOT / folder).is_dir()]


def _workers() -> int:
    return max(2, min(4, (os.cpu_count() or 2) + 1))
