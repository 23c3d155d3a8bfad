"""Billing one task of a plan: its instants in order, alone with the task, each entered in the ledger."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from include.billing.periods import period_end
from include.billing.runs import RunOrder, RunReport
from include.billing_plan.model import Claim, DagRun, InstantReport, Item, ItemReport, Pull, Runner
from include.billing_plan.repository import PlanRepository
from include.errors import DatabaseUnavailableError
from include.kit.clock import Clock, system_clock
from include.kit.db import Database

log = logging.getLogger(__name__)

#: Airflow tries again after this.
RETRY_DELAY = timedelta(seconds=10)


class TaskBilling:
    """Bills items of a plan.

    :param pull: asks the source of readings before each instant, where there is one
    :param run_try: Airflow's number of this try
    :param last_try: whether Airflow will not try again when the database is away
    :param say: told of progress, a line at a time
    """

    def __init__(
        self,
        database: Database,
        runs: Runner,
        run: DagRun,
        *,
        pull: Pull | None = None,
        run_try: int = 1,
        last_try: bool = False,
        clock: Clock = system_clock,
        say: Callable[[str], None] = log.info,
    ) -> None:
        self.database = database
        self.runs = runs
        self.run = run
        self.pull = pull
        self.run_try = run_try
        self.last_try = last_try
        self.clock = clock
        self.say = say

    async def bill(self, item: Item) -> ItemReport | None:
        """Bill a task at its instants; None where another run is billing this task at the moment.

        An instant that fails leaves the later ones to be billed, which covers its time.

        :raises DatabaseUnavailableError: try again, nothing is billed twice
        """
        async with self._turn(item) as mine:
            if not mine:
                return None
            report = ItemReport(item, [await self._bill_one(item, due_at) for due_at in item.due_at])
        for instant in report.instants:
            self.say(f"{item.name}, {_text(instant.due_at)}: {describe(instant)}")
        return report

    @asynccontextmanager
    async def _turn(self, item: Item) -> AsyncIterator[bool]:
        """Be alone with a task while this session lives; it ends with the process, however that does."""
        session = await self.database.connect()
        try:
            yield await PlanRepository(session).take_turn(item.definition_id)
        finally:
            await session.close()

    async def _bill_one(self, item: Item, due_at: datetime) -> InstantReport:
        async with self.database.transaction() as connection:
            claim = await PlanRepository(connection).claim(self.run, self.run_try, item, due_at, self.clock())
        if claim is None:
            return InstantReport(due_at, "skipped", reason="it is not in the ledger any more")
        if claim.verdict not in ("go", "done"):
            return InstantReport(due_at, "skipped", reason=claim.verdict)
        try:
            await self._pull_missing(claim, due_at)
            found = await self.runs.run(
                RunOrder(item.definition_id, due_at, item.origin, airflow_run=self.run.run_id)
            )
        except DatabaseUnavailableError as error:
            with suppress(DatabaseUnavailableError):  # then whoever comes next finds it as it is
                await self._record_outage(claim, due_at, str(error))
            raise
        except Exception as error:
            log.exception("billing %s at %s failed", item.name, due_at)
            reason = f"{type(error).__name__}: {error}".split("\n", 1)[0]
            await self._record(claim, due_at, "failed", reason=reason, error=reason)
            return InstantReport(due_at, "failed", reason=reason)
        report = _report(due_at, found)
        await self._record(claim, due_at, "succeeded", reason=report.reason, response=describe(report))
        return report

    async def _pull_missing(self, claim: Claim, due_at: datetime) -> None:
        """Ask for readings, unless everything is billed already."""
        if self.pull is None or (claim.verdict == "done" and claim.reason is None):
            return
        at = period_end(due_at, ZoneInfo(claim.timezone), claim.cut)
        self.say(await self.pull(claim.project_id, claim.commodity, at))

    async def _record_outage(self, claim: Claim, due_at: datetime, error: str) -> None:
        if self.last_try:
            await self._record(claim, due_at, "failed", reason=error, error=error)
        else:
            again = self.clock() + RETRY_DELAY
            await self._record(claim, due_at, "retrying", error=error, next_attempt_at=again)

    async def _record(
        self,
        claim: Claim,
        due_at: datetime,
        state: str,
        *,
        reason: str | None = None,
        response: str | None = None,
        error: str | None = None,
        next_attempt_at: datetime | None = None,
    ) -> None:
        if claim.attempt is None:
            return  # it had succeeded before, and stays so
        async with self.database.transaction() as connection:
            await PlanRepository(connection).record(
                claim,
                due_at,
                state,
                self.clock(),
                reason=reason,
                response=response,
                error=error,
                next_attempt_at=next_attempt_at,
            )


def describe(report: InstantReport) -> str:
    """Return what came of an instant in words."""
    if report.period_to is None:
        return f"{report.state}: {report.reason}"
    before = ", begun or done before" if report.repeated else ""
    return (
        f"{report.billed} billed, {report.adjusted} corrected, {report.parked} parked, {report.total} in all,"
        f" up to {_text(report.period_to)} (billing run {report.run_id}{before})"
    )


def _report(due_at: datetime, found: RunReport) -> InstantReport:
    points = "service point" if found.parked == 1 else "service points"
    return InstantReport(
        due_at,
        "partial" if found.state == "partial" else "succeeded",
        f"{found.parked} {points} parked" if found.state == "partial" else None,
        found.run_id,
        found.billed,
        found.adjusted,
        found.parked,
        found.total,
        found.period_to,
        found.repeated,
    )


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
