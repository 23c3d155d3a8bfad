"""What document 002 answers: names, order and types of its samples; moments are naive and local."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field

from include.maintenance.lists import Listed
from include.maintenance.model import Handle, Project, Task
from include.settings import get_settings

Result = TypeVar("Result")
Item = TypeVar("Item")
Row = TypeVar("Row")

Number = int | float


class Envelope(BaseModel, Generic[Result]):
    """Every good answer. An error has `info` beside it, and an empty `result`."""

    resp: str = Field(description="the action")
    code: int = Field(description="200 good, 10013 parameters, 10012 credential, 10500 internal")
    msg: str
    result: Result


class Nothing(BaseModel):
    """An empty object."""


class UidOut(BaseModel):
    """What was made or taken away."""

    uid: str


class NamedOut(BaseModel):
    """A project that was created or updated."""

    name: str
    uid: str


class ProjectOut(BaseModel):
    """A project."""

    uid: str
    name: str
    alias: str
    description: str
    cycle_type: str
    statistics_id: str
    period_num: Number
    period_unit: str
    notice_num: int
    notice_unit: str
    guide: str
    object_id_list: list[str]
    is_active: int = Field(description="1 started, 0 stopped")
    organization_id: str
    created: str = Field(description="YYYY-MM-DD HH:MM:SS")
    created_by: int
    last_modified: str
    last_modified_by: int


class TaskOut(BaseModel):
    """A task; what it says of its project is from when it was noticed."""

    uid: str
    description: str
    project_id: str
    project_name: str
    project_alias: str
    object_id: str
    object_name: str
    object_alias: str
    cycle_type: str
    statistics_id: str
    period_num: Number
    period_unit: str
    notice_num: int
    notice_unit: str
    guide: str
    organization_id: str
    created: str
    created_by: int
    last_modified: str
    last_modified_by: int


class HandleOut(BaseModel):
    """What was done about a task, or that it was ignored."""

    uid: str
    description: str
    task_id: str
    project_id: str
    project_alias: str
    project_name: str
    object_id: str
    object_name: str
    object_alias: str
    handler_id_list: list[int | str]
    handler_name_list: list[str]
    fee: Number
    result: str
    images: Any = Field(description="as they were sent")
    organization_id: str
    created: str
    created_by: int
    last_modified: str
    last_modified_by: int


class PageOut(BaseModel, Generic[Item]):
    """A page of a list."""

    page_index: int
    page_size: int
    total_pages: int
    total_records: int
    data: list[Item]


def project_out(project: Project) -> ProjectOut:
    """Write a project as the document does."""
    return ProjectOut(
        uid=project.uid,
        name=project.name,
        alias=project.alias,
        description=project.description,
        object_id_list=list(project.object_ids),
        is_active=int(project.is_active),
        organization_id=project.organization_id,
        **_cycle(project),
        **_stamps(project),
    )


def task_out(task: Task) -> TaskOut:
    """Write a task as the document does."""
    return TaskOut(
        uid=task.uid,
        description=task.description,
        organization_id=task.organization_id,
        **_subject(task),
        **_cycle(task),
        **_stamps(task),
    )


def handle_out(handle: Handle) -> HandleOut:
    """Write a handle as the document does."""
    return HandleOut(
        uid=handle.uid,
        description=handle.description,
        task_id=handle.task.uid,
        handler_id_list=list(handle.handler_ids),
        handler_name_list=list(handle.handler_names),
        fee=_number(handle.fee),
        result=handle.result,
        images=handle.images,
        organization_id=handle.task.organization_id,
        **_subject(handle.task),
        **_stamps(handle),
    )


def page_out(found: Listed[Row], page: tuple[int, int], show: Callable[[Row], Item]) -> PageOut[Item]:
    """Write a page, given which one from 1 and how many rows it may have."""
    index, size = page
    return PageOut(
        page_index=index,
        page_size=size,
        total_pages=-(-found.count // size),
        total_records=found.count,
        data=[show(row) for row in found.rows],
    )


def _subject(task: Task) -> dict[str, str]:
    return {
        "project_id": task.project_uid,
        "project_name": task.project_name,
        "project_alias": task.project_alias,
        "object_id": task.object_id,
        "object_name": task.object_name,
        "object_alias": task.object_alias,
    }


def _cycle(of: Project | Task) -> dict[str, Any]:
    return {
        "cycle_type": of.cycle_type,
        "statistics_id": of.statistics_id,
        "period_num": _number(of.period_num),
        "period_unit": of.period_unit,
        "notice_num": of.notice_num,
        "notice_unit": of.notice_unit,
        "guide": of.guide,
    }


def _stamps(of: Project | Task | Handle) -> dict[str, Any]:
    return {
        "created": _local(of.created_at),
        "created_by": of.created_by,
        "last_modified": _local(of.updated_at),
        "last_modified_by": of.last_modified_by,
    }


def _number(value: Decimal) -> Number:
    """Write a number without a point where it is whole; it was checked to have digits that a float holds."""
    return int(value) if value == value.to_integral_value() else float(value)


def _local(moment: datetime) -> str:
    return f"{moment.astimezone(ZoneInfo(get_settings().timezone)):%Y-%m-%d %H:%M:%S}"
