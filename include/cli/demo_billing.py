"""`./carillon demo billing`: two towns, a year of readings, bills, and no bill twice."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from include.cli.instance import Instance, read_instance
from include.cli.progress import Progress as Lines
from include.cli.progress import stderr, stdout
from include.demo import billing_report as report
from include.demo.airflow import administering
from include.demo.api import connecting
from include.demo.billing import (
    Story,
    bill_again,
    load,
    locate,
    look,
    next_minute,
    ordering,
    run_id_of,
    watch,
)
from include.demo.town import Town, plan_towns
from include.kit.clock import system_clock
from include.settings import get_settings

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document at the end.")]


def billing(as_json: AsJson = False) -> None:
    """Bill two towns of 1,000 meters with a year of readings at the next minute, explain, bill again."""
    found = asyncio.run(run_billing(read_instance(), as_json=as_json))
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    if found["not_as_expected"]:
        raise typer.Exit(1)


async def run_billing(instance: Instance, *, as_json: bool) -> dict[str, Any]:
    """Run the billing demo to its end; return its document.

    :raises StartupError: the instance does not answer, or does not bill in time
    """
    began = time.monotonic()
    zone = ZoneInfo(get_settings().timezone)
    now = system_clock()
    next_minute(now, zone)  # not just before midnight
    towns = plan_towns(now.astimezone(zone).date(), zone, int(now.timestamp()))
    screen = Lines()
    async with (
        connecting(instance.url, instance.database_url, "demo", ("billing", "management")) as api,
        administering(instance.url, instance.admin_user, instance.admin_password) as airflow,
    ):
        screen.say(f"loading projects {' and '.join(town.project_id for town in towns)} through REST")
        with bars("rows", {town.project_id: (town.commodity, town.rows) for town in towns}) as bar:
            for town in towns:
                await load(api, town, lambda of, rows: bar.advance(of.project_id, rows))
        async with ordering(api, towns, next_minute(system_clock(), zone)) as story:
            screen.say(f"two billing tasks are due at {story.due_at:%H:%M:%S} ({zone.key})")
            await locate(api, story, zone)
            screen.say(f"their DAG: {airflow.dag_page(story.dag_id)}")
            await _watch(api, story, towns, screen)
            story.page = airflow.run_page(story.dag_id, run_id_of(story))
            screen.say(f"billed; the run in Airflow: {story.page}")
            await look(api, story)
            screen.say("clearing the run in Airflow: it bills the same instant again")
            await bill_again(api, airflow, story)
    if not as_json:
        stdout.print(report.totals(story))
        stdout.print("\n".join(report.lines(story, instance.url)), markup=False)
        for sentence in report.wrong(story):
            stdout.print(f"Not as expected: {sentence}.", markup=False)
    return report.document(story, instance.url, time.monotonic() - began)


async def _watch(api: Any, story: Story, towns: list[Town], screen: Lines) -> None:
    told: set[str] = set()
    with bars("bills", {town.project_id: (town.commodity, len(town.points)) for town in towns}) as bar:

        def show(story: Story) -> None:
            for one in story.billed:
                bar.set(one.town.project_id, one.done)
                if one.ended and one.run and one.town.project_id not in told:
                    told.add(one.town.project_id)
                    screen.say(
                        f"{one.town.commodity}: {one.run['billed']} billed, {one.run['parked']} parked,"
                        f" {one.run['total']} in all"
                    )

        await watch(api, story, show)


class Bars:
    """Progress bars on a terminal; nothing in a pipe, where lines tell."""

    def __init__(self, progress: Progress, ids: dict[str, TaskID]) -> None:
        self.progress = progress
        self.ids = ids

    def advance(self, name: str, by: int) -> None:
        self.progress.advance(self.ids[name], by)

    def set(self, name: str, done: int) -> None:
        self.progress.update(self.ids[name], completed=done)


@contextmanager
def bars(unit: str, totals: dict[str, tuple[str, int]]) -> Iterator[Bars]:
    """Show a bar for each name: its label and its total."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal) as progress:
        ids = {
            name: progress.add_task(f"{label}: {unit}", total=total)
            for name, (label, total) in totals.items()
        }
        yield Bars(progress, ids)
