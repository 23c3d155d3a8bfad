"""Airflow's own REST API, as the administrator of a local instance: runs of a DAG."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp

from include.errors import CarillonError, StartupError

ENDED = ("success", "failed")
POLL_SECONDS = 0.5
TIMEOUT_SECONDS = 30.0


class Airflow:
    """The calls that the demo makes.

    :param url: of the instance
    """

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    def dag_page(self, dag_id: str) -> str:
        """Return where people look at a DAG."""
        return f"{self.url}/dags/{dag_id}"

    def run_page(self, dag_id: str, run_id: str) -> str:
        """Return where people look at a run."""
        return f"{self.url}/dags/{dag_id}/runs/{quote(run_id, safe='')}"

    async def clear(self, dag_id: str, run_id: str) -> None:
        """Have a run's tasks run again, all of them."""
        body = {"dry_run": False, "only_failed": False}
        await self._send("POST", f"{_run(dag_id, run_id)}/clear", body)

    async def wait(self, dag_id: str, run_id: str, seconds: float) -> str:
        """Return the state in which a run ends.

        :raises StartupError: it did not end in time
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            state = (await self._send("GET", _run(dag_id, run_id)))["state"]
            if state in ENDED:
                return str(state)
            await asyncio.sleep(POLL_SECONDS)
        raise StartupError(
            f"the run did not end within {seconds:g} s: look at {self.run_page(dag_id, run_id)}"
        )

    async def tries(self, dag_id: str, run_id: str, task_id: str) -> int:
        """Return how often a task of a run ran, of a mapped one the one that ran least."""
        found = await self._send("GET", f"{_run(dag_id, run_id)}/taskInstances")
        instances = found["task_instances"]
        return min((one["try_number"] for one in instances if one["task_id"] == task_id), default=0)

    async def _send(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        try:
            async with self.session.request(method, f"/api/v2{path}", json=body) as answer:
                if answer.status >= 400:
                    text = (await answer.text())[:300]
                    raise CarillonError(f"Airflow answered {answer.status} to {method} {path}: {text}")
                found: dict[str, Any] = await answer.json()
                return found
        except (aiohttp.ClientError, TimeoutError) as error:
            raise StartupError(f"Airflow does not answer ({method} {path}): {error}") from error


@asynccontextmanager
async def administering(url: str, user: str, password: str) -> AsyncIterator[Airflow]:
    """Lend a client that is logged in as the instance's administrator."""
    login = {"username": user, "password": password}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(url, timeout=timeout) as session:
        try:
            async with session.post("/auth/token", json=login) as answer:
                answer.raise_for_status()
                token = (await answer.json())["access_token"]
        except (aiohttp.ClientError, TimeoutError) as error:
            raise StartupError(f"the administrator cannot log in to Airflow: {error}") from error
        session.headers["Authorization"] = f"Bearer {token}"
        yield Airflow(session, url)


def _run(dag_id: str, run_id: str) -> str:
    return f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"
