"""Device timers: what a client asks for (document 001) and what firing needs of it. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import accumulate, repeat
from typing import Any, Literal

import orjson

from include.cron import CronSchedule, FirstDay, on_weekdays
from include.errors import InvalidInputError
from include.gateway.model import Command

Offline = Literal["skip", "deliver_when_online", "shadow_desired"]

#: `group_id` and `name` of a timer.
KEY = re.compile(r"[0-9a-f]{32}")

#: The document names no limits; these keep an answer readable and a device usable.
TIMERS_MOST, GROUPS_MOST = 100, 100
COMMANDS_LONGEST = 65_536

TTL_SHORTEST, TTL_LONGEST = timedelta(seconds=1), timedelta(days=7)

#: Seconds to wait before each next try of a device that is away; the last one goes on until the ttl.
OFFLINE_DELAYS = (5, 10, 20, 40, 60)

#: The same where the gateway is at fault, or the device did not answer.
FAULT_DELAYS = (5, 10, 20)


@dataclass(frozen=True)
class TimerFields:
    """A timer of a group as a client gives it.

    :ivar name: of one that exists, None for a new one
    :ivar hour: 0 to 23 in digits, as sent; so is `minute`
    :ivar commands: JSON text of an object, as sent
    """

    hour: str
    minute: str
    commands: str
    name: str | None = None


@dataclass(frozen=True)
class GroupFields:
    """A group as a client gives it; None is a field that was not given.

    :ivar period: seven digits, 1 for a day that counts, the first being `first_day`; `0000000`: once
    """

    period: str
    tasks: Sequence[TimerFields]
    enabled: bool = True
    timezone: str | None = None
    first_day: FirstDay | None = None
    offline: Offline | None = None
    offline_ttl: timedelta | None = None


@dataclass(frozen=True)
class Timer:
    """A timer of a group, as it is shown.

    :ivar expression: canonical, of its time of day; see `include.cron`
    :ivar live: whether it fires: its group is enabled, its device's timers do not rest
    :ivar weekdays: bits of the days it is due on (`include.cron.weekdays`), None: a one-shot
    :ivar due_at: one-shots only: their instant
    """

    definition_id: int
    name: str
    hour: str
    minute: str
    commands: str
    expression: str
    schedule_id: int
    live: bool
    weekdays: int | None
    due_at: datetime | None
    spent: bool
    active_since: datetime

    def upcoming(self, timezone: str, now: datetime) -> datetime | None:
        """Return the first instant (UTC) after `now`; a one-shot that was has none."""
        if self.due_at is not None:
            return None if self.spent and self.due_at <= now else self.due_at
        cron = CronSchedule.from_canonical(self.expression, timezone)
        return next(on_weekdays(cron, cron.iter_after(max(now, self.active_since)), self.weekdays), None)


@dataclass(frozen=True)
class TimerGroup:
    """A group of timers of one device.

    :ivar enabled: as the client set it
    :ivar paused: whether all timers of the device rest (`TimerService.pause`)
    :ivar created_by: user who made it
    """

    id: int
    group_id: str
    device_id: str
    project_id: str
    period: str
    first_day: FirstDay
    timezone: str
    enabled: bool
    paused: bool
    offline: Offline
    offline_ttl: timedelta
    created_by: str | None
    created_at: datetime
    updated_at: datetime
    timers: Sequence[Timer]

    def is_on(self, now: datetime) -> bool:
        """Whether it is enabled; one-shots that all were end that (research `iot.md` C3)."""
        return self.enabled and any(
            timer.due_at is None or not timer.spent or timer.due_at > now for timer in self.timers
        )

    def next_run_at(self, now: datetime) -> datetime | None:
        """Return the first instant (UTC) of any of its timers after `now`, None while it rests."""
        if not self.enabled or self.paused:
            return None
        found = (timer.upcoming(self.timezone, now) for timer in self.timers)
        return min((instant for instant in found if instant is not None), default=None)


@dataclass(frozen=True)
class GroupPage:
    """A page of a device's groups, the newest first, and how many it has in all."""

    groups: Sequence[TimerGroup]
    count: int


@dataclass(frozen=True)
class LoadedTimer:
    """What firing needs of a timer.

    :ivar device_id: None where the device was deleted
    :ivar grace: how late a try may begin because of a fault; the misfire grace
    """

    definition_id: int
    device_id: str | None
    device_status: str | None
    commands: str
    offline: Offline
    offline_ttl: timedelta
    grace: timedelta


def read_commands(text: str) -> Mapping[str, Any]:
    """Return the object that a commands text is. Raises InvalidInputError naming `commands`."""
    if len(text) > COMMANDS_LONGEST:
        raise InvalidInputError(f"must have {COMMANDS_LONGEST} characters at the most", field="commands")
    try:
        commands = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise InvalidInputError('must be JSON, such as {"switch":1}', field="commands") from None
    if not isinstance(commands, dict):
        raise InvalidInputError("must be a JSON object", field="commands")
    return commands


def command_of(
    timer: LoadedTimer, request_id: str, *, service_id: str, command_name: str, timeout: float
) -> Command:
    """Return the gateway's command of a timer.

    A commands object that itself is one, with `service_id`, `command_name` and an object `paras`, is taken as
    it is; any other one is the `paras` of the given service and command.
    """
    paras = read_commands(timer.commands)
    match paras:
        case {"service_id": str(own_service), "command_name": str(own_name), "paras": dict(own_paras)}:
            service_id, command_name, paras = own_service, own_name, own_paras
    return Command(timer.device_id or "", request_id, service_id, command_name, paras, timeout)


@lru_cache(maxsize=64)
def offline_delays(ttl: timedelta) -> tuple[int, ...]:
    """Return the delays of `deliver_when_online`: 5, 10, 20, 40, 60, 60, … for as long as the ttl."""
    seconds = int(ttl.total_seconds())
    delays = [*OFFLINE_DELAYS, *repeat(OFFLINE_DELAYS[-1], seconds // OFFLINE_DELAYS[-1])]
    return tuple(delay for delay, total in zip(delays, accumulate(delays), strict=True) if total <= seconds)
