"""Statistics and their samples on the wire. Quantities are strings, moments ISO 8601 in UTC."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from api_plugin.management.maintenance_scope import ObjectId
from api_plugin.management.metering_schemas import Number
from api_plugin.management.schemas import Answer
from include.metering.rows import FilledText, Text
from include.readings.rows import read_value
from include.statistics.model import ROWS_MOST, OnDuplicate, StatisticKind


class StatisticBody(BaseModel):
    """Something that is counted of objects."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"name": "Running hours", "unit": "小时", "kind": "cumulative"}},
    )

    name: FilledText
    unit: Text = Field("小时", description="of its values; hours make notices exact")
    kind: StatisticKind = Field(
        "cumulative",
        description="cumulative: samples say what the counter shows; delta: what was counted since the last",
    )


class StatisticResponse(Answer):
    """A statistic."""

    uid: str
    organization_id: str
    name: str
    unit: str
    kind: StatisticKind
    created_at: AwareDatetime
    updated_at: AwareDatetime


class SampleRow(BaseModel):
    """What was counted of an object at a moment."""

    model_config = ConfigDict(extra="forbid")

    object_id: ObjectId
    at: str = Field(description="ISO 8601; without an offset by the clocks of CARILLON_TIMEZONE")
    value: Annotated[str | int | float, BeforeValidator(read_value)]


class SamplesBody(BaseModel):
    """Samples in any order, all or none of which are stored."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "rows": [{"object_id": "pump-1", "at": "2026-11-22T09:30:00+08:00", "value": "1250.5"}],
                "on_duplicate": "reject",
            }
        },
    )

    rows: list[SampleRow] = Field(description=f"at most {ROWS_MOST:,}")
    on_duplicate: OnDuplicate = Field(
        "reject", description="replace: a value stands for another one that is stored of its moment"
    )


class SampleReportResponse(Answer):
    """What became of samples."""

    accepted: int = Field(description="new ones")
    corrected: int = Field(description="that stand for another one, or that were deleted")
    unchanged: int = Field(description="that say what is stored already")
    resets: int = Field(description="new ones at which a counter began anew")
    crossed: int = Field(description="states of objects that came to be noticed or due by it")


class SampleResponse(Answer):
    """A stored sample."""

    object_id: str
    at: AwareDatetime
    value: Number
    total: Number = Field(description="growth since the first sample of the object")
    reset: bool = Field(description="the counter showed less than before: it began anew")


class ObjectValueResponse(Answer):
    """Where an object stands: its last sample."""

    object_id: str
    at: AwareDatetime
    value: Number
    total: Number
    daily_growth: Number | None = Field(description="of the 30 days before; null: from fewer than 3 samples")
