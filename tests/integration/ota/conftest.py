"""A simulator that pushes what its devices say to the own API, served over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from include.cli.postgres import find_free_port
from include.kit.db import Database
from tests.builders import make_token
from tests.integration.gateway.simulated import SimulatorProcess, simulator_process
from tests.integration.ota.pushing import Platform


@pytest.fixture(scope="module")
def process() -> Iterator[SimulatorProcess]:
    with simulator_process() as process:
        yield process
        assert process.stop() == 0


@pytest.fixture
async def platform(
    process: SimulatorProcess, database: Database, parse_requests: list[str]
) -> AsyncIterator[Platform]:
    """A simulator whose devices are new; the API is not served yet."""
    process.admin("DELETE", "faults")
    process.admin("DELETE", "devices")
    port = find_free_port()
    url = f"http://127.0.0.1:{port}/carillon/v1/device-events"
    token = await make_token(database, apis=["management"])
    process.admin("PUT", "push", {"url": url, "token": token})
    yield Platform(process, port)
    process.admin("DELETE", "push")


@pytest.fixture
def simulator(platform: Platform) -> SimulatorProcess:
    return platform.simulator
