"""What is shown of schedules, definitions and the ledger. Moments are aware and in UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from include.schedules.model import Kind

#: Upper bounds (ms, exclusive) of the buckets of a lateness histogram; the last bucket has none.
LATENESS_BOUNDS_MS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 60_000)


@dataclass(frozen=True)
class ScheduleRow:
    """A schedule; `definitions` counts the enabled ones that the caller may see.

    :ivar weekdays: bits of the days on which those may be due, None: there are none
    """

    id: int
    kind: Kind
    expression: str
    timezone: str
    dag_id: str
    description: str
    active: bool
    active_since: datetime | None
    shards: int
    definitions: int
    weekdays: int | None


@dataclass(frozen=True)
class DefinitionRow:
    """A definition with what is particular to its kind (`callback`, `timer`).

    :ivar weekdays: bits of the days it is due on (`include.cron.weekdays`), None: every day
    :ivar due_at: one-shots only: their instant; `spent` when that is in the ledger
    :ivar misfire_grace_seconds: how late an instant may still fire
    """

    id: int
    kind: Kind
    name: str
    project_id: str | None
    description: str | None
    schedule_id: int
    expression: str
    timezone: str
    enabled: bool
    active_since: datetime
    weekdays: int | None
    due_at: datetime | None
    spent: bool
    expires_at: datetime | None
    misfire: str
    misfire_grace_seconds: float
    overlap: str
    revision: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    callback: Mapping[str, Any] | None
    timer: Mapping[str, Any] | None


@dataclass(frozen=True)
class ExecutionRow:
    """A row of the ledger.

    :ivar covers_since: of a condensed outage: the row stands for the `covers_count` instants in
        `(covers_since, due_at]`
    :ivar lateness_ms: first byte sent minus `due_at`, of the first attempt
    """

    id: int
    definition_id: int
    definition_name: str
    kind: Kind
    schedule_id: int
    due_at: datetime
    origin: str
    state: str
    reason: str | None
    covers_since: datetime | None
    covers_count: int
    attempts: int
    next_attempt_at: datetime | None
    run_id: str | None
    lateness_ms: float | None
    finished_at: datetime | None
    created_at: datetime


@dataclass(frozen=True)
class AttemptRow:
    """One try of an execution; `run_type` 1 is the first scheduled one, 2 a retry or rerun."""

    number: int
    run_type: int
    state: str
    begin_at: datetime
    end_at: datetime | None
    url: str | None
    body: str | None
    status: int | None
    response: str | None
    error: str | None


@dataclass(frozen=True)
class ExecutionFilter:
    """Which executions to list; None leaves a condition out. `due_from` is inclusive, `due_to` exclusive."""

    definition_id: int | None = None
    schedule_id: int | None = None
    kind: str | None = None
    state: str | None = None
    origin: str | None = None
    due_from: datetime | None = None
    due_to: datetime | None = None


@dataclass(frozen=True)
class LatenessRow:
    """How late the scheduled executions of a kind began.

    :ivar counts: one a bucket of `LATENESS_BOUNDS_MS`, the last for what lies above
    """

    kind: Kind
    executions: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    counts: Sequence[int]


ReasonCode = Literal[
    "fired", "failed", "skipped", "missed", "outage", "open",
    "not_an_instant", "before_active_since", "expired", "deleted", "disabled",
    "future", "not_armed",
]  # fmt: skip


@dataclass(frozen=True)
class Explanation:
    """Why a definition did or did not fire at an instant.

    :ivar execution: the ledger's row for the instant, or the one that stands for it
    :ivar next_instants: what comes next from now on
    """

    definition: DefinitionRow
    at: datetime
    reason_code: ReasonCode
    sentence: str
    execution: ExecutionRow | None = None
    next_instants: list[datetime] = field(default_factory=list)
