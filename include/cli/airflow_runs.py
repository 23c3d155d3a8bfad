"""Old Airflow runs: their rows, by Airflow's own `db clean`, and their task logs.

Airflow slows down past about 100,000 runs (apache/airflow#54283), and every window is a run.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from include.cli.database import run_child

#: Tables that grow with runs. The last run of each DAG stays: Airflow plans the next one from it.
TABLES = ("dag_run", "task_instance", "task_instance_history", "task_reschedule", "xcom", "log", "job")

#: Rows of one transaction, so that a first cleaning after years does not hold the scheduler up.
BATCH = 20_000

_FOUND = re.compile(r"Checking table (?P<table>\w+)\s+Found (?P<count>\d+) rows")


def clean_runs(environment: Mapping[str, str], before: datetime, *, dry_run: bool) -> dict[str, int]:
    """Delete what is older than `before`; return the number of rows a table.

    A process of its own: only that may open Airflow's database, and it needs Airflow's whole environment.

    :raises StartupError: it failed; the message holds its last words
    """
    words = [sys.executable, "-m", "airflow", "db", "clean", "--yes", "--skip-archive"]
    words += ["--clean-before-timestamp", before.isoformat(), "--tables", ",".join(TABLES)]
    words += ["--batch-size", str(BATCH), "--error-on-cleanup-failure"]
    return read_counts(run_child([*words, *(["--dry-run"] if dry_run else [])], environment))


def read_counts(output: str) -> dict[str, int]:
    """Return the rows that `db clean` says it found, by table."""
    return {match["table"]: int(match["count"]) for match in _FOUND.finditer(output)}


def clean_task_logs(folder: Path, before: datetime, *, dry_run: bool) -> int:
    """Remove the log folders of runs that were last written to before `before`; return their number."""
    old = [run for run in folder.glob("dag_id=*/run_id=*") if run.is_dir() and _last_write(run) < before]
    if not dry_run:
        for run in old:
            shutil.rmtree(run, ignore_errors=True)
    return len(old)


def _last_write(run: Path) -> datetime:
    moments = (entry.stat().st_mtime for entry in _with_children(run))
    return datetime.fromtimestamp(max(moments)).astimezone()


def _with_children(run: Path) -> Iterator[Path]:
    yield run
    yield from run.rglob("*")
