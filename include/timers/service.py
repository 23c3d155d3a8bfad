"""Use cases on groups of device timers, as the users of a device have them (document 001)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from include.cron import NO_DAY, CronSchedule, FirstDay, check_zone, parse_time_of_day, weekdays_of_mask
from include.errors import ConflictError, InvalidInputError, NotFoundError, PermissionDeniedError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection
from include.schedules.repository import ScheduleRepository
from include.schedules.service import ScheduleService
from include.settings import get_settings
from include.timers.model import (
    GROUPS_MOST,
    KEY,
    TIMERS_MOST,
    TTL_LONGEST,
    TTL_SHORTEST,
    GroupFields,
    GroupPage,
    Timer,
    TimerFields,
    TimerGroup,
    read_commands,
)
from include.timers.repository import TimedDevice, TimerRepository

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Shape:
    """What the timers of a group have in common.

    :ivar weekdays: bits (`include.cron.weekdays`), None: they are one-shots
    :ivar live: whether they fire
    :ivar moved: whether one-shots lie elsewhere than before, since the zone is another
    """

    device_id: str
    timezone: str
    weekdays: int | None
    live: bool
    moved: bool = False


class TimerService:
    """The use cases, inside the caller's transaction.

    :param user: sees the groups of the devices to which it is bound, and no other
    """

    def __init__(self, connection: Connection, *, user: str, clock: Clock = system_clock) -> None:
        self.user = user
        self.clock = clock
        self.settings = get_settings()
        self.repository = TimerRepository(connection)
        self.schedules = ScheduleService(ScheduleRepository(connection))
        self.schedule_ids: dict[CronSchedule | None, int] = {}

    async def create(self, device_id: str, fields: GroupFields) -> TimerGroup:
        """Create a group; its timers answer for instants from now on.

        :raises InvalidInputError: names the field at fault; also where there is no such device
        :raises PermissionDeniedError: the user is not bound to the device
        :raises ConflictError: the device has as many groups as it may have
        """
        device = _bound(await self.repository.lock_device(device_id, self.user), device_id)
        if await self.repository.count_groups(device.id) >= GROUPS_MOST:
            raise ConflictError(f"the device has {GROUPS_MOST} groups of timers already")
        now = self.clock()
        _check_names(fields.tasks, known=())
        values = self._values(fields, device=device)
        shape = _shape(values, device.device_id, paused=device.paused)
        rows = [await self._row(place, item, shape, None, now) for place, item in enumerate(fields.tasks)]
        group_id = uuid4().hex
        group = await self.repository.insert_group(
            {**values, "group_id": group_id, "device": device.id, "user": self.user}, now
        )
        await self._insert(group, rows, device.project_id, now)
        made = await self.get(group_id)
        # Last: it locks the schedule, for which all who set a timer of this time of day wait in a row.
        await self.schedules.changed((row["schedule_id"] for row in rows), now)
        return made

    async def update(self, group_id: str, fields: GroupFields, *, device_id: str | None = None) -> TimerGroup:
        """Give a group new values and timers: named ones stay, those without a name are new, others go.

        A one-shot whose moment has passed is due again at the next one if the group is enabled. Settings that
        are not given stay.

        :param device_id: as the client believes it to be, where it says so
        :raises InvalidInputError: names the field at fault
        :raises NotFoundError: no such group on a device of this user
        """
        group = await self._locked(group_id)
        if device_id not in (None, group.device_id):
            raise InvalidInputError("a group cannot move to another device", field="device_id")
        now = self.clock()
        timers = {timer.name: timer for timer in group.timers}
        _check_names(fields.tasks, known=timers)
        values = self._values(fields, stored=group)
        moved = values["timezone"] != group.timezone
        shape = _shape(values, group.device_id, paused=group.paused, moved=moved)
        rows = [
            await self._row(place, item, shape, timers.get(item.name or ""), now)
            for place, item in enumerate(fields.tasks)
        ]
        left = [timer.definition_id for name, timer in timers.items() if name not in _names(fields.tasks)]
        await self.repository.update_group(group.id, values, now)
        await self.repository.delete_timers(left, now)
        await self.repository.update_timers([row for row in rows if row["definition_id"]], now)
        await self._insert(group.id, [r for r in rows if not r["definition_id"]], group.project_id, now)
        touched = {timer.schedule_id for timer in group.timers} | {row["schedule_id"] for row in rows}
        made = await self.get(group_id)
        await self.schedules.changed(touched, now)
        return made

    async def delete(self, group_id: str) -> None:
        """Take a group away, so that even an armed timer does not fire; its history stays.

        :raises NotFoundError: no such group on a device of this user
        """
        group = await self._locked(group_id)
        now = self.clock()
        await self.schedules.changed(await self.repository.delete_groups([group.id], now), now)

    async def get(self, group_id: str) -> TimerGroup:
        """Return a group.

        :raises NotFoundError: no such group on a device of this user
        """
        found = None
        if KEY.fullmatch(group_id):
            found = await self.repository.find_group(group_id, user=self.user, projects=None)
        if found is None:
            raise _no_group(group_id)
        return found

    async def list(self, device_id: str, *, limit: int = GROUPS_MOST, offset: int = 0) -> GroupPage:
        """Return the groups of a device, the newest first.

        :raises InvalidInputError: there is no such device
        :raises PermissionDeniedError: the user is not bound to the device
        """
        device = _bound(await self.repository.find_device(device_id, self.user), device_id)
        return await self.repository.list_groups(device.id, limit=limit, offset=offset)

    async def _locked(self, group_id: str) -> TimerGroup:
        if KEY.fullmatch(group_id) is None or not await self.repository.lock_group(group_id, self.user):
            raise _no_group(group_id)
        return await self.get(group_id)

    async def _insert(self, group: int, rows: Sequence[Row], project_id: str, now: datetime) -> None:
        if rows:
            grace = timedelta(seconds=self.settings.misfire_skip_grace_seconds)
            await self.repository.insert_timers(
                group, rows, project_id=project_id, misfire_grace=grace, now=now
            )

    def _values(
        self, fields: GroupFields, *, device: TimedDevice | None = None, stored: TimerGroup | None = None
    ) -> dict[str, Any]:
        """Return the columns of a group: what was given, checked; else what is stored; else the defaults."""
        settings = self.settings
        first_day: FirstDay = stored.first_day if stored else settings.timer_first_day
        timezone = stored.timezone if stored else (device.timezone if device else None) or settings.timezone
        ttl = stored.offline_ttl if stored else timedelta(seconds=settings.timer_offline_ttl_seconds)
        ttl = fields.offline_ttl or ttl
        if not TTL_SHORTEST <= ttl <= TTL_LONGEST:
            raise InvalidInputError("must be 1 second to 7 days", field="offline_ttl")
        first_day = fields.first_day or first_day
        weekdays_of_mask(fields.period, first_day, field="period")
        return {
            "period": fields.period,
            "first_day": first_day,
            "timezone": check_zone(fields.timezone or timezone, field="timezone"),
            "enabled": fields.enabled,
            "offline": fields.offline or (stored.offline if stored else settings.timer_offline),
            "offline_ttl": ttl,
        }

    async def _row(
        self, place: int, item: TimerFields, shape: Shape, old: Timer | None, now: datetime
    ) -> dict[str, Any]:
        """Return the columns of a timer; `restarted` where it must not answer for instants before now."""
        field = f"tasks.{place}"
        try:
            read_commands(item.commands)
        except InvalidInputError as error:
            raise InvalidInputError(error.message, field=f"{field}.commands") from None
        cron = parse_time_of_day(
            hour=item.hour, minute=item.minute, mask=NO_DAY, zone=shape.timezone, field=field
        )
        once = shape.weekdays is None
        schedule_id = await self._schedule_for(None if once else cron)
        due_at, spent = _moment(cron, item, shape, old, now) if once else (None, False)
        new = (schedule_id, shape.weekdays, due_at)
        return {
            "definition_id": old.definition_id if old else None,
            "name": old.name if old else uuid4().hex,
            "description": f"{shape.device_id} {int(item.hour):02}:{int(item.minute):02}",
            "schedule_id": schedule_id,
            "enabled": shape.live,
            "weekdays": shape.weekdays,
            "due_at": due_at,
            "spent": spent,
            "restarted": old is None
            or new != (old.schedule_id, old.weekdays, old.due_at)
            or (shape.live and not old.live),
            "ordinal": place,
            "hour": item.hour,
            "minute": item.minute,
            "commands": item.commands,
        }

    async def _schedule_for(self, cron: CronSchedule | None) -> int:
        """Return the id of the schedule of a time of day, or of the one-shots."""
        if cron not in self.schedule_ids:
            self.schedule_ids[cron] = (
                await self.schedules.ensure("timer", cron)
                if cron
                else await self.schedules.ensure_once("timer")
            )
        return self.schedule_ids[cron]


def _moment(
    cron: CronSchedule, item: TimerFields, shape: Shape, old: Timer | None, now: datetime
) -> tuple[datetime, bool]:
    """Return when a one-shot is due, and whether that is in the ledger already."""
    if old is not None and old.due_at is not None and not shape.moved:
        same = (int(old.hour), int(old.minute)) == (int(item.hour), int(item.minute))
        if same and (old.due_at > now or not shape.live):
            return old.due_at, old.spent
    return cron.next_after(now), False


def _shape(values: Row, device_id: str, *, paused: bool, moved: bool = False) -> Shape:
    return Shape(
        device_id,
        values["timezone"],
        weekdays_of_mask(values["period"], values["first_day"], field="period") or None,
        values["enabled"] and not paused,
        moved,
    )


def _names(tasks: Sequence[TimerFields]) -> set[str]:
    return {item.name for item in tasks if item.name is not None}


def _check_names(tasks: Sequence[TimerFields], known: Mapping[str, Timer] | Sequence[str]) -> None:
    if not 1 <= len(tasks) <= TIMERS_MOST:
        raise InvalidInputError(f"must list 1 to {TIMERS_MOST} timers", field="tasks")
    seen: set[str] = set()
    for place, item in enumerate(tasks):
        if item.name is None:
            continue
        if item.name in seen:
            raise InvalidInputError("stands twice in this request", field=f"tasks.{place}.name")
        if item.name not in known:
            raise InvalidInputError("is not a timer of this group", field=f"tasks.{place}.name")
        seen.add(item.name)


def _bound(device: TimedDevice | None, device_id: str) -> TimedDevice:
    if device is None:
        raise InvalidInputError(f"there is no device {device_id[:128]}", field="device_id")
    if not device.bound:
        raise PermissionDeniedError(f"you are not bound to the device {device_id}")
    return device


def _no_group(group_id: str) -> NotFoundError:
    return NotFoundError(f"there is no task {group_id[:64]}")
