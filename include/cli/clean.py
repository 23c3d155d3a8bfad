"""`./carillon clean`: retention. What it drops is gone; bills and maintenance history are never touched."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from include.cli.airflow_env import inherited_environment, instance_environment
from include.cli.airflow_runs import clean_runs, clean_task_logs
from include.cli.instance import Instance, read_instance
from include.cli.progress import Progress, stdout
from include.events.service import clean_events
from include.kit.clock import system_clock
from include.kit.db import Database, database_url
from include.retention.model import LedgerReport
from include.retention.service import RetentionService
from include.settings import get_settings


@dataclass(frozen=True, slots=True)
class Place:
    """Where to clean: the database `carillon`, the environment of Airflow's commands, its task logs."""

    database_url: str
    environment: dict[str, str]
    task_logs: Path | None


def clean(
    keep_days: Annotated[
        int, typer.Option(min=1, help="Days of executions, attempts and events to keep.")
    ] = 90,
    airflow_keep_days: Annotated[
        int, typer.Option(min=1, help="Days of Airflow runs, their tasks and logs to keep.")
    ] = 14,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Drop old months of the ledger and old Airflow runs; make the ledger's coming months."""
    place = find_place()
    progress = Progress()
    keep = timedelta(days=keep_days)
    ledger, events = asyncio.run(_clean_database(place, keep, progress, dry_run=dry_run))
    before = system_clock() - timedelta(days=airflow_keep_days)
    progress.say(f"Airflow's runs from before {before:%Y-%m-%d %H:%M} UTC")
    rows = clean_runs(place.environment, before, dry_run=dry_run)
    folders = clean_task_logs(place.task_logs, before, dry_run=dry_run) if place.task_logs else 0
    document = {
        "dry_run": dry_run,
        "ledger": ledger.as_json(),
        "events": events,
        "airflow": {"cutoff": before.isoformat(), "rows": rows, "log_folders": folders},
    }
    if as_json:
        typer.echo(json.dumps(document))
    else:
        _print(ledger, events, before, rows, folders, dry_run=dry_run)


def find_place() -> Place:
    """Return what the settings name (production), else the running instance.

    :raises StartupError: neither is there
    """
    if get_settings().database_url:
        return Place(database_url(), inherited_environment(), None)
    instance: Instance = read_instance()
    logs = Path(instance.home) / "airflow" / "logs"
    return Place(instance.database_url, instance_environment(instance), logs)


async def _clean_database(
    place: Place, keep: timedelta, progress: Progress, *, dry_run: bool
) -> tuple[LedgerReport, int]:
    """Return what was done to the ledger, and how many events were deleted."""
    database = await Database(place.database_url, max_size=1).open()
    try:
        progress.say("the ledger")
        ledger = await RetentionService(database, say=progress.say).clean_ledger(keep, dry_run=dry_run)
        progress.say("events that were told or given up")
        return ledger, await clean_events(database, keep, dry_run=dry_run)
    finally:
        await database.close()


def _print(
    ledger: LedgerReport, events: int, before: datetime, rows: dict[str, int], folders: int, *, dry_run: bool
) -> None:
    verb = "would go" if dry_run else "gone"
    months = ", ".join(map(str, ledger.dropped)) or "none"
    stdout.print(
        f"Ledger, before {ledger.cutoff:%Y-%m-%d}: months {verb}: {months}"
        f" (about {ledger.rows:,} rows, {ledger.bytes / 1e6:,.1f} MB)"
    )
    for month, reason in ledger.kept.items():
        stdout.print(f"  {month} stays: {reason}")
    stray: dict[str, Any] = {"executions": ledger.executions_deleted, "attempts": ledger.attempts_deleted}
    if any(stray.values()):
        stdout.print(f"  outside all months {verb}: " + ", ".join(f"{n:,} {k}" for k, n in stray.items()))
    if ledger.partitions_made:
        stdout.print(f"  partitions made for coming months: {ledger.partitions_made}")
    stdout.print(f"Events, before {ledger.cutoff:%Y-%m-%d}: {verb}: {events:,}")
    found = ", ".join(f"{count:,} of {table}" for table, count in rows.items() if count) or "nothing"
    stdout.print(
        f"Airflow, before {before:%Y-%m-%d}: rows {verb}: {found}; folders of task logs: {folders:,}"
    )
