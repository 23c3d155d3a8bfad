"""Maintenance as it is stored and shown. Moments are aware and in UTC. No I/O.

The words are those of document 002; what it leaves open is decided in research `billing_maintenance.md` G.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, get_args

CycleType = Literal["自然时间周期", "统计周期"]
CYCLE_TYPES: tuple[CycleType, ...] = get_args(CycleType)
NATURAL: CycleType = "自然时间周期"
STATISTICS: CycleType = "统计周期"
#: The document spells it both ways (B1).
STATISTICS_ALIAS = "统计时间周期"

PeriodUnit = Literal["年", "月", "周", "日", "小时"]
PERIOD_UNITS: tuple[PeriodUnit, ...] = get_args(PeriodUnit)
NoticeUnit = Literal["月", "日"]
NOTICE_UNITS: tuple[NoticeUnit, ...] = get_args(NoticeUnit)

ScheduleMode = Literal["floating", "fixed"]
TaskState = Literal["noticed", "due", "overdue", "stopped", "handled", "ignored", "cancelled"]
#: Of tasks that can still be handled; an object of a project has one of them at most (B17).
OPEN_STATES: frozenset[TaskState] = frozenset({"noticed", "due", "overdue", "stopped"})

OBJECTS_MOST = 10_000


@dataclass(frozen=True, slots=True)
class ProjectFields:
    """A project as a client gives it, checked.

    :ivar uid: empty: one is made
    :ivar alias: as it shall be stored
    :ivar period_num: whole for natural cycles; of statistics, in units of the statistic (B2)
    :ivar object_ids: without repetitions, in the order given
    :ivar schedule_mode: whether the next due moment counts from the handling or from the plan (B6)
    :ivar grace_days: how long after its day something due is not overdue yet
    """

    uid: str
    name: str
    alias: str
    description: str
    cycle_type: CycleType
    statistics_id: str
    period_num: Decimal
    period_unit: PeriodUnit | Literal[""]
    notice_num: int
    notice_unit: NoticeUnit
    guide: str
    object_ids: Sequence[str]
    schedule_mode: ScheduleMode = "floating"
    grace_days: int = 0


@dataclass(frozen=True, slots=True)
class Project:
    """A project as it is stored.

    :ivar id: of its definition
    :ivar organization_id: empty where its token had none
    """

    id: int
    schedule_id: int
    uid: str
    organization_id: str
    name: str
    alias: str
    description: str
    cycle_type: CycleType
    statistics_id: str
    period_num: Decimal
    period_unit: str
    notice_num: int
    notice_unit: NoticeUnit
    guide: str
    schedule_mode: ScheduleMode
    grace_days: int
    timezone: str
    object_ids: Sequence[str]
    is_active: bool
    created_at: datetime
    created_by: int
    updated_at: datetime
    last_modified_by: int


@dataclass(frozen=True, slots=True)
class Task:
    """A maintenance task: one occurrence for one object, with what its project was when it was noticed.

    :ivar due_at: natural cycles: the beginning of its day or hour; statistics: when it was seen to be due
    :ivar due_total: statistics: at which growth it is due
    :ivar missed: further points of the plan that passed while it was open
    """

    id: int
    uid: str
    definition_id: int
    organization_id: str
    state: TaskState
    description: str
    project_uid: str
    project_name: str
    project_alias: str
    object_id: str
    object_name: str
    object_alias: str
    cycle_type: CycleType
    statistics_id: str
    period_num: Decimal
    period_unit: str
    notice_num: int
    notice_unit: NoticeUnit
    guide: str
    due_at: datetime | None
    due_total: Decimal | None
    due_since: datetime | None
    overdue_since: datetime | None
    closed_at: datetime | None
    missed: int
    below_threshold: bool
    created_at: datetime
    created_by: int
    updated_at: datetime
    last_modified_by: int


@dataclass(frozen=True, slots=True)
class HandleFields:
    """What was done about a task, as a client tells it, checked (B21, B22).

    :ivar handler_ids: as sent, numbers or texts
    :ivar images: as sent, a text or a list of texts
    """

    description: str = ""
    handler_ids: Sequence[int | str] = ()
    handler_names: Sequence[str] = ()
    fee: Decimal = Decimal(0)
    result: str = ""
    images: Any = ""


@dataclass(frozen=True, slots=True)
class Handle:
    """The record of a handling, or of an ignored task, with its task as it was."""

    id: int
    uid: str
    kind: Literal["HANDLE", "IGNORE"]
    task: Task
    description: str
    handler_ids: Sequence[int | str]
    handler_names: Sequence[str]
    fee: Decimal
    result: str
    images: Any
    created_at: datetime
    created_by: int
    updated_at: datetime
    last_modified_by: int


def cycle_name(cycle_type: CycleType, num: Decimal, unit: str) -> str:
    """Return what projects that are looked at together have in common: `every_2_days`, `statistics`."""
    if cycle_type == STATISTICS:
        return "statistics"
    word = _WORDS[unit]
    return f"every_{word}" if num == 1 else f"every_{int(num)}_{word}s"


_WORDS = {"年": "year", "月": "month", "周": "week", "日": "day", "小时": "hour"}
