"""Cycles by statistics: thresholds, notices, objects without samples, corrections (B2, B4, B8, B28, B30)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from include.errors import InvalidInputError
from include.maintenance.model import STATISTICS, Project
from tests.maintenance_rows import Bench, local


async def create(bench: Bench, **changes: Any) -> Project:
    """Make the project of the document: every 25, with a notice of one day."""
    values = {"cycle_type": STATISTICS, "statistics_id": "st", "period_num": Decimal(25), "period_unit": ""}
    return await bench.create(**{**values, "object_ids": ["a"], **changes})


class TestStart:
    @pytest.mark.parametrize("uid", ["", "unknown"])
    async def test_without_a_statistic(self, bench: Bench, uid: str):
        project = await create(bench, start=False, statistics_id=uid)
        for method in ("start", "restart"):
            with pytest.raises(InvalidInputError) as caught:
                await bench.project(method, project.uid)
            assert caught.value.field == "statistics_id"
        assert not (await bench.project("find", project.uid)).is_active

    async def test_the_schedule_is_hourly(self, bench: Bench):
        bench.sample("a", 100)
        await create(bench)
        [row] = bench.rows("SELECT dag_id, expression FROM schedule")
        assert tuple(row.values()) == ("maintenance.statistics", "0 0 * * * *")

    async def test_a_statistic_of_another_organisation_is_unknown(self, bench: Bench):
        bench.sample("a", 100, "1")
        with pytest.raises(InvalidInputError):
            await create(bench)


class TestThresholds:
    async def test_noticed_a_day_of_hours_ahead_due_and_overdue(self, bench: Bench):
        bench.sample("a", 100)
        await create(bench)
        states = []
        for total in (100.5, 101, 124.9, 125):
            bench.go(hours=1)
            bench.sample("a", total)
            await bench.tick()
            states.append(bench.tasks("state", "due_total"))
        assert states == [[], *[[(state, Decimal(125))] for state in ("noticed", "noticed", "due")]]
        due = bench.now
        assert bench.tasks("due_at", "due_since") == [(due, due)]
        bench.now = local(2026, 11, 22, 23)
        bench.sample("a", 151)
        await bench.tick()
        assert bench.tasks("state", "missed") == [("due", 1)]
        bench.now = local(2026, 11, 23)
        await bench.tick()
        assert bench.tasks("state", "missed") == [("overdue", 1)]

    @pytest.mark.parametrize(
        ("unit", "growth", "notice", "opens"),
        [
            ("h", None, (1, "日"), [76]),
            ("HOURS", None, (2, "日"), [52]),
            ("", None, (1, "月"), [-620]),
            ("km", 5, (3, "日"), [85]),
            ("km", 2, (1, "月"), [40]),
            ("km", None, (3, "日"), [100]),
        ],
    )
    async def test_the_notice(
        self, bench: Bench, unit: str, growth: float | None, notice: tuple[int, str], opens: list[float]
    ):
        bench.sample("a", 1000, unit=unit)
        await create(bench, period_num=Decimal(100), notice_num=notice[0], notice_unit=notice[1])
        [threshold] = opens
        bench.sample("a", 1000 + threshold - 0.1, daily_growth=growth)
        await bench.tick()
        assert (bench.open() == {}) == (threshold > 0)
        bench.sample("a", 1000 + threshold, daily_growth=growth)
        await bench.tick()
        assert list(bench.open()) == ["a"]

    async def test_an_object_without_samples_counts_from_its_first(self, bench: Bench):
        bench.sample("a", 100)
        await create(bench, object_ids=["a", "b"])
        bench.sample("a", 125)
        await bench.tick()
        assert list(bench.open()) == ["a"]
        states = bench.rows("SELECT object_id, due_total FROM maintenance_state ORDER BY position")
        assert [tuple(row.values()) for row in states] == [("a", 125), ("b", None)]
        bench.sample("b", 0)
        await bench.tick()
        bench.sample("b", 1)
        await bench.tick()
        assert list(bench.open()) == ["a", "b"]


class TestHandle:
    async def test_it_counts_from_what_was_reached(self, bench: Bench):
        bench.sample("a", 100)
        await create(bench)
        bench.sample("a", 110)
        await bench.tick()
        await bench.handle(bench.open()["a"])
        assert due_total(bench) == 135

    @pytest.mark.parametrize(("mode", "close"), [("fixed", "handle"), ("floating", "ignore")])
    async def test_by_the_plan(self, bench: Bench, mode: str, close: str):
        bench.sample("a", 100)
        await create(bench, schedule_mode=mode)
        for total, due in ((110, 150), (180, 200), (199, 225)):
            bench.sample("a", total)
            await bench.tick()
            await getattr(bench, close)(bench.open()["a"])
            assert due_total(bench) == due


class TestChanges:
    async def test_a_correction_keeps_the_task_and_says_so(self, bench: Bench):
        bench.sample("a", 100)
        await create(bench)
        shown = []
        for total in (125, 120, 126):
            bench.sample("a", total)
            await bench.tick()
            shown += bench.tasks("state", "below_threshold")
        assert shown == [("due", False), ("due", True), ("due", False)]

    async def test_another_statistic_counts_from_now(self, bench: Bench):
        bench.sample("a", 100)
        bench.sample("a", 7, uid="other")
        project = await create(bench)
        await bench.project("stop", project.uid)
        await bench.project("change", project.uid, {"statistics_id": "other"})
        assert due_total(bench) == 32
        await bench.project("change", project.uid, {"period_num": Decimal(30)})
        assert due_total(bench) == 37

    async def test_to_natural_and_back(self, bench: Bench):
        bench.sample("a", 100)
        project = await create(bench)
        await bench.project("stop", project.uid)
        natural = {"cycle_type": "自然时间周期", "period_num": Decimal(2), "period_unit": "日"}
        await bench.project("change", project.uid, natural)
        states = bench.rows("SELECT due_at, due_total FROM maintenance_state")
        assert [tuple(row.values()) for row in states] == [(local(2026, 11, 24), None)]
        bench.sample("a", 300)
        await bench.project("change", project.uid, {"cycle_type": STATISTICS, "period_num": Decimal(25)})
        assert due_total(bench) == 325


def due_total(bench: Bench) -> Any:
    [row] = bench.rows("SELECT due_total FROM maintenance_state WHERE due_at IS NULL")
    return row["due_total"]
