"""`./carillon schedule`: when an expression is due."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.table import Table

from include.cron import CronSchedule, parse_seconds_first
from include.errors import CarillonError, InvalidInputError
from include.kit.clock import system_clock
from include.settings import get_settings

app = typer.Typer(help="Look at schedules.", no_args_is_help=True)


@app.callback()
def schedule() -> None:
    """Look at schedules."""


@app.command("next")
def next_instants(
    expression: Annotated[
        str,
        typer.Argument(
            metavar="EXPR", help="Seconds-first cron, @daily, @every 1h30m; may begin with TZ=Zone."
        ),
    ],
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=1000, help="How many instants.")] = 10,
    zone: Annotated[
        str | None, typer.Option("--tz", help="IANA time zone; the setting CARILLON_TIMEZONE if left out.")
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            help="ISO date and time to begin after, local unless it has an offset; now if left out."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
) -> None:
    """Show the next instants of an expression."""
    try:
        found = parse_seconds_first(expression, zone=zone or get_settings().timezone, field="EXPR")
        start = _start(after, ZoneInfo(found.zone))
    except CarillonError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    instants = list(islice(found.iter_after(start), count))
    if as_json:
        typer.echo(json.dumps(_document(found, start, instants), indent=2))
    else:
        Console().print(_table(found, start, instants))


def _start(after: str | None, place: ZoneInfo) -> datetime:
    if after is None:
        return system_clock()
    try:
        start = datetime.fromisoformat(after)
    except ValueError:
        raise InvalidInputError(f"{after!r} is not an ISO date and time", field="--after") from None
    return start if start.tzinfo else start.replace(tzinfo=place)


def _document(found: CronSchedule, start: datetime, instants: list[datetime]) -> dict[str, object]:
    place = ZoneInfo(found.zone)
    return {
        "expression": found.expression,
        "zone": found.zone,
        "description": found.describe(),
        "instants": [
            {
                "local": instant.astimezone(place).isoformat(),
                "utc": instant.astimezone(UTC).isoformat(),
                "in_seconds": (instant - start).total_seconds(),
            }
            for instant in instants
        ],
    }


def _table(found: CronSchedule, start: datetime, instants: list[datetime]) -> Table:
    place = ZoneInfo(found.zone)
    table = Table(title=f"{found.expression}  ({found.zone})\n{found.describe()}", title_justify="left")
    table.add_column(f"Local time, {found.zone}")
    table.add_column("UTC")
    table.add_column("In", justify="right")
    for instant in instants:
        local, utc = instant.astimezone(place), instant.astimezone(UTC)
        table.add_row(local.isoformat(" "), f"{utc:%Y-%m-%d %H:%M:%S}", _distance(instant - start))
    return table


def _distance(span: timedelta) -> str:
    """Write a distance with its two largest units, such as `3 h 12 min`."""
    minutes, seconds = divmod(int(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next((place for place, (amount, _) in enumerate(parts) if amount), 3)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2])
