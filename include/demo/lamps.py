"""The lamps of the timers demo: made-up street lamps, when each is switched, and which are away. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from include.ledger.model import OPEN_STATES
from include.timers.caller import SHADOWED, SKIPPED
from include.timers.model import Offline

POLICIES: tuple[Offline, ...] = ("skip", "deliver_when_online", "shadow_desired")
STREETS = ("Harbour Road", "Mill Lane", "Station Road", "Orchard Street", "Bridge Street", "Hill Road")
EVERY_DAY, ONCE = "1111111", "0000000"

#: Of so many timers of a minute and policy one is a one-shot.
ONCE_EVERY = 4

#: A new time of day is a new DAG, which takes some seconds to be live; and the timers are made one by one.
NEAREST_SECONDS, SECONDS_A_TIMER = 12.0, 0.05

#: What comes of an execution, as the demo tells it.
ACKNOWLEDGED, LEFT_IN_SHADOW, SKIPPED_AWAY = "acknowledged", "left in the shadow", "skipped"
OUTCOMES = {
    ("succeeded", None): ACKNOWLEDGED,
    ("succeeded", SHADOWED): LEFT_IN_SHADOW,
    ("failed", SKIPPED): SKIPPED_AWAY,
}


@dataclass
class Lamp:
    """A device with one timer, and what became of it.

    :ivar minute: 0 for the first of the demo's minutes
    :ivar once: whether the timer is a one-shot; else it is due every day
    :ivar away: whether it is offline at its instant
    :ivar paras: what it is told
    :ivar group_id: of its timer, empty before it is made; `timer` is the timer's name
    :ivar executions: as `/carillon/v1/executions` shows them
    """

    device_id: str
    name: str
    minute: int
    policy: Offline
    once: bool
    away: bool
    paras: Mapping[str, int]
    group_id: str = ""
    timer: str = ""
    executions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def execution(self) -> dict[str, Any] | None:
        return self.executions[0] if self.executions else None

    @property
    def outcome(self) -> str:
        """What came of its timer so far; empty while that is open."""
        one = self.execution
        if one is None or one["state"] in OPEN_STATES:
            return ""
        state, reason = one["state"], one["reason"]
        return OUTCOMES.get((state, reason)) or (f"{state}: {reason}" if reason else str(state))

    @property
    def expects(self) -> str:
        """What is to come of its timer."""
        if not self.away or self.policy == "deliver_when_online":
            return ACKNOWLEDGED
        return SKIPPED_AWAY if self.policy == "skip" else LEFT_IN_SHADOW

    @property
    def was_tried(self) -> bool:
        """Whether it was found to be away, by `deliver_when_online` twice."""
        if self.outcome or self.policy != "deliver_when_online":
            return bool(self.outcome)
        one = self.execution
        return one is not None and one["state"] == "retrying" and one["attempts"] > 1


def plan_lamps(mark: str, *, count: int, away: int, minutes: int) -> list[Lamp]:
    """Return the lamps of one demo: of each minute and each policy as many, the first `away` ones offline.

    Those of the first minute come first.

    :param mark: what makes their ids unique
    """
    lamps = []
    for number in range(count):
        turn, place = divmod(number, len(POLICIES) * minutes)
        minute, policy = divmod(place, len(POLICIES))
        lamps.append(
            Lamp(
                device_id=f"demo-{mark}-{number + 1:04}",
                name=f"Lamp {number // len(STREETS) + 1}, {STREETS[number % len(STREETS)]}",
                minute=minute,
                policy=POLICIES[policy],
                once=turn % ONCE_EVERY == ONCE_EVERY - 1,
                away=number < away,
                paras={"switch": 1, "brightness": number % 100 + 1},
            )
        )
    return sorted(lamps, key=lambda lamp: lamp.minute)


def device_row(lamp: Lamp, project_id: str) -> dict[str, Any]:
    """Return a lamp as the registry takes it."""
    return {
        "device_id": lamp.device_id,
        "node_id": lamp.device_id,
        "product_id": "street-lamp",
        "project_id": project_id,
        "name": lamp.name,
        "tags": {"made-up": "yes"},
    }


def timer_body(lamp: Lamp, local: datetime, commands: str) -> dict[str, Any]:
    """Return the body of document 001 that switches a lamp at a local minute."""
    return {
        "device_id": lamp.device_id,
        "period": ONCE if lamp.once else EVERY_DAY,
        "tasks": [{"hour": f"{local:%H}", "minute": f"{local:%M}", "commands": commands}],
        "timezone": str(local.tzinfo),
        "offline": lamp.policy,
    }


def next_minutes(now: datetime, zone: ZoneInfo, *, timers: int, minutes: int) -> tuple[datetime, ...]:
    """Return the next full minutes, local, the first of them far enough to make its timers before it.

    :param timers: how many are due in each
    """
    nearest = now + timedelta(seconds=NEAREST_SECONDS + SECONDS_A_TIMER * timers)
    first = nearest.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return tuple((first + timedelta(minutes=index)).astimezone(zone) for index in range(minutes))
