"""The panel that `./carillon up` shows when everything runs."""

from __future__ import annotations

from collections.abc import Mapping

from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from include.cli.airflow_env import LOCAL_NETWORK
from include.cli.instance import Instance
from include.cli.progress import stdout

APIS = {
    "crontab callbacks": "/crontab",
    "meter billing": "/api/v1/scheduler",
    "device timers": "/v3/schedule",
    "IoT batch tasks": "/v5/iot",
    "Carillon's own": "/carillon/v1",
}


def print_panel(instance: Instance, environment: Mapping[str, str], seconds: float) -> None:
    """Print URLs, credentials, and what the local profile opens that production does not."""
    title = f"Carillon is ready after {seconds:.1f} s"
    lines = rows(instance, environment)
    if not _fits(lines):
        # A frame would cut a password in two: plain lines can be copied.
        stdout.print(title)
        for label, value in lines:
            stdout.print(f"{label:<15} {escape(value)}")
        return
    table = Table.grid(padding=(0, 2))
    for label, value in lines:
        table.add_row(f"[bold]{label}[/bold]" if label else "", escape(value))
    stdout.print(Panel(table, title=title, subtitle="Ctrl-C stops it", expand=False))


def _fits(lines: list[tuple[str, str]]) -> bool:
    return stdout.is_terminal and max(len(value) for _, value in lines) + 24 <= stdout.width


def rows(instance: Instance, environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the lines of the panel: label and value."""
    apis = [f"{instance.url}{path}  ({name})" for name, path in APIS.items()]
    return [
        ("Airflow UI", instance.airflow_url),
        ("sign in", f"{instance.admin_user} / {instance.admin_password}"),
        *zip(["REST APIs", *[""] * len(apis)], apis, strict=False),
        ("API document", f"{instance.url}/carillon/v1/docs"),
        *_devices(instance),
        ("database", instance.database_url),
        ("state and logs", instance.home),
        ("try it", "./carillon demo, demo billing, demo timers, demo batch, demo maintenance"),
        *_egress(environment.get("CARILLON_EGRESS_ALLOW", "")),
    ]


def _devices(instance: Instance) -> list[tuple[str, str]]:
    if instance.gateway_url is None:
        return []
    simulated = "  (simulator)" if "simulator" in instance.processes else ""
    return [("device gateway", f"{instance.gateway_url}{simulated}")]


def _egress(allowed: str) -> list[tuple[str, str]]:
    lines = [("outbound calls", f"public addresses{f' and {allowed}' if allowed else ' only'}")]
    if allowed == LOCAL_NETWORK:
        lines.append(("", "(this machine only in the local profile: CARILLON_EGRESS_ALLOW changes it)"))
    return lines
