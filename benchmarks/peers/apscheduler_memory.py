"""APScheduler 3 with its job store in memory, one job a call, defaults as they come.

    python -m benchmarks.peers.apscheduler_memory asyncio|threads COUNT PORT

`asyncio`: AsyncIOScheduler and a coroutine a job. `threads`: BackgroundScheduler, whose pool has ten threads;
a job that starts more than a second late is dropped, as its default misfire_grace_time has it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime

import aiohttp
import requests
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MISSED
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import BaseScheduler

from benchmarks.peers.bare import BODY, HOST

PATIENCE_SECONDS = 60.0

#: Jobs that a busy machine still adds in a second.
ADDED_A_SECOND = 1500


class Ended:
    """Counts the jobs that are over, whether they ran or were dropped."""

    def __init__(self, scheduler: BaseScheduler) -> None:
        self.count = 0
        scheduler.add_listener(self._note, EVENT_JOB_EXECUTED | EVENT_JOB_MISSED | EVENT_JOB_ERROR)

    def _note(self, event: object) -> None:
        self.count += 1


def headers(number: int) -> dict[str, str]:
    return {"webhook-id": f"aps-{number}", "Content-Type": "application/json"}


def add_jobs(scheduler: BaseScheduler, job: object, count: int) -> float:
    """Add a job a call to a scheduler that runs but is paused; return their instant."""
    due = float(int(time.time() + 3 + count / ADDED_A_SECOND))
    moment = datetime.fromtimestamp(due, UTC)
    for number in range(count):
        scheduler.add_job(job, "date", run_date=moment, args=[number])
    scheduler.resume()
    if time.time() > due:
        raise RuntimeError("adding the jobs took longer than there was time")
    print(due, flush=True)
    return due


async def run_asyncio(count: int, port: int) -> None:
    async with aiohttp.ClientSession() as session:

        async def job(number: int) -> None:
            async with session.post(
                f"http://{HOST}:{port}/aps", data=BODY, headers=headers(number)
            ) as answer:
                await answer.read()

        scheduler = AsyncIOScheduler(timezone=UTC)
        ended = Ended(scheduler)
        scheduler.start(paused=True)
        due = add_jobs(scheduler, job, count)
        while ended.count < count and time.time() < due + PATIENCE_SECONDS:
            await asyncio.sleep(0.1)
        scheduler.shutdown()


def run_threads(count: int, port: int) -> None:
    session = requests.Session()

    def job(number: int) -> None:
        session.post(f"http://{HOST}:{port}/aps", data=BODY, headers=headers(number), timeout=30)

    scheduler = BackgroundScheduler(timezone=UTC)
    ended = Ended(scheduler)
    scheduler.start(paused=True)
    due = add_jobs(scheduler, job, count)
    while ended.count < count and time.time() < due + PATIENCE_SECONDS:
        time.sleep(0.1)
    scheduler.shutdown()


def main(way: str, count: int, port: int) -> None:
    if way == "asyncio":
        asyncio.run(run_asyncio(count, port))
    else:
        run_threads(count, port)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
