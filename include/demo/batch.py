"""The batch demo: register pumps, upgrade them in two waves, mend what made some fail, retry those."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from include.demo.api import Api
from include.demo.pumps import (
    FAULTY,
    HEALED,
    Pump,
    deletion_body,
    device_row,
    package_body,
    task_body,
)
from include.demo.timers import OWN, SIMULATOR
from include.errors import StartupError
from include.kit.clock import system_clock
from include.simulator.faults import Faults, OtaFaults

POLL_SECONDS = 0.5
#: A round takes seconds; by then something holds it up for good.
ROUND_SECONDS = 600.0
#: What a stopped task has under way settles in less, and so does the deletion of pumps.
CLEARED_SECONDS = 120.0


@dataclass(frozen=True)
class Clients:
    """Whom the demo calls: the instance's REST APIs, and the simulator's admin API."""

    api: Api
    simulator: Api
    project_id: str

    @property
    def tasks(self) -> str:
        """Path of the calls of document 004."""
        return f"/v5/iot/{self.project_id}/batchtasks"

    @property
    def packages(self) -> str:
        return f"/v5/iot/{self.project_id}/ota-upgrades/packages"


@dataclass
class Round:
    """The upgrade of all pumps, or the retry of those that failed.

    :ivar began_at: when it was asked for
    :ivar task: as `/carillon/v1/batch-tasks` shows it, with its waves
    :ivar subtasks: as they were when it ended, by device
    """

    name: str
    size: int
    began_at: datetime
    task: Mapping[str, Any] = field(default_factory=dict)
    subtasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return bool(self.task and self.task["finished_at"])

    @property
    def counts(self) -> dict[str, int]:
        """How many of its pumps are in which state, by the names of the task's counters."""
        progress = dict(self.task["progress"])
        total = progress.pop("total")
        if total:
            # What had succeeded before a retry is none of its pumps.
            return {**progress, "success": progress["success"] - (total - self.size)}
        return {**progress, "waitting": self.size}

    @property
    def seconds(self) -> float:
        """How long it took; NaN where it has not ended."""
        if not self.ended:
            return float("nan")
        return (datetime.fromisoformat(self.task["finished_at"]) - self.began_at).total_seconds()


@dataclass
class Story:
    """All that the demo has to tell.

    :ivar rounds: the upgrade, then the retry
    :ivar counted: what the simulator counted, by device
    :ivar versions: what the registry says, by device
    """

    pumps: Sequence[Pump]
    task_id: str
    rounds: list[Round] = field(default_factory=list)
    counted: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    versions: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def now(self) -> Round:
        """The round that is under way, or was the last."""
        return self.rounds[-1]


Show = Callable[[Story], None]


@asynccontextmanager
async def registered(clients: Clients, pumps: Sequence[Pump]) -> AsyncIterator[str]:
    """Register the pumps and their firmware, and let some fail; undo it all at the end.

    Lends the id of the package.
    """
    rows = [device_row(pump, clients.project_id) for pump in pumps]
    await clients.api.send("POST", f"{OWN}/devices/bulk", {"items": rows})
    try:
        package = await clients.api.send("POST", clients.packages, package_body())
        try:
            await set_faults(clients, FAULTY)
            yield str(package["package_id"])
        finally:
            await clients.simulator.send("DELETE", f"{SIMULATOR}/faults")
            await clients.api.send("DELETE", f"{clients.packages}/{package['package_id']}")
    finally:
        await _delete(clients, [pump.device_id for pump in pumps])


async def _delete(clients: Clients, ids: list[str]) -> None:
    """Delete devices by a batch task, which is quicker than one by one, and then the task."""
    task = await clients.api.send("POST", clients.tasks, deletion_body(ids))
    async for shown in _looks(clients.api, task["task_id"], CLEARED_SECONDS):
        task = shown
    if task["status"] != "Success":
        raise StartupError(
            f"the pumps of project {clients.project_id} could not all be deleted:"
            f" the batch task {task['task_id']} is {task['status']}"
        )
    await clients.api.send("DELETE", f"{clients.tasks}/{task['task_id']}")
    await clients.simulator.send("DELETE", f"{SIMULATOR}/devices", {"device_ids": ids})


async def set_faults(clients: Clients, ota: OtaFaults) -> None:
    """Have the simulator's devices take upgrades like this from now on."""
    await clients.simulator.send("PUT", f"{SIMULATOR}/faults", Faults(ota=ota).model_dump(mode="json"))


@asynccontextmanager
async def ordered(clients: Clients, pumps: Sequence[Pump], package_id: str) -> AsyncIterator[Story]:
    """Create the batch task; what is left of it is stopped at the end. It stays, finished."""
    began_at = system_clock()
    task = await clients.api.send("POST", clients.tasks, task_body(pumps, package_id))
    story = Story(pumps, str(task["task_id"]), [Round("upgrade", len(pumps), began_at)])
    try:
        yield story
    finally:
        if not story.now.ended:
            await _stop(clients, story)


async def _stop(clients: Clients, story: Story) -> None:
    shown = await clients.api.send("GET", f"{OWN}/batch-tasks/{story.task_id}")
    if shown["finished_at"] is None:
        await clients.api.send("POST", f"{clients.tasks}/{story.task_id}/stop", {})
    await watch(clients.api, story, lambda _: None, seconds=CLEARED_SECONDS)


async def retry(clients: Clients, story: Story) -> None:
    """Mend the pumps, and begin anew what failed."""
    await set_faults(clients, HEALED)
    story.rounds.append(Round("retry", story.now.task["progress"]["fail"], system_clock()))
    await clients.api.send("POST", f"{clients.tasks}/{story.task_id}/retry", {})


async def watch(api: Api, story: Story, show: Show, *, seconds: float = ROUND_SECONDS) -> None:
    """Look on until the round has ended, or should have; keep its sub-tasks."""
    async for task in _looks(api, story.task_id, seconds):
        story.now.task = task
        show(story)
    path = f"{OWN}/batch-tasks/{story.task_id}/subtasks"
    story.now.subtasks = {one["target"]: one async for one in api.pages(path, {})}


async def _looks(api: Api, task_id: str, seconds: float) -> AsyncIterator[dict[str, Any]]:
    """Yield the task again and again, until it has ended or the time is over."""
    end = system_clock() + timedelta(seconds=seconds)
    while system_clock() < end:
        task = await api.send("GET", f"{OWN}/batch-tasks/{task_id}")
        yield task
        if task["finished_at"]:
            return
        await asyncio.sleep(POLL_SECONDS)


async def look(clients: Clients, story: Story) -> None:
    """Read what the simulator counted, and which versions the registry knows."""
    ids = {pump.device_id for pump in story.pumps}
    counted = await clients.simulator.send("GET", f"{SIMULATOR}/upgrades")
    story.counted = {device_id: found for device_id, found in counted.items() if device_id in ids}
    devices = clients.api.pages(f"{OWN}/devices", {"project": clients.project_id})
    story.versions = {device["device_id"]: device["fw_version"] async for device in devices}
