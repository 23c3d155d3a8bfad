"""`./carillon check`: what must be clean before a change is committed, besides the tests."""

from __future__ import annotations

import subprocess
import sys

from include.cli.home import ROOT
from include.cli.progress import Progress

CHECKS = {
    "lint": ("ruff", "check", "."),
    "format": ("ruff", "format", "--check", "."),
    "types": ("mypy",),
}


def check() -> int:
    """Run linter, format check and type checker; all of them, even when the first one fails."""
    progress = Progress()
    failed = []
    for name, words in CHECKS.items():
        progress.say(" ".join(words))
        if subprocess.run([sys.executable, "-m", *words], cwd=ROOT, check=False).returncode != 0:
            failed.append(name)
    progress.say(f"not clean: {', '.join(failed)}" if failed else "all clean")
    return 1 if failed else 0
