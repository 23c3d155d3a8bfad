"""What keeps Airflow in step with the schedules, beside the REST APIs.

A request writes its schedules and is done; this loop then asks for the parse that makes their DAGs appear or
vanish. Because it works from the rows and not from the requests, nothing is lost when the process ends
between the two. The loop is also where other rows are ended that nobody else would look at again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from api_plugin.common import airflow_adapter
from api_plugin.common.duties import Bell, Duties, Duty, on_duty
from api_plugin.common.parse_watch import LastParse, ParseWatch
from include.billing_plan.ending import end_orphans
from include.devices.traffic import TrafficService
from include.kit.clock import Clock, system_clock
from include.kit.db import Database
from include.schedules.repository import ScheduleRepository
from include.schedules.service import ScheduleService

log = logging.getLogger(__name__)

ANNOUNCE_SECONDS = 0.5
RETIRE_SECONDS = 30.0
EXPIRE_SECONDS = 30.0
#: A DAG that leaves is in no hurry, and to miss it all of them must be parsed.
LEAVING_SECONDS = 20.0
#: Airflow misses a DAG only in a parse that ends 20 s (`stale_dag_threshold`) after its last own one.
LEAVING_ROUNDS = 3
PARTITION_SECONDS = 86_400.0
#: Rows stay locked while Airflow is asked; a database of Airflow's that hangs must not hang our clients.
PARSE_REQUEST_SECONDS = 10.0

BELL = Bell()


def nudge() -> None:
    """Have schedules that were just committed announced now and not at the next look."""
    BELL.ring()


class Announcer:
    """The loop and its duties.

    :param ask: asks Airflow for a parse; blocking
    :param last_parse: returns what Airflow parsed last; blocking
    :param ask_all: asks for a parse of all schedules, which shows those that left; blocking
    """

    def __init__(
        self,
        database: Database,
        ask: Callable[[], None],
        last_parse: Callable[[], LastParse | None],
        ask_all: Callable[[], None] = lambda: None,
        *,
        clock: Clock = system_clock,
    ) -> None:
        self.database = database
        self.ask = ask
        self.last_parse = last_parse
        self.ask_all = ask_all
        self.leaving_rounds = 0
        self.watch = ParseWatch()
        self.clock = clock
        self.announcing = Duty(self.announce, ANNOUNCE_SECONDS)
        self.duties = [
            Duty(self.ensure_partitions, PARTITION_SECONDS),
            Duty(self.retire, RETIRE_SECONDS),
            Duty(self.expire, EXPIRE_SECONDS),
            Duty(self.announce_leaving, LEAVING_SECONDS),
            self.announcing,
        ]

    def loop(self) -> Duties:
        """Return the loop that does its duties."""
        return Duties(self.duties, self.announcing, BELL)

    async def announce(self) -> None:
        """Ask for a parse if a schedule came or changed, and again until there was one."""
        if await self._announce_changes():
            self.watch.changed(self.clock())
        elif self.watch.changed_at is not None:
            last = await asyncio.to_thread(self.last_parse)
            if self.watch.wants(self.clock(), last):
                await asyncio.to_thread(self.ask)

    async def _announce_changes(self) -> bool:
        async with self.database.transaction() as connection:
            repository = ScheduleRepository(connection)
            unannounced = await repository.unannounced_schedules()
            if not unannounced:
                return False
            ids = sorted(unannounced)
            # Marked first: that locks the rows, so whoever changes one from here on waits, and marks it anew.
            await repository.lock_schedules(ids)
            await repository.mark_announced(ids)
            if any(unannounced.values()):
                async with asyncio.timeout(PARSE_REQUEST_SECONDS):
                    await asyncio.to_thread(self.ask)
        if not all(unannounced.values()):
            self.leaving_rounds = LEAVING_ROUNDS
        log.info("%d schedules changed", len(ids))
        return any(unannounced.values())

    async def announce_leaving(self) -> None:
        """Ask for parses in which a schedule that left is missed, first of everything."""
        if self.leaving_rounds == 0:
            return
        if self.leaving_rounds == LEAVING_ROUNDS:
            await asyncio.to_thread(self.ask_all)
        await asyncio.to_thread(self.ask)
        self.leaving_rounds -= 1

    async def retire(self) -> None:
        """Let idle one-shot schedules go, and leave no execution of a schedule that left behind."""
        async with self.database.transaction() as connection:
            schedules = ScheduleService(ScheduleRepository(connection))
            await schedules.retire_idle_once(self.clock())
            await schedules.adopt_orphans(self.clock())
            await end_orphans(connection, self.clock())

    async def expire(self) -> None:
        """Write down the end of commands and messages to devices whose time is over."""
        async with self.database.transaction() as connection:
            traffic = TrafficService(connection, clock=self.clock)
            await traffic.expire_commands()
            await traffic.expire_messages()

    async def ensure_partitions(self) -> None:
        """Make the ledger's partitions of the months ahead."""
        async with self.database.transaction() as connection:
            await ScheduleRepository(connection).ensure_partitions(self.clock())


@asynccontextmanager
async def announcing(database: Database) -> AsyncIterator[None]:
    """Run the announcer beside an app."""
    announcer = Announcer(
        database,
        airflow_adapter.request_parse,
        airflow_adapter.last_parse,
        airflow_adapter.request_full_parse,
    )
    async with on_duty(announcer.loop(), "carillon-announcer"):
        yield
