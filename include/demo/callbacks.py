"""The callbacks demo: what it creates, and what became of it."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from include.demo.api import Api
from include.demo.receivers import Receivers
from include.errors import StartupError
from include.kit.clock import system_clock

#: What is on its way at the end may take this much longer: the slowest task waits three seconds in retries.
PATIENCE_SECONDS = 10.0
#: The crontab is due this long before the end, so that its result is seen.
QUIET_SECONDS = 15.0
POLL_SECONDS = 1.0
OPEN_STATES = ("pending", "running", "retrying")
ONCE, INTERVAL, DAILY = 1, 2, 4


@dataclass
class Task:
    """A callback task of the demo.

    :ivar fields: an item of add_task
    :ivar expects: the state in which its executions are to end
    :ivar executions: as `/carillon/v1/executions` shows them, the latest first
    """

    kind: str
    fields: dict[str, Any]
    expects: str = "succeeded"
    task_id: str = ""
    executions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.fields["name"])

    @property
    def ended(self) -> list[dict[str, Any]]:
        return [one for one in self.executions if one["state"] not in OPEN_STATES]

    @property
    def as_expected(self) -> bool:
        """Whether it ran, and every execution that has ended did so as it should."""
        return bool(self.ended) and all(one["state"] == self.expects for one in self.ended)


@dataclass
class Demo:
    """The tasks, and when they were made."""

    since: datetime
    tasks: list[Task]

    @property
    def executions(self) -> list[dict[str, Any]]:
        return [execution for task in self.tasks for execution in task.executions]

    @property
    def settled(self) -> bool:
        """Whether nothing is on its way any more."""
        return all(execution["state"] not in OPEN_STATES for execution in self.executions)


def plan_tasks(
    receivers: Receivers, *, secret: str, now: datetime, seconds: float, zone: str, mark: str
) -> list[Task]:
    """Return the tasks of one demo, each of another kind.

    :param mark: what makes their names unique
    :param zone: in which the instance reads crontabs
    """
    soon = int(now.timestamp()) + 6
    crontab, when = next_crontab(now, seconds, zone)

    def item(name: str, type_: int, start: str, path: str, **more: object) -> dict[str, Any]:
        return {
            "name": f"demo-{mark}-{name}",
            "enable": 1,
            "module": 1,
            "type": type_,
            "start_time": start,
            "url": f"{receivers.http_url}/{path}",
            "method": "post",
            "body": json.dumps({"demo": name}),
            **more,
        }

    rpc = {"url": f"{receivers.rpc_address}/Meter.Read", "method": "rpc"}
    form = {"method": "put", "body": "meter=42&unit=kWh", "body_type": 2, "resp_regexp": '"meter": "42"'}
    once = str(soon)
    return [
        Task("once, in 6 s", item("once", ONCE, once, "healthy")),
        Task("every 5 s", item("interval", INTERVAL, "5", "healthy", resp_regexp='"ok": true')),
        Task(f"crontab, {when}", item("crontab", DAILY, crontab, "healthy", timezone=zone)),
        Task("once, fails twice", item("recovering", ONCE, once, "recovering", redo_param="1 2")),
        Task("once, fails always", item("failing", ONCE, once, "failing", redo_param="1 1"), "failed"),
        Task("RPC, every 10 s", item("rpc", INTERVAL, "10", "", **rpc, resp_regexp="reading")),
        Task("signed, every 10 s", item("signed", INTERVAL, "10", "signed", secret=secret)),
        Task("form, PUT, once", item("form", ONCE, once, "form", **form)),
        Task("slow answer, once", item("slow", ONCE, once, "slow", timeout=5.0)),
    ]


def next_crontab(now: datetime, seconds: float, zone: str) -> tuple[str, str]:
    """Return a crontab due once a day, soon enough for the demo, and its time of day.

    It is the next full minute where that is neither too near to be armed nor beyond the end.
    """
    minute = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    ahead = (minute - now).total_seconds()
    moment = minute if 10 <= ahead <= seconds - QUIET_SECONDS else now + timedelta(seconds=15)
    local = moment.astimezone(ZoneInfo(zone))
    return f"{local.second} {local.minute} {local.hour} * * *", f"{local:%H:%M:%S}"


@asynccontextmanager
async def creating(api: Api, tasks: list[Task]) -> AsyncIterator[Demo]:
    """Create the tasks; delete them at the end, whatever happens. Their history stays.

    :raises StartupError: the instance refuses one of them
    """
    since = system_clock()
    results = await api.add_tasks([task.fields for task in tasks])
    for task, result in zip(tasks, results, strict=True):
        task.task_id = result["task_id"]
    try:
        refused = [result for result in results if result["err"]]
        if refused:
            raise StartupError(refusal(refused[0]["name"], refused[0]["err"]))
        yield Demo(since, tasks)
    finally:
        for task in tasks:
            if task.task_id:
                await api.delete(task.task_id)


def refusal(name: str, error: str) -> str:
    """Say why the demo cannot run, and what to do about it."""
    if "may not be called" in error:
        return (
            f"this instance may not call 127.0.0.1, where the demo's receivers are ({error}): start it with"
            " CARILLON_EGRESS_ALLOW=127.0.0.0/8, which ./carillon up does unless the variable is set"
        )
    return f"the instance refuses the task {name}: {error}"


async def watch(api: Api, demo: Demo, seconds: float, show: Callable[[Demo], None]) -> None:
    """Read what happens and show it, for that long, and a little longer while something is on its way."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end or (not demo.settled and loop.time() < end + PATIENCE_SECONDS):
        await asyncio.sleep(POLL_SECONDS)
        await refresh(api, demo)
        show(demo)


async def refresh(api: Api, demo: Demo) -> None:
    """Read the executions of every task anew."""
    since = demo.since - timedelta(seconds=1)
    found = await asyncio.gather(*(api.executions(task.task_id, since) for task in demo.tasks))
    for task, executions in zip(demo.tasks, found, strict=True):
        # An interval is armed ahead: what is not due yet is no part of the story.
        now = system_clock()
        task.executions = [one for one in executions if datetime.fromisoformat(one["due_at"]) <= now]


def draw_secret() -> str:
    """Return a new webhook secret."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
