"""The simulated devices: who is there, what each has received, its shadow. In memory, gone with the process.

A device exists as soon as somebody names it, and is online until something says otherwise.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from include.simulator.faults import Faults

#: What is kept of each device, so that a long run does not fill the memory; counters stay exact.
KEPT = 1000
VERSION = "1.0.0"


@dataclass(frozen=True, slots=True)
class Received:
    """A command as a device received it; `at` is Unix seconds."""

    request_id: str
    at: float
    service_id: str
    command_name: str
    paras: Any
    kind: str = "command"


@dataclass(slots=True)
class Shadow:
    """Desired and reported properties of one service."""

    desired: dict[str, Any] = field(default_factory=dict)
    reported: dict[str, Any] = field(default_factory=dict)
    version: int = 0


@dataclass(slots=True)
class OtaLife:
    """What a device went through with upgrades.

    :ivar queries: questions for its version
    :ivar notices: message ids of upgrades, with how often each came
    :ivar begun: upgrades that it began
    :ivar reports: everything that it said
    :ivar running: the upgrade under way, for whoever carries it on
    :ivar up_at: when it has rebooted, on the event loop's clock
    """

    queries: int = 0
    notices: dict[str, int] = field(default_factory=dict)
    begun: int = 0
    reports: int = 0
    running: Callable[[], None] | None = None
    waiting: bool = False
    up_at: float = 0.0


@dataclass(slots=True)
class Device:
    """One device.

    :ivar online: as an admin call set it; None: as the faults say
    :ivar seen: request ids with how often each came, the newest `KEPT`
    :ivar executed: commands that were new to it
    """

    device_id: str
    online: bool | None = None
    received: deque[Received] = field(default_factory=lambda: deque(maxlen=KEPT))
    seen: dict[str, int] = field(default_factory=dict)
    executed: int = 0
    duplicates: int = 0
    shadows: dict[str, Shadow] = field(default_factory=dict)
    pending: dict[str, dict[str, Any]] = field(default_factory=dict)
    commands: dict[str, dict[str, Any]] = field(default_factory=dict)
    messages: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT))
    fw_version: str = VERSION
    sw_version: str = VERSION
    modules: dict[str, str] = field(default_factory=dict)
    ota: OtaLife = field(default_factory=lambda: OtaLife())

    def receive(self, received: Received) -> bool:
        """Take a command; tell whether it is new."""
        self.received.append(received)
        count = self.seen.get(received.request_id, 0)
        self.seen[received.request_id] = count + 1
        if count:
            self.duplicates += 1
            return False
        self.executed += 1
        if len(self.seen) > KEPT:
            del self.seen[next(iter(self.seen))]
        return True

    def shadow(self, service_id: str) -> Shadow:
        return self.shadows.setdefault(service_id, Shadow())


class Fleet:
    """All devices, the faults, and the totals.

    :ivar changed: called with each device that came online or went away
    """

    def __init__(self) -> None:
        self.devices: dict[str, Device] = {}
        self.totals: Counter[str] = Counter()
        self.changed: Callable[[Device, bool], None] = lambda device, online: None
        self.faults = Faults()
        self.set_faults(self.faults)

    def set_faults(self, faults: Faults) -> None:
        named = [self.device(device_id) for device_id in faults.offline]
        were = {device.device_id: self.is_online(device) for device in (*self.devices.values(), *named)}
        self.faults = faults
        self.calm = faults.calm
        self.random = Random(faults.seed)
        for device_id, was in were.items():
            self._settle(self.devices[device_id], was)

    def forget(self, device_ids: Iterable[str] | None = None) -> None:
        """Begin anew: no device, no count; the faults stay. Or forget these devices, and no total."""
        if device_ids is None:
            self.devices.clear()
            self.totals.clear()
            return
        for device_id in device_ids:
            self.devices.pop(device_id, None)

    def device(self, device_id: str) -> Device:
        device = self.devices.get(device_id)
        if device is None:
            device = self.devices[device_id] = Device(device_id)
        return device

    def is_online(self, device: Device) -> bool:
        if device.online is not None:
            return device.online
        return not self.faults.takes_offline(device.device_id)

    def set_online(self, device_id: str, online: bool | None) -> None:
        """Bring a device online, take it away, or leave it to the faults again (None)."""
        device = self.device(device_id)
        was = self.is_online(device)
        device.online = online
        self._settle(device, was)

    def _settle(self, device: Device, was_online: bool) -> None:
        online = self.is_online(device)
        if online:
            self.deliver(device)
        if online != was_online:
            self.changed(device, online)

    def strikes(self, share: float) -> bool:
        return share > 0 and self.random.random() < share

    def receive(
        self, device: Device, request_id: str, command: Mapping[str, Any], kind: str = "command"
    ) -> None:
        received = Received(
            request_id,
            time.time(),
            command.get("service_id", ""),
            command.get("command_name", ""),
            command.get("paras"),
            kind,
        )
        self.totals["received"] += 1
        if not device.receive(received):
            self.totals["duplicates"] += 1

    def deliver(self, device: Device) -> None:
        """Give a device that came online what waited for it: desired properties and delayed commands."""
        for shadow in device.shadows.values():
            shadow.reported.update(shadow.desired)
        now = time.time()
        for command_id, command in list(device.pending.items()):
            del device.pending[command_id]
            if command["expires_at"] < now:
                command["status"] = "EXPIRED"
                continue
            command["status"] = "SUCCESSFUL"
            self.receive(device, command_id, command, "async-command")
