"""Why a definition did or did not fire at an instant. Pure: rows and moments come in, a sentence goes out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice, takewhile

from include.cron import CronSchedule, on_weekdays
from include.reporting.model import DefinitionRow, ExecutionRow, Explanation, ReasonCode

NEXT_SHOWN = 3

Verdict = tuple[ReasonCode, str]


def explain(
    definition: DefinitionRow, execution: ExecutionRow | None, at: datetime, *, now: datetime, lead: timedelta
) -> Explanation:
    """Return what the rows say about an instant.

    :param execution: the ledger's row for `at`, or the condensed one that stands for it
    :param lead: how long before its instant a window is armed, 0 where that is not done
    """
    code, sentence = (
        _from_ledger(execution, at) if execution else _without_row(definition, at, now=now, lead=lead)
    )
    shown = list(islice(upcoming(definition, now), NEXT_SHOWN))
    return Explanation(definition, at, code, sentence, execution, shown)


def upcoming(definition: DefinitionRow, now: datetime) -> Iterator[datetime]:
    """Yield the instants (UTC) at which a definition will be due after `now`."""
    if not definition.enabled or definition.deleted_at is not None:
        return iter(())
    if definition.due_at is not None:
        return iter([] if definition.spent else [definition.due_at])
    cron = _cron(definition)
    found = on_weekdays(cron, cron.iter_after(max(now, definition.active_since)), definition.weekdays)
    ends = definition.expires_at
    return takewhile(lambda instant: ends is None or instant <= ends, found)


def _from_ledger(execution: ExecutionRow, at: datetime) -> Verdict:
    if execution.due_at != at:
        return "outage", (
            f"It was missed: nothing ran from {_text(execution.covers_since)} to {_text(execution.due_at)};"
            f" one row stands for the {execution.covers_count} instants of that time ({execution.reason})."
        )
    because = f": {execution.reason}" if execution.reason else ""
    noted = f" ({execution.reason})" if execution.reason else ""
    tries = f"{execution.attempts} attempt{'' if execution.attempts == 1 else 's'}"
    match execution.state:
        case "succeeded":
            late = (
                "" if execution.lateness_ms is None else f", {execution.lateness_ms:.1f} ms after its instant"
            )
            return "fired", f"It fired and succeeded after {tries}{late}{noted}."
        case "failed":
            return "failed", f"It fired and failed after {tries}{because}."
        case "skipped":
            return "skipped", f"It was skipped{because}."
        case "missed":
            return "missed", f"It was missed{because}."
        case state:
            return "open", f"It is {state}, {tries} so far, the next at {_text(execution.next_attempt_at)}."


def _without_row(definition: DefinitionRow, at: datetime, *, now: datetime, lead: timedelta) -> Verdict:
    for verdict in (
        _not_an_instant(definition, at),
        _outside_its_life(definition, at),
        _switched_off(definition, at, now),
    ):
        if verdict is not None:
            return verdict
    if at > now + lead:
        ahead = f"; its window is armed {lead.total_seconds():g} s before it" if lead else ""
        return "future", f"It lies in the future{ahead}."
    if at > now:
        return (
            "not_armed",
            "It is about to be due and its window is not armed yet: is Airflow's scheduler up?",
        )
    return "not_armed", (
        "It was due and no run has answered for it yet: Airflow's scheduler or what runs its tasks was"
        " down, or the schedule's DAG is paused. The next run makes up for it."
    )


def _not_an_instant(definition: DefinitionRow, at: datetime) -> Verdict | None:
    if definition.due_at is not None:
        if definition.due_at == at:
            return None
        return "not_an_instant", f"It is a one-shot for {_text(definition.due_at)}."
    cron = _cron(definition)
    instants = cron.iter_after(at - timedelta(microseconds=1))
    following = next(on_weekdays(cron, instants, definition.weekdays))
    if following == at:
        return None
    days = "" if definition.weekdays is None else f" on {_weekdays_text(definition.weekdays)}"
    return "not_an_instant", (
        f"{definition.expression}{days} ({definition.timezone}) is not due then; its next instant is"
        f" {_text(following)}."
    )


def _outside_its_life(definition: DefinitionRow, at: datetime) -> Verdict | None:
    if at <= definition.active_since and definition.due_at is None:
        return "before_active_since", (
            f"It answers for instants after {_text(definition.active_since)}, when it was created, enabled or"
            " rescheduled."
        )
    if definition.expires_at is not None and at > definition.expires_at:
        return "expired", f"It expired at {_text(definition.expires_at)}."
    return None


def _switched_off(definition: DefinitionRow, at: datetime, now: datetime) -> Verdict | None:
    if definition.deleted_at is not None and (definition.deleted_at <= at or at > now):
        return "deleted", f"It was deleted at {_text(definition.deleted_at)}."
    if not definition.enabled:
        return "disabled", f"It is disabled; it was changed last at {_text(definition.updated_at)}."
    return None


def _cron(definition: DefinitionRow) -> CronSchedule:
    return CronSchedule.from_canonical(definition.expression, definition.timezone)


def _weekdays_text(weekdays: int) -> str:
    names = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    return ", ".join(name for place, name in enumerate(names) if weekdays >> place & 1)


def _text(moment: datetime | None) -> str:
    return "an unknown moment" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
