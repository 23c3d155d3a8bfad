"""Natural cycles: noticed, due, overdue, handled, ignored; by the clock of the test."""

from __future__ import annotations

from decimal import Decimal

import pytest

from include.errors import NotFoundError
from tests.maintenance_rows import NOON, Bench, local


class TestStart:
    async def test_a_task_comes_at_its_notice(self, bench: Bench):
        await bench.create()
        assert (await bench.tick(), bench.tasks("id")) == ([], [])
        bench.now = local(2026, 11, 22, 23, 59)
        assert await bench.tick() == []
        bench.now = local(2026, 11, 23)
        [moved] = await bench.tick()
        assert (moved.state, moved.count) == ("noticed", 2)
        due = local(2026, 11, 24)
        assert bench.tasks("object_id", "state", "due_at", "missed") == [
            ("a", "noticed", due, 0),
            ("c", "noticed", due, 0),
        ]
        assert await bench.tick() == []

    async def test_due_and_overdue_with_its_grace(self, bench: Bench):
        await bench.create(grace_days=1, object_ids=["a"])
        states = []
        for day in (23, 24, 25, 26, 27, 28):
            bench.now = local(2026, 11, day)
            await bench.tick()
            states += bench.tasks("state", "missed")
        assert states == [
            ("noticed", 0),
            ("due", 0),
            ("due", 0),
            ("overdue", 1),
            ("overdue", 1),
            ("overdue", 2),
        ]

    async def test_a_clock_that_is_set_back_takes_nothing_back(self, bench: Bench):
        await bench.create(object_ids=["a"])
        await bench.create(object_ids=["b"])
        states = []
        for day in (23, 24, 23, 25, 24, 22):
            bench.now = local(2026, 11, day)
            await bench.tick()
            states.append({state for (state,) in bench.tasks("state")})
        assert states == [{"noticed"}, {"due"}, {"due"}, {"overdue"}, {"overdue"}, {"overdue"}]

    async def test_hours(self, bench: Bench):
        await bench.create(period_num=Decimal(3), period_unit="小时", notice_num=0, object_ids=["a"])
        states = []
        for hour in (14, 15, 16):
            bench.now = local(2026, 11, 22, hour)
            await bench.tick()
            states.append(bench.tasks("state"))
        assert states == [[], [("due",)], [("overdue",)]]

    async def test_again_changes_nothing(self, bench: Bench):
        project = await bench.create()
        bench.go(days=1)
        await bench.project("start", project.uid)
        assert {row["anchor_at"] for row in bench.rows("SELECT anchor_at FROM maintenance_state")} == {NOON}


class TestHandle:
    async def test_it_counts_from_the_handling(self, bench: Bench):
        await bench.create(object_ids=["a"])
        bench.now = local(2026, 11, 23)
        await bench.tick()
        bench.now = local(2026, 11, 25, 9, 30)
        handle = await bench.handle(bench.open()["a"], fee=Decimal("12.5"), handler_ids=[1, "2"])
        assert (handle.kind, handle.fee, handle.handler_ids, handle.task.state) == (
            "HANDLE",
            Decimal("12.5"),
            [1, "2"],
            "handled",
        )
        assert handle.uid.startswith("MTH")
        [state] = bench.rows("SELECT due_at, notice_at, open_task_id FROM maintenance_state")
        assert tuple(state.values()) == (local(2026, 11, 27), local(2026, 11, 26), None)

    async def test_twice(self, bench: Bench):
        await bench.create(object_ids=["a"])
        bench.go(days=2)
        await bench.tick()
        uid = bench.open()["a"]
        await bench.handle(uid)
        for again in (bench.handle(uid), bench.ignore(uid), bench.handle("MTT1")):
            with pytest.raises(NotFoundError, match="task not found"):
                await again

    async def test_ignored_goes_on_by_its_plan(self, bench: Bench):
        await bench.create(object_ids=["a"])
        bench.now = local(2026, 11, 27, 9)
        await bench.tick()
        assert bench.tasks("state", "due_at", "missed") == [("overdue", local(2026, 11, 24), 1)]
        handle = await bench.ignore(bench.open()["a"])
        assert (handle.kind, handle.handler_ids, handle.fee) == ("IGNORE", [], 0)
        [state] = bench.rows("SELECT anchor_at, occurrence, due_at FROM maintenance_state")
        assert tuple(state.values()) == (NOON, 3, local(2026, 11, 28))
