"""`./carillon demo timers`: street lamps with timers, some of them away, and no command twice."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from include.cli.instance import Instance, read_instance, simulator_of
from include.cli.live import showing
from include.cli.progress import Progress as Lines
from include.cli.progress import stderr, stdout
from include.cli.token import settings_of_instance
from include.demo import timers_report as report
from include.demo.api import calling, connecting
from include.demo.lamps import next_minutes, plan_lamps
from include.demo.timers import Clients, Story, check_simulator, look, ordered, registered, watch
from include.errors import InvalidInputError
from include.kit.clock import system_clock
from include.settings import get_settings
from include.tokens.jwt_tokens import issue_jwt

JWT_LASTS = timedelta(hours=1)

Devices = Annotated[int, typer.Option(min=1, max=5000, help="How many lamps.")]
Offline = Annotated[int, typer.Option(min=0, help="How many of them are away at their instant.")]
Minutes = Annotated[int, typer.Option(min=1, max=2, help="At how many minutes they are due.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document at the end.")]


def timers(
    devices: Devices = 500, offline: Offline = 25, minutes: Minutes = 2, as_json: AsJson = False
) -> None:
    """Switch 500 simulated lamps by timers at the next two minutes, 25 of them away; count every command."""
    if offline > devices:
        raise InvalidInputError(f"{offline} are more than the {devices} devices", field="--offline")
    found = asyncio.run(
        run_timers(read_instance(), devices=devices, offline=offline, minutes=minutes, as_json=as_json)
    )
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    if found["not_as_expected"]:
        raise typer.Exit(1)


async def run_timers(
    instance: Instance, *, devices: int, offline: int, minutes: int, as_json: bool
) -> dict[str, Any]:
    """Run the timers demo to its end; return its document.

    :raises StartupError: the instance does not answer, or has no simulator that does as it is told
    """
    began = time.monotonic()
    screen, zone = Lines(), ZoneInfo(get_settings().timezone)
    mark = secrets.token_hex(3)
    project_id = user = f"demo-{mark}"
    lamps = plan_lamps(mark, count=devices, away=offline, minutes=minutes)
    async with calling_all(instance, project_id=project_id, user=user) as clients:
        screen.say(
            f"registering {devices} lamps in project {project_id}, {offline} of them away; user {user}"
        )
        async with registered(clients, lamps, project_id=project_id, user=user):
            dues = next_minutes(system_clock(), zone, timers=devices // minutes, minutes=minutes)
            instants = " and ".join(f"{due:%H:%M}" for due in dues)
            screen.say(f"setting their timers to {instants} ({zone.key}) at {instance.url}/v3/schedule/task/")
            with bar("timers", devices) as tick:
                async with ordered(clients, lamps, dues, tick) as story:
                    try:
                        screen.say("waiting for them")
                        with showing(table, report.news, as_json=as_json) as show:
                            await watch(clients, story, show)
                        await look(clients, story)
                        if not as_json:
                            stdout.print("\n".join(report.lines(story, instance.url)), markup=False)
                    finally:
                        screen.say("taking timers, devices and the user's bindings away")
    screen.say("they are gone; what the timers did stays in the ledger")
    return report.document(story, instance.url, time.monotonic() - began)


@asynccontextmanager
async def calling_all(instance: Instance, *, project_id: str, user: str) -> AsyncIterator[Clients]:
    """Lend clients of the instance and of its simulator.

    :raises StartupError: its devices are not simulated
    """
    gateway = simulator_of(instance)
    jwt = issue_jwt(user, system_clock() + JWT_LASTS, settings_of_instance())
    async with (
        connecting(instance.url, instance.database_url, "demo", ("management",), [project_id]) as own,
        calling(instance.url, {"Authorization": f"jwt {jwt}"}) as as_user,
        calling(gateway) as simulator,
    ):
        await check_simulator(simulator, gateway)
        yield Clients(own, as_user, simulator)


def table(story: Story) -> Table:
    """Return what a terminal shows just now."""
    return report.table(story, system_clock())


@contextmanager
def bar(unit: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal, nothing in a pipe; lend what makes it one longer. It goes when it is full."""
    columns = (TextColumn(unit), BarColumn(), MofNCompleteColumn())
    progress = Progress(*columns, console=stderr, disable=not stderr.is_terminal, transient=True)
    task = progress.add_task(unit, total=total)

    def tick() -> None:
        progress.advance(task)
        if progress.finished:
            progress.stop()

    with progress:
        yield tick
