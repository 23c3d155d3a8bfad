"""Totals of samples, in whatever order they come and are corrected, are those of a plain loop."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from include.kit.db import Database
from include.statistics.model import SampleReport, StatisticKind
from include.statistics.service import StatisticService

START = datetime(2026, 1, 1, tzinfo=UTC)

Samples = dict[tuple[str, datetime], int]


async def statistic(database: Database, method: str, *arguments: Any, **options: Any) -> Any:
    async with database.transaction() as connection:
        return await getattr(StatisticService(connection, projects=None), method)(*arguments, **options)


async def add(database: Database, samples: Samples, **options: Any) -> SampleReport:
    rows = [{"object_id": one, "at": at, "value": value} for (one, at), value in samples.items()]
    report: SampleReport = await statistic(database, "add_samples", "st", rows, **options)
    return report


def reckon(samples: Samples, kind: StatisticKind) -> list[tuple[str, datetime, int, int, bool]]:
    """Return (object, at, value, total, reset), reckoned one after the other."""
    found: list[tuple[str, datetime, int, int, bool]] = []
    for (one, at), value in sorted(samples.items()):
        before = found[-1] if found and found[-1][0] == one else None
        total = before[3] if before else 0
        reset = kind == "cumulative" and before is not None and value < before[2]
        if kind == "delta" or reset:
            total += value
        elif before:
            total += value - before[2]
        found.append((one, at, value, total, reset))
    return found


def stored(connection: Any) -> list[tuple[str, datetime, int, int, bool]]:
    rows = connection.execute(
        'SELECT object_id, at, value, total, reset FROM statistic_sample ORDER BY object_id COLLATE "C", at'
    )
    return [(r["object_id"], r["at"], int(r["value"]), int(r["total"]), r["reset"]) for r in rows.fetchall()]


@pytest.mark.parametrize("kind", ["cumulative", "delta"])
async def test_any_order_and_correction(database, connection, kind: StatisticKind) -> None:
    chance = random.Random(kind)
    await statistic(database, "put", "st", name="st", unit="h", kind=kind)
    known: Samples = {}
    for _ in range(25):
        batch = {
            (chance.choice("abc"), START + timedelta(hours=chance.randrange(60))): chance.randrange(100)
            for _ in range(chance.randint(1, 12))
        }
        await add(database, batch, on_duplicate="replace")
        known.update(batch)
        if chance.random() < 0.5:
            gone = chance.choice(sorted(known))
            await statistic(database, "delete_sample", "st", *gone)
            del known[gone]
        expected = reckon(known, kind)
        assert stored(connection) == expected
        last = {one: (at, value, total) for one, at, value, total, _ in expected}
        rows = connection.execute("SELECT object_id, at, value, total FROM statistic_value").fetchall()
        assert {r["object_id"]: (r["at"], int(r["value"]), int(r["total"])) for r in rows} == last


async def test_many_at_once_lose_nothing(database, connection) -> None:
    await statistic(database, "put", "st", name="st", unit="h", kind="cumulative")
    samples = {(one, START + timedelta(hours=hour)): hour for one in "abcd" for hour in range(50)}
    items = list(samples.items())
    random.Random(1).shuffle(items)
    reports = await asyncio.gather(*(add(database, dict(items[start::8])) for start in range(8)))
    assert sum(report.accepted for report in reports) == 200
    assert stored(connection) == reckon(samples, "cumulative")


async def test_the_same_request_twice_at_once(database, connection) -> None:
    await statistic(database, "put", "st", name="st", unit="h", kind="delta")
    samples = {("a", START + timedelta(hours=hour)): 3 for hour in range(20)}
    first, second = await asyncio.gather(add(database, samples), add(database, samples))
    assert sorted((first.accepted, second.accepted)) == [0, 20]
    value = connection.execute("SELECT total FROM statistic_value").fetchone()
    assert value["total"] == Decimal(60)
