"""`./carillon status`: the running instance and its processes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from include.cli.instance import Instance, read_instance
from include.cli.progress import stdout
from include.cli.supervisor import Supervisor


def status(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Show the running instance and its processes."""
    instance = read_instance()
    states = Supervisor(Path(instance.control_socket)).states()
    if as_json:
        document = {"url": instance.url, "gateway_url": instance.gateway_url}
        typer.echo(json.dumps({**document, "processes": [asdict(state) for state in states]}))
        return
    _print(instance, [(state.name, state.state, state.pid) for state in states])


def _print(instance: Instance, rows: list[tuple[str, str, int]]) -> None:
    stdout.print(f"{instance.url}  (process {instance.pid}, {instance.home})")
    if instance.gateway_url is not None:
        stdout.print(f"device gateway: {instance.gateway_url}")
    for name, state, pid in rows:
        stdout.print(f"  {name:<16} {state:<10} {pid or ''}")
