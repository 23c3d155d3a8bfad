"""What is told of an event, and how often it is tried."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from include.events.model import Event, Result

MOMENT = datetime(2026, 11, 22, 2, 3, 4, 567_891, tzinfo=UTC)
EVENT = Event(
    id=7,
    subscription_id=1,
    webhook_id="evt_0123456789abcdef",
    resource="batchtask",
    action="update",
    subject="5c8ba99030344005c02316ad",
    body={"task_id": "5c8ba99030344005c02316ad", "status": "Success", "app_id": None, "status_desc": "好"},
    created_at=MOMENT,
    attempts=1,
    next_at=MOMENT,
    delivered_at=None,
    last_error=None,
)


def test_the_body_is_that_of_the_platforms_push_notification() -> None:
    assert json.loads(EVENT.document()) == {
        "resource": "batchtask",
        "event": "update",
        "event_time": "20261122T020304Z",
        "event_time_ms": "2026-11-22T02:03:04.567Z",
        "request_id": "evt_0123456789abcdef",
        "notify_data": {
            "body": {
                "app_id": None,
                "task_id": "5c8ba99030344005c02316ad",
                "status": "Success",
                "status_desc": "好",
            }
        },
    }


def test_every_attempt_sends_the_same_bytes() -> None:
    other_order = dict(reversed(list(EVENT.body.items())))
    assert replace(EVENT, attempts=3, body=other_order).document() == EVENT.document()


def test_states() -> None:
    assert EVENT.state == "waiting"
    assert replace(EVENT, next_at=None).state == "given_up"
    assert replace(EVENT, next_at=None, delivered_at=MOMENT).state == "delivered"


def test_the_pauses_between_attempts() -> None:
    seconds = [Result(7, attempt, "no").delay for attempt in range(1, 9)]
    assert seconds == [
        *(timedelta(seconds=n) for n in (5, 30, 120, 600, 3600, 21_600)), None, None
    ]  # fmt: skip
