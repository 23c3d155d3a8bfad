"""Events: who wants to hear of what, and what is told. Moments are aware and in UTC. No I/O.

The body is that of the device platform's own push notifications (research `iot.md` A13), so that who receives
those can receive ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import orjson

#: How long after a failed attempt the next one is made; after the last of these an event is given up.
RETRY_DELAYS: Final = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
)
#: Subscriptions of one project.
SUBSCRIPTIONS_MOST: Final = 50

EventState = Literal["waiting", "delivered", "given_up"]


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who wants to hear of what happens to some resources of a project; its secret is not among it."""

    id: int
    project_id: str
    url: str
    resources: Sequence[str]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for one subscription.

    :ivar webhook_id: the same on every attempt
    :ivar action: what happened, such as `update`
    :ivar subject: to which of the resources
    :ivar attempts: begun so far
    :ivar next_at: None: delivered, or given up
    """

    id: int
    subscription_id: int
    webhook_id: str
    resource: str
    action: str
    subject: str
    body: Mapping[str, Any]
    created_at: datetime
    attempts: int
    next_at: datetime | None
    delivered_at: datetime | None
    last_error: str | None

    @property
    def state(self) -> EventState:
        if self.delivered_at is not None:
            return "delivered"
        return "given_up" if self.next_at is None else "waiting"

    def document(self) -> bytes:
        """Return what the receiver is sent, the same bytes on every attempt."""
        milliseconds = self.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return orjson.dumps(
            {
                "resource": self.resource,
                "event": self.action,
                "event_time": f"{self.created_at:%Y%m%dT%H%M%SZ}",
                "event_time_ms": milliseconds,
                "request_id": self.webhook_id,
                "notify_data": {"body": self.body},
            },
            option=orjson.OPT_SORT_KEYS,
        )


@dataclass(frozen=True, slots=True)
class Claimed:
    """An event that a courier has in hand.

    :ivar event: `attempts` counts the one that is about to be made
    :ivar secret: encrypted
    """

    event: Event
    url: str
    secret: str


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an attempt.

    :ivar error: what went wrong, None: the receiver has it
    """

    event_id: int
    attempt: int
    error: str | None = None

    @property
    def delay(self) -> timedelta | None:
        """How long after this failure the next attempt is made, None: never."""
        return RETRY_DELAYS[self.attempt - 1] if self.attempt <= len(RETRY_DELAYS) else None
