"""The peers of the timers benchmark against the real simulator, with tiny numbers."""

from __future__ import annotations

import asyncio
import json

import psutil
import pytest

from benchmarks.memory import watching_families
from benchmarks.peers.gateway import device_id, paras
from benchmarks.processes import ask_peer
from tests.integration.gateway.simulated import SimulatorProcess, simulator_process

COUNT = 50


@pytest.fixture(scope="module")
def simulator():
    with simulator_process() as process:
        yield process


@pytest.mark.parametrize("senders", [(), (7,)])
@pytest.mark.parametrize("way", ["aiohttp", "sockets"])
def test_each_device_gets_its_command_once_and_not_early(
    simulator: SimulatorProcess, way: str, senders: tuple[int, ...]
) -> None:
    simulator.admin("DELETE", "devices")
    told = json.loads(asyncio.run(ask_peer("gateway", way, COUNT, simulator.port, *senders)))
    came = simulator.admin("GET", "arrivals")["arrivals"]
    assert {one["device_id"]: one["paras"] for one in came} == {device_id(n): paras(n) for n in range(COUNT)}
    assert len(came) == COUNT
    assert told["due"] <= told["first"] <= came[0]["at"] <= came[-1]["at"] <= told["last"]
    assert told["cpu"] > 0
    assert told["rss_kb"] > 10_000


def test_a_refusal_is_told(simulator: SimulatorProcess) -> None:
    simulator.faults(refuse=1)
    try:
        with pytest.raises(RuntimeError, match="gateway aiohttp failed"):
            asyncio.run(ask_peer("gateway", "aiohttp", 5, simulator.port))
    finally:
        simulator.faults()


def test_memory_of_a_family_is_watched(simulator: SimulatorProcess) -> None:
    pid = simulator.process.pid
    with watching_families([pid]) as memory:
        asyncio.run(asyncio.sleep(0.3))
    assert memory.processes == 1
    assert memory.rss >= psutil.Process(pid).memory_info().rss / 2
