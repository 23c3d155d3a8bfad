"""Callback tasks: what a client asks for (document 003) and what firing needs of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from include.callbacks.start_time import TaskType
from include.errors import InvalidInputError
from include.settings import get_settings

Method = Literal["get", "post", "rpc", "put", "patch", "delete", "head"]
Misfire = Literal["fire_once", "skip", "fire_all"]
Overlap = Literal["allow", "skip", "queue"]

METHODS: tuple[str, ...] = ("get", "post", "rpc", "put", "patch", "delete", "head")

#: Methods whose requests carry the task's body.
METHODS_WITH_BODY = frozenset({"post", "put", "patch", "delete", "rpc"})

CONTENT_TYPES = {1: "application/json", 2: "application/x-www-form-urlencoded"}

REDO_MOST = 20
REDO_LONGEST = 86_400


@dataclass(frozen=True)
class TaskFields:
    """The fields of a task as a client gives them; None is a field that was not given.

    :ivar start_time: as sent, a number written out
    :ivar redo_param: seconds between attempts, separated by blanks
    :ivar timeout: seconds
    :ivar expires_at: aware
    """

    name: str | None = None
    enable: bool | None = None
    module: int | None = None
    type: TaskType | None = None
    start_time: str | None = None
    url: str | None = None
    method: Method | None = None
    resp_regexp: str | None = None
    body: str | None = None
    body_type: int | None = None
    redo_param: str | None = None
    timezone: str | None = None
    timeout: float | None = None
    misfire: Misfire | None = None
    overlap: Overlap | None = None
    headers: Mapping[str, str] | None = None
    secret: str | None = None
    description: str | None = None
    expires_at: datetime | None = None
    clears_expiry: bool = False


@dataclass(frozen=True)
class TaskKey:
    """How a client names an existing task: the id wins, else the name (document 003, update_task)."""

    task_id: int | None = None
    name: str | None = None


@dataclass(frozen=True)
class ItemResult:
    """What became of one item of a batch; `err` is empty where it went well."""

    task_id: int | None
    name: str
    err: str = ""


@dataclass(frozen=True)
class CallbackTask:
    """A task as firing needs it: one row of `callback_task` with its definition."""

    definition_id: int
    revision: int
    url: str
    method: Method
    resp_regexp: str | None
    body: str | None
    body_type: int
    redo_delays: Sequence[int]
    timeout: float
    headers: Mapping[str, str] = field(default_factory=dict)
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class LogEntry:
    """One attempt, as `query_task_status` shows it."""

    task_id: int
    name: str
    run_type: int
    state: Literal["started", "succeeded", "failed"]
    begin_at: datetime
    end_at: datetime | None
    url: str | None
    body: str | None
    response: str | None
    error: str | None


def parse_redo_param(text: str) -> list[int]:
    """Return the retry delays, seconds, that `redo_param` lists.

    :raises InvalidInputError: names `redo_param`: not whole seconds, more than 20, or one over a day
    """
    delays = []
    for word in text.split():
        if not re.fullmatch(r"\d{1,9}", word, re.ASCII):
            raise InvalidInputError(
                f"{word[:40]!r} is not a number of seconds, 0 or more", field="redo_param"
            )
        if int(word) > REDO_LONGEST:
            raise InvalidInputError(f"{word} is over {REDO_LONGEST} seconds", field="redo_param")
        delays.append(int(word))
    if len(delays) > REDO_MOST:
        raise InvalidInputError(f"lists {len(delays)} retries, {REDO_MOST} at the most", field="redo_param")
    return delays


def misfire_grace(misfire: Misfire) -> timedelta:
    """How late an instant may still fire under this policy (DESIGN section 4)."""
    settings = get_settings()
    if misfire == "skip":
        return timedelta(seconds=settings.misfire_skip_grace_seconds)
    return timedelta(seconds=settings.misfire_grace_seconds)
