"""Use cases on callback tasks: add, update, run again, query (document 003).

A batch is one transaction; an item that cannot be used says why in its own result and the others go through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from include.callbacks.model import (
    ItemResult,
    LogEntry,
    TaskFields,
    TaskKey,
    misfire_grace,
    parse_redo_param,
)
from include.callbacks.repository import CallbackRepository, Row
from include.callbacks.start_time import Start, TaskType, parse_start_time
from include.cron import CronSchedule
from include.errors import CarillonError, InvalidInputError, NotFoundError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection
from include.kit.egress import EgressGuard
from include.kit.http import check_headers
from include.kit.matching import compile_pattern
from include.kit.rpc import parse_rpc_target
from include.kit.secrets import encrypt
from include.kit.signing import normalise_secret
from include.ledger.repository import LedgerRepository
from include.schedules.repository import ScheduleRepository
from include.schedules.service import ScheduleService
from include.settings import get_settings

#: Wherever a body would be too large to be kept with each attempt.
BODY_LIMIT_BYTES = 1_048_576

Validated = Mapping[str, Any]


class CallbackService:
    """The use cases, inside the caller's transaction.

    :param projects: the project ids that the caller's token may see, None for all
    """

    def __init__(
        self, connection: Connection, *, projects: Sequence[str] | None = None, clock: Clock = system_clock
    ) -> None:
        settings = get_settings()
        self.connection = connection
        self.projects = projects
        self.clock = clock
        self.repository = CallbackRepository(connection)
        self.schedules = ScheduleService(ScheduleRepository(connection))
        self.schedule_ids: dict[CronSchedule | None, int] = {}
        self.guard = EgressGuard(settings.egress_allow)
        self.default_timezone = settings.timezone
        self.default_timeout = settings.callback_timeout_seconds

    async def add_tasks(self, items: Sequence[TaskFields]) -> list[ItemResult]:
        """Create tasks; returns one result an item, in the order of the items."""
        now = self.clock()
        errors: dict[int, str] = {}
        rows: dict[int, dict[str, Any]] = {}
        names: set[str] = set()
        for index, item in enumerate(items):
            try:
                if item.name in names:
                    raise InvalidInputError("stands twice in this request", field="name")
                rows[index] = await self._new_row(item, now)
                names.add(item.name or "")
            except CarillonError as error:
                errors[index] = str(error)
        made = {row["name"]: row for row in await self._insert(list(rows.values()), now)}
        await self.schedules.changed((row["schedule_id"] for row in made.values()), now)
        results = []
        for index, item in enumerate(items):
            row = made.get(item.name or "") if index in rows else None
            complaint = errors.get(index) or ("" if row else "name: is taken by another task")
            results.append(ItemResult(row["id"] if row else None, item.name or "", complaint))
        return results

    async def update_tasks(self, items: Sequence[tuple[TaskKey, TaskFields]]) -> list[ItemResult]:
        """Change tasks; a field that is None stays. Returns one result an item, in the order of the items."""
        now = self.clock()
        stored = {
            row["id"]: row
            for row in await self.repository.lock_tasks([key for key, _ in items], self.projects)
        }
        results: list[ItemResult] = []
        changed: dict[int, dict[str, Any]] = {}
        touched: set[int] = set()
        for key, item in items:
            try:
                # A task that stands twice in the request is changed twice.
                row = _pick(key, stored)
                new = await self._changed_row(row, item, now)
            except CarillonError as error:
                results.append(ItemResult(key.task_id, key.name or "", str(error)))
                continue
            touched |= {row["schedule_id"], new["schedule_id"]}
            new["rescheduled"] |= changed.get(row["id"], new)["rescheduled"]
            new["restarted"] |= changed.get(row["id"], new)["restarted"]
            changed[row["id"]] = new
            stored[row["id"]] = {**row, **new}
            results.append(ItemResult(row["id"], row["name"]))
        await self.repository.update_tasks(list(changed.values()), now)
        await self.schedules.changed(touched, now)
        return results

    async def run_again(self, keys: Sequence[TaskKey]) -> list[ItemResult]:
        """Run each task once, now, enabled or not; returns one result an item."""
        now = self.clock()
        found = {row["id"]: row for row in await self.repository.find_task_ids(keys, self.projects)}
        results = [_named(key, found) for key in keys]
        ids = sorted({result.task_id for result in results if result.task_id is not None and not result.err})
        if ids:
            once_id = await self.schedules.ensure_once("callback")
            await LedgerRepository(self.connection).arm_rerun(once_id=once_id, due_at=now, definition_ids=ids)
            await self.schedules.changed([once_id], now)
        return results

    async def query_log(self, keys: Sequence[TaskKey], limit: int) -> tuple[list[LogEntry], list[ItemResult]]:
        """Return the attempts of these tasks, newest first, `limit` a task, and one result an item."""
        found = {row["id"]: row for row in await self.repository.find_task_ids(keys, self.projects)}
        results = [_named(key, found) for key in keys]
        ids = sorted({result.task_id for result in results if result.task_id is not None and not result.err})
        return (await self.repository.task_log(ids, limit) if ids else []), results

    async def _insert(self, rows: Sequence[Row], now: datetime) -> list[Row]:
        return await self.repository.insert_tasks(rows, now) if rows else []

    async def _new_row(self, item: TaskFields, now: datetime) -> dict[str, Any]:
        for name in ("name", "enable", "module", "type", "start_time", "url", "method"):
            if getattr(item, name) in (None, ""):
                raise InvalidInputError("is required", field=name)
        start = parse_start_time(
            TaskType(item.type or 0),
            item.start_time or "",
            timezone=item.timezone or self.default_timezone,
            now=now,
        )
        misfire = item.misfire or "fire_once"
        _check_expiry(item.expires_at, now)
        row = {
            "project_id": self.projects[0] if self.projects else None,
            "name": item.name,
            "description": item.description or None,
            "enabled": item.enable,
            "due_at": start.due_at,
            "expires_at": item.expires_at,
            "misfire": misfire,
            "misfire_grace": _interval(misfire_grace(misfire)),
            "overlap": item.overlap or "allow",
            "module": item.module,
            "type": item.type,
            "start_time": item.start_time,
            "timezone": item.timezone or self.default_timezone,
            "timeout": item.timeout or self.default_timeout,
            "body_type": item.body_type or 1,
            **self._target(item.url or "", item.method or ""),
            **self._optional(item),
        }
        return {**row, "schedule_id": await self._schedule_for(start)}

    async def _changed_row(self, row: Row, item: TaskFields, now: datetime) -> dict[str, Any]:
        given = {name: value for name, value in _plain(item).items() if value is not None}
        new: dict[str, Any] = {**row, **given}
        start = self._new_start(row, item, now)
        new["rescheduled"] = start is not None
        new["restarted"] = new["enabled"] and not row["enabled"]
        _check_restart(row, new, now)
        if item.url or item.method:
            new.update(self._target(item.url or row["url"], item.method or row["method"]))
        new.update(self._optional(item, row))
        if item.expires_at is not None:
            _check_expiry(item.expires_at, now)
        new["expires_at"] = None if item.clears_expiry else (item.expires_at or row["expires_at"])
        new["misfire_grace"] = _interval(misfire_grace(new["misfire"]))
        if start is not None:
            new["schedule_id"] = await self._schedule_for(start)
            new["due_at"] = start.due_at
        return new

    def _new_start(self, row: Row, item: TaskFields, now: datetime) -> Start | None:
        """Return what type, start time and zone mean together, or None where none of them changes.

        Clients send whole structures: a field that is given again as it was moves nothing.
        """
        old = (row["type"], row["start_time"], row["timezone"])
        new = (item.type or old[0], item.start_time or old[1], item.timezone or old[2])
        if new == old:
            return None
        return parse_start_time(
            TaskType(new[0]), new[1], timezone=new[2], now=now, allow_past=not item.start_time
        )

    async def _schedule_for(self, start: Start) -> int:
        """Return the id of the start's schedule; a batch asks once for each distinct one."""
        if start.cron not in self.schedule_ids:
            self.schedule_ids[start.cron] = (
                await self.schedules.ensure("callback", start.cron)
                if start.cron
                else await self.schedules.ensure_once("callback")
            )
        return self.schedule_ids[start.cron]

    def _target(self, url: str, method: str) -> dict[str, Any]:
        if method == "rpc":
            parse_rpc_target(url, guard=self.guard)
        else:
            self.guard.check_url_syntax(url)
        return {"url": url, "method": method}

    def _optional(self, item: TaskFields, stored: Row | None = None) -> dict[str, Any]:
        """Return the optional columns: what was given, checked; what was not stays; `""` clears."""
        row = stored or {}
        if item.resp_regexp:
            compile_pattern(item.resp_regexp)
        if item.body is not None and len(item.body.encode()) > BODY_LIMIT_BYTES:
            raise InvalidInputError(f"is longer than {BODY_LIMIT_BYTES} bytes", field="body")
        if item.headers:
            check_headers(item.headers)
        return {
            "resp_regexp": _given(item.resp_regexp, row.get("resp_regexp")),
            "body": _given(item.body, row.get("body")),
            "description": _given(item.description, row.get("description")),
            "redo_delays": row.get("redo_delays", [])
            if item.redo_param is None
            else parse_redo_param(item.redo_param),
            "headers": row.get("headers", {}) if item.headers is None else dict(item.headers),
            "secret": row.get("secret")
            if item.secret is None
            else (encrypt(normalise_secret(item.secret)) if item.secret else None),
        }


def _plain(item: TaskFields) -> dict[str, Any]:
    """Return the columns that take a given value as it is."""
    return {
        "enabled": item.enable,
        "module": item.module,
        "type": item.type,
        "start_time": item.start_time or None,
        "timezone": item.timezone,
        "timeout": item.timeout,
        "body_type": item.body_type,
        "misfire": item.misfire,
        "overlap": item.overlap,
    }


def _given(value: str | None, stored: str | None) -> str | None:
    return stored if value is None else (value or None)


def _check_expiry(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        raise InvalidInputError(f"{expires_at.isoformat()} lies in the past", field="expires_at")


def _check_restart(row: Row, new: Mapping[str, Any], now: datetime) -> None:
    """A single task whose moment passed while it was disabled needs a new moment to be enabled."""
    late = row["due_at"] is not None and not row["spent"] and row["due_at"] < now - timedelta(seconds=60)
    if new["restarted"] and late and not new["rescheduled"]:
        raise InvalidInputError(f"{row['due_at'].isoformat()} lies in the past", field="start_time")


def _pick(key: TaskKey, stored: Mapping[int, Row]) -> Row:
    """Return the task that a key means: by its id where that is valid, else by its name."""
    if key.task_id is not None and key.task_id in stored:
        return stored[key.task_id]
    by_name = [row for row in stored.values() if key.name and row["name"] == key.name]
    if len(by_name) > 1:
        raise InvalidInputError("is used in several projects: give the task_id", field="name")
    if not by_name:
        raise NotFoundError(_nobody(key), field="task_id" if key.task_id is not None else "name")
    return by_name[0]


def _named(key: TaskKey, found: Mapping[int, Row]) -> ItemResult:
    try:
        row = _pick(key, found)
    except (NotFoundError, InvalidInputError) as error:
        return ItemResult(key.task_id, key.name or "", str(error))
    return ItemResult(row["id"], row["name"])


def _nobody(key: TaskKey) -> str:
    if key.task_id is None and not key.name:
        return "task_id or name must be given"
    return f"no task has task_id {key.task_id} or name {key.name!r}" if key.name else f"no task {key.task_id}"


def _interval(span: timedelta) -> str:
    return f"{span.total_seconds()} seconds"
