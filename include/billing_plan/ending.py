"""Ending what nobody will bill any more, so that every planned instant has an end in the ledger."""

from __future__ import annotations

from datetime import datetime, timedelta

from include.billing_plan.model import DagRun
from include.billing_plan.repository import PlanRepository
from include.billing_plan.summary import STOPPED
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection, Database

#: How long after its instant a planned execution of an inactive schedule counts as forgotten, and after its
#: beginning one whose worker is gone: longer than Airflow takes to notice that and to try again.
PLANNED_PATIENCE = timedelta(minutes=2)
BEGUN_PATIENCE = timedelta(minutes=15)


async def end_run(database: Database, run: DagRun, *, clock: Clock = system_clock) -> None:
    """At the end of a DAG run: what its workers left open when they stopped has failed."""
    async with database.transaction() as connection:
        await PlanRepository(connection).end_left_open(run, STOPPED, clock())


async def end_orphans(connection: Connection, now: datetime) -> None:
    """End what was planned when its schedule became inactive: Airflow does not go on with such a run."""
    await PlanRepository(connection).end_orphans(
        planned_before=now - PLANNED_PATIENCE, begun_before=now - BEGUN_PATIENCE, now=now
    )
