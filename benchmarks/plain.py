"""The plain Airflow cron DAG as a peer: the same Airflow, one task on a worker, one POST."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import aiohttp

from benchmarks.figures import Round, summarise
from benchmarks.receiver import HOST, Arrival, drain
from include.cli.instance import Instance
from include.errors import CarillonError

DAG_ID = "benchmark.plain_cron"
BUNDLE = "airflow.dag_processing.bundles.local.LocalDagBundle"


def plain_environment(port: int) -> dict[str, str]:
    """Return what an instance needs to have this DAG beside its own."""
    bundles = [
        {"name": "dags-folder", "classpath": BUNDLE, "kwargs": {}},
        {
            "name": "benchmark",
            "classpath": BUNDLE,
            "kwargs": {"path": str(Path(__file__).parent / "dags"), "refresh_interval": 300},
        },
    ]
    return {
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        "CARILLON_BENCH_RECEIVER": f"http://{HOST}:{port}",
    }


async def measure_plain(instance: Instance, port: int, rounds: int) -> list[Round]:
    """Let the DAG run for that many minutes; return the figures of each."""
    async with aiohttp.ClientSession(instance.url) as session:
        await _pause(session, instance, paused=False)
        began = time.time()
        try:
            arrivals = await _collect(port, began, rounds)
        finally:
            await _pause(session, instance, paused=True)
    return [summarise([arrival], due_of(arrival), 1) for arrival in arrivals]


def due_of(arrival: Arrival) -> float:
    """Return the instant that a run was for: its id ends in it."""
    return datetime.fromisoformat(arrival.id.split("__")[1].rsplit("_", 1)[0]).timestamp()


async def _collect(port: int, began: float, rounds: int) -> Sequence[Arrival]:
    found: list[Arrival] = []
    drain(port)
    while len(found) < rounds:
        if time.time() > began + 60 * (rounds + 2):
            raise CarillonError(f"the plain DAG ran {len(found)} times only")
        await asyncio.sleep(1)
        new = [arrival for arrival in drain(port) if arrival.path == "/plain"]
        # The run that unpausing starts at once is for an instant that is over.
        found += [arrival for arrival in new if due_of(arrival) > began]
    return found[:rounds]


async def _pause(session: aiohttp.ClientSession, instance: Instance, *, paused: bool) -> None:
    body = {"username": instance.admin_user, "password": instance.admin_password}
    async with session.post("/auth/token", json=body) as answer:
        token = (await answer.json())["access_token"]
    async with session.patch(
        f"/api/v2/dags/{DAG_ID}",
        json={"is_paused": paused},
        headers={"Authorization": f"Bearer {token}"},
    ) as answer:
        if answer.status >= 400:
            raise CarillonError(f"Airflow does not have {DAG_ID}: {await answer.text()}")
