"""The maintenance demo as it goes: wait, handle and ignore, feed samples, wait for what follows, list."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from include.demo.maintenance import Client, Listing, Project, Story, act, read_history, refresh, send_samples
from include.demo.maintenance_verdict import behind
from include.demo.plant import HANDLER_ID, PERIOD_HOURS, later_samples
from include.demo.timers import OWN
from include.maintenance.cycles import shift, start_of

POLL_SECONDS = 1.0
#: Maintenance looks every minute; on a busy machine a new DAG and a run may take some of them.
STEP_SECONDS = 300.0

Show = Callable[[Story], None]


async def play(client: Client, story: Story, show: Show) -> None:
    """Wait for tasks, handle and ignore some, feed samples, wait for what follows.

    What does not come in time is left for the verdict.
    """
    filters, oil, belts = (story.project(uid) for uid in ("filters", "oil", "belts"))
    story.said.append("waiting for tasks; maintenance looks at each full minute")
    await _until(client, story, show, lambda: filters.all_open)
    await act(client, filters)
    story.said.append(f"{_acts(filters)}; now pumps report {PERIOD_HOURS} hours and more")
    fed = time.monotonic()
    story.crossed = await send_samples(client, later_samples(oil.plan, client.clock()))
    await _until(client, story, show, lambda: oil.all_open)
    if oil.all_open:
        story.evaluated_seconds = time.monotonic() - fed
    await act(client, oil)
    story.said.append(f"{story.crossed} pumps have tasks; {_acts(oil)}")
    await _until(client, story, show, lambda: belts.all_open)
    await act(client, belts)
    story.said.append(f"{_acts(belts)}; waiting for what follows")
    story.until = _watch_until(story, client.clock())
    await _until(client, story, show, lambda: _reached(story))


def _acts(project: Project) -> str:
    done = list(project.acted.values())
    return f"{project.plan.name}: {done.count('handled')} handled, {done.count('ignored')} ignored"


def _watch_until(story: Story, now: datetime) -> datetime:
    """Return the third midnight after the start, when what is due every 2 days is overdue.

    At least one more is to come, at which what was handled is noticed again.
    """
    begin, today = (start_of(moment, "日", story.zone) for moment in (story.began_at, now))
    return max(shift(begin, 3, "日", story.zone), shift(today, 1, "日", story.zone))


def _reached(story: Story) -> bool:
    return story.until is not None and story.now >= story.until and not behind(story)


async def _until(client: Client, story: Story, show: Show, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + STEP_SECONDS
    await refresh(client, story)
    show(story)
    while not done() and time.monotonic() < deadline:
        await asyncio.sleep(POLL_SECONDS)
        await refresh(client, story)
        show(story)


# --- lists by filters


async def look(client: Client, story: Story) -> None:
    """List tasks and handles by filters as document 002 has them, and look a year ahead for one machine."""
    since = f"{story.began_at.astimezone(story.zone) - timedelta(days=1):%Y-%m-%d %H:%M:%S}"
    text = json.dumps(
        [
            ["object_id", "like", "%pump%"],
            ["object_name", "=", "%boiler house%"],
            ["project_name", "=", "%oil%"],
            ["period_num", ">", "20"],
            ["period_unit", "=", ""],
            ["created", ">", since],
        ]
    )
    await _list(client, story, "get_v2_task_list", {"where_and": text}, _boiler_pumps)
    chosen = {
        "where_or": [["state", "=", "due"], ["state", "=", "overdue"]],
        "where_in": [["project_id", "in", ["filters", "belts"]]],
    }
    await _list(client, story, "get_v2_task_list", chosen, _due_filters_and_belts)
    mine = json.dumps(
        [
            ["handler_id_list", "=", str(HANDLER_ID)],
            ["project_id", "like", "%filt%"],
            ["result", "like", "%%"],
        ]
    )
    await _list(client, story, "get_v2_handle_list", {"where_and": mine}, _handled_filters)
    path = f"{OWN}/maintenance/projects/inspection/preview"
    story.preview = (await client.api.send("GET", path, query={"months": "12", "limit": "1"}))["items"][0]


async def _list(
    client: Client,
    story: Story,
    action: str,
    filters: dict[str, Any],
    expected: Callable[[Story], set[str]],
) -> None:
    """Keep what a list has, and what it is to have: what the history says before it, or after."""
    before = expected(story)
    found = tuple(row["uid"] for row in await client.list(action, **filters))
    if set(found) != before:
        # Tasks may have moved meanwhile.
        await read_history(client, story)
    story.listings.append(Listing(action, filters, frozenset(expected(story)), found))


def _boiler_pumps(story: Story) -> set[str]:
    return {
        task["uid"]
        for tasks in story.project("oil").history.values()
        for task in tasks
        if task["closed_at"] is None and "Boiler House" in task["object_name"]
    }


def _due_filters_and_belts(story: Story) -> set[str]:
    return {
        task["uid"]
        for uid in ("filters", "belts")
        for tasks in story.project(uid).history.values()
        for task in tasks
        if task["state"] in ("due", "overdue")
    }


def _handled_filters(story: Story) -> set[str]:
    return {
        task["handle_id"]
        for tasks in story.project("filters").history.values()
        for task in tasks
        if task["state"] == "handled"
    }
