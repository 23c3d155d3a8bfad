"""What keeps Airflow in step with the batch tasks, beside their REST API.

A request commits its task and is done; this loop then has Airflow start the run that the task wants. It also
expands what must not wait for its run, and ends commands and messages whose time is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from slugify import slugify

from api_plugin.common import airflow_adapter
from api_plugin.common.duties import Bell, Duties, Duty, on_duty
from include.batch.expansion import expand
from include.batch.model import dag_id_of
from include.batch.repository import TaskRepository, WantedRun
from include.devices.traffic import TrafficService
from include.kit.clock import Clock, system_clock
from include.kit.db import Database

log = logging.getLogger(__name__)

RECONCILE_SECONDS = 1.0
EXPIRE_SECONDS = 30.0
#: A database of Airflow's that hangs must not hang all tasks.
START_SECONDS = 10.0
PAGE = 100
#: Of a run's id; Airflow keeps 250 characters, and paths of logs hold it, too.
NAME_CHARACTERS = 80

BELL = Bell()


def nudge() -> None:
    """Have the runs of tasks that were just committed started now and not at the next look."""
    BELL.ring()


class Reconciler:
    """The duties.

    :param start: has Airflow start a run, or finds that it did; blocking
    """

    def __init__(
        self, database: Database, start: Callable[..., None], *, clock: Clock = system_clock
    ) -> None:
        self.database = database
        self.start = start
        self.clock = clock
        self.reconciling = Duty(self.reconcile, RECONCILE_SECONDS)
        self.duties = [Duty(self.expire, EXPIRE_SECONDS), self.reconciling]

    async def reconcile(self) -> None:
        """Expand and start what wants it; raises the first thing that went wrong, after all were tried."""
        await self.expand_early()
        await self.start_runs()

    async def expand_early(self) -> None:
        """Expand tasks of later, so that they show what they are about, and those whose file may go."""
        async with self.database.transaction() as connection:
            ids = await TaskRepository(connection).unexpanded_tasks(PAGE, self.clock())
        for id in ids:
            async with self.database.transaction() as connection:
                await expand(connection, id, self.clock())

    async def start_runs(self) -> None:
        """Start the runs that are wanted; one that Airflow refuses keeps no other waiting."""
        failures: list[Exception] = []
        after = 0
        while wanted := await self._wanted(after):
            for run in wanted:
                try:
                    await self._start(run)
                except TimeoutError:
                    raise
                except Exception as error:
                    failures.append(error)
                    await self._mark(run, failure=str(error) or type(error).__name__)
            after = wanted[-1].id
        if failures:
            raise failures[0]

    async def expire(self) -> None:
        """End commands and messages that have waited for their device for too long."""
        async with self.database.transaction() as connection:
            traffic = TrafficService(connection, clock=self.clock)
            await traffic.expire_commands()
            await traffic.expire_messages()

    async def _wanted(self, after: int) -> list[WantedRun]:
        async with self.database.transaction() as connection:
            return await TaskRepository(connection).runless_tasks(PAGE, after)

    async def _start(self, run: WantedRun) -> None:
        async with asyncio.timeout(START_SECONDS):
            await asyncio.to_thread(
                self.start,
                dag_id_of(run.task_type),
                run_id_of(run),
                conf={"task_id": run.task_id},
                # A retry is due now, whenever the task was.
                run_after=run.schedule_time if run.number == 1 else None,
                user=run.created_by,
            )
        await self._mark(run)
        log.info("the run %s was started", run_id_of(run))

    async def _mark(self, run: WantedRun, *, failure: str | None = None) -> None:
        async with self.database.transaction() as connection:
            tasks = TaskRepository(connection)
            if failure is None:
                await tasks.mark_run_started(run.id, run.number)
            else:
                await tasks.mark_run_failed(run.id, failure)


def run_id_of(run: WantedRun) -> str:
    """Return the id of a run: the task's name as far as ASCII has it, its task_id, and which run it is."""
    name = slugify(run.task_name, lowercase=False, max_length=NAME_CHARACTERS) or run.task_type
    return f"{name}_{run.task_id}" + (f"_r{run.number}" if run.number > 1 else "")


@asynccontextmanager
async def reconciling(database: Database) -> AsyncIterator[None]:
    """Run the reconciler beside an app."""
    reconciler = Reconciler(database, airflow_adapter.start_run)
    async with on_duty(Duties(reconciler.duties, reconciler.reconciling, BELL), "carillon-reconciler"):
        yield
