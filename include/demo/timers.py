"""The timers demo: register lamps, set their timers, see them switched, bring back those that were away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from include.demo.api import Api, for_each
from include.demo.lamps import LEFT_IN_SHADOW, Lamp, device_row, timer_body
from include.errors import StartupError
from include.kit.clock import system_clock
from include.simulator.faults import Faults

OWN, TIMERS, SIMULATOR = "/carillon/v1", "/v3/schedule", "/_admin"

POLL_SECONDS = 1.0
#: The last try of a device that is away and comes back soon is 35 s after its instant, 75 s if that was late.
ENDS_SECONDS = 90.0

Tick = Callable[[], None]


@dataclass(frozen=True)
class Clients:
    """Whom the demo calls: the own API, document 001 as its user, the simulator's admin API."""

    own: Api
    user: Api
    simulator: Api


@dataclass
class Story:
    """All that the demo has to tell.

    :ivar dues: the minutes, local
    :ivar back_at: when the lamps that were away at a minute came back, by the minute's number
    :ivar received: commands that the simulator counted, by device and request id
    :ivar arrivals: the same as it logged them, by device
    :ivar reported: what lamps whose shadow was written have taken from it, by device and service
    :ivar dag_ids: of the schedules on which the timers hang
    """

    lamps: Sequence[Lamp]
    dues: tuple[datetime, ...]
    back_at: dict[int, datetime] = field(default_factory=dict)
    received: dict[str, dict[str, int]] = field(default_factory=dict)
    arrivals: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    reported: dict[str, dict[str, Any]] = field(default_factory=dict)
    dag_ids: list[str] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Whether nothing is on its way any more, and all lamps are back."""
        away = {lamp.minute for lamp in self.lamps if lamp.away}
        return all(lamp.outcome for lamp in self.lamps) and away <= set(self.back_at)

    def due(self, lamp: Lamp) -> datetime:
        return self.dues[lamp.minute]

    def arrivals_of(self, lamp: Lamp) -> list[dict[str, Any]]:
        return self.arrivals.get(lamp.device_id, [])


async def check_simulator(simulator: Api, url: str) -> None:
    """Make sure that what is simulated goes well.

    :raises StartupError: something is set to go wrong
    """
    calm = Faults().model_dump(mode="json")
    faults = await simulator.send("GET", f"{SIMULATOR}/faults")
    if wrong := [name for name, value in faults.items() if value != calm[name]]:
        raise StartupError(
            f"the device simulator has faults set ({', '.join(wrong)}), and the demo counts on none:"
            f" curl -X DELETE {url}{SIMULATOR}/faults takes them away"
        )


@asynccontextmanager
async def registered(
    clients: Clients, lamps: Sequence[Lamp], *, project_id: str, user: str
) -> AsyncIterator[None]:
    """Register the lamps, bind the user to each, take away those that are to be; undo it all at the end."""
    ids = [lamp.device_id for lamp in lamps]

    async def bind(lamp: Lamp) -> None:
        await clients.own.send("PUT", f"{OWN}/devices/{lamp.device_id}/users/{user}")

    async def delete(lamp: Lamp) -> None:
        await clients.own.send("DELETE", f"{OWN}/devices/{lamp.device_id}")

    rows = [device_row(lamp, project_id) for lamp in lamps]
    await clients.own.send("POST", f"{OWN}/devices/bulk", {"items": rows})
    try:
        await for_each(lamps, bind)
        away = [lamp.device_id for lamp in lamps if lamp.away]
        await clients.simulator.send("POST", f"{SIMULATOR}/offline", {"device_ids": away})
        yield
    finally:
        # The bindings go with their devices.
        await for_each(lamps, delete)
        await clients.simulator.send("DELETE", f"{SIMULATOR}/devices", {"device_ids": ids})


@asynccontextmanager
async def ordered(
    clients: Clients, lamps: Sequence[Lamp], dues: tuple[datetime, ...], tick: Tick
) -> AsyncIterator[Story]:
    """Set a timer on each lamp; take them away at the end. What they did stays in the ledger.

    :param tick: told of each timer
    :raises StartupError: their minute was over before they were made
    """

    async def create(lamp: Lamp) -> None:
        await _create(clients.user, lamp, dues[lamp.minute])
        tick()

    async def delete(lamp: Lamp) -> None:
        await clients.user.send("DELETE", f"{TIMERS}/task/{lamp.group_id}/")

    try:
        await for_each(lamps, create)
        yield Story(lamps, dues)
    finally:
        await for_each([lamp for lamp in lamps if lamp.group_id], delete)


async def _create(user: Api, lamp: Lamp, due: datetime) -> None:
    commands = json.dumps(lamp.paras)
    group = (await user.send("POST", f"{TIMERS}/task/", timer_body(lamp, due, commands)))["data"]
    lamp.group_id, lamp.timer = group["group_id"], group["tasks"][0]["name"]
    if group["next_run_at"] != f"{due:%Y-%m-%d %H:%M:%S}":
        raise StartupError(
            f"the timers of {due:%H:%M} were not all made before it, so slow is this machine at the moment:"
            " try again, or with fewer --devices"
        )


async def watch(clients: Clients, story: Story, show: Callable[[Story], None]) -> None:
    """Look on until all timers have ended, or should have; bring lamps back once they were missed."""
    end = story.dues[-1] + timedelta(seconds=ENDS_SECONDS)
    while not story.ended and system_clock() < end:
        await asyncio.sleep(POLL_SECONDS)
        await refresh(clients.own, story)
        for minute in range(len(story.dues)):
            await _bring_back(clients.simulator, story, minute)
        show(story)


async def refresh(own: Api, story: Story) -> None:
    """Read the executions of every timer anew."""
    lamps = {lamp.timer: lamp for lamp in story.lamps}
    query = {
        "kind": "timer",
        "from": story.dues[0].isoformat(),
        "to": (story.dues[-1] + timedelta(seconds=1)).isoformat(),
    }
    found: dict[str, list[dict[str, Any]]] = {}
    async for execution in own.pages(f"{OWN}/executions", query):
        found.setdefault(execution["definition_name"], []).append(execution)
    for name, lamp in lamps.items():
        lamp.executions = found.get(name, [])


async def _bring_back(simulator: Api, story: Story, minute: int) -> None:
    away = [lamp for lamp in story.lamps if lamp.away and lamp.minute == minute]
    if away and minute not in story.back_at and all(lamp.was_tried for lamp in away):
        ids = [lamp.device_id for lamp in away]
        await simulator.send("POST", f"{SIMULATOR}/online", {"device_ids": ids})
        story.back_at[minute] = system_clock()


async def look(clients: Clients, story: Story) -> None:
    """Read what the simulator counted and logged of the lamps, what shadows brought, and which DAGs ran."""
    simulator = clients.simulator
    ids = {lamp.device_id for lamp in story.lamps}
    received = await simulator.send("GET", f"{SIMULATOR}/received")
    story.received = {device: counts for device, counts in received.items() if device in ids}
    logged = await simulator.send("GET", f"{SIMULATOR}/arrivals")
    story.arrivals = {device: [] for device in ids}
    for one in logged["arrivals"]:
        if one["device_id"] in ids:
            story.arrivals[one["device_id"]].append(one)
    for lamp in story.lamps:
        if lamp.expects == LEFT_IN_SHADOW:
            shown = await simulator.send("GET", f"{SIMULATOR}/devices/{lamp.device_id}")
            story.reported[lamp.device_id] = {
                service: shadow["reported"] for service, shadow in shown["shadow"].items()
            }
    schedules = {one["schedule_id"] for lamp in story.lamps for one in lamp.executions}
    found = [await clients.own.send("GET", f"{OWN}/schedules/{schedule_id}") for schedule_id in schedules]
    story.dag_ids = sorted(schedule["dag_id"] for schedule in found)
