"""Billing a task at its instants: order, the ledger, failures, retries, and being alone."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from include.billing.runs import RunOrder
from include.billing_plan.ending import end_run
from include.billing_plan.model import Item, ItemReport
from include.errors import DatabaseUnavailableError, NotFoundError
from include.reporting.model import ExecutionFilter
from include.reporting.service import ReportingService
from tests.integration.billing_plan.conftest import Billing, first_of


async def planned(billing: Billing) -> Item:
    [item] = await billing.plan(first_of(4), first_of(6))
    return item


async def billed(billing: Billing, item: Item, run_id: str = "run", **options: object) -> ItemReport:
    report = await billing.bill(item, run_id, **options)
    assert report is not None
    return report


async def test_instants_are_billed_in_order_and_entered(billing: Billing) -> None:
    task = billing.add()
    report = await billed(billing, await planned(billing))
    assert billing.runs.orders == [
        RunOrder(task, first_of(5), "scheduled", "run"),
        RunOrder(task, first_of(6), "scheduled", "run"),
    ]
    assert (report.state, [one.state for one in report.instants]) == ("succeeded", ["succeeded"] * 2)
    assert billing.states(task) == [("succeeded", None)] * 2
    [first, _] = billing.rows("SELECT * FROM execution ORDER BY due_at")
    assert (first["attempts"], first["run_id"], first["run_try"], first["finished_at"]) == (
        1,
        "run",
        1,
        billing.now,
    )
    assert first["lateness_ms"] == (billing.now - first_of(5)).total_seconds() * 1000
    [attempt, _] = billing.rows("SELECT * FROM attempt ORDER BY due_at")
    assert (attempt["number"], attempt["run_type"], attempt["state"]) == (1, 1, "succeeded")
    assert attempt["response"].startswith("10 billed, 1 corrected, 0 parked, 12.30 in all, up to 2026-04-30")


async def test_parked_service_points_are_told(billing: Billing) -> None:
    task = billing.add()
    billing.runs.answers[task] = [0, 1]
    report = await billed(billing, await planned(billing))
    assert report.state == "partial"
    assert billing.states(task) == [("succeeded", None), ("succeeded", "1 service point parked")]
    async with billing.database.transaction() as connection:
        told = await ReportingService(connection).explain(task, first_of(6))
    assert told.reason_code == "fired"
    assert "(1 service point parked)" in told.sentence


async def test_a_failure_leaves_the_later_instants_to_be_billed(billing: Billing) -> None:
    task = billing.add()
    billing.runs.answers[task] = [NotFoundError("there is no billing task\nsecond line")]
    report = await billed(billing, await planned(billing))
    assert [one.state for one in report.instants] == ["failed", "succeeded"]
    assert report.state == "failed"
    assert billing.states(task) == [
        ("failed", "NotFoundError: there is no billing task"),
        ("succeeded", None),
    ]
    [attempt, _] = billing.rows("SELECT state, error FROM attempt ORDER BY due_at")
    assert attempt == {"state": "failed", "error": "NotFoundError: there is no billing task"}


async def test_cleared_what_failed_is_billed_and_what_succeeded_stays(billing: Billing) -> None:
    task = billing.add()
    billing.runs.answers[task] = [ValueError("no")]
    await billed(billing, await planned(billing))
    report = await billed(billing, await planned(billing), run_try=2)
    assert report.state == "succeeded"
    # The run service is asked again for both: it knows what is billed, and bills what was parked.
    assert billing.runs.of(task) == [first_of(5), first_of(6)] * 2
    assert billing.states(task) == [("succeeded", None)] * 2
    attempts = billing.rows("SELECT due_at, number, run_type, state FROM attempt ORDER BY due_at, number")
    assert [tuple(row.values())[1:] for row in attempts] == [
        (1, 1, "failed"),
        (2, 2, "succeeded"),
        (1, 1, "succeeded"),
    ]


async def test_a_succeeded_one_whose_repetition_fails_stays_succeeded(billing: Billing) -> None:
    task = billing.add()
    item = await planned(billing)
    await billed(billing, item)
    billing.runs.answers[task] = [ValueError("no")]
    assert (await billed(billing, item)).state == "failed"
    assert billing.states(task) == [("succeeded", None)] * 2


async def test_a_database_that_is_away_is_tried_again(billing: Billing) -> None:
    task = billing.add()
    billing.runs.answers[task] = [0, DatabaseUnavailableError("away")]
    item = await planned(billing)
    with pytest.raises(DatabaseUnavailableError):
        await billing.bill(item)
    assert [state for state, _ in billing.states(task)] == ["succeeded", "retrying"]
    [row] = billing.rows("SELECT next_attempt_at FROM execution WHERE state = 'retrying'")
    assert row["next_attempt_at"] == billing.now + timedelta(seconds=10)
    report = await billed(billing, item, run_try=2)
    assert report.state == "succeeded"
    assert billing.states(task) == [("succeeded", None)] * 2
    [row] = billing.rows("SELECT attempts, run_try FROM execution WHERE due_at = %s", first_of(6))
    assert (row["attempts"], row["run_try"]) == (2, 2)


async def test_at_the_last_try_it_has_failed(billing: Billing) -> None:
    task = billing.add()
    billing.runs.answers[task] = [DatabaseUnavailableError("away")]
    with pytest.raises(DatabaseUnavailableError):
        await billing.bill(await planned(billing), last_try=True)
    assert billing.states(task) == [("failed", "away"), ("pending", None)]
    await end_run(billing.database, billing.run(), clock=lambda: billing.now)
    assert billing.states(task) == [("failed", "away"), ("failed", "its worker stopped")]


async def test_a_worker_that_died_is_taken_over(billing: Billing) -> None:
    task = billing.add()
    item = await planned(billing)
    billing.runs.takes = 60
    work = asyncio.create_task(billing.bill(item))
    while not billing.runs.orders:
        await asyncio.sleep(0.02)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert billing.states(task) == [("running", None), ("pending", None)]
    billing.runs.takes = 0
    assert (await billed(billing, item, run_try=2)).state == "succeeded"
    assert billing.states(task) == [("succeeded", None)] * 2
    attempts = billing.rows("SELECT state, error FROM attempt WHERE due_at = %s ORDER BY number", first_of(5))
    assert [row["state"] for row in attempts] == ["failed", "succeeded"]
    assert attempts[0]["error"].startswith("interrupted")


async def test_the_end_of_a_run_ends_what_its_workers_left(billing: Billing) -> None:
    task, other = billing.add("task"), billing.add("other")
    item, taken = await billing.plan(first_of(5), first_of(6))
    billing.runs.takes = 60
    work = asyncio.create_task(billing.bill(item))
    while not billing.runs.orders:
        await asyncio.sleep(0.02)
    # Its worker lives: whatever Airflow thinks, it is not left.
    await end_run(billing.database, billing.run(), clock=lambda: billing.now)
    assert billing.states(task) == [("running", None)]
    assert billing.states(other) == [("failed", "its worker stopped")]
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await end_run(billing.database, billing.run("another"), clock=lambda: billing.now)
    assert billing.states(task) == [("running", None)]
    await end_run(billing.database, billing.run(), clock=lambda: billing.now)
    assert billing.states(task) == [("failed", "its worker stopped")]
    assert [row["state"] for row in billing.rows("SELECT state FROM attempt")] == ["failed"]
    assert taken.definition_id == other


async def test_two_runs_of_one_task_take_turns(billing: Billing) -> None:
    task = billing.add()
    [item] = await billing.plan(first_of(4), first_of(5), "a")
    billing.runs.takes = 0.5
    work = asyncio.create_task(billing.bill(item, "a"))
    while not billing.runs.orders:
        await asyncio.sleep(0.02)
    [later] = await billing.plan(first_of(5), first_of(6), "b")
    assert later.due_at == [first_of(5), first_of(6)]
    assert await billing.bill(later, "b") is None
    await work
    assert (await billed(billing, later, "b")).state == "succeeded"
    assert billing.runs.of(task) == [first_of(5), first_of(5), first_of(6)]
    assert billing.states(task) == [("succeeded", None)] * 2


class TestRefused:
    """What changed between the plan and the worker."""

    async def bill_after(self, billing: Billing, change: str) -> list[tuple[str, str | None]]:
        task = billing.add()
        item = await planned(billing)
        billing.rows(f"UPDATE definition SET {change} WHERE id = %s RETURNING id", task)
        report = await billed(billing, item)
        assert report.state == "skipped"
        assert billing.runs.orders == []
        return billing.states(task)

    async def test_disabled(self, billing: Billing) -> None:
        assert await self.bill_after(billing, "enabled = false") == [("skipped", "disabled")] * 2

    async def test_disabled_and_enabled_again(self, billing: Billing) -> None:
        found = await self.bill_after(billing, "active_since = '2026-06-10T00:00:00Z'")
        assert found == [("skipped", "disabled")] * 2

    async def test_deleted(self, billing: Billing) -> None:
        assert await self.bill_after(billing, "deleted_at = now()") == [("skipped", "deleted")] * 2

    async def test_moved(self, billing: Billing) -> None:
        insert_other = "INSERT INTO schedule (kind, expression, timezone, dag_id, description) VALUES"
        [row] = billing.rows(f"{insert_other} ('billing', '0 0 0 2 * *', 'UTC', 'x', '') RETURNING id")
        found = await self.bill_after(billing, f"schedule_id = {row['id']}")
        assert found == [("skipped", "rescheduled")] * 2

    async def test_what_was_begun_is_ended_also_when_it_was_disabled(self, billing: Billing) -> None:
        task = billing.add()
        billing.runs.answers[task] = [DatabaseUnavailableError("away")]
        item = await planned(billing)
        with pytest.raises(DatabaseUnavailableError):
            await billing.bill(item)
        billing.rows("UPDATE definition SET enabled = false RETURNING id")
        await billed(billing, item, run_try=2)
        assert billing.states(task) == [("succeeded", None), ("skipped", "disabled")]

    async def test_manual_runs_bill_what_is_disabled(self, billing: Billing) -> None:
        task = billing.add(enabled=False)
        [item] = await billing.plan_manual(first_of(6), [task])
        assert (await billed(billing, item, "manual")).state == "succeeded"
        [attempt] = billing.rows("SELECT run_type FROM attempt")
        assert attempt["run_type"] == 2

    async def test_an_execution_that_retention_took(self, billing: Billing) -> None:
        billing.add()
        item = await planned(billing)
        billing.connection.execute("DELETE FROM execution")
        report = await billed(billing, item)
        assert [one.reason for one in report.instants] == ["it is not in the ledger any more"] * 2


class TestPull:
    async def test_the_source_is_asked_before_each_instant(self, billing: Billing) -> None:
        task = billing.add()
        asked: list[tuple[str, str, datetime, int]] = []

        async def pull(project_id: str, commodity: str, at: datetime) -> str:
            asked.append((project_id, commodity, at, len(billing.runs.orders)))
            return "readings: none"

        item = await planned(billing)
        await billed(billing, item, pull=pull)
        assert asked == [("42", "water", first_of(5), 0), ("42", "water", first_of(6), 1)]
        # What is billed wholly needs no reading; what was parked may.
        billing.rows("UPDATE execution SET reason = '1 parked' WHERE due_at = %s RETURNING id", first_of(6))
        await billed(billing, item, pull=pull)
        assert asked[2:] == [("42", "water", first_of(6), 3)]
        assert billing.states(task)[0] == ("succeeded", None)

    async def test_where_bills_end_at_midnight_so_does_the_question(self, billing: Billing) -> None:
        billing.on("0 30 9 1 * *")
        billing.rows(
            "INSERT INTO billing_project (project_id, timezone, cut)"
            " VALUES ('42', 'Asia/Shanghai', 'midnight') RETURNING 1"
        )
        billing.add()
        asked: list[datetime] = []

        async def pull(project_id: str, commodity: str, at: datetime) -> str:
            asked.append(at)
            return ""

        [item] = await billing.plan(first_of(5), first_of(5) + timedelta(days=1))
        assert item.due_at == [first_of(5) + timedelta(hours=9.5)]
        await billed(billing, item, pull=pull)
        assert asked == [first_of(5)]


async def test_lists_and_lateness_count_billing(billing: Billing) -> None:
    billing.add()
    billing.now = first_of(6) + timedelta(seconds=2)
    await billed(billing, await planned(billing))
    async with billing.database.transaction() as connection:
        service = ReportingService(connection)
        rows = await service.executions(ExecutionFilter(kind="billing"), before=None, limit=10)
        [late] = await service.lateness(
            due_from=first_of(6), due_to=first_of(6) + timedelta(hours=1), kind="billing"
        )
        [definition] = await service.definitions(billing.schedule_id, after=0, limit=10)
        [schedule] = await service.schedules(after=0, limit=10, kind="billing")
        attempts = await service.attempts(rows[0].id)
    assert [(row.kind, row.state, row.lateness_ms) for row in rows[:1]] == [("billing", "succeeded", 2000.0)]
    assert (late.kind, late.executions, late.p99_ms) == ("billing", 1, 2000.0)
    assert (definition.kind, definition.callback) == ("billing", None)
    assert schedule.definitions == 1
    assert [attempt.state for attempt in attempts] == ["succeeded"]
