"""The plant of the maintenance demo: made-up machines, their projects, what is done about them, and when each
is to be due then. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any, Literal
from zoneinfo import ZoneInfo

from include.maintenance.cycles import due, late, shift
from include.maintenance.model import NATURAL, STATISTICS, PeriodUnit, ScheduleMode

#: Machines in turns, with how many of them a project takes: one of each kind a third, the last one all.
KINDS = ("Fan", "Conveyor", "Pump")
HALLS = ("Boiler House", "Filter Hall", "Dispatch", "Water Works")

STATISTIC = "run_hours"
PERIOD_HOURS = 25
#: What a counter shows at first, and how many hours later.
BASELINE, CROSSING, BELOW = 1000, 26, 20

HANDLER_ID, HANDLER_NAME = 1, "Li"

#: What becomes of a machine: its task is handled, is ignored, or waits; of statistics also: it has run too
#: little to be due, or nothing is known of it.
Fate = Literal["handled", "ignored", "left", "below", "silent"]
TIMED: tuple[Fate, ...] = ("handled", "ignored", "left")
COUNTED: tuple[Fate, ...] = (*TIMED, "below", "silent")

STAGES = ("waiting", "noticed", "due", "overdue")


@dataclass(frozen=True)
class Machine:
    """An object."""

    object_id: str
    name: str
    alias: str


@dataclass(frozen=True)
class Plan:
    """A project, and what is done about its machines, by turns.

    :ivar notice: days
    """

    uid: str
    name: str
    num: int
    unit: PeriodUnit | Literal[""]
    notice: int
    mode: ScheduleMode
    machines: Sequence[Machine]
    fates: tuple[Fate, ...]

    @property
    def counted(self) -> bool:
        """Whether it goes by a statistic."""
        return not self.unit

    @property
    def period(self) -> str:
        """How often, in words."""
        if self.counted:
            return f"{self.num} running hours"
        word = {"日": "day", "月": "month"}[self.unit]
        return f"{self.num} {word}{'s' if self.num > 1 else ''}, {self.mode}"

    def fate(self, machine: Machine) -> Fate:
        return self.fates[self.machines.index(machine) % len(self.fates)]

    def of(self, *fates: Fate) -> list[Machine]:
        """Return the machines with one of these fates."""
        return [machine for machine in self.machines if self.fate(machine) in fates]

    def opening(self) -> list[Machine]:
        """Return the machines that are to have a task within days; a month is longer than anybody watches."""
        return [] if self.unit == "月" else self.of(*TIMED)


def plan_plant(count: int) -> list[Machine]:
    """Return the machines, all different, each with a place."""
    return [_machine(number) for number in range(count)]


def _machine(number: int) -> Machine:
    serial, kind = divmod(number, len(KINDS))
    hall = HALLS[serial % len(HALLS)]
    return Machine(
        f"{KINDS[kind].lower()}-{serial + 1:03}",
        f"{KINDS[kind]} {serial + 1}, {hall}",
        f"{hall[0]}{serial + 1}",
    )


def plan_projects(machines: Sequence[Machine]) -> list[Plan]:
    """Return the projects: fans every 2 days, conveyors every 3 and fixed, pumps by hours, all monthly."""
    fans, conveyors, pumps = (machines[kind :: len(KINDS)] for kind in range(len(KINDS)))
    return [
        Plan("filters", "Change filters", 2, "日", 1, "floating", fans, TIMED),
        Plan("belts", "Tighten belts", 3, "日", 1, "fixed", conveyors, TIMED),
        Plan("oil", "Change oil", PERIOD_HOURS, "", 0, "floating", pumps, COUNTED),
        Plan("inspection", "Look at everything", 1, "月", 7, "floating", machines, ("left",)),
    ]


# --- what is asked of the instance


def object_row(machine: Machine) -> dict[str, Any]:
    return {"object_id": machine.object_id, "name": machine.name, "alias": machine.alias}


def project_body(plan: Plan) -> dict[str, Any]:
    """Return a project as document 002 has it, and how the plan goes on, which is ours."""
    return {
        "uid": plan.uid,
        "name": plan.name,
        "alias": "",
        "description": "made up",
        "cycle_type": STATISTICS if plan.counted else NATURAL,
        "statistics_id": STATISTIC if plan.counted else "",
        "period_num": plan.num,
        "period_unit": plan.unit,
        "notice_num": plan.notice,
        "notice_unit": "日",
        "guide": "",
        "object_id_list": [machine.object_id for machine in plan.machines],
        "schedule_mode": plan.mode,
    }


def first_samples(plan: Plan, at: datetime) -> list[dict[str, Any]]:
    """Return what counters show before anything is counted; those of silent machines say nothing."""
    return [_sample(machine, at, BASELINE) for machine in plan.of(*TIMED, "below")]


def later_samples(plan: Plan, at: datetime) -> list[dict[str, Any]]:
    """Return what they show later: some have run long enough to be due."""
    return [
        _sample(machine, at, BASELINE + (BELOW if plan.fate(machine) == "below" else CROSSING))
        for machine in plan.of(*TIMED, "below")
    ]


def _sample(machine: Machine, at: datetime, value: int) -> dict[str, Any]:
    return {"object_id": machine.object_id, "at": at.isoformat(), "value": value}


def handle_body(task_id: str) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "description": "",
        "handler_id_list": [HANDLER_ID],
        "handler_name_list": [HANDLER_NAME],
        "fee": 12.5,
        "result": "done",
        "images": "",
    }


# --- what is to be expected


def following(
    plan: Plan, started_at: datetime, tasks: Sequence[Mapping[str, Any]], zone: ZoneInfo
) -> Iterator[tuple[datetime, Mapping[str, Any] | None]]:
    """Yield when a machine is to be due, again and again, with the task of that time; None: it has none yet.

    Handled: a period from the day of the handling. Handled by a fixed plan, or ignored: at the next point of
    the plan that is still ahead.

    :param tasks: of the machine as the history has them, the oldest first
    """
    if not plan.unit:
        return
    anchor, expected = started_at, due(started_at, 1, plan.num, plan.unit, zone)
    for task in tasks:
        yield expected, task
        if task["closed_at"] is None:
            return
        closed_at = datetime.fromisoformat(task["closed_at"])
        if task["state"] == "handled" and plan.mode == "floating":
            anchor, after = closed_at, closed_at
        else:
            after = max(expected, closed_at)
        points = (due(anchor, k, plan.num, plan.unit, zone) for k in count(1))
        expected = next(point for point in points if point > after)
    yield expected, None


def stage(plan: Plan, due_at: datetime, now: datetime, zone: ZoneInfo) -> int:
    """Return how far a machine is by a moment, as a number of `STAGES`."""
    if now >= late(due_at, plan.unit, 0, zone):
        return 3
    if now >= due_at:
        return 2
    return int(now >= shift(due_at, -plan.notice, "日", zone))


def growth_due(fate: Fate) -> int:
    """Return how much a counter is to have grown by when its machine is due (again), since its anchor."""
    # By the old plan, the next time after 26 hours is that of 50; after a handling it is counted anew.
    return 2 * PERIOD_HOURS if fate == "ignored" else PERIOD_HOURS


def grown(fate: Fate) -> int:
    """Return how much a counter is to have grown since its anchor."""
    return {"handled": 0, "below": BELOW}.get(fate, CROSSING)
