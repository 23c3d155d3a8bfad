"""How many statements the database of an instance got: PostgreSQL's own `pg_stat_statements` counts them.

A statement is a round trip; BEGIN and COMMIT are statements, what a trigger runs is none.
"""

from __future__ import annotations

import psycopg

from benchmarks.definitions import queries
from include.cli.home import Home
from include.cli.postgres import LocalPostgres


def count_from_start(home: Home) -> None:
    """Have the server of a home that has not run yet count statements."""
    postgres = LocalPostgres(home.postgres)
    postgres.prepare()
    with (postgres.data / "postgresql.conf").open("a") as file:
        file.write("shared_preload_libraries = 'pg_stat_statements'\n")


def count_statements(connection: psycopg.Connection) -> int:
    """Return how many statements the database `carillon` has got so far.

    :param connection: to another database of that server, so that this one is not counted
    """
    connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    row = connection.execute(queries.count_statements).fetchone()
    return int(row[0]) if row else 0
