"""Two years by a clock of the test: against a table written by hand, and against a brute-force model."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import cycle
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from include.kit.db import Database
from include.maintenance.evaluation import evaluate
from include.settings import get_settings
from tests.integration.maintenance.plan_model import Model
from tests.maintenance_rows import Bench

ONE = timedelta(days=1)
SHANGHAI = ZoneInfo("Asia/Shanghai")

#: Anchor and plan; how tasks end in turn, so many days after they are due; which days are due.
TABLE = [
    # From 31 January by months, as planned: never from the clamped day.
    (
        "2027-01-31 1 月 fixed",
        "handle+0",
        "2027-02-28 2027-03-31 2027-04-30 2027-05-31 2027-06-30 2027-07-31 2027-08-31 2027-09-30 2027-10-31"
        " 2027-11-30 2027-12-31 2028-01-31 2028-02-29 2028-03-31 2028-04-30 2028-05-31 2028-06-30 2028-07-31"
        " 2028-08-31 2028-09-30 2028-10-31 2028-11-30 2028-12-31 2029-01-31 2029-02-28",
    ),
    # The same where each counts from its handling: 28 February is a new anchor.
    ("2027-01-31 1 月 floating", "handle+0", "2027-02-28 2027-03-28 2027-04-28 2027-05-28"),
    # What is ignored stays on the plan, whatever the project does after a handling.
    ("2027-01-31 1 月 floating", "ignore+0", "2027-02-28 2027-03-31 2027-04-30 2027-05-31"),
    ("2028-02-29 1 年 floating", "ignore+3", "2029-02-28 2030-02-28 2031-02-28 2032-02-29"),
    ("2028-02-29 1 年 floating", "handle+0", "2029-02-28 2030-02-28 2031-02-28 2032-02-28"),
    ("2028-02-29 3 月 fixed", "handle+1", "2028-05-29 2028-08-29 2028-11-29 2029-02-28 2029-05-29"),
    # Early, late, and so late that points of the plan have passed.
    ("2026-11-22 2 日 floating", "handle-1", "2026-11-24 2026-11-25 2026-11-26 2026-11-27"),
    ("2026-11-22 2 日 floating", "handle+3", "2026-11-24 2026-11-29 2026-12-04 2026-12-09"),
    ("2026-11-22 2 日 fixed", "handle-1", "2026-11-24 2026-11-26 2026-11-28 2026-11-30"),
    ("2026-11-22 2 日 fixed", "handle+3", "2026-11-24 2026-11-28 2026-12-02 2026-12-06"),
    ("2026-11-22 2 日 floating", "ignore+2", "2026-11-24 2026-11-28 2026-12-02 2026-12-06"),
    # One ignored, one handled late, in turn.
    (
        "2026-12-28 1 周 floating",
        "ignore+0 handle+2",
        "2027-01-04 2027-01-11 2027-01-20 2027-01-27 2027-02-05",
    ),
    (
        "2026-12-28 10 日 floating",
        "ignore+0 handle+2",
        "2027-01-07 2027-01-17 2027-01-29 2027-02-08 2027-02-20",
    ),
]


@pytest.mark.parametrize(("plan", "ends", "days"), TABLE, ids=[f"{plan} {ends}" for plan, ends, _ in TABLE])
async def test_by_hand(bench: Bench, plan: str, ends: str, days: str) -> None:
    anchor, num, unit, mode = plan.split()
    bench.now = moment(date.fromisoformat(anchor), hour=12)
    await bench.create(
        object_ids=["a"], period_num=Decimal(num), period_unit=unit, schedule_mode=mode, notice_num=1
    )
    for day, end in zip(map(date.fromisoformat, days.split()), cycle(ends.split()), strict=False):
        notice = moment(day - ONE)
        if notice > bench.now:
            bench.now = notice - timedelta(minutes=1)
            await bench.tick()
            assert bench.open() == {}
        bench.now = max(notice, bench.now)
        await bench.tick()
        [found] = bench.rows("SELECT state, due_at FROM maintenance_task WHERE closed_at IS NULL")
        assert (found["state"], found["due_at"]) == ("noticed", moment(day))
        bench.now = moment(day + int(end[-2:]) * ONE, hour=15)
        await bench.tick()
        await getattr(bench, end[:-2])(bench.open()["a"])


PERIODS = [(2, "日"), (10, "日"), (3, "周"), (1, "月"), (5, "月"), (1, "年")]
ANCHORS = [date(2027, 1, 31), date(2028, 2, 29), date(2027, 11, 30)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/Santiago"])
async def test_as_the_model(
    database: Database, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    """Every day something happens to some of the projects, and each must be what the model says."""
    monkeypatch.setenv("CARILLON_TIMEZONE", zone)
    get_settings.cache_clear()
    chance = random.Random(zone)
    run = Run(Bench(database, connection), ZoneInfo(zone), chance)
    first, last = min(ANCHORS), max(ANCHORS) + timedelta(days=2 * 366)
    day = first
    while day <= last:
        run.set(day)
        await run.evaluate()
        run.compare(day)
        if day in ANCHORS:
            await run.begin(day)
        for uid in list(run.models):
            if chance.random() < 0.03:
                await run.act(uid, day)
        run.compare(day)
        day += ONE
    assert {"handle", "ignore", "stop", "start", "restart"} <= run.done
    assert run.seen == {"noticed", "due", "overdue", "stopped"}


class Run:
    """Projects and their models, both led through the same days."""

    def __init__(self, bench: Bench, zone: ZoneInfo, chance: random.Random) -> None:
        self.bench = bench
        self.zone = zone
        self.chance = chance
        self.models: dict[str, Model] = {}
        self.ids: list[int] = []
        self.done: set[str] = set()
        self.seen: set[str] = set()

    def set(self, day: date) -> None:
        self.bench.now = datetime.combine(day, time(0), self.zone).astimezone(UTC)

    async def begin(self, day: date) -> None:
        """Start projects of all periods, with notices and modes by chance."""
        for num, unit in PERIODS:
            longest = {"日": num, "周": 7 * num, "月": 28 * num, "年": 365}[unit]
            notice = (1, "月") if longest > 60 and self.chance.random() < 0.5 else (
                self.chance.randrange(min(longest, 12)), "日")  # fmt: skip
            fixed, grace = self.chance.random() < 0.5, self.chance.choice([0, 0, 2])
            uid = f"{num}-{'DWMY'['日周月年'.index(unit)]}-{day}"
            project = await self.bench.create(
                uid=uid,
                object_ids=["a"],
                period_num=Decimal(num),
                period_unit=unit,
                notice_num=notice[0],
                notice_unit=notice[1],
                schedule_mode="fixed" if fixed else "floating",
                grace_days=grace,
            )
            self.models[uid] = Model(num, unit, *notice, fixed, grace)
            self.models[uid].start(day)
            self.ids.append(project.id)

    async def evaluate(self) -> None:
        async with self.bench.database.transaction() as connection:
            await evaluate(connection, self.ids, self.bench.now)
        for model in self.models.values():
            model.tick(self.today)

    async def act(self, uid: str, day: date) -> None:
        """Let one thing that is possible happen, at any time of the day."""
        model = self.models[uid]
        self.set(day)
        self.bench.go(seconds=self.chance.randrange(80_000))
        possible = ["stop" if model.active else self.chance.choice(["start", "restart"])]
        possible += ["handle", "ignore", "handle", "ignore"] if model.state else []
        what = self.chance.choice(possible)
        self.done.add(what)
        if what in ("handle", "ignore"):
            [row] = self.bench.rows(
                "SELECT uid FROM maintenance_task WHERE project_uid = %s AND closed_at IS NULL", uid
            )
            await getattr(self.bench, what)(row["uid"])
            getattr(model, what)(day)
            return
        await self.bench.project(what, uid)
        getattr(model, what)(*([] if what == "stop" else [day]))

    def compare(self, day: date) -> None:
        rows = self.bench.rows(
            "SELECT project_uid, state, due_at, missed FROM maintenance_task WHERE closed_at IS NULL"
        )
        found: dict[str, Any] = {
            row["project_uid"]: (row["state"], row["due_at"].astimezone(self.zone).date(), row["missed"])
            for row in rows
        }
        self.seen |= {row["state"] for row in rows}
        assert found == {uid: model.shown for uid, model in self.models.items() if model.shown}, day

    @property
    def today(self) -> date:
        return self.bench.now.astimezone(self.zone).date()


def moment(day: date, *, hour: int = 0) -> datetime:
    return datetime.combine(day, time(hour), SHANGHAI).astimezone(UTC)
