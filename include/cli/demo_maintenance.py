"""`./carillon demo maintenance`: 300 machines, four projects, a clock on which a day takes a minute."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import psutil
import typer

from include.cli.instance import Instance, read_instance
from include.cli.live import showing
from include.cli.progress import Progress, stdout
from include.cli.temporary import running_instance
from include.demo import maintenance_report as report
from include.demo.api import connecting
from include.demo.maintenance import Client, ordered
from include.demo.maintenance_play import look, play
from include.demo.plant import plan_plant, plan_projects
from include.errors import StartupError
from include.kit.clock import system_clock
from include.maintenance.clock import maintenance_clock
from include.maintenance.cycles import start_of
from include.settings import get_settings

DAY_A_MINUTE = 1440
#: Days in a minute: with fewer nobody waits for them, with more a month is over before the demo is.
FEWEST, MOST = 1, 5

#: Of the settings of an instance, those that the demo must share.
SHARED = (
    "CARILLON_MAINTENANCE_SPEED",
    "CARILLON_MAINTENANCE_EPOCH",
    "CARILLON_MAINTENANCE_BLOCK",
    "CARILLON_TIMEZONE",
)

Objects = Annotated[int, typer.Option(min=60, max=10_000, help="How many machines.")]
Days = Annotated[int, typer.Option(min=FEWEST, max=MOST, help="How many days pass in a minute.")]
Keep = Annotated[bool, typer.Option("--keep", help="Leave it all running at the end, until Ctrl-C.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document at the end.")]


def maintenance(objects: Objects = 300, days: Days = 1, keep: Keep = False, as_json: AsJson = False) -> None:
    """Maintain 300 machines on an instance of its own whose clock runs fast: a day a minute."""
    found = asyncio.run(run_maintenance(objects=objects, days=days, keep=keep, as_json=as_json))
    if found["not_as_expected"]:
        raise typer.Exit(1)


async def run_maintenance(*, objects: int, days: int, keep: bool, as_json: bool) -> dict[str, Any]:
    """Run the maintenance demo to its end; return its document.

    :raises StartupError: no instance can be started, or it does not answer
    """
    began, screen = time.monotonic(), Progress()
    plans = plan_projects(plan_plant(objects))
    organization = f"demo-{secrets.token_hex(3)}"
    async with fast_instance(days, screen) as instance, calling(instance, organization) as client:
        screen.say(
            f"{objects} machines, {len(plans)} projects of {organization} at {instance.url}/{client.block}"
        )
        async with ordered(client, plans, keep=keep) as story:
            with showing(report.table, report.news, as_json=as_json) as show:
                await play(client, story, show)
            await look(client, story)
        found = report.document(story, instance.url, time.monotonic() - began)
        if as_json:
            typer.echo(json.dumps(found, ensure_ascii=False))
        else:
            stdout.print("\n".join(report.lines(story, instance.url)), markup=False, soft_wrap=True)
        if keep:
            screen.say(f"still running: {instance.url}, {instance.admin_user} / {instance.admin_password}")
            screen.say("Ctrl-C ends it")
            await asyncio.Event().wait()
    return found


@asynccontextmanager
async def fast_instance(days: int, screen: Progress) -> AsyncIterator[Instance]:
    """Lend the running instance if its clock of maintenance is fast, else one that is started and ended here.

    Our own clock of maintenance is the same from here on.

    :param days: that are to pass in a minute
    """
    async with AsyncExitStack() as stack:
        instance = running_fast()
        if instance is None:
            set_clock(fast_environment(days, system_clock()))
            screen.say("starting an instance whose clock of maintenance runs fast")
            instance = await stack.enter_async_context(running_instance({}, tell=screen.say))
            stack.callback(screen.say, "ending it")
        else:
            screen.say(f"the instance at {instance.url} has a fast clock of maintenance: using that")
        yield instance


def running_fast() -> Instance | None:
    """Return the instance on `CARILLON_HOME` if a day takes about a minute there, and take its clock."""
    try:
        instance = read_instance()
        environment = psutil.Process(instance.pid).environ()
    except (StartupError, psutil.Error):
        return None
    shared = {name: environment[name] for name in SHARED if name in environment}
    if not FEWEST <= float(shared.get("CARILLON_MAINTENANCE_SPEED", 1)) / DAY_A_MINUTE <= MOST:
        return None
    set_clock(shared)
    return instance


def set_clock(environment: dict[str, str]) -> None:
    """Have ourselves, and what we start, take these settings."""
    os.environ.update(environment)
    get_settings.cache_clear()


def fast_environment(days: int, now: datetime) -> dict[str, str]:
    """Return the settings of a clock that begins about now and shows midnight at each full minute.

    So the runs of maintenance, at full minutes, are at midnight as in life.
    """
    speed = days * DAY_A_MINUTE
    minute = now.replace(second=0, microsecond=0)
    midnight = start_of(minute, "日", ZoneInfo(get_settings().timezone))
    # epoch + (minute - epoch) * speed = midnight
    epoch = minute + (minute - midnight) / (speed - 1)
    return {
        "CARILLON_MAINTENANCE_SPEED": str(speed),
        "CARILLON_MAINTENANCE_EPOCH": epoch.astimezone(UTC).isoformat(),
    }


@asynccontextmanager
async def calling(instance: Instance, organization: str) -> AsyncIterator[Client]:
    """Lend a client of an organisation."""
    settings, apis = get_settings(), ("maintenance", "management")
    async with connecting(instance.url, instance.database_url, "demo", apis, [organization]) as api:
        yield Client(api, settings.maintenance_block, maintenance_clock, ZoneInfo(settings.timezone))
