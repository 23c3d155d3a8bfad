"""What all tests share: a clean environment, and a real Postgres for those that ask for one.

async def test_something(database):        # an open pool on a database of its own
async def test_other(database_url):        # its URL, and nothing open
async def test_rest(client_of, database):  # clients of the REST apps, lifespans running
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest
from hypothesis import settings

from include.cli.postgres import LocalPostgres
from include.kit.db import Database
from include.settings import get_settings
from tests.builders import serve
from tests.databases import Databases

# How long one example may take says nothing on a machine that others use, too.
settings.register_profile("carillon", deadline=None)
settings.load_profile("carillon")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test sees the settings of whoever runs it, nor those of the test before it."""
    for name in list(os.environ):
        if name.startswith(("CARILLON_", "AIRFLOW__", "AIRFLOW_CONN_")):
            monkeypatch.delenv(name)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPostgres]:
    """One server for the session, or for each xdist worker; it is thrown away."""
    with LocalPostgres(tmp_path_factory.mktemp("postgres"), durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def databases(postgres: LocalPostgres) -> Databases:
    """The databases of that server."""
    return Databases(postgres)


@pytest.fixture
def database_url(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a migrated database without rows, of this test alone; the setting names it, too."""
    name = databases.lend()
    url = databases.postgres.url(name)
    monkeypatch.setenv("CARILLON_DATABASE_URL", url)
    get_settings.cache_clear()
    yield url
    databases.take_back(name)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open pool on a migrated database of this test's own."""
    database = await Database(database_url, max_size=4).open()
    yield database
    await database.close()


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    """A plain connection beside the product's, autocommit: for looking at rows."""
    with psycopg.connect(database_url, autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
        yield connection


@pytest.fixture
def local_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let callbacks go to this machine, as `./carillon up` does."""
    monkeypatch.setenv("CARILLON_EGRESS_ALLOW", "127.0.0.0/8")
    get_settings.cache_clear()


ClientOf = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture
def parse_requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What Airflow was asked to parse; nothing here has an Airflow."""
    from api_plugin.common import airflow_adapter
    from api_plugin.common.parse_watch import LastParse

    asked: list[str] = []
    prompt = LastParse(datetime(2999, 1, 1, tzinfo=UTC), timedelta(0))
    monkeypatch.setattr(airflow_adapter, "last_parse", lambda: prompt)
    monkeypatch.setattr(airflow_adapter, "request_parse", lambda: asked.append(airflow_adapter.RECENT_FILE))
    monkeypatch.setattr(
        airflow_adapter, "request_full_parse", lambda: asked.append(airflow_adapter.FACTORY_FILE)
    )
    return asked


@pytest.fixture
def started_runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the runs that Airflow was asked to start."""
    from api_plugin.common import airflow_adapter

    started: list[str] = []
    monkeypatch.setattr(airflow_adapter, "start_run", lambda dag_id, run_id, **more: started.append(run_id))
    return started


@pytest.fixture
async def client_of(
    database_url: str, parse_requests: list[str], started_runs: list[str]
) -> AsyncIterator[ClientOf]:
    """`await client_of("crontab", token)`: a client of that API, mounted as Airflow mounts it."""
    async with AsyncExitStack() as stack:

        async def make(name: str, token: str | None = None, address: str = "127.0.0.1") -> httpx.AsyncClient:
            return await stack.enter_async_context(serve(name, token=token, address=address))

        yield make
