"""The token with which the simulator of a local instance tells it what its devices say."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import psycopg
import pytest

from include.cli.gateway import ensure_token
from include.cli.processes import build_processes
from include.settings import Settings
from tests.builders import serve
from tests.integration.cli.test_simulator_process import NoServer


def tokens(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT count(*) AS n FROM token").fetchone()
    assert row is not None
    return int(row["n"])


def test_it_is_made_once_and_again_when_it_is_good_no_more(
    tmp_path: Path, database_url: str, connection: psycopg.Connection
) -> None:
    file = tmp_path / "token"
    ensure_token(file, database_url)
    first = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    ensure_token(file, database_url)
    assert (file.read_text(), tokens(connection)) == (first, 1)
    connection.execute("UPDATE token SET revoked_at = now()")
    ensure_token(file, database_url)
    assert (file.read_text() != first, tokens(connection)) == (True, 2)
    file.write_text("nonsense\n")
    ensure_token(file, database_url)
    assert tokens(connection) == 3


async def test_it_opens_the_own_api(tmp_path: Path, database_url: str, parse_requests: list[str]) -> None:
    file = tmp_path / "token"
    await asyncio.to_thread(ensure_token, file, database_url)
    async with serve("management", token=file.read_text().strip()) as client:
        assert (await client.post("/device-events", json={"events": []})).status_code == 200
    async with serve("crontab", token=file.read_text().strip()) as client:
        assert (await client.post("/add_task", json={})).status_code == 401


@pytest.mark.parametrize("told", [True, False])
def test_the_simulator_is_told_where_to_push(tmp_path: Path, told: bool) -> None:
    file = tmp_path / "token" if told else None
    processes = build_processes(Settings(port=8123), NoServer(), 9, file)  # type: ignore[arg-type]
    [simulator] = [process for process in processes if process.name == "simulator"]
    words = ["--push-url", "http://127.0.0.1:8123/carillon/v1/device-events", "--push-token-file", str(file)]
    assert (list(simulator.argv[-4:]) == words) is told
