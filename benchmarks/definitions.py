"""The definitions of a benchmark: made and taken away through the crontab API, as a client would."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from include.cli.instance import Instance
from include.demo.api import Api
from include.kit.sql import load_queries

queries = load_queries(__file__)

ZONE = ZoneInfo("Asia/Shanghai")
MOST_A_REQUEST = 1000

#: Longer than one parse of the factory takes, so that none is under way unseen.
QUIET_SECONDS = 15.0
_names = itertools.count(1)


class Definitions:
    """Makes callback tasks against a receiver and waits until Airflow knows of their schedules."""

    def __init__(self, api: Api, instance: Instance, port: int) -> None:
        self.api = api
        self.instance = instance
        self.port = port

    def item(self, crontab: str, path: str) -> dict[str, Any]:
        """Return an item of add_task."""
        return {
            "name": f"bench-{next(_names)}",
            "enable": 1,
            "module": 1,
            "type": 4,
            "start_time": crontab,
            "timezone": ZONE.key,
            "url": f"http://127.0.0.1:{self.port}/{path}",
            "method": "post",
            "body": '{"hello":"world"}',
        }

    async def add(self, crontabs: Sequence[str], path: str) -> list[int]:
        """Create one task a crontab; return their ids."""
        ids: list[int] = []
        for chunk in _chunks(crontabs):
            results = await self.api.add_tasks([self.item(crontab, path) for crontab in chunk])
            errors = [result["err"] for result in results if result["err"]]
            if errors:
                raise RuntimeError(f"{len(errors)} tasks were refused, the first: {errors[0]}")
            ids += [int(result["task_id"]) for result in results]
        return ids

    async def disable(self, ids: Sequence[int]) -> None:
        """Have tasks fire no more; their schedules leave Airflow."""
        for chunk in _chunks(ids):
            await self.api.update_tasks([{"task_id": id_, "enable": 2} for id_ in chunk])

    async def wait_live(self, ids: Sequence[int], timeout: float = 300.0, poll: float = 0.05) -> float:
        """Return the moment at which Airflow had planned a run of every schedule of these tasks."""
        dag_ids = await asyncio.to_thread(self.dag_ids, ids)
        deadline = time.monotonic() + timeout
        with self.airflow() as connection:
            while time.monotonic() < deadline:
                row = connection.execute(queries.live_dags, {"dag_ids": dag_ids}).fetchone()
                if row and row[0] == len(dag_ids):
                    return time.time()
                await asyncio.sleep(poll)
        raise RuntimeError(f"not all of {len(dag_ids)} schedules were live after {timeout:g} s")

    async def wait_settled(self, since: float, timeout: float = 120.0) -> None:
        """Return when the factory was parsed after `since`, and was left alone for a while after that.

        A change asks for a parse; what is measured next must not queue behind it.
        """
        deadline = time.monotonic() + timeout
        with self.airflow() as connection:
            while time.monotonic() < deadline:
                row = connection.execute(queries.last_parse, {}).fetchone()
                parsed = row[0] if row and row[0] else 0.0
                if parsed > since and time.time() > parsed + QUIET_SECONDS:
                    return
                await asyncio.sleep(0.5)
        raise RuntimeError(f"the DAG processor was not done after {timeout:g} s")

    def dag_ids(self, ids: Sequence[int]) -> list[str]:
        """Return the DAGs of these tasks."""
        with psycopg.connect(self.instance.database_url) as connection:
            return [row[0] for row in connection.execute(queries.dag_ids, {"ids": list(ids)})]

    @contextmanager
    def airflow(self) -> Iterator[psycopg.Connection]:
        """Lend a connection to Airflow's database."""
        with psycopg.connect(self.instance.airflow_database_url, autocommit=True) as connection:
            yield connection

    def transactions(self) -> dict[str, int]:
        """Return the transactions that the two databases have seen, by name."""
        with self.airflow() as connection:
            return dict(connection.execute(queries.transactions).fetchall())

    def server_version(self) -> str:
        with self.airflow() as connection:
            row = connection.execute(queries.server_version).fetchone()
        return str(row[0]) if row else ""


def same_instants(moments: Sequence[datetime], count: int) -> list[str]:
    """Return `count` different crontabs that are all due at these full minutes of one day, and at no other
    minute near them.

    They differ in a day and a month of their own, on which they are due as well.
    """
    local = [moment.astimezone(ZONE) for moment in moments]
    minutes = ",".join(str(minute) for minute in sorted({moment.minute for moment in local}))
    days, months = {moment.day for moment in local}, {moment.month for moment in local}
    others = itertools.product(
        [day for day in range(1, 32) if day not in days],
        [month for month in range(1, 13) if month not in months],
    )
    found = [f"0 {minutes} * {_listed({*days, day})} {_listed({*months, month})} *" for day, month in others]
    if count > len(found):
        raise ValueError(f"{len(found)} different crontabs can be made, not {count}")
    return found[:count]


def far_away(count: int, now: datetime, skip: int = 0) -> list[str]:
    """Return `count` different crontabs that are not due for months."""
    local = now.astimezone(ZONE)
    month = (local.month + 5) % 12 + 1
    seconds = range(skip, skip + count)
    return [f"{n % 60} {n // 60 % 60} {n // 3600} 15 {month} *" for n in seconds]


def _listed(numbers: set[int]) -> str:
    return ",".join(map(str, sorted(numbers)))


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), MOST_A_REQUEST):
        yield items[start : start + MOST_A_REQUEST]
