"""`./carillon demo`: definitions through a running instance's REST APIs, and what becomes of them.

Without a further word it is the callbacks demo; `./carillon demo billing` is in `demo_billing.py`.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from typing import Annotated, Any

import typer
from rich.live import Live

from include.cli.demo_billing import billing
from include.cli.instance import Instance, read_instance
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


demo.command("billing")(billing)


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
        with _display(as_json=as_json) as display:
            async with creating(api, tasks) as made:
                await watch(api, made, seconds, display.show)
        document = report.document(made, instance.url, receivers.as_json(), time.monotonic() - began)
    if not as_json:
        stdout.print("\n".join(report.closing_lines(made, instance.url)), markup=False)
    return document


class _Table:
    """A table that is drawn again and again, on a terminal."""

    def __init__(self) -> None:
        self.live = Live(console=stdout, auto_refresh=False)

    def __enter__(self) -> _Table:
        self.live.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.live.stop()

    def show(self, made: Demo) -> None:
        self.live.update(report.table(made), refresh=True)


class _Lines:
    """A line for each execution that ended: for a pipe, a file, a log."""

    def __init__(self, *, silent: bool) -> None:
        self.silent = silent
        self.told: set[int] = set()

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *args: object) -> None:
        return

    def show(self, made: Demo) -> None:
        for task in made.tasks:
            for execution in reversed(task.ended):
                if execution["id"] not in self.told and not self.silent:
                    stdout.print(report.line(task, execution), markup=False)
                self.told.add(execution["id"])


def _display(*, as_json: bool) -> _Table | _Lines:
    return _Table() if stdout.is_terminal and not as_json else _Lines(silent=as_json)
