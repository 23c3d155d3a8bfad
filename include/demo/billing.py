"""The billing demo: load two towns, have them billed at the next minute, look at the bills, bill again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from include.cron import parse_billing_crontab
from include.demo.airflow import Airflow
from include.demo.api import PAGE, Api
from include.demo.town import Town
from include.errors import CarillonError, StartupError
from include.kit.clock import system_clock

OWN, SCHEDULER = "/carillon/v1", "/api/v1/scheduler"

#: As many as one request takes.
CHUNK = 10_000

#: A schedule takes some seconds to be live.
NEAREST = timedelta(seconds=10)
#: Today's readings are of midnight, so that the bills must be made today.
DAY_ENDS = timedelta(minutes=6)

BILLED_SECONDS = 120.0
CLEARED_SECONDS = 120.0
POLL_SECONDS = 0.5

KEY = "home"
#: Of the DAG.
BILLING_TASK = "bill"
DEVICE_TYPES = {"water": 1, "electricity": 2}

#: Whose bills are explained.
EXPLAINED = ("household of five", "replacement", "estimate")

Tick = Callable[[Town, int], None]


@dataclass
class Billed:
    """A town and what became of it.

    :ivar task: as document 000 shows it
    :ivar definition_id: of the task
    :ivar run: as `/billing-runs` shows it, None until it begins
    :ivar bills: as lists show them, by key of the service point
    """

    town: Town
    task: dict[str, Any]
    run: dict[str, Any] | None = None
    bills: dict[str, dict[str, Any]] = field(default_factory=dict)
    exceptions: list[dict[str, Any]] = field(default_factory=list)
    definition_id: int | None = None

    @property
    def ended(self) -> bool:
        return self.run is not None and self.run["state"] != "running"

    @property
    def done(self) -> int:
        """How many service points were billed or parked."""
        return self.run["billed"] + self.run["parked"] if self.run else 0


@dataclass
class Story:
    """All that the demo has to tell.

    :ivar due_at: the instant of the billing
    :ivar page: of the run in Airflow
    :ivar explained: a word, its bill, and the sentences
    :ivar tries: how often Airflow ran the billing of each town
    :ivar again: per project, how many bills there were before and after the run was cleared
    """

    billed: list[Billed]
    due_at: datetime
    dag_id: str = ""
    page: str = ""
    explained: list[tuple[str, dict[str, Any], list[str]]] = field(default_factory=list)
    tries: int = 0
    again: dict[str, Again] = field(default_factory=dict)


@dataclass(frozen=True)
class Again:
    """What a second run of the same instant changed.

    :ivar same: whether the bills are the very same ones
    """

    before: int
    after: int
    same: bool


def next_minute(now: datetime, zone: ZoneInfo) -> datetime:
    """Return the next full minute that is not too near, local.

    :raises StartupError: the local day is about to end
    """
    minute = (now + NEAREST).replace(second=0, microsecond=0) + timedelta(minutes=1)
    local = minute.astimezone(zone)
    if (local + DAY_ENDS).date() != now.astimezone(zone).date():
        raise StartupError(f"the day ends soon in {zone.key}, and bills end at midnight: try again after it")
    return local


def crontab_of(local: datetime) -> dict[str, int]:
    """Return the crontab of document 000 that is due at a local minute, every year."""
    return {"month": local.month, "day": local.day, "hour": local.hour, "minute": local.minute}


async def load(api: Api, town: Town, tick: Tick) -> None:
    """Send a town through the REST API.

    :param tick: told of rows that were stored
    """
    project = f"{OWN}/projects/{town.project_id}"
    await api.send("PUT", f"{project}/billing-rules", town.rules)
    await _load_tariff(api, project, town)
    for path, items in (
        ("service-points", town.points),
        ("parties", town.parties),
        ("occupancies", town.occupancies),
    ):
        for chunk in _chunks(items):
            await api.send("POST", f"{project}/{path}/bulk", {"items": chunk})
            tick(town, len(chunk))
    await _load_readings(api, project, town, town.readings, tick)
    if (replacement := town.replacement) is not None:
        await api.send("PUT", f"{project}/meters/{replacement.device_id}", replacement.meter)
        path = f"{project}/service-points/{replacement.service_point}/replace"
        await api.send("POST", path, replacement.body)
        await _load_readings(api, project, town, replacement.readings, tick)


async def _load_tariff(api: Api, project: str, town: Town) -> None:
    await api.send("PUT", f"{project}/tariffs/{KEY}", town.tariff)
    await api.send("POST", f"{project}/tariffs/{KEY}/versions", town.version)
    await api.send("POST", f"{project}/tariff-assignments", {"tariff": KEY, **town.assignment})


async def _load_readings(
    api: Api, project: str, town: Town, rows: Sequence[dict[str, Any]], tick: Tick
) -> None:
    for chunk in _chunks(rows):
        # One meter was misread: its reading goes to the exceptions queue, the others are stored.
        body = {"rows": chunk, "on_decrease": "quarantine"}
        await api.send("POST", f"{project}/readings", body)
        tick(town, len(chunk))


@asynccontextmanager
async def ordering(api: Api, towns: Sequence[Town], local: datetime) -> AsyncIterator[Story]:
    """Create a billing task a town, due at a local minute; delete them at the end. Bills stay."""
    billed: list[Billed] = []
    try:
        for town in towns:
            body = {
                "name": f"demo {town.commodity}",
                "project_id": int(town.project_id),
                "crontab": crontab_of(local),
                "device_type": DEVICE_TYPES[town.commodity],
            }
            billed.append(Billed(town, await _scheduler(api, "POST", "/task/", body)))
        yield Story(billed, local)
    finally:
        for one in billed:
            await _scheduler(api, "DELETE", f"/tasks/{one.task['natrual_key']}/")


async def watch(api: Api, story: Story, show: Callable[[Story], None]) -> None:
    """Return when all towns are billed.

    :raises CarillonError: the billing of one failed
    :raises StartupError: they are not in time
    """
    deadline = story.due_at + timedelta(seconds=BILLED_SECONDS)
    while not all(one.ended for one in story.billed):
        if system_clock() > deadline:
            raise StartupError(
                f"the billing tasks due at {story.due_at:%H:%M} were not done {BILLED_SECONDS:g} s later:"
                f" look at the DAG {story.dag_id} in Airflow"
            )
        await asyncio.sleep(POLL_SECONDS)
        for one in story.billed:
            one.run = await _latest_run(api, one.town)
            if not one.ended:
                await _check(api, one)
        show(story)


async def locate(api: Api, story: Story, zone: ZoneInfo) -> None:
    """Find the schedule of the tasks, which is one DAG: the towns share a crontab."""
    crontab = crontab_of(story.due_at)
    cron = parse_billing_crontab(crontab, zone=zone.key, month_end="clamp", now=system_clock())
    async for schedule in api.pages(f"{OWN}/schedules", {"kind": "billing", "active": "true"}):
        if (schedule["expression"], schedule["timezone"]) == (cron.expression, zone.key):
            story.dag_id = schedule["dag_id"]
            path = f"{OWN}/schedules/{schedule['id']}/definitions"
            ids = {found["project_id"]: found["id"] async for found in api.pages(path, {})}
            for one in story.billed:
                one.definition_id = ids[one.town.project_id]
            return
    raise CarillonError(f"no schedule is due at {story.due_at:%H:%M}")


async def look(api: Api, story: Story) -> None:
    """Read the bills and the exceptions, and have some bills explained."""
    for one in story.billed:
        one.bills = {bill["service_point"]: bill for bill in await _bills(api, one.town.project_id)}
        query = {"state": "open", "limit": str(PAGE)}
        path = f"{OWN}/projects/{one.town.project_id}/billing-exceptions"
        one.exceptions = (await api.send("GET", path, query=query))["items"]
    for word in EXPLAINED:
        bill = bill_of(story, word)
        if bill is not None:
            told = await api.send("GET", f"{OWN}/bills/{bill['key']}/explain")
            story.explained.append((word, bill, told["sentences"]))


async def bill_again(api: Api, airflow: Airflow, story: Story) -> None:
    """Clear the run in Airflow, so that it bills the same instant once more, and compare.

    :raises CarillonError: it failed
    """
    run_id = run_id_of(story)
    if await airflow.wait(story.dag_id, run_id, CLEARED_SECONDS) != "success":
        raise CarillonError(f"the run failed: look at {story.page}")
    await airflow.clear(story.dag_id, run_id)
    if await airflow.wait(story.dag_id, run_id, CLEARED_SECONDS) != "success":
        raise CarillonError(f"the cleared run failed: look at {story.page}")
    story.tries = await airflow.tries(story.dag_id, run_id, BILLING_TASK)
    for one in story.billed:
        before = {bill["key"] for bill in one.bills.values()}
        after = [bill["key"] for bill in await _bills(api, one.town.project_id)]
        same = len(after) == len(before) and set(after) == before
        story.again[one.town.project_id] = Again(len(before), len(after), same)


def bill_of(story: Story, word: str) -> dict[str, Any] | None:
    """Return the bill of the household to whom this happened."""
    for one in story.billed:
        if word in one.town.specials:
            return one.bills.get(one.town.specials[word])
    return None


def run_id_of(story: Story) -> str:
    """Return the run in Airflow that billed the towns.

    :raises CarillonError: there is none
    """
    for one in story.billed:
        if one.run is not None and one.run["airflow_run"]:
            return str(one.run["airflow_run"])
    raise CarillonError("nothing ran yet")


async def _latest_run(api: Api, town: Town) -> dict[str, Any] | None:
    runs = await api.send("GET", f"{OWN}/projects/{town.project_id}/billing-runs")
    return next(iter(runs["items"]), None)


async def _check(api: Api, one: Billed) -> None:
    """Say at once why a billing failed, which may be before its run began."""
    query = {"definition_id": str(one.definition_id), "limit": "1"}
    found = (await api.send("GET", f"{OWN}/executions", query=query))["items"]
    if found and found[0]["state"] == "failed":
        raise CarillonError(f"billing {one.town.commodity} failed: {found[0]['reason']}")


async def _bills(api: Api, project_id: str) -> list[dict[str, Any]]:
    return [bill async for bill in api.pages(f"{OWN}/projects/{project_id}/bills", {})]


async def _scheduler(api: Api, method: str, path: str, body: object = None) -> dict[str, Any]:
    """Call document 000; return its data.

    :raises CarillonError: it was refused
    """
    answer = await api.send(method, f"{SCHEDULER}{path}", body)
    if answer["meta"]["code"] != 0:
        raise CarillonError(f"{method} {path} was refused: {answer['meta']['message']}")
    data: dict[str, Any] = answer["data"]
    return data


def _chunks(items: Sequence[dict[str, Any]]) -> list[Sequence[dict[str, Any]]]:
    return [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
