"""Which tasks a run bills at which instants, and what the ledger says of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from include.billing_plan.ending import end_orphans
from include.billing_plan.model import Item
from include.errors import InvalidInputError
from include.reporting.service import ReportingService
from include.schedules.repository import ScheduleRepository
from include.schedules.service import ScheduleService
from tests.builders import insert_definition, insert_execution, insert_schedule
from tests.integration.billing_plan.conftest import MINUTELY, Billing, first_of

MINUTE = timedelta(minutes=1)


class TestWindow:
    async def test_each_enabled_task_is_due_at_the_instant(self, billing: Billing) -> None:
        one, two = billing.add("one"), billing.add("two")
        billing.add("off", enabled=False)
        billing.add("gone", deleted_at=first_of(2))
        other = insert_schedule(billing.connection, kind="billing", expression="0 0 0 2 * *")
        billing.add("elsewhere", schedule_id=other)
        items = await billing.plan(first_of(5), first_of(6))
        assert items == [
            Item(one, "one", [first_of(6)], "scheduled"),
            Item(two, "two", [first_of(6)], "scheduled"),
        ]
        assert billing.ledger(one) == [(first_of(6), "scheduled", "pending", None)]
        assert billing.rows("SELECT count(*) AS n FROM execution")[0]["n"] == 2

    async def test_it_answers_for_instants_after_it_became_active(self, billing: Billing) -> None:
        at = billing.add("at the instant", active_since=first_of(6))
        after = billing.add("just before", active_since=first_of(6) - timedelta(microseconds=1))
        items = await billing.plan(first_of(4), first_of(6))
        assert [(item.definition_id, item.due_at) for item in items] == [(after, [first_of(6)])]
        assert billing.ledger(at) == []

    async def test_nothing_hangs_on_the_schedule(self, billing: Billing) -> None:
        assert await billing.plan(first_of(5), first_of(6)) == []

    async def test_an_outage_is_billed_in_order(self, billing: Billing) -> None:
        old, new = billing.add("old"), billing.add("new", active_since=first_of(4))
        items = await billing.plan(first_of(2), first_of(6))
        assert [(item.definition_id, item.due_at) for item in items] == [
            (old, [first_of(3), first_of(4), first_of(5), first_of(6)]),
            (new, [first_of(5), first_of(6)]),
        ]

    async def test_of_a_long_outage_the_older_instants_are_one_row(self, billing: Billing) -> None:
        billing.on(MINUTELY)
        start = datetime(2026, 6, 1, tzinfo=UTC)
        old = billing.add("old")
        late = billing.add("late", active_since=start + 100 * MINUTE)
        new = billing.add("new", active_since=start + 115 * MINUTE)
        items = {item.name: item.due_at for item in await billing.plan(start, start + 120 * MINUTE)}
        assert items["old"] == [start + n * MINUTE for n in range(85, 121)]
        assert items["late"] == [start + n * MINUTE for n in range(101, 121)]
        assert items["new"] == [start + n * MINUTE for n in range(116, 121)]
        [row] = billing.rows("SELECT * FROM execution WHERE state = 'missed'")
        assert (row["definition_id"], row["due_at"]) == (old, start + 84 * MINUTE)
        assert (row["covers_since"], row["covers_count"]) == (start, 84)
        assert {len(billing.ledger(one)) for one in (late, new)} == {20, 5}

    async def test_the_condensed_row_begins_where_the_task_became_active(self, billing: Billing) -> None:
        billing.on(MINUTELY)
        start = datetime(2026, 6, 1, tzinfo=UTC)
        billing.add("task", active_since=start + 10 * MINUTE)
        await billing.plan(start, start + 120 * MINUTE)
        [row] = billing.rows("SELECT * FROM execution WHERE state = 'missed'")
        assert (row["covers_since"], row["covers_count"]) == (start + 10 * MINUTE, 74)

    async def test_explain_knows_the_condensed_instants(self, billing: Billing) -> None:
        billing.on(MINUTELY)
        start = datetime(2026, 6, 1, tzinfo=UTC)
        task = billing.add()
        await billing.plan(start, start + 120 * MINUTE)
        async with billing.database.transaction() as connection:
            told = await ReportingService(connection).explain(task, start + 30 * MINUTE)
        assert told.reason_code == "outage"
        assert "84 instants" in told.sentence

    async def test_repeating_it_changes_nothing(self, billing: Billing) -> None:
        task = billing.add()
        first = await billing.plan(first_of(4), first_of(6))
        before = billing.rows("SELECT * FROM execution ORDER BY id")
        assert await billing.plan(first_of(4), first_of(6)) == first
        assert billing.rows("SELECT * FROM execution ORDER BY id") == before
        assert len(billing.ledger(task)) == 2

    async def test_two_schedulers_plan_the_same_at_once(self, billing: Billing) -> None:
        tasks = [billing.add(f"task {n}") for n in range(20)]
        plans = await asyncio.gather(
            *(billing.plan(first_of(4), first_of(6), run) for run in ("a", "a", "b")),
            billing.plan(first_of(3), first_of(5), "c"),
        )
        assert {len(plan) for plan in plans} == {20}
        assert all(len(billing.ledger(task)) == 3 for task in tasks)

    async def test_what_an_earlier_run_left_open_is_taken_up(self, billing: Billing) -> None:
        task = billing.add()
        await billing.plan(first_of(4), first_of(5), "earlier")
        [item] = await billing.plan(first_of(5), first_of(6), "later")
        assert item.due_at == [first_of(5), first_of(6)]
        rows = billing.rows("SELECT run_id FROM execution WHERE definition_id = %s", task)
        assert [row["run_id"] for row in rows] == ["later", "later"]

    async def test_of_very_much_that_was_left_open_the_oldest_is_given_up(self, billing: Billing) -> None:
        billing.on(MINUTELY)
        task = billing.add()
        start = datetime(2026, 6, 1, tzinfo=UTC)
        for n in range(40):
            await billing.plan(start + n * MINUTE, start + (n + 1) * MINUTE, f"run {n}")
        assert len(billing.ledger(task)) == 40
        states = [state for state, _ in billing.states(task)]
        assert states == ["missed"] * 4 + ["pending"] * 36

    async def test_what_was_switched_off_or_moved_meanwhile_is_skipped(self, billing: Billing) -> None:
        off, gone, moved, kept = (billing.add(name) for name in ("off", "gone", "moved", "kept"))
        await billing.plan(first_of(4), first_of(5), "earlier")
        other = insert_schedule(billing.connection, kind="billing", expression="0 0 0 2 * *")
        billing.rows("UPDATE definition SET enabled = false WHERE id = %s RETURNING id", off)
        billing.rows("UPDATE definition SET deleted_at = now() WHERE id = %s RETURNING id", gone)
        billing.rows("UPDATE definition SET schedule_id = %s WHERE id = %s RETURNING id", other, moved)
        items = await billing.plan(first_of(5), first_of(6), "later")
        assert [item.definition_id for item in items] == [kept]
        assert billing.states(off) == [("skipped", "disabled")]
        assert billing.states(gone) == [("skipped", "deleted")]
        assert billing.states(moved) == [("skipped", "rescheduled")]

    async def test_a_cleared_run_finds_its_instants_whatever_came_of_them(self, billing: Billing) -> None:
        good, bad = billing.add("good"), billing.add("bad")
        items = await billing.plan(first_of(4), first_of(6))
        for task, state in ((good, "succeeded"), (bad, "failed")):
            billing.rows(
                "UPDATE execution SET state = %s, finished_at = now(), next_attempt_at = NULL"
                " WHERE definition_id = %s RETURNING id",
                state,
                task,
            )
        assert await billing.plan(first_of(4), first_of(6)) == items
        # The next run's window has nothing to do with them.
        later = await billing.plan(first_of(6), first_of(7), "later")
        assert [item.due_at for item in later] == [[first_of(7)]] * 2


class TestManual:
    async def test_every_enabled_task_once(self, billing: Billing) -> None:
        one, off = billing.add("one"), billing.add("off", enabled=False)
        asked = datetime(2026, 6, 15, 3, 4, 5, 678, UTC)
        items = await billing.plan_manual(asked)
        assert items == [Item(one, "one", [asked], "manual")]
        assert billing.ledger(one) == [(asked, "manual", "pending", None)]
        assert billing.ledger(off) == []
        assert await billing.plan_manual(asked) == items

    async def test_those_that_are_named_enabled_or_not(self, billing: Billing) -> None:
        billing.add("one")
        off = billing.add("off", enabled=False)
        items = await billing.plan_manual(first_of(6), [off])
        assert [item.definition_id for item in items] == [off]

    async def test_one_that_hangs_elsewhere_is_refused_and_nothing_is_entered(self, billing: Billing) -> None:
        one = billing.add("one")
        callback = insert_definition(billing.connection, insert_schedule(billing.connection))
        gone = billing.add("gone", deleted_at=first_of(2))
        with pytest.raises(InvalidInputError, match=f"{callback}, {gone}, 999") as caught:
            await billing.plan_manual(first_of(6), [one, callback, gone, 999])
        assert caught.value.field == "definition_ids"
        assert billing.ledger(one) == []

    async def test_a_manual_and_a_scheduled_one_at_the_same_moment(self, billing: Billing) -> None:
        task = billing.add()
        await billing.plan(first_of(5), first_of(6))
        assert await billing.plan_manual(first_of(6)) == [Item(task, "task", [first_of(6)], "manual")]
        assert len(billing.ledger(task)) == 2


class TestOrphans:
    """A schedule becomes inactive: Airflow does not go on with its runs."""

    async def end(self, billing: Billing, now: datetime) -> None:
        async with billing.database.transaction() as connection:
            await ScheduleService(ScheduleRepository(connection)).adopt_orphans(now)
            await end_orphans(connection, now)

    async def test_what_waits_is_skipped_and_no_one_shot_schedule_comes(self, billing: Billing) -> None:
        task = billing.add()
        await billing.plan(first_of(5), first_of(6))
        await self.end(billing, billing.now)
        assert billing.states(task) == [("pending", None)]
        billing.rows("UPDATE schedule SET active = false RETURNING id")
        await self.end(billing, first_of(6) + MINUTE)
        assert billing.states(task) == [("pending", None)]
        await self.end(billing, billing.now)
        assert billing.states(task) == [("skipped", "its schedule became inactive before it was billed")]
        assert billing.rows("SELECT expression FROM schedule") == [{"expression": "0 0 0 1 * *"}]

    async def test_what_a_living_worker_has_in_hand_is_left_alone(self, billing: Billing) -> None:
        task = billing.add()
        [item] = await billing.plan(first_of(5), first_of(6))
        billing.rows("UPDATE schedule SET active = false RETURNING id")
        billing.runs.takes = 1.0
        work = asyncio.create_task(billing.bill(item))
        while not billing.runs.orders:
            await asyncio.sleep(0.02)
        await self.end(billing, billing.now + timedelta(days=1))
        assert billing.states(task) == [("running", None)]
        report = await work
        assert report is not None
        assert billing.states(task) == [("succeeded", None)]

    async def test_what_a_dead_worker_had_begun_has_failed(self, billing: Billing) -> None:
        task = billing.add()
        [item] = await billing.plan(first_of(5), first_of(6))
        billing.runs.takes = 60
        work = asyncio.create_task(billing.bill(item))
        while not billing.runs.orders:
            await asyncio.sleep(0.02)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        billing.rows("UPDATE schedule SET active = false RETURNING id")
        await self.end(billing, billing.now + 10 * MINUTE)
        assert billing.states(task) == [("running", None)]
        await self.end(billing, billing.now + 20 * MINUTE)
        assert billing.states(task) == [("failed", "its schedule became inactive before it was billed")]
        [attempt] = billing.rows("SELECT state, error FROM attempt")
        assert attempt["state"] == "failed"

    async def test_callbacks_are_not_touched(self, billing: Billing) -> None:
        schedule_id = insert_schedule(billing.connection, active=False)
        task = insert_definition(billing.connection, schedule_id)
        insert_execution(
            billing.connection,
            task,
            first_of(6),
            state="pending",
            next_attempt_at=first_of(6),
            finished_at=None,
            attempts=0,
        )
        async with billing.database.transaction() as connection:
            await end_orphans(connection, billing.now)
        assert billing.states(task) == [("pending", None)]
