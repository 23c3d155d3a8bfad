"""The towns of the billing demo through the real REST API and the real billing, without Airflow."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import psycopg
import pytest

from include.billing.runs import BillingRuns, RunOrder
from include.demo.billing import (
    Billed,
    Story,
    crontab_of,
    load,
    locate,
    look,
    next_minute,
    ordering,
    watch,
)
from include.demo.billing_report import document, lines, totals, wrong
from include.demo.town import Town, plan_towns
from include.errors import CarillonError, StartupError
from include.kit.clock import system_clock
from include.kit.db import Database
from tests.builders import make_token
from tests.conftest import ClientOf
from tests.integration.demo.direct_api import DirectApi

ZONE = ZoneInfo("Asia/Shanghai")
METERS = 20


@pytest.fixture
async def api(client_of: ClientOf, database: Database) -> DirectApi:
    token = await make_token(database)
    return DirectApi(
        {
            "/carillon/v1": await client_of("management", token),
            "/api/v1/scheduler": await client_of("billing", token),
        }
    )


async def billed(api: DirectApi, database: Database, town: Town, now: datetime) -> Billed:
    """Load a town and bill it as its task would be."""
    ticks: list[int] = []
    await load(api, town, lambda _, rows: ticks.append(rows))
    assert sum(ticks) == town.rows
    body = {
        "name": "demo",
        "project_id": int(town.project_id),
        "crontab": crontab_of(now.astimezone(ZONE)),
        "device_type": 1 if town.commodity == "water" else 2,
    }
    task = (await api.send("POST", "/api/v1/scheduler/task/", body))["data"]
    async with database.transaction() as connection:
        rows = await connection.execute(
            "SELECT definition_id FROM billing_task WHERE natrual_key = %s", [task["natrual_key"]]
        )
        [row] = await rows.fetchall()
    await BillingRuns(database).run(RunOrder(row["definition_id"], now, "manual", "test"))
    runs = await api.send("GET", f"/carillon/v1/projects/{town.project_id}/billing-runs")
    return Billed(town, task, runs["items"][0])


@pytest.fixture
async def story(api: DirectApi, database: Database) -> Story:
    now = system_clock().replace(second=0, microsecond=0)
    towns = plan_towns(now.astimezone(ZONE).date(), ZONE, 77, meters=METERS)
    told = Story([await billed(api, database, town, now) for town in towns], now)
    await look(api, told)
    return told


async def test_all_is_billed_as_the_demo_promises(story: Story) -> None:
    water, power = story.billed
    assert (water.run["billed"], water.run["parked"], water.run["state"]) == (METERS - 1, 1, "partial")
    assert (power.run["billed"], power.run["parked"], power.run["state"]) == (METERS, 0, "succeeded")
    bill = water.bills["water-0001"]
    midnight = story.due_at.astimezone(ZONE).replace(hour=0, minute=0)
    assert datetime.fromisoformat(bill["period_to"]) == midnight
    assert Decimal(bill["coverage"]) == 1
    assert Decimal(bill["months"]) == 12
    for town, key, flag in (
        (power, "electricity-0004", "replaced"),
        (power, "electricity-0006", "estimated"),
        (water, "water-0005", "rollover"),
        (water, "water-0007", "estimated"),
    ):
        assert flag in town.bills[key]["flags"], key
    flagged = [flag for one in story.billed for bill in one.bills.values() for flag in bill["flags"]]
    assert [flagged.count(flag) for flag in ("replaced", "rollover", "estimated")] == [1, 1, 2]
    assert flagged.count("long_period") == flagged.count("zero_usage") == 0


async def test_the_exceptions_say_what_to_look_at(story: Story) -> None:
    water, power = story.billed
    assert sorted((one["kind"], one["service_point"]) for one in water.exceptions) == [
        ("no_tariff", "water-0009"),
        ("reverse_read", "water-0007"),
    ]
    assert power.exceptions == []


async def test_bills_are_explained(story: Story) -> None:
    assert [word for word, _, _ in story.explained] == ["household of five", "replacement", "estimate"]
    said = {word: " ".join(sentences) for word, _, sentences in story.explained}
    assert "It is shared" in said["household of five"]
    text = "\n".join(lines(story, "http://h"))
    assert "turned over: from 99940 to" in text
    assert "no_tariff, water-0009 (no bill)" in text
    assert totals(story).row_count == 2


async def test_the_family_pays_by_weight(story: Story, api: DirectApi) -> None:
    bill = story.billed[0].bills["water-0003"]
    shares = (await api.send("GET", f"/carillon/v1/bills/{bill['key']}/shares"))["items"]
    amounts = sorted(Decimal(share["amount"]) for share in shares)
    assert len(amounts) == 5
    assert sum(amounts) == Decimal(bill["charge"])
    assert abs(amounts[0] * 2 - amounts[-1]) <= Decimal("0.03")


async def test_what_is_not_proved_is_told(story: Story) -> None:
    found = document(story, "http://h", 1.0)
    assert [one["bills"] for one in found["projects"]] == [METERS - 1, METERS]
    story.tries = 2
    assert len(wrong(story)) == 2  # nothing was billed again
    assert all("second run" in sentence for sentence in wrong(story))
    assert len(found["not_as_expected"]) == 3


async def test_the_same_town_bills_the_same(story: Story) -> None:
    now = story.due_at
    again = plan_towns(now.astimezone(ZONE).date(), ZONE, 88, meters=METERS)
    assert [town.readings for town in again] == [one.town.readings for one in story.billed]
    later = plan_towns((now + timedelta(days=40)).astimezone(ZONE).date(), ZONE, 88, meters=METERS)
    assert [town.points[0]["name"] for town in later] == [town.points[0]["name"] for town in again]


async def test_the_tasks_are_found_and_taken_away_and_a_failure_is_told_at_once(
    api: DirectApi, connection: psycopg.Connection
) -> None:
    local = next_minute(datetime(2026, 11, 22, 6, 50, tzinfo=UTC), ZONE).replace(year=system_clock().year + 1)
    towns = plan_towns(local.date(), ZONE, 99, meters=10)
    async with ordering(api, towns, local) as story:
        await locate(api, story, ZONE)
        assert story.dag_id.startswith("billing.")
        ids = [one.definition_id for one in story.billed]
        assert len(set(ids)) == 2
        row = connection.execute("SELECT schedule_id FROM definition WHERE id = %s", [ids[0]]).fetchone()
        connection.execute(
            "INSERT INTO execution (definition_id, schedule_id, due_at, origin, state, attempts, reason,"
            " created_at, finished_at)"
            " VALUES (%s, %s, now(), 'scheduled', 'failed', 1, 'no luck', now(), now())",
            [ids[0], row["schedule_id"]],
        )
        with pytest.raises(CarillonError, match="billing water failed: no luck"):
            await watch(api, story, lambda _: None)
    live = connection.execute("SELECT count(*) AS n FROM definition WHERE deleted_at IS NULL").fetchone()
    assert live == {"n": 0}


async def test_billing_that_does_not_begin_is_given_up(api: DirectApi) -> None:
    story = Story([Billed(plan_towns(date(2026, 11, 22), ZONE, 99, meters=10)[0], {})], system_clock())
    story.due_at -= timedelta(minutes=5)
    with pytest.raises(StartupError, match=r"were not done 120 s later: look at the DAG"):
        await watch(api, story, lambda _: None)
