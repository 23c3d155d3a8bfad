"""Schedules: one distinct (kind, expression, time zone), however many definitions share it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Kind = Literal["callback", "timer", "billing", "maintenance"]

#: The expression of the schedule on which all one-shots of a kind hang.
ONCE = "@once"

DAG_ID_LENGTH = 200
UNNAMED_ZONE = "Asia/Shanghai"

_TIME_OF_DAY = re.compile(r"0 (?P<minute>\d+) (?P<hour>\d+) \* \* \*")
_DAG_ID_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Schedule:
    """A row of `schedule`.

    Maintenance has one for each cycle: its expression says when projects are looked at.

    :ivar expression: canonical text of `include.cron`, or `@once`
    :ivar active_since: aware UTC; no instant before it belongs to the schedule
    :ivar cycle: maintenance only, such as `every_2_days`, else empty
    :ivar shards: how many triggers share its definitions, a power of two
    """

    id: int
    kind: Kind
    expression: str
    timezone: str
    dag_id: str
    description: str
    active: bool
    active_since: datetime | None
    shards: int
    cycle: str = ""

    @property
    def is_once(self) -> bool:
        return self.expression == ONCE


def dag_id_for(kind: Kind, expression: str, timezone: str) -> str:
    """Return the readable, stable id of a schedule's DAG, such as `callback.0_30_9_x_x_x`.

    Fields are joined by `_`, `*` is `x`, a list's comma `.`, a step's slash `-of-`, a union's bar `-or-`. A
    device timer is named by its time of day, `timer.0730`, maintenance by its cycle, `maintenance.every_day`.
    A zone other than `Asia/Shanghai` is appended: that one, not the setting, since a setting can change and
    an id must not.
    """
    time_of_day = _TIME_OF_DAY.fullmatch(expression) if kind == "timer" else None
    if time_of_day:
        expression = f"{time_of_day['hour']:0>2}{time_of_day['minute']:0>2}"
    text = expression.replace(" ", "_").replace("*", "x").replace(",", ".").replace("/", "-of-")
    text = text.replace("#", "-nth-").replace("@", "").replace("|", "-or-")
    if timezone != UNNAMED_ZONE and expression != ONCE:
        text += "." + timezone.replace("/", "-").replace("+", "plus")
    dag_id = f"{kind}.{_DAG_ID_UNSAFE.sub('_', text)}"
    if len(dag_id) <= DAG_ID_LENGTH:
        return dag_id
    # Airflow's own limit is 250; a long list of minutes is told apart by its hash.
    digest = hashlib.sha256(f"{expression} {timezone}".encode()).hexdigest()[:16]
    return f"{dag_id[: DAG_ID_LENGTH - 17]}.{digest}"
