"""What the tests of billing plans share: tasks on schedules, and a run service that only remembers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from include.billing.runs import RunOrder, RunReport
from include.billing_plan.model import DagRun, Item, ItemReport
from include.billing_plan.performing import TaskBilling
from include.billing_plan.planning import BillingPlan
from include.cron import CronSchedule
from include.kit.db import Database
from include.ledger.windows import Window
from tests.builders import insert_definition, insert_schedule

ZONE = "Asia/Shanghai"
MONTHLY = "0 0 0 1 * *"
MINUTELY = "0 * * * * *"
ACTIVE = datetime(2026, 1, 1, tzinfo=UTC)


def first_of(month: int, year: int = 2026) -> datetime:
    """Return the instant of a month: the first, 00:00 in Shanghai."""
    return datetime(year, month, 1, tzinfo=UTC) - timedelta(hours=8)


@dataclass
class FakeRuns:
    """A run service that says that ten were billed; `answers` says otherwise, by definition."""

    orders: list[RunOrder] = field(default_factory=list)
    answers: dict[int, list[Any]] = field(default_factory=dict)
    takes: float = 0.0
    meanwhile: Callable[[], None] = lambda: None

    async def run(self, order: RunOrder) -> RunReport:
        self.orders.append(order)
        await asyncio.sleep(self.takes)
        self.meanwhile()
        answers = self.answers.get(order.definition_id, [])
        answer = answers.pop(0) if answers else 0
        if isinstance(answer, BaseException):
            raise answer
        state = "partial" if answer else "succeeded"
        return RunReport(len(self.orders), state, 10, 1, answer, Decimal("12.30"), order.due_at, False)

    def of(self, definition_id: int) -> list[datetime]:
        return [order.due_at for order in self.orders if order.definition_id == definition_id]


@dataclass
class Billing:
    """One schedule with billing tasks."""

    database: Database
    connection: psycopg.Connection
    expression: str = MONTHLY
    schedule_id: int = 0
    runs: FakeRuns = field(default_factory=FakeRuns)
    now: datetime = datetime(2026, 6, 15, tzinfo=UTC)

    def on(self, expression: str) -> Billing:
        self.expression = expression
        self.schedule_id = insert_schedule(
            self.connection, kind="billing", expression=expression, active_since=ACTIVE
        )
        return self

    def add(self, name: str = "task", **changes: Any) -> int:
        number = insert_definition(
            self.connection,
            changes.pop("schedule_id", self.schedule_id),
            kind="billing",
            name=name,
            project_id="42",
            misfire="run",
            overlap="queue",
            active_since=changes.pop("active_since", ACTIVE),
            **changes,
        )
        self.connection.execute(
            "INSERT INTO billing_task (definition_id, natrual_key, commodity, crontab)"
            " VALUES (%s, lpad(%s, 32, '0'), 'water', '{}')",
            [number, str(number)],
        )
        return number

    def run(self, run_id: str = "run") -> DagRun:
        return DagRun(self.schedule_id, run_id)

    async def plan(self, start: datetime, end: datetime, run_id: str = "run") -> list[Item]:
        cron = CronSchedule.from_canonical(self.expression, ZONE)
        async with self.database.transaction() as connection:
            plan = BillingPlan(connection, self.run(run_id), clock=lambda: self.now)
            return await plan.of_window(Window(start, end), cron)

    async def plan_manual(
        self, due_at: datetime, definition_ids: list[int] | None = None, run_id: str = "manual"
    ) -> list[Item]:
        async with self.database.transaction() as connection:
            plan = BillingPlan(connection, self.run(run_id), clock=lambda: self.now)
            return await plan.of_moment(due_at, definition_ids)

    async def bill(self, item: Item, run_id: str = "run", **options: Any) -> ItemReport | None:
        billing = TaskBilling(
            self.database,
            self.runs,
            self.run(run_id),
            clock=lambda: self.now,
            say=lambda line: None,
            **options,
        )
        return await billing.bill(item)

    def rows(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        return self.connection.execute(statement, parameters).fetchall()  # type: ignore[arg-type, return-value]

    def ledger(self, definition_id: int) -> list[tuple[Any, ...]]:
        """Return (due_at, origin, state, reason) of each execution of a task."""
        rows = self.rows(
            "SELECT due_at, origin, state, reason FROM execution WHERE definition_id = %s ORDER BY due_at",
            definition_id,
        )
        return [tuple(row.values()) for row in rows]

    def states(self, definition_id: int) -> list[tuple[str, str | None]]:
        return [(row[2], row[3]) for row in self.ledger(definition_id)]


@pytest.fixture
def billing(database: Database, connection: psycopg.Connection) -> Billing:
    return Billing(database, connection).on(MONTHLY)
