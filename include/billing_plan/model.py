"""What a DAG run of a billing schedule works with: its tasks, their instants, and what came of each.

What passes between Airflow's tasks is plain JSON; `as_json` and `from_json` are its shape.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, Protocol

from include.billing.model import Commodity
from include.billing.runs import RunOrder, RunReport

Origin = Literal["scheduled", "manual"]

#: succeeded: all is billed; partial: service points were parked; skipped: nothing was done, for a reason.
State = Literal["succeeded", "partial", "skipped", "failed"]

#: Of several, the one that counts for all of them.
SEVERITY: tuple[State, ...] = ("skipped", "succeeded", "partial", "failed")

#: A task's missed instants that one run bills singly: three years of months, or the last 36 minutes. The time
#: of older ones is billed with the first of these.
LISTED_INSTANTS = 36


@dataclass(frozen=True)
class DagRun:
    """The DAG run that plans or bills.

    :ivar run_id: Airflow's; unique within the schedule's DAG
    """

    schedule_id: int
    run_id: str


@dataclass(frozen=True)
class Item:
    """One billing task of a plan and the instants it is to be billed at, the oldest first."""

    definition_id: int
    name: str
    due_at: Sequence[datetime]
    origin: Origin

    def as_json(self) -> dict[str, Any]:
        return {
            "definition_id": self.definition_id,
            "name": self.name,
            "due_at": [moment.isoformat() for moment in self.due_at],
            "origin": self.origin,
        }

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> Item:
        moments = [datetime.fromisoformat(text).astimezone(UTC) for text in item["due_at"]]
        return cls(item["definition_id"], item["name"], moments, item["origin"])


@dataclass(frozen=True)
class LiveTask:
    """A billing task that a window can have; it answers for instants after `active_since`."""

    id: int
    active_since: datetime


@dataclass(frozen=True)
class Claim:
    """What the ledger said when an instant was to be billed.

    :ivar verdict: `go`, `done` where it is billed already, or why it must not be billed
    :ivar attempt: the number of the attempt that was opened, None but for `go`
    :ivar reason: of what is `done`: which service points were parked
    """

    execution_id: int
    verdict: str
    attempt: int | None
    reason: str | None
    project_id: str
    commodity: Commodity
    timezone: str
    cut: Literal["instant", "midnight"]


class Runner(Protocol):
    """Bills a task up to an instant; `include.billing.runs.BillingRuns` is the one."""

    async def run(self, order: RunOrder) -> RunReport: ...


#: Asks the source of readings for what a project's meters lack at a moment, and says what came of it.
Pull = Callable[[str, Commodity, datetime], Awaitable[str]]


@dataclass(frozen=True)
class InstantReport:
    """What came of one instant.

    :ivar repeated: an earlier try or run had begun or done it
    """

    due_at: datetime
    state: State
    reason: str | None = None
    run_id: int | None = None
    billed: int = 0
    adjusted: int = 0
    parked: int = 0
    total: Decimal = Decimal(0)
    period_to: datetime | None = None
    repeated: bool = False

    def as_json(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "due_at": self.due_at.isoformat(),
            "period_to": self.period_to and self.period_to.isoformat(),
            "total": str(self.total),
        }


@dataclass(frozen=True)
class ItemReport:
    """What came of a task's instants."""

    item: Item
    instants: Sequence[InstantReport] = field(default_factory=tuple)

    @property
    def state(self) -> State:
        """The worst of its instants' states; failed where it has none."""
        return max((one.state for one in self.instants), key=SEVERITY.index, default="failed")

    def as_json(self) -> dict[str, Any]:
        return {
            "definition_id": self.item.definition_id,
            "name": self.item.name,
            "state": self.state,
            "instants": [one.as_json() for one in self.instants],
        }
