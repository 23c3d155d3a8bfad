"""What firing works with: executions that are due, calls to make, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from include.kit.db import Connection

Origin = Literal["scheduled", "manual"]
OPEN_STATES = ("pending", "running", "retrying")
STATES = (*OPEN_STATES, "succeeded", "failed", "skipped", "missed")


@dataclass
class Due:
    """An execution that a window still has to do.

    :ivar due_at: aware UTC; the instant it is for
    :ivar next_attempt_at: aware UTC; when to try next, equal to `due_at` before the first attempt
    :ivar revision: of the definition, as it was when its call was prepared
    :ivar day: bit of the instant's weekday in its schedule's zone; None where that was settled before
    """

    id: int
    due_at: datetime
    definition_id: int
    origin: Origin
    attempts: int
    retries_used: int
    next_attempt_at: datetime
    revision: int
    day: int | None = None

    @property
    def webhook_id(self) -> str:
        """The id that the receiver sees on every attempt of this execution."""
        return f"exec_{self.id}"


@dataclass(frozen=True)
class CallResult:
    """What came of one call, as it goes into `attempt`.

    :ivar ok: whether the target did what was asked, by the definition's own rules
    :ivar begin_at: aware UTC; when the first byte was about to leave
    :ivar error: why not; where it is ok, what is to be said of it all the same
    :ivar final: where it is not ok: trying again would not help, or must not be
    :ivar leaves_run: where it is not ok: the next try is not to be waited for by this run
    """

    ok: bool
    begin_at: datetime
    end_at: datetime
    url: str
    body: str | None = None
    status: int | None = None
    response: str | None = None
    error: str | None = None
    final: bool = False
    leaves_run: bool = False


class Call(Protocol):
    """A call with everything in memory; at the instant only bytes are left to send."""

    async def send(self) -> CallResult:
        """Make the call. Never raises but for cancellation."""


class Caller(Protocol):
    """What a kind of definition brings to firing: how its executions become calls."""

    async def load(self, connection: Connection, definition_ids: Sequence[int]) -> None:
        """Read, or read again, the definitions of these ids."""

    def prepare(self, due: Due, attempt: int) -> Call:
        """Build the call of an execution's next attempt; a target that cannot be called fails in `send`."""

    async def resolve(self, calls: Sequence[Call]) -> None:
        """Look up and vet targets. What fails is tried again when the call is made."""

    async def warm(self, calls: Sequence[Call]) -> None:
        """Open connections ahead of the instant. Failures show when the call is made."""

    def retry_delays(self, definition_id: int) -> Sequence[int]:
        """Seconds to wait before each retry of this definition."""


@dataclass(frozen=True)
class Record:
    """The end of an attempt and what it makes of its execution."""

    due: Due
    number: int
    result: CallResult
    state: Literal["succeeded", "failed", "retrying"]
    next_attempt_at: datetime | None = None
    reason: str | None = None
    handed_over: bool = False


@dataclass
class Summary:
    """What a run did, for its log and its XCom."""

    succeeded: int = 0
    failed: int = 0
    refused: int = 0
    handed_over: int = 0
    attempts: int = 0
    max_lateness_ms: float = 0.0
    failures: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "succeeded": self.succeeded,
            "failed": self.failed,
            "refused": self.refused,
            "handed_over": self.handed_over,
            "attempts": self.attempts,
            "max_lateness_ms": round(self.max_lateness_ms, 1),
            "failures": self.failures[:20],
        }
