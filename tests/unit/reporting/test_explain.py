"""Why a definition did or did not fire: one sentence for every case."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from include.reporting.explain import explain, upcoming
from include.reporting.model import DefinitionRow, ExecutionRow

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
AT = datetime(2026, 11, 22, 1, 30, tzinfo=UTC)
LEAD = timedelta(seconds=15)
DAY = timedelta(days=1)

DEFINITION = DefinitionRow(
    id=1,
    kind="callback",
    name="d",
    project_id=None,
    description=None,
    schedule_id=1,
    expression="0 30 9 * * *",
    timezone="Asia/Shanghai",
    enabled=True,
    active_since=datetime(2026, 1, 1, tzinfo=UTC),
    weekdays=None,
    due_at=None,
    spent=False,
    expires_at=None,
    misfire="fire_once",
    misfire_grace_seconds=3600,
    overlap="allow",
    revision=1,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    updated_at=datetime(2026, 1, 2, tzinfo=UTC),
    deleted_at=None,
    callback=None,
    timer=None,
)
EXECUTION = ExecutionRow(
    id=9,
    definition_id=1,
    definition_name="d",
    kind="callback",
    schedule_id=1,
    due_at=AT,
    origin="scheduled",
    state="succeeded",
    reason=None,
    covers_since=None,
    covers_count=1,
    attempts=1,
    next_attempt_at=None,
    run_id=None,
    lateness_ms=1.26,
    finished_at=AT,
    created_at=AT,
)


@pytest.mark.parametrize(
    ("changes", "code", "sentence"),
    [
        ({}, "fired", "It fired and succeeded after 1 attempt, 1.3 ms after its instant."),
        ({"attempts": 2, "lateness_ms": None}, "fired", "It fired and succeeded after 2 attempts."),
        (
            {"state": "failed", "attempts": 3, "reason": "HTTP 500"},
            "failed",
            "It fired and failed after 3 attempts: HTTP 500.",
        ),
        (
            {"reason": "3 service points parked"},
            "fired",
            "It fired and succeeded after 1 attempt, 1.3 ms after its instant (3 service points parked).",
        ),
        ({"state": "skipped", "reason": "overlap"}, "skipped", "It was skipped: overlap."),
        ({"state": "missed", "reason": "misfire"}, "missed", "It was missed: misfire."),
        (
            {"state": "retrying", "next_attempt_at": NOW},
            "open",
            "It is retrying, 1 attempt so far, the next at 2026-11-22 02:00:00 UTC.",
        ),
        (
            {"state": "pending", "attempts": 0},
            "open",
            "It is pending, 0 attempts so far, the next at an unknown moment.",
        ),
        (
            {
                "state": "missed",
                "due_at": AT + DAY,
                "covers_since": AT - DAY,
                "covers_count": 2,
                "reason": "outage",
            },
            "outage",
            "It was missed: nothing ran from 2026-11-21 01:30:00 UTC to 2026-11-23 01:30:00 UTC; one row"
            " stands for the 2 instants of that time (outage).",
        ),
    ],
)
def test_the_ledger_knows(changes, code, sentence):
    found = explain(DEFINITION, replace(EXECUTION, **changes), AT, now=NOW, lead=LEAD)
    assert (found.reason_code, found.sentence) == (code, sentence)
    assert found.execution is not None


@pytest.mark.parametrize(
    ("changes", "at", "code", "sentence"),
    [
        (
            {},
            AT + timedelta(seconds=1),
            "not_an_instant",
            "0 30 9 * * * (Asia/Shanghai) is not due then; its next instant is 2026-11-23 01:30:00 UTC.",
        ),
        (
            {"due_at": AT + DAY},
            AT,
            "not_an_instant",
            "It is a one-shot for 2026-11-23 01:30:00 UTC.",
        ),
        (
            {"active_since": AT},
            AT,
            "before_active_since",
            "It answers for instants after 2026-11-22 01:30:00 UTC, when it was created, enabled or"
            " rescheduled.",
        ),
        ({"expires_at": AT - DAY}, AT, "expired", "It expired at 2026-11-21 01:30:00 UTC."),
        ({"deleted_at": AT}, AT, "deleted", "It was deleted at 2026-11-22 01:30:00 UTC."),
        ({"deleted_at": NOW}, AT + DAY, "deleted", "It was deleted at 2026-11-22 02:00:00 UTC."),
        (
            {"enabled": False},
            AT,
            "disabled",
            "It is disabled; it was changed last at 2026-01-02 00:00:00 UTC.",
        ),
        ({}, AT + DAY, "future", "It lies in the future; its window is armed 15 s before it."),
        (
            {"due_at": NOW + timedelta(seconds=5)},
            NOW + timedelta(seconds=5),
            "not_armed",
            "It is about to be due and its window is not armed yet: is Airflow's scheduler up?",
        ),
        (
            {},
            AT,
            "not_armed",
            "It was due and no run has answered for it yet: Airflow's scheduler or what runs its tasks"
            " was down, or the schedule's DAG is paused. The next run makes up for it.",
        ),
        (
            {"expires_at": AT, "deleted_at": NOW},
            AT,
            "not_armed",
            "It was due and no run has answered for it yet: Airflow's scheduler or what runs its tasks"
            " was down, or the schedule's DAG is paused. The next run makes up for it.",
        ),
    ],
)
def test_without_a_row_the_definition_tells(changes, at, code, sentence):
    found = explain(replace(DEFINITION, **changes), None, at, now=NOW, lead=LEAD)
    assert (found.reason_code, found.sentence, found.execution) == (code, sentence, None)


def test_what_is_not_armed_lies_in_the_future_until_it_is_due():
    for at in (AT + DAY, NOW + timedelta(seconds=1)):
        expression = f"{at.second} {at.minute} {(at.hour + 8) % 24} * * *"
        found = explain(
            replace(DEFINITION, kind="billing", expression=expression), None, at, now=NOW, lead=timedelta(0)
        )
        assert (found.reason_code, found.sentence) == ("future", "It lies in the future.")


def test_what_comes_next_is_shown():
    found = explain(DEFINITION, None, AT, now=NOW, lead=LEAD)
    assert found.next_instants == [AT + DAY, AT + 2 * DAY, AT + 3 * DAY]


def test_nothing_comes_of_what_is_deleted():
    assert list(upcoming(replace(DEFINITION, deleted_at=NOW), NOW)) == []
