"""What will be due: of each object, and as a calendar."""

from __future__ import annotations

from datetime import UTC, timedelta
from decimal import Decimal

import icalendar
import pytest

from include.errors import NotFoundError
from include.maintenance.icalendar_feed import feed
from include.maintenance.model import STATISTICS
from include.maintenance.outlook import CalendarEntry, Outlook, OutlookService
from tests.maintenance_rows import Bench, local


async def preview(bench: Bench, uid: str, months: int = 12, **page: int) -> list[Outlook]:
    async with bench.database.transaction() as connection:
        service = OutlookService(connection, projects=bench.projects, clock=bench.clock)
        _, found = await service.preview(uid, months=months, **{"after": 0, "limit": 100, **page})
        return found


async def calendar(bench: Bench, **wanted: str) -> list[CalendarEntry]:
    async with bench.database.transaction() as connection:
        return await OutlookService(connection, projects=bench.projects, clock=bench.clock).calendar(**wanted)


def days(outlook: Outlook) -> list[str]:
    return [f"{(moment + timedelta(hours=8)):%m-%d %H}" for moment in outlook.following]


class TestPreview:
    async def test_from_the_anchor_and_clamped(self, bench: Bench) -> None:
        bench.now = local(2026, 1, 31, 9)
        project = await bench.create(period_num=Decimal(1), period_unit="月", object_ids=["a"])
        [one] = await preview(bench, project.uid, months=4)
        assert (one.state, one.due_at, one.notice_at, one.task_id) == (
            "waiting", local(2026, 2, 28), local(2026, 2, 27), None
        )  # fmt: skip
        assert days(one) == ["03-31 00", "04-30 00", "05-31 00"]

    async def test_what_is_past_is_handled_today(self, bench: Bench) -> None:
        project = await bench.create(period_num=Decimal(10), object_ids=["a"])
        bench.now = local(2026, 12, 5, 8)
        await bench.tick()
        [one] = await preview(bench, project.uid, months=1)
        assert (one.state, one.due_at, one.task_id) == ("overdue", local(2026, 12, 2), bench.open()["a"])
        assert days(one) == ["12-15 00", "12-25 00", "01-04 00"]

    async def test_a_fixed_plan_goes_on(self, bench: Bench) -> None:
        project = await bench.create(period_num=Decimal(10), object_ids=["a"], schedule_mode="fixed")
        bench.now = local(2026, 12, 5, 8)
        await bench.tick()
        [one] = await preview(bench, project.uid, months=1)
        assert days(one) == ["12-12 00", "12-22 00", "01-01 00"]

    async def test_hours_end_at_the_most(self, bench: Bench) -> None:
        project = await bench.create(
            period_num=Decimal(1), period_unit="小时", notice_num=0, object_ids=["a"]
        )
        [one] = await preview(bench, project.uid)
        assert len(one.following) == 400
        assert days(one)[:2] == ["11-22 14", "11-22 15"]

    async def test_the_model_of_handling_on_the_day_agrees(self, bench: Bench) -> None:
        project = await bench.create(period_num=Decimal(3), period_unit="周", object_ids=["a"])
        [one] = await preview(bench, project.uid, months=6)
        foretold = [one.due_at, *one.following]
        seen = []
        for _ in foretold:
            due = bench.rows("SELECT due_at FROM maintenance_state")[0]["due_at"]
            seen.append(due)
            bench.now = due + timedelta(hours=9)
            await bench.tick()
            await bench.handle(bench.open()["a"])
        assert seen == foretold

    async def test_statistics_are_forecast(self, bench: Bench) -> None:
        bench.sample("a", 10, daily_growth=5)
        bench.sample("b", 10)
        project = await bench.create(
            cycle_type=STATISTICS, statistics_id="st", period_num=Decimal(100), period_unit="",
            object_ids=["a", "b", "c"],
        )  # fmt: skip
        bench.sample("a", 60, daily_growth=5)
        a, b, c = await preview(bench, project.uid, months=2)
        assert (a.state, a.grown, a.due_growth) == ("waiting", 50, 100)
        assert a.due_at == bench.now + timedelta(days=10)
        assert a.notice_at == bench.now + timedelta(days=(50 - 24) / 5)
        assert a.following == [bench.now + timedelta(days=days) for days in (30, 50)]
        assert (b.state, b.due_at, b.following) == ("waiting", None, [])
        assert (c.state, c.due_at, c.due_growth) == ("no_data", None, None)

    async def test_not_started_and_of_others(self, bench: Bench) -> None:
        project = await bench.create("p1", start=False)
        assert [(one.state, one.due_at, one.following) for one in await preview(bench, project.uid)] == [
            ("not_started", None, []),
            ("not_started", None, []),
        ]
        bench.projects = ["p2"]
        with pytest.raises(NotFoundError):
            await preview(bench, project.uid)

    async def test_page_by_page(self, bench: Bench) -> None:
        project = await bench.create(object_ids=["c", "a", "b"])
        first = await preview(bench, project.uid, limit=2)
        rest = await preview(bench, project.uid, after=first[-1].position, limit=2)
        assert [one.object_id for one in first + rest] == ["c", "a", "b"]


class TestCalendar:
    async def test_objects_that_stand_alike_are_one_entry(self, bench: Bench) -> None:
        await bench.create("p1", uid="m", object_ids=[f"o{number:02}" for number in range(12)], guide="oil")
        bench.now = local(2026, 11, 23, 1)
        await bench.tick()
        await bench.handle(bench.open()["o00"])
        found = await calendar(bench)
        shown = [(f"{one.due_at + timedelta(hours=8):%m-%d}", one.state, one.objects) for one in found]
        assert shown[:4] == [
            ("11-24", "noticed", 11), ("11-25", None, 1), ("11-26", None, 11), ("11-27", None, 1)
        ]  # fmt: skip
        assert found[0].names == [f"o{number:02}" for number in range(1, 11)]
        assert found[-1].due_at <= bench.now + timedelta(days=365)

    async def test_only_what_is_active_and_the_callers(self, bench: Bench) -> None:
        mine = await bench.create("p1", period_num=Decimal(1), period_unit="年")
        await bench.create("p2", period_num=Decimal(1), period_unit="年")
        bench.projects = ["p1"]
        assert {one.organization_id for one in await calendar(bench)} == {"p1"}
        assert await calendar(bench, organization_id="p2") == []
        assert await calendar(bench, uid="other") == []
        await bench.project("stop", mine.uid)
        assert await calendar(bench) == []

    async def test_the_feed(self, bench: Bench) -> None:
        await bench.create(
            "p1", uid="m", name="Oil, check; daily", object_ids=["a", "b"], guide="line 1\nline 2"
        )
        await bench.create(
            "p1", uid="h", period_num=Decimal(2), period_unit="小时", notice_num=0, object_ids=["a"]
        )
        bench.now = local(2026, 11, 23, 1)
        await bench.tick()
        text = feed(await calendar(bench), now=bench.now, name="Maintenance")
        assert all(len(line) <= 75 for line in text.split(b"\r\n"))
        parsed = icalendar.Calendar.from_ical(text)
        events = {str(event["uid"]): event for event in parsed.walk("VEVENT")}
        day = events["m-20261124T00-p1@carillon"]
        assert str(day["summary"]) == "Oil, check; daily (2 objects)"
        assert day.decoded("dtstart").isoformat() == "2026-11-24"
        assert day.decoded("dtend").isoformat() == "2026-11-25"
        assert str(day["description"]) == "noticed: a, b\nline 1\nline 2"
        hour = next(event for uid, event in events.items() if uid.startswith("h-"))
        assert hour.decoded("dtend") - hour.decoded("dtstart") == timedelta(hours=1)
        assert hour.decoded("dtstart").astimezone(UTC) == local(2026, 11, 22, 14)
        assert len(events) == len(parsed.walk("VEVENT"))
