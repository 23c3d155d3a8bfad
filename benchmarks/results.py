"""What every bench leaves: a file with all that it measured, and words for people or for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

RESULTS = Path(__file__).parent / "results"

#: In a file or a pipe there is no width to keep to, and a table that is folded cannot be read.
stdout = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 130)


def tell(subject: str, document: dict[str, Any], show: Callable[[Path], None], *, as_json: bool) -> int:
    """Keep a document in a file and print it, for people by `show`; return 1 where it has failures."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{subject}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    file.write_text(json.dumps(document, indent=1) + "\n")
    if as_json:
        print(json.dumps(document))
    else:
        show(file)
    return 1 if document["failures"] else 0


def show_end(document: dict[str, Any], file: Path, loads: Sequence[float] = ()) -> None:
    """Print what went wrong, the machine, and where the results are kept.

    :param loads: of the machine, when each round began
    """
    for failure in document["failures"]:
        stdout.print(f"failed: {failure}", markup=False)
    facts = document["machine"]
    if loads:
        load = f"load of the rounds {min(loads):.1f} to {max(loads):.1f}"
    else:
        load = f"load before {facts['load_before'][0]}"
    stdout.print(
        f"{facts['cores']} cores, {facts['cpu']}, {load};"
        f" Airflow {facts['airflow']}, PostgreSQL {facts['postgres']}, Python {facts['python']}"
    )
    stdout.print(f"results: {file}")
