"""Readings and the exceptions queue on the wire. Quantities are strings, moments ISO 8601 in UTC."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from api_plugin.management.metering_schemas import Number
from api_plugin.management.schemas import Answer
from include.billing.model import Commodity, Kind
from include.readings.corrections import REASON_LONGEST
from include.readings.model import (
    ROWS_MOST,
    ExceptionKind,
    ExceptionState,
    OnDecrease,
    OnDuplicate,
    OnSpike,
    Quality,
    Source,
)
from include.readings.rows import DEVICE_LONGEST, NOTE_LONGEST, read_value

Reason = Annotated[str, Field(min_length=1, max_length=REASON_LONGEST)]
Value = Annotated[
    Number,
    BeforeValidator(read_value, json_schema_input_type=str | float),
    Field(description="as displayed, 0 or more, at most 6 decimals; a string keeps all digits"),
]


class ReadingItem(BaseModel):
    """A reading that is sent. Read by `include.readings.rows`, which is quicker with ten thousand of them."""

    model_config = ConfigDict(extra="forbid")

    device_id: str = Field(min_length=1, max_length=DEVICE_LONGEST)
    register_kind: Kind = Field("TOTAL", alias="register")
    read_at: str = Field(description="ISO 8601; without an offset it is local time of the project")
    value: str | float = Field(description="as displayed, 0 or more, at most 6 decimals")
    quality: Literal["ok", "estimated"] = "ok"
    source: Literal["meter", "manual", "import", "pull"] = "meter"
    top_up: str | float | None = Field(
        None, description="of meters that show what remains: what was bought since the reading before"
    )
    note: str | None = Field(None, max_length=NOTE_LONGEST)


class ReadingsBody(BaseModel):
    """Readings in bulk: all are recorded, or with an error none."""

    model_config = ConfigDict(extra="forbid")

    rows: list[ReadingItem] = Field(description=f"at most {ROWS_MOST:,}")
    on_decrease: OnDecrease = Field(
        "reject",
        description="of a reading lower than the one before: refuse the request, or store it as suspect",
    )
    on_duplicate: OnDuplicate = Field(
        "reject",
        description="of a register, moment and source that are there: refuse the request, or skip one of the"
        " same value",
    )
    on_spike: OnSpike = Field(
        "reject",
        description="of one that is beyond all measure above the one before: refuse the request, store it as"
        " suspect, or believe it",
    )


class QuarantinedRow(Answer):
    """A row that was stored as suspect; the exceptions queue has it."""

    row: int = Field(description="which of `rows`, the first is 1")
    field: str
    message: str


class ReadingsReport(Answer):
    """What became of a batch."""

    accepted: int
    duplicates: int = Field(description="were there already, with the same value")
    quarantined: list[QuarantinedRow]
    late: int = Field(
        description="of the accepted ones: a bill should have known them; it is looked at again"
    )


class ReadingResponse(Answer):
    """A reading of a register."""

    model_config = ConfigDict(from_attributes=True, serialize_by_alias=True)

    id: int
    device_id: str
    register_kind: Kind = Field(alias="register")
    installation_id: int
    read_at: AwareDatetime
    recorded_at: AwareDatetime
    value: Number = Field(description="as displayed")
    total: Number = Field(
        description="value with the turns of the register; of a suspect one it means nothing"
    )
    top_up: Number
    source: Source
    quality: Quality
    supersedes_id: int | None
    superseded_by_id: int | None
    note: str | None


class CorrectionBody(BaseModel):
    """The value that a reading should have."""

    model_config = ConfigDict(extra="forbid")

    value: Value
    reason: Reason
    force: bool = Field(
        False,
        description="believe a spike or a turn that is not plausible, and count later turns anew",
    )


class ReasonBody(BaseModel):
    """Why a reading is released or discarded."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason
    force: bool = Field(False, description="as of a correction")


class CorrectionResponse(Answer):
    """The reading that stands for the corrected one from now on."""

    id: int


class MissingResponse(Answer):
    """A meter that lacks a reading at a boundary."""

    meter_id: int
    device_id: str
    commodity: Commodity
    service_point: str
    registers: list[Kind] = Field(description="those that lack one")
    last_read_at: AwareDatetime | None = Field(description="of the latest good reading up to the boundary")


class ExceptionResponse(Answer):
    """An entry of the exceptions queue."""

    id: int
    project_id: str
    kind: ExceptionKind
    state: ExceptionState
    detail: str
    parked: bool = Field(description="whether it kept a bill from being made")
    service_point: str | None
    device_id: str | None
    reading_id: int | None
    run_id: int | None
    resolution: str | None
    actor: str | None
    created_at: AwareDatetime
    resolved_at: AwareDatetime | None


class ResolveBody(BaseModel):
    """How an entry was settled."""

    model_config = ConfigDict(extra="forbid")

    resolution: Reason
    action: Literal["accept", "discard"] | None = Field(
        None, description="of a quarantined reading: release it, or discard it for good"
    )
