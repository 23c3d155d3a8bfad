"""Maintenance in the own API. Quantities are strings, moments ISO 8601 in UTC."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from api_plugin.management.metering_schemas import Number
from api_plugin.management.schemas import Answer
from include.maintenance.bulk import ROWS_MOST
from include.maintenance.history import ReportBy
from include.maintenance.model import TaskState
from include.maintenance.outlook import POINTS_MOST, OutlookState
from include.maintenance.requests import HandleRequest


class OutlookResponse(Answer):
    """What will be due of an object."""

    object_id: str
    name: str
    alias: str
    state: OutlookState
    task_id: str | None
    due_at: AwareDatetime | None = Field(
        description="of its open task, else the next time; of statistics a forecast; null: nobody can tell"
    )
    notice_at: AwareDatetime | None
    grown: Number | None = Field(description="statistics: since it was handled last")
    due_growth: Number | None = Field(description="statistics: at which growth it is due")
    daily_growth: Number | None
    counted_at: AwareDatetime | None = Field(description="statistics: of the last sample")
    following: list[AwareDatetime] = Field(
        description="after `due_at`, if it is handled on the day on which it is due, what is past today;"
        f" at most {POINTS_MOST}"
    )


class OccurrenceResponse(Answer):
    """A task and what became of it."""

    uid: str
    organization_id: str
    project_id: str
    project_name: str
    object_id: str
    object_name: str
    cycle_type: str
    state: TaskState
    noticed_at: AwareDatetime
    due_at: AwareDatetime | None = Field(description="as planned; of statistics when it was seen to be due")
    due_total: Number | None
    due_since: AwareDatetime | None
    overdue_since: AwareDatetime | None
    closed_at: AwareDatetime | None
    missed: int = Field(description="further points of the plan that passed while it was open")
    below_threshold: bool = Field(description="its statistic was corrected to less than what it is due at")
    handle_id: str | None
    description: str | None = Field(description="and the rest: of the handle")
    handler_ids: list[int | str] | None
    handler_names: list[str] | None
    fee: Number | None
    result: str | None
    images: Any


class ComplianceResponse(Answer):
    """How well was kept what was due, of one project, object or month."""

    key: str = Field(description="uid of the project, id of the object, or month")
    name: str
    planned: int
    on_time: int = Field(description="handled before it was overdue")
    late: int = Field(description="handled after that")
    ignored: int
    overdue: int = Field(description="and not handled yet")
    open: int = Field(description="not overdue yet, or stopped")
    missed: int = Field(description="further points of plans that passed while tasks were open")
    cost: Number
    rate: Number | None = Field(description="on_time of what is settled or overdue, 0 to 1")


class ComplianceReport(Answer):
    """A page of the report; `next` is null on the last one."""

    by: ReportBy
    start: AwareDatetime
    end: AwareDatetime
    items: list[ComplianceResponse]
    next: str | None = Field(description="give it as `cursor` to get the page after this one")


def _not_too_many(items: Any) -> Any:
    if isinstance(items, list) and len(items) > ROWS_MOST:
        raise ValueError(f"must have at most {ROWS_MOST:,} items, not {len(items):,}")
    return items


class HandleManyBody(BaseModel):
    """What was done about many tasks: all are handled, or none."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "items": [
                    {
                        "task_id": "MTT1764000000001",
                        "handler_id_list": [1],
                        "handler_name_list": ["Anna"],
                        "fee": 12.5,
                        "result": "oil changed",
                    }
                ]
            }
        },
    )

    items: Annotated[list[HandleRequest], BeforeValidator(_not_too_many)] = Field(
        description=f"at most {ROWS_MOST:,}, each as v2_handle has it"
    )


class HandledResponse(Answer):
    """A task that was handled."""

    task_id: str
    handle_id: str


class HandledManyResponse(Answer):
    """The tasks that were handled, in the order of the request."""

    items: list[HandledResponse]


class AttachmentResponse(Answer):
    """A stored file."""

    id: int
    organization_id: str
    name: str
    content_type: str
    size: int = Field(description="bytes")
    created_at: AwareDatetime
    url: str = Field(description="a path of this server, for `images` of a handle")
