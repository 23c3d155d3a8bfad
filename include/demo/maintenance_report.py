"""What the maintenance demo shows: a table by project, a summary, one JSON document. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.table import Table

from include.demo.maintenance import Project, Story
from include.demo.maintenance_verdict import wrong
from include.demo.plant import STAGES

COLUMNS = ("no_data", *STAGES, "handled", "ignored")
_STYLES = {"noticed": "cyan", "due": "yellow", "overdue": "red", "handled": "green", "ignored": "magenta"}

#: Problems that are listed at the end; there may be one a machine.
TOLD = 10


def figures(project: Project) -> dict[str, int]:
    """Return how many machines of a project are in which state now, and how many tasks were closed how."""
    counts = Counter(dict.fromkeys(COLUMNS, 0))
    for machine in project.plan.machines:
        found = project.open_tasks(machine)
        shown = project.outlook.get(machine.object_id, {}).get("state")
        counts[found[0]["state"] if found else "no_data" if shown == "no_data" else "waiting"] += 1
        counts.update(task["state"] for task in project.tasks(machine) if task["closed_at"])
    return dict(counts)


def table(story: Story) -> Table:
    """Return a row for each project: its machines by state, its tasks by what became of them."""
    title, doing = f"Maintenance on {_local(story, story.now)}", "".join(story.said[-1:])
    grid = Table(title=title, caption=doing, title_justify="left", caption_justify="left")
    for column in ("project", "due every", "machines", *COLUMNS):
        left = column in ("project", "due every")
        grid.add_column(
            column.replace("_", " "), justify="left" if left else "right", style=_STYLES.get(column, "")
        )
    for project in story.projects:
        counts = figures(project)
        numbers = (str(counts[column] or "") for column in COLUMNS)
        grid.add_row(project.plan.name, project.plan.period, str(len(project.plan.machines)), *numbers)
    return grid


def news(story: Story) -> Iterator[tuple[object, str]]:
    """Yield what is printed where no table can be drawn: what it is about, and a line."""
    yield from ((words, f"{_local(story, story.now)}  {words}") for words in story.said[-1:])
    for project in story.projects:
        counts = {state: number for state, number in figures(project).items() if number}
        words = ", ".join(f"{number} {state.replace('_', ' ')}" for state, number in counts.items())
        about = (project.plan.uid, words)
        yield about, f"{_local(story, story.now)}  {project.plan.name}: {words}"


def lines(story: Story, url: str) -> Iterator[str]:
    """Yield the summary and where to look next, for people."""
    counts = Counter[str]()
    for project in story.projects:
        counts.update(figures(project))
    tasks = [task for project in story.projects for of in project.history.values() for task in of]
    days = (story.now - story.began_at).total_seconds() / 86_400
    yield (
        f"{days:.1f} days: {len(tasks)} tasks, {counts['handled']} handled, {counts['ignored']} ignored,"
        f" {counts['overdue']} overdue; at most {_most_open(story)} open for one object of a project."
    )
    if story.evaluated_seconds is not None:
        yield (
            f"{story.crossed} pumps came to their hours; {story.evaluated_seconds:.1f} s after the samples"
            " each had its task."
        )
    for listing in story.listings:
        words = json.dumps(listing.filters, ensure_ascii=False)
        yield f"{listing.action} {words}: {len(listing.found)} rows"
    yield from _year(story)
    problems = wrong(story)
    yield from (f"Not as expected: {problem}." for problem in problems[:TOLD])
    if len(problems) > TOLD:
        yield f"Not as expected: {len(problems) - TOLD} more, see --json."
    if not problems:
        yield "Every machine was and will be due as expected."
    yield "Look next at"
    yield f"  {url}/dags/maintenance.every_2_days  what each run noticed, in Airflow"
    yield f"  {url}/carillon/v1/docs  maintenance: preview, history, compliance, calendar"


def _year(story: Story) -> Iterator[str]:
    if story.preview:
        moments = [story.preview["due_at"], *story.preview["following"]]
        days = " ".join(f"{_moment(story, text):%d.%m.}" for text in moments if text)
        yield f"Preview of 12 months, {story.preview['name']}, every month: {days}"


def document(story: Story, url: str, seconds: float) -> dict[str, Any]:
    """Return the whole story as JSON."""
    return {
        "instance": url,
        "seconds": round(seconds, 1),
        "days": round((story.now - story.began_at).total_seconds() / 86_400, 2),
        "projects": [
            {
                "uid": project.plan.uid,
                "due_every": project.plan.period,
                "machines": len(project.plan.machines),
                "started_at": project.started_at.isoformat(),
                **figures(project),
            }
            for project in story.projects
        ],
        "most_open": _most_open(story),
        "crossed": story.crossed,
        "evaluated_seconds": story.evaluated_seconds and round(story.evaluated_seconds, 1),
        "lists": [
            {"action": one.action, **one.filters, "rows": len(one.found), "expected": len(one.expected)}
            for one in story.listings
        ],
        "preview": story.preview,
        "not_as_expected": wrong(story),
    }


def _most_open(story: Story) -> int:
    return max(len(one.open_tasks(machine)) for one in story.projects for machine in one.plan.machines)


def _moment(story: Story, text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(story.zone)


def _local(story: Story, moment: datetime) -> str:
    return f"{moment.astimezone(story.zone):%a %d %b %H:%M}"
