"""`./carillon demo batch`: a firmware upgrade in two waves, some of it failing, the retry, the report."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import typer
from rich.table import Table

from include.cli.instance import Instance, read_instance, simulator_of
from include.cli.live import showing
from include.cli.progress import Progress, stdout
from include.demo import batch_report as report
from include.demo.api import calling, connecting
from include.demo.batch import Clients, Story, look, ordered, registered, retry, watch
from include.demo.pumps import FAILS_EVERY, VERSION, plan_pumps
from include.demo.timers import check_simulator
from include.kit.clock import system_clock

Devices = Annotated[int, typer.Option(min=FAILS_EVERY, max=10_000, help="How many pumps.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document at the end.")]


def batch(devices: Devices = 3000, as_json: AsJson = False) -> None:
    """Upgrade 3,000 simulated pumps in two waves, 2 % failing; retry those; count every upgrade."""
    found = asyncio.run(run_batch(read_instance(), devices=devices, as_json=as_json))
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    if found["not_as_expected"]:
        raise typer.Exit(1)


async def run_batch(instance: Instance, *, devices: int, as_json: bool) -> dict[str, Any]:
    """Run the batch demo to its end; return its document.

    :raises StartupError: the instance does not answer, or has no simulator that does as it is told
    """
    began = time.monotonic()
    screen, mark = Progress(), secrets.token_hex(3)
    project_id = f"demo-{mark}"
    pumps = plan_pumps(mark, count=devices)
    async with calling_both(instance, project_id) as clients:
        screen.say(f"registering {devices:,} pumps in project {project_id}, and firmware {VERSION} for them")
        async with registered(clients, pumps) as package_id:
            failing = sum(pump.code > 0 for pump in pumps)
            screen.say(
                f"upgrading them in two waves at {instance.url}{clients.tasks}; {failing:,} are to fail"
            )
            try:
                async with ordered(clients, pumps, package_id) as story:
                    with showing(table, report.news, as_json=as_json) as show:
                        await watch(clients.api, story, show)
                    if story.now.ended and story.now.task["progress"]["fail"]:
                        await retry(clients, story)
                        screen.say(f"the pumps are mended: retrying the {story.now.size:,} that failed")
                        with showing(table, report.news, as_json=as_json) as show:
                            await watch(clients.api, story, show)
                    await look(clients, story)
                if not as_json:
                    stdout.print(report.totals(story))
                    stdout.print("\n".join(report.lines(story, instance.url)), markup=False)
            finally:
                screen.say("taking the pumps and their firmware away")
    screen.say(f"they are gone; task {story.task_id} stays, with what became of each pump")
    return report.document(story, instance.url, time.monotonic() - began)


@asynccontextmanager
async def calling_both(instance: Instance, project_id: str) -> AsyncIterator[Clients]:
    """Lend clients of the instance and of its simulator.

    :raises StartupError: its devices are not simulated, or are to misbehave already
    """
    gateway = simulator_of(instance)
    async with (
        connecting(instance.url, instance.database_url, "demo", ("iot", "management"), [project_id]) as api,
        calling(gateway) as simulator,
    ):
        await check_simulator(simulator, gateway)
        yield Clients(api, simulator, project_id)


def table(story: Story) -> Table:
    """Return what a terminal shows just now."""
    return report.table(story, system_clock())
