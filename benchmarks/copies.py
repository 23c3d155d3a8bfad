"""Databases that are thrown away, and contenders that work in fresh copies, each a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from psycopg import sql

from benchmarks.definitions import queries
from benchmarks.memory import Memory, watching
from include.cli.home import ROOT
from include.cli.postgres import SUPERUSER, LocalPostgres, child_argv

TEMPLATE, COPY = "bench_template", "bench_copy"
MB = 2**20


@contextmanager
def server(*, durable: bool) -> Iterator[LocalPostgres]:
    """Run a server that is thrown away."""
    home = Path(tempfile.mkdtemp(prefix="carillon-bench-"))
    home.chmod(0o755)  # the database server runs as another user when we are root
    try:
        with LocalPostgres(home / "postgres", durable=durable) as postgres:
            yield postgres
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def copied(postgres: LocalPostgres) -> Iterator[str]:
    """Lend the URL of a copy of the template, written to disk as far as it ever is."""
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
    with postgres.connect() as connection:
        connection.execute(statement.format(sql.Identifier(COPY), sql.Identifier(TEMPLATE)))
        connection.execute("CHECKPOINT")
    try:
        yield postgres.url(COPY)
    finally:
        drop(postgres, COPY)


def drop(postgres: LocalPostgres, database: str) -> None:
    """Remove a database, whoever is connected to it."""
    with postgres.connect() as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database))
        )


def run_watched(postgres: LocalPostgres, url: str, *words: str) -> tuple[dict[str, Any], Memory]:
    """Run a contender on the copy; return what it said, and what memory its backends had.

    :param words: its module and arguments
    :raises RuntimeError: it failed
    """
    with postgres.connect() as connection:
        postmaster = psutil.Process(connection.info.backend_pid).ppid()
    with watching(postmaster, COPY, SUPERUSER) as memory:
        return run_child(url, *words), memory


def run_child(url: str, *words: str) -> dict[str, Any]:
    """Run a contender on a database; return what it said.

    :param words: its module and arguments
    :raises RuntimeError: it failed
    """
    done = subprocess.run(
        [*child_argv(), sys.executable, "-m", *words],
        cwd=ROOT,
        env={**os.environ, "CARILLON_DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{words[1]} failed: {done.stderr.strip()[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def server_version(postgres: LocalPostgres) -> str:
    with postgres.connect() as connection:
        row = connection.execute(queries.server_version).fetchone()
    return str(row[0]) if row else ""
