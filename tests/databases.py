"""Databases for tests: cleaned and lent again, since to copy and drop one costs ten times as much.

A database that a test has changed in more than its rows (tables, triggers, statistics) is thrown away.
"""

from __future__ import annotations

from itertools import count

import psycopg
from psycopg import sql

from include.cli.postgres import LocalPostgres
from include.migrations import upgrade

TEMPLATE = "carillon_template"
END_MS = 10_000

OTHERS = """
SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
#: What a test must leave as it was, or the next would meet it.
SHAPE = """
SELECT concat_ws(' ',
    (SELECT string_agg(concat_ws(',', relname, relkind, relnatts, relhastriggers), ' ' ORDER BY relname)
     FROM pg_class WHERE relnamespace = 'public'::regnamespace),
    (SELECT string_agg(concat_ws(',', conname, convalidated), ' ' ORDER BY conname, conrelid)
     FROM pg_constraint WHERE connamespace = 'public'::regnamespace),
    (SELECT string_agg(concat_ws(',', tgname, tgenabled), ' ' ORDER BY tgname, tgrelid)
     FROM pg_trigger WHERE NOT tgisinternal),
    (SELECT string_agg(concat_ws(',', proname, md5(prosrc)), ' ' ORDER BY proname, md5(prosrc))
     FROM pg_proc WHERE pronamespace = 'public'::regnamespace),
    (SELECT count(*) FROM pg_db_role_setting),
    (SELECT count(*) FROM pg_stats WHERE schemaname = 'public'))
"""
#: Empties the tables that have rows, and has every sequence begin anew.
CLEAN = """
DO $$
DECLARE
    name  regclass;
    names text;
    found boolean;
BEGIN
    FOR name IN
        SELECT oid FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
          AND relname <> 'carillon_alembic_version'
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', name) INTO found;
        IF found THEN
            names := concat_ws(', ', names, name::text);
        END IF;
    END LOOP;
    IF names IS NOT NULL THEN
        EXECUTE format('TRUNCATE %s CASCADE', names);
    END IF;
    PERFORM setval(seqrelid, seqstart, false)
    FROM pg_sequence WHERE pg_sequence_last_value(seqrelid) IS NOT NULL;
END $$
"""


class Databases:
    """The databases of one server.

    :ivar free: names of clean ones
    """

    def __init__(self, postgres: LocalPostgres) -> None:
        self.postgres = postgres
        self.free: list[str] = []
        self.numbers = count(1)
        postgres.ensure_database(TEMPLATE)
        upgrade(postgres.url(TEMPLATE))
        with psycopg.connect(postgres.url(TEMPLATE), autocommit=True) as connection:
            self.shape = _shape(connection)

    def lend(self) -> str:
        """Return the name of a database as the migrations leave it."""
        return self.free.pop() if self.free else self.create()

    def create(self) -> str:
        """Return the name of a new one."""
        name = f"test_{next(self.numbers)}"
        with self.postgres.connect() as connection:
            connection.execute(_statement("CREATE DATABASE {} TEMPLATE {}", name, TEMPLATE))
        return name

    def drop(self, name: str) -> None:
        with self.postgres.connect() as connection:
            connection.execute(_statement("DROP DATABASE IF EXISTS {} WITH (FORCE)", name))

    def take_back(self, name: str) -> None:
        """Clean a database, or throw it away where that is not enough."""
        try:
            clean = self._clean(name)
        except psycopg.Error:  # the test dropped it, or did worse
            clean = False
        if clean:
            self.free.append(name)
        else:
            self.drop(name)

    def _clean(self, name: str) -> bool:
        with psycopg.connect(self.postgres.url(name), autocommit=True) as connection:
            connection.execute(OTHERS, [END_MS])
            if _shape(connection) != self.shape:
                return False
            connection.execute(CLEAN)
        return True


def _shape(connection: psycopg.Connection) -> str:
    row = connection.execute(SHAPE).fetchone()
    assert row is not None
    return str(row[0])


def _statement(text: str, *names: str) -> sql.Composed:
    return sql.SQL(text).format(*map(sql.Identifier, names))
