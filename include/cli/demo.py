"""`./carillon demo`: definitions through a running instance's REST APIs, and what becomes of them.

Without a further word it is the callbacks demo; the others are in files of their own.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from include.cli.demo_batch import batch
from include.cli.demo_billing import billing
from include.cli.demo_maintenance import maintenance
from include.cli.demo_timers import timers
from include.cli.instance import Instance, read_instance
from include.cli.live import showing
from include.cli.progress import Progress, stdout
from include.demo import report
from include.demo.api import connecting
from include.demo.callbacks import Demo, creating, draw_secret, plan_tasks, watch
from include.demo.receivers import receiving
from include.kit.clock import system_clock
from include.settings import get_settings

demo = typer.Typer(help="Create definitions through the REST APIs and show them run.")

Seconds = Annotated[int, typer.Option(min=30, max=3600, help="How long to watch.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document at the end.")]


@demo.callback(invoke_without_command=True)
def callbacks(context: typer.Context, seconds: Seconds = 75, as_json: AsJson = False) -> None:
    """Create callbacks of several kinds, call local receivers, show when and with what result."""
    if context.invoked_subcommand is not None:
        return
    found = asyncio.run(run_callbacks(read_instance(), seconds, as_json=as_json))
    if as_json:
        typer.echo(json.dumps(found))
    if found["summary"]["not_as_expected"]:
        raise typer.Exit(1)


demo.command("batch")(batch)
demo.command("billing")(billing)
demo.command("maintenance")(maintenance)
demo.command("timers")(timers)


async def run_callbacks(instance: Instance, seconds: float, *, as_json: bool) -> dict[str, Any]:
    """Run the callbacks demo to its end; return its document.

    :raises StartupError: the instance does not answer, or may not call this machine
    """
    began = time.monotonic()
    secret = draw_secret()
    progress = Progress()
    async with receiving(secret) as receivers, connecting(instance.url, instance.database_url, "demo") as api:
        tasks = plan_tasks(
            receivers,
            secret=secret,
            now=system_clock(),
            seconds=seconds,
            zone=get_settings().timezone,
            mark=secrets.token_hex(3),
        )
        progress.say(f"creating {len(tasks)} callback tasks at {instance.url}/crontab")
        with showing(report.table, _news, as_json=as_json) as show:
            async with creating(api, tasks) as made:
                await watch(api, made, seconds, show)
        document = report.document(made, instance.url, receivers.as_json(), time.monotonic() - began)
    if not as_json:
        stdout.print("\n".join(report.closing_lines(made, instance.url)), markup=False)
    return document


def _news(made: Demo) -> Iterator[tuple[int, str]]:
    for task in made.tasks:
        for execution in reversed(task.ended):
            yield execution["id"], report.line(task, execution)
