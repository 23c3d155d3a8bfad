"""Brings the two databases of an instance to their newest version."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version

from include.cli.postgres import LocalPostgres, child_argv
from include.cli.progress import Progress
from include.errors import StartupError


def migrate_carillon(postgres: LocalPostgres, progress: Progress) -> None:
    """Make our own database and bring it up to date."""
    from include.migrations import upgrade

    if postgres.ensure_database("carillon"):
        progress.say("making the database 'carillon'")
    upgrade(postgres.url("carillon"))


def migrate_airflow(postgres: LocalPostgres, environment: Mapping[str, str], progress: Progress) -> None:
    """Make Airflow's database and bring it up to date, unless this version of Airflow has done so before.

    The version is kept as the database's comment: it cannot speak of a database that is not there.
    """
    postgres.ensure_database("airflow")
    wanted = f"migrated by Airflow {version('apache-airflow')}"
    with postgres.connect("airflow") as connection:
        row = connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
        ).fetchone()
        if row and row[0] == wanted:
            return
        progress.say("making Airflow's tables (first start with this version of Airflow)")
        run_child([sys.executable, "-m", "airflow", "db", "migrate"], environment)
        connection.execute(f"COMMENT ON DATABASE airflow IS '{wanted}'")


def run_child(argv: list[str], environment: Mapping[str, str]) -> str:
    """Run a command to its end and return what it said; end it when we are interrupted.

    Raises:
        StartupError: it failed; the message holds its last words.
    """
    process = subprocess.Popen(
        [*child_argv(), *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=dict(environment),
        process_group=0,
    )
    try:
        output, _ = process.communicate()
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode != 0:
        last = "\n".join(output.strip().splitlines()[-15:])
        raise StartupError(f"`{' '.join(argv[1:])}` failed with code {process.returncode}:\n{last}")
    return output
