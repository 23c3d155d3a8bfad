"""What the maintenance demo expects of each machine, and what is not so. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import count, takewhile
from typing import Any
from zoneinfo import ZoneInfo

from include.demo.maintenance import Listing, Project, Story
from include.demo.plant import (
    PERIOD_HOURS,
    STAGES,
    TIMED,
    Machine,
    following,
    grown,
    growth_due,
    stage,
)
from include.maintenance.cycles import due, late, shift


def wrong(story: Story) -> list[str]:
    """Return what is not as it should be, a sentence each, with how many machines it is true of."""
    found: dict[str, list[str]] = defaultdict(list)
    for project in story.projects:
        for machine in project.plan.machines:
            for problem in _problems(story, project, machine):
                found[f"{project.plan.uid}: {problem}"].append(machine.object_id)
    return [
        *(
            f"{problem}: {len(ids)} machine{'s' if len(ids) > 1 else ''}, such as {ids[0]}"
            for problem, ids in found.items()
        ),
        *_wrong_samples(story),
        *(sentence for listing in story.listings for sentence in _wrong_listing(listing)),
        *_wrong_preview(story),
    ]


def behind(story: Story) -> list[str]:
    """Return which machines are not as far as they are to be by the end of what is watched."""
    return [
        machine.object_id
        for project in story.projects
        for machine in project.plan.machines
        if any(_too_late(story, project, machine))
    ]


def _problems(story: Story, project: Project, machine: Machine) -> Iterator[str]:
    if (number := len(project.open_tasks(machine))) > 1:
        yield f"has {number} open tasks"
    yield from _wrong_ends(project, machine)
    yield from (
        _wrong_counts(project, machine) if project.plan.counted else _wrong_days(story, project, machine)
    )
    yield from _too_late(story, project, machine)


def _wrong_ends(project: Project, machine: Machine) -> Iterator[str]:
    """Compare what was done about tasks with what they say became of them."""
    fate = project.plan.fate(machine)
    for task in project.tasks(machine):
        asked = project.acted.get(task["uid"])
        if (task["state"] if task["closed_at"] else None) != asked:
            yield f"has a task that is {task['state']} and was {asked or 'left alone'}"
    if fate in ("handled", "ignored") and not any(task["closed_at"] for task in project.tasks(machine)):
        yield f"has no task that was {fate}"


def _wrong_days(story: Story, project: Project, machine: Machine) -> Iterator[str]:
    """Compare when a machine was and will be due with the plan; nothing may come before its time."""
    plan, zone, tasks = project.plan, story.zone, project.tasks(machine)
    seen = 0
    after = "the start"
    for expected, task in following(plan, project.started_at, tasks, zone):
        shown = task or project.outlook[machine.object_id]
        if _moment(shown["due_at"]) != expected:
            yield f"due on {_day(story, _moment(shown['due_at']))} after {after}, not {_day(story, expected)}"
        if task:
            seen += 1
            after = f"having been {task['state']}"
            yield from _too_early(story, project, task, expected)
    if seen < len(tasks):
        yield f"has {len(tasks) - seen} tasks while one is open"


def _too_early(story: Story, project: Project, task: Mapping[str, Any], expected: datetime) -> Iterator[str]:
    plan, zone = project.plan, story.zone
    moments = {
        "noticed_at": shift(expected, -plan.notice, "日", zone),
        "due_since": expected,
        "overdue_since": late(expected, plan.unit, 0, zone),
    }
    for name, earliest in moments.items():
        moment = _moment(task[name])
        if moment and moment < earliest:
            yield f"has a task that was {name.split('_')[0]} before its time"


def _wrong_counts(project: Project, machine: Machine) -> Iterator[str]:
    """Compare what is counted of a machine with what its samples say, and its tasks with that."""
    shown, fate = project.outlook[machine.object_id], project.plan.fate(machine)
    tasks = len(project.tasks(machine))
    if tasks != (wanted := int(fate in TIMED)):
        yield f"has had {tasks} tasks, not {wanted} ({fate})"
    if fate == "silent":
        if shown["state"] != "no_data":
            yield f"is {shown['state']} without a sample, not no_data"
        return
    for name, expected in (("grown", grown(fate)), ("due_growth", growth_due(fate))):
        if shown[name] is None or float(shown[name]) != expected:
            yield f"has {name} {shown[name]}, not {expected} ({fate})"


def _too_late(story: Story, project: Project, machine: Machine) -> Iterator[str]:
    """Compare how far a machine is with how far it is to be by the end of what is watched."""
    if story.until is None:
        yield "was not watched to the end"
        return
    found = project.open_tasks(machine)
    have = STAGES.index(found[0]["state"]) if found and found[0]["state"] in STAGES else 0
    if (want := _stage(project, machine, story.until, story.zone)) > have:
        yield f"is {STAGES[have]}, not {STAGES[want]}, by {_day(story, story.until)}"


def _stage(project: Project, machine: Machine, until: datetime, zone: ZoneInfo) -> int:
    """Return how far a machine is to be by a moment, as a number of `STAGES`."""
    plan, tasks = project.plan, project.tasks(machine)
    if not plan.counted:
        *_, (expected, _task) = following(plan, project.started_at, tasks, zone)
        return stage(plan, expected, until, zone)
    if plan.fate(machine) != "left" or not tasks:
        return 0
    # It is due from when it was seen.
    seen = _moment(tasks[0]["due_at"])
    return 2 if seen is None else max(2, stage(plan, seen, until, zone))


def _wrong_samples(story: Story) -> Iterator[str]:
    wanted = len(story.project("oil").plan.of(*TIMED))
    if story.crossed != wanted:
        yield f"the samples brought {story.crossed} machines to {PERIOD_HOURS} hours, not {wanted}"


def _wrong_listing(listing: Listing) -> Iterator[str]:
    found = set(listing.found)
    if found != listing.expected or len(found) != len(listing.found):
        twice = sum(times > 1 for times in Counter(listing.found).values())
        yield (
            f"{listing.action} by {dict(listing.filters)} has {len(listing.found)} rows, not"
            f" {len(listing.expected)}: {len(listing.expected - found)} are missing, {twice} are there twice"
        )
    if not listing.found:
        yield f"{listing.action} by {dict(listing.filters)} finds nothing"


def _wrong_preview(story: Story) -> Iterator[str]:
    if not story.preview:
        yield "no preview was asked for"
        return
    shown = [story.preview["due_at"], *story.preview["following"]]
    if [_moment(text) for text in shown] != (wanted := year_ahead(story)):
        yield f"the preview has {', '.join(map(str, shown))}, not {', '.join(map(str, wanted))}"


def year_ahead(story: Story) -> list[datetime]:
    """Return when a monthly machine is due within a year."""
    project, zone = story.project("inspection"), story.zone
    plan = project.plan
    points = (due(project.started_at, k, plan.num, plan.unit, zone) for k in count(1) if plan.unit)
    until = shift(story.now, 12, "月", zone)
    return list(takewhile(lambda point: point <= until, points))


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _day(story: Story, moment: datetime | None) -> str:
    return f"{moment.astimezone(story.zone):%d %b %H:%M}" if moment else "nothing"
