"""`./carillon bench`: the benchmarks, each a module of `benchmarks/`."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import typer

from include.cli.home import ROOT
from include.cli.postgres import child_argv
from include.errors import InvalidInputError

SUBJECTS = ("fire", "billing", "timers", "batch", "maintenance")


def bench(
    subject: Annotated[str, typer.Argument(help=f"What to measure: {', '.join(SUBJECTS)}.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Handed on; --help after the subject lists them.")
    ] = None,
) -> int:
    """Run a benchmark with its peers, print a table, keep the figures under benchmarks/results/."""
    if subject not in SUBJECTS:
        raise InvalidInputError(f"{subject!r} is not one of {', '.join(SUBJECTS)}", field="subject")
    argv = [*child_argv(), sys.executable, "-m", f"benchmarks.{subject}", *(arguments or [])]
    return subprocess.run(argv, cwd=ROOT, check=False).returncode


bench.command_options = {  # type: ignore[attr-defined]  # read by main.load
    "context_settings": {"ignore_unknown_options": True, "allow_interspersed_args": False}
}
