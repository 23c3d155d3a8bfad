"""`./carillon explain`: why a definition did, or did not, fire at an instant."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from include.cli.instance import read_instance
from include.cli.progress import stdout
from include.cron import CronSchedule
from include.errors import InvalidInputError
from include.kit.clock import system_clock
from include.kit.db import Database, database_url
from include.reporting.model import AttemptRow, DefinitionRow, ExecutionFilter, Explanation
from include.reporting.service import ReportingService
from include.settings import get_settings

#: What is shown of an answer's text.
TEXT_SHOWN = 300


def explain(
    which: Annotated[str, typer.Argument(metavar="ID|NAME", help="A definition's id, else its name.")],
    at: Annotated[
        str | None,
        typer.Option(
            help="The instant, ISO 8601, in the schedule's zone unless it has an offset; else the latest one."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say why a definition did or did not fire; show its execution and each attempt."""
    explanation, attempts = asyncio.run(_look(which, at))
    if as_json:
        typer.echo(json.dumps(document(explanation, attempts), default=_iso, ensure_ascii=False))
    else:
        _print(explanation, attempts)


async def _look(which: str, at: str | None) -> tuple[Explanation, list[AttemptRow]]:
    """Read everything in one transaction, on the database of the setting or of the instance."""
    url = database_url() if get_settings().database_url else read_instance().database_url
    database = await Database(url, max_size=1).open()
    try:
        async with database.transaction() as connection:
            service = ReportingService(connection)
            definition = await find_definition(service, which)
            moment = (
                parse_instant(at, definition.timezone) if at else await latest_instant(service, definition)
            )
            explanation = await service.explain(definition.id, moment)
            execution = explanation.execution
            return explanation, await service.attempts(execution.id) if execution else []
    finally:
        await database.close()


async def find_definition(service: ReportingService, which: str) -> DefinitionRow:
    """Return a definition by its id, else by its name, deleted ones too. A name of digits needs its id."""
    if which.isascii() and which.isdigit() and len(which) <= 18:
        return await service.definition(int(which), deleted=True)
    return await service.definition_named(which)


async def latest_instant(service: ReportingService, definition: DefinitionRow) -> datetime:
    """Return the latest instant that is over, planned or in the ledger; the next one where none is."""
    now = system_clock()
    conditions = ExecutionFilter(definition_id=definition.id, due_to=now)
    ledger = [row.due_at for row in await service.executions(conditions, before=None, limit=1)]
    if definition.due_at is not None:
        return max([definition.due_at, *ledger])
    cron = CronSchedule.from_canonical(definition.expression, definition.timezone)
    # A definition that is gone or off owes nothing after its last execution.
    live = definition.enabled and definition.deleted_at is None
    planned = cron.last_at_or_before(now, not_before=definition.active_since) if live or not ledger else None
    return max([*ledger, *([planned] if planned else [])], default=cron.next_after(now))


def parse_instant(text: str, zone: str) -> datetime:
    """Return the moment (UTC) that an ISO text means. Raises InvalidInputError naming `--at`."""
    try:
        moment = datetime.fromisoformat(text)
        local = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInputError(f"{text!r} is not an ISO 8601 date and time", field="--at") from None


def document(explanation: Explanation, attempts: list[AttemptRow]) -> dict[str, Any]:
    """Return the explanation as JSON has it, moments still as such."""
    definition = explanation.definition
    return {
        "definition": {
            "id": definition.id,
            "name": definition.name,
            "kind": definition.kind,
            "expression": definition.expression,
            "timezone": definition.timezone,
            "enabled": definition.enabled,
            "deleted_at": definition.deleted_at,
        },
        "at": explanation.at,
        "reason_code": explanation.reason_code,
        "sentence": explanation.sentence,
        "execution": asdict(explanation.execution) if explanation.execution else None,
        "attempts": [asdict(attempt) for attempt in attempts],
        "next_instants": explanation.next_instants,
    }


def _print(explanation: Explanation, attempts: list[AttemptRow]) -> None:
    definition, execution = explanation.definition, explanation.execution
    zone = ZoneInfo(definition.timezone)
    state = "deleted" if definition.deleted_at else "enabled" if definition.enabled else "disabled"
    lines = [
        f"{definition.kind} {definition.id} {definition.name}: {definition.expression}"
        f" ({definition.timezone}), {state}",
        f"instant {_local(explanation.at, zone)} ({definition.timezone})",
        explanation.sentence,
    ]
    if execution is not None:
        lines.append(
            f"execution {execution.id}, {execution.origin}, {execution.state}, run {execution.run_id}"
        )
    stdout.print("\n".join(lines), markup=False)
    if attempts:
        stdout.print(_attempts_table(attempts, zone))
    if explanation.next_instants:
        following = ", ".join(_local(moment, zone) for moment in explanation.next_instants)
        stdout.print(f"next {following}", markup=False)


def _attempts_table(attempts: list[AttemptRow], zone: ZoneInfo) -> Table:
    table = Table("try", "began", "took ms", "state", "status", "answer or error")
    for attempt in attempts:
        took = (attempt.end_at - attempt.begin_at).total_seconds() * 1000 if attempt.end_at else None
        table.add_row(
            str(attempt.number),
            _local(attempt.begin_at, zone, "milliseconds").split(" ")[1],
            "" if took is None else f"{took:.1f}",
            attempt.state,
            "" if attempt.status is None else str(attempt.status),
            _plain(attempt.error or attempt.response or ""),
        )
    return table


def _plain(text: str) -> str:
    """Return the beginning of a text as the terminal should have it: no control characters, no markup."""
    shown = "".join(c if c.isprintable() else " " for c in text[:TEXT_SHOWN])
    return shown.replace("[", r"\[")


def _local(moment: datetime, zone: ZoneInfo, timespec: str = "seconds") -> str:
    return moment.astimezone(zone).replace(tzinfo=None).isoformat(" ", timespec)


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    raise TypeError(f"{type(value).__name__} is no JSON")
