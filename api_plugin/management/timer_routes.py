"""Device timers: when they fire next, run them now, have them rest."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import AwareDatetime, Field

from api_plugin.common.announcer import nudge
from api_plugin.common.auth import CallerDep
from api_plugin.common.database import DatabaseDep, transact
from api_plugin.management.problems import MISSING, PROBLEMS
from api_plugin.management.schemas import Answer
from include.cron import FirstDay
from include.kit.clock import system_clock
from include.timers.model import KEY, Offline, TimerGroup
from include.timers.operations import DeviceTimers, TimerOperations

router = APIRouter(tags=["device timers"], responses={**PROBLEMS, **MISSING})

DevicePath = Annotated[str, Path(pattern="^[A-Za-z0-9_-]{1,128}$")]
GroupPath = Annotated[str, Path(pattern=f"^{KEY.pattern}$", description="32 hexadecimal digits")]


class DeviceTimerResponse(Answer):
    """A timer of a group."""

    definition_id: int
    name: str
    hour: str
    minute: str
    commands: str = Field(description="the JSON text as it was sent")
    spent: bool = Field(description="one-shots only: its instant is in the ledger")
    next_at: AwareDatetime | None = Field(description="null while it does not fire")


class TimerGroupResponse(Answer):
    """Timers that share the days of the week."""

    group_id: str
    period: str
    first_day: FirstDay
    timezone: str
    enabled: bool
    offline: Offline
    offline_ttl: float = Field(description="seconds")
    created_by: str | None
    created_at: AwareDatetime
    updated_at: AwareDatetime
    next_at: AwareDatetime | None
    timers: list[DeviceTimerResponse]


class DeviceTimersResponse(Answer):
    """All timers of a device, the newest group first."""

    device_id: str
    paused: bool = Field(description="whether all of them rest")
    groups: list[TimerGroupResponse]


class ManualRunResponse(Answer):
    """A run on demand; what came of it stands in `/executions/{id}`."""

    group_id: str
    due_at: AwareDatetime
    execution_ids: list[int]


@router.get("/devices/{device_id}/timers")
async def list_device_timers(
    device_id: DevicePath, caller: CallerDep, database: DatabaseDep
) -> DeviceTimersResponse:
    """The timers of a device and when each fires next."""
    found = await transact(
        database,
        lambda connection: TimerOperations(connection, projects=caller.projects).timers(device_id),
    )
    return _timers(found, system_clock())


@router.post("/devices/{device_id}/timers/pause")
async def pause_device_timers(
    device_id: DevicePath, caller: CallerDep, database: DatabaseDep
) -> DeviceTimersResponse:
    """Have all timers of a device rest, armed ones and later ones, too."""
    found = await transact(
        database, lambda connection: TimerOperations(connection, projects=caller.projects).pause(device_id)
    )
    nudge()
    return _timers(found, system_clock())


@router.post("/devices/{device_id}/timers/resume")
async def resume_device_timers(
    device_id: DevicePath, caller: CallerDep, database: DatabaseDep
) -> DeviceTimersResponse:
    """Have the timers of a device go on from now, each as its group is set."""
    found = await transact(
        database, lambda connection: TimerOperations(connection, projects=caller.projects).resume(device_id)
    )
    nudge()
    return _timers(found, system_clock())


@router.post("/timer-groups/{group_id}/run", status_code=202)
async def run_timer_group(group_id: GroupPath, caller: CallerDep, database: DatabaseDep) -> ManualRunResponse:
    """Run each timer of a group once, now, whatever its days are."""
    run = await transact(
        database, lambda connection: TimerOperations(connection, projects=caller.projects).run_now(group_id)
    )
    nudge()
    return ManualRunResponse(group_id=group_id, due_at=run.due_at, execution_ids=list(run.execution_ids))


def _timers(found: DeviceTimers, now: datetime) -> DeviceTimersResponse:
    return DeviceTimersResponse(
        device_id=found.device_id, paused=found.paused, groups=[_group(group, now) for group in found.groups]
    )


def _group(group: TimerGroup, now: datetime) -> TimerGroupResponse:
    return TimerGroupResponse(
        group_id=group.group_id,
        period=group.period,
        first_day=group.first_day,
        timezone=group.timezone,
        enabled=group.is_on(now),
        offline=group.offline,
        offline_ttl=group.offline_ttl.total_seconds(),
        created_by=group.created_by,
        created_at=group.created_at,
        updated_at=group.updated_at,
        next_at=group.next_run_at(now),
        timers=[
            DeviceTimerResponse(
                definition_id=timer.definition_id,
                name=timer.name,
                hour=timer.hour,
                minute=timer.minute,
                commands=timer.commands,
                spent=timer.spent,
                next_at=timer.upcoming(group.timezone, now) if timer.live else None,
            )
            for timer in group.timers
        ],
    )
