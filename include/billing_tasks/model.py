"""Billing tasks: what bills which meters of a project, and when (document 000)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from include.billing.model import Commodity
from include.cron import CronSchedule, MonthEnd

#: The object `month`, `day`, `hour`, `minute` as the client sent it.
Crontab = Mapping[str, str | int]

#: `natrual_key`: what a client sends is compared with nothing else.
KEY = re.compile(r"[0-9a-f]{32}")

#: A bill that is late is a bill all the same, so nothing is ever given up within the longest period.
MISFIRE_GRACE = timedelta(days=400)


@dataclass(frozen=True)
class TaskFields:
    """What a client may set again and again."""

    name: str
    crontab: Mapping[str, object]
    enabled: bool
    description: str


@dataclass(frozen=True)
class BillingTask:
    """A billing task that is not deleted.

    :ivar natrual_key: its id on the wire, 32 hexadecimal digits; the document spells it so
    :ivar expression: what the crontab means, see `include.cron`; due by the clocks of `timezone`
    :ivar project_timezone: of the times that are shown
    :ivar active_since: it answers for instants after this
    :ivar last_run_at: None before its first run
    """

    definition_id: int
    natrual_key: str
    project_id: str
    commodity: Commodity
    name: str
    description: str
    crontab: Crontab
    enabled: bool
    expression: str
    timezone: str
    project_timezone: str
    active_since: datetime
    last_run_at: datetime | None
    run_count: int
    created_at: datetime
    updated_at: datetime

    def next_run_at(self, now: datetime) -> datetime | None:
        """Return the first instant (UTC) after `now`, None while it is disabled."""
        if not self.enabled:
            return None
        cron = CronSchedule.from_canonical(self.expression, self.timezone)
        return cron.next_after(max(now, self.active_since))


@dataclass(frozen=True)
class TaskPage:
    """A page of a list: how many tasks there are in all, and those of the page."""

    count: int
    tasks: Sequence[BillingTask]


@dataclass(frozen=True)
class LockedTask:
    """What changing a task must know of it."""

    definition_id: int
    project_id: str
    schedule_id: int
    crontab: Crontab
    enabled: bool


@dataclass(frozen=True)
class ProjectCalendar:
    """By which clocks a project is billed, and what its days mean in short months."""

    timezone: str
    month_end: MonthEnd = "clamp"
