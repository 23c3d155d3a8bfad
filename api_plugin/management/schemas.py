"""The answers of Carillon's own API. Moments are ISO 8601 in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from include.kit.log import MASK, is_secret
from include.reporting.model import ReasonCode
from include.schedules.model import Kind

State = Literal["pending", "running", "retrying", "succeeded", "failed", "skipped", "missed"]
Origin = Literal["scheduled", "manual"]


def _masked(headers: Any) -> Any:
    """Hide the values of headers that carry credentials."""
    if not isinstance(headers, Mapping):
        return headers
    return {name: MASK if is_secret(str(name)) else value for name, value in headers.items()}


class Answer(BaseModel):
    """What is sent: fields have no defaults, so that a client can rely on each of them."""

    model_config = ConfigDict(from_attributes=True)


class ScheduleResponse(Answer):
    """A distinct (kind, expression, time zone); each active one is a DAG."""

    id: int
    kind: Kind
    expression: str = Field(description="canonical crontab, seconds first; @every …; @once for one-shots")
    timezone: str
    dag_id: str
    description: str
    active: bool
    active_since: AwareDatetime | None
    shards: int
    definitions: int = Field(description="enabled definitions that the token may see")
    next_instants: list[AwareDatetime]


class CallbackResponse(Answer):
    """What a callback task calls. Values of headers that carry credentials are masked."""

    module: int
    type: int
    start_time: str
    url: str
    method: str
    resp_regexp: str | None
    body: str | None
    body_type: int
    redo_delays: list[int] = Field(description="seconds")
    timeout: float = Field(description="seconds")
    headers: Annotated[dict[str, str], BeforeValidator(_masked)]
    signed: bool = Field(description="whether it has a secret that signs its calls")


class TimerResponse(Answer):
    """What a device timer sends, and when."""

    group_id: str
    device_id: str | None = Field(description="null: the device was deleted")
    period: str = Field(description="seven digits from `first_day` on; 0000000: once")
    first_day: Literal["sunday", "monday"]
    hour: str
    minute: str
    commands: str = Field(description="the JSON text as it was sent")
    offline: Literal["skip", "deliver_when_online", "shadow_desired"]
    offline_ttl: float = Field(description="seconds")


class DefinitionResponse(Answer):
    """What a client created."""

    id: int
    kind: Kind
    name: str
    project_id: str | None
    description: str | None
    schedule_id: int
    expression: str
    timezone: str
    enabled: bool
    active_since: AwareDatetime = Field(description="it answers for instants after this one")
    weekdays: int | None = Field(description="bits of the days it is due on, Monday is 1; null: every day")
    due_at: AwareDatetime | None = Field(description="one-shots only")
    spent: bool = Field(description="one-shots only: its instant is in the ledger")
    expires_at: AwareDatetime | None
    misfire: str
    misfire_grace_seconds: float
    overlap: str
    revision: int
    created_at: AwareDatetime
    updated_at: AwareDatetime
    callback: CallbackResponse | None
    timer: TimerResponse | None
    next_instants: list[AwareDatetime]


class ExecutionResponse(Answer):
    """One definition at one instant."""

    id: int
    definition_id: int
    definition_name: str
    kind: Kind
    schedule_id: int
    due_at: AwareDatetime
    origin: Origin
    state: State
    reason: str | None
    covers_since: AwareDatetime | None = Field(
        description="of a condensed outage: the row stands for the instants after this one up to due_at"
    )
    covers_count: int
    attempts: int
    next_attempt_at: AwareDatetime | None
    run_id: str | None
    lateness_ms: float | None
    finished_at: AwareDatetime | None
    created_at: AwareDatetime


class AttemptResponse(Answer):
    """One try of an execution."""

    number: int
    run_type: int = Field(description="1 normal, 2 retry or rerun")
    state: Literal["started", "succeeded", "failed"]
    begin_at: AwareDatetime
    end_at: AwareDatetime | None
    url: str | None
    body: str | None
    status: int | None
    response: str | None
    error: str | None


class AttemptsResponse(Answer):
    """All attempts of an execution, the first one first."""

    items: list[AttemptResponse]


class ExplanationResponse(Answer):
    """Why a definition did or did not fire at an instant."""

    definition_id: int
    definition_name: str
    at: AwareDatetime
    reason_code: ReasonCode
    sentence: str
    execution: ExecutionResponse | None
    next_instants: list[AwareDatetime]


class LatenessBucket(Answer):
    """Executions with `from_ms` <= lateness < `below_ms`; null where there is no bound."""

    from_ms: float | None
    below_ms: float | None
    count: int


class LatenessKind(Answer):
    """How late the scheduled executions of one kind began, in milliseconds."""

    kind: Kind
    executions: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    buckets: list[LatenessBucket]


class LatenessResponse(Answer):
    """Lateness over a span of instants, by kind."""

    due_from: datetime = Field(serialization_alias="from")
    due_to: datetime = Field(serialization_alias="to")
    kinds: list[LatenessKind]


class PoolHealth(Answer):
    """The connection pool of the process that answered."""

    size: int
    available: int
    waiting: int


class DatabaseHealth(Answer):
    """The database, asked just now."""

    status: Literal["healthy"]
    version: str
    answer_ms: float
    pool: PoolHealth


class HealthResponse(Answer):
    """`degraded` when a part of Airflow is not healthy. A database that is away is a 503 problem instead."""

    status: Literal["ok", "degraded"]
    now: AwareDatetime
    database: DatabaseHealth
    airflow: dict[str, str] = Field(description="healthy, unhealthy, absent or unknown, by component")


class LivenessResponse(Answer):
    """The process answers; nothing else is looked at or told."""

    status: Literal["ok"]


class WhoamiResponse(Answer):
    """Whom the credential stands for; nulls mean all, and no token at all for an opened network."""

    token_id: int | None
    name: str | None
    apis: list[str] | None
    projects: list[str] | None
    expires_at: AwareDatetime | None
