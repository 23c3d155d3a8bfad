"""Devices that speak OTA (research `iot.md` A10): they tell their version, load, reboot, tell it again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from include.simulator.devices import Device, Fleet

EVENTS_DOWN = "/sys/events/down"
WRONG_VERSION = "0.0.0"

#: Calls a function after so many seconds.
Later = Callable[[float, Callable[[], None]], object]


def on_the_loop(seconds: float, call: Callable[[], None]) -> object:
    """Use the running event loop as the clock of all devices."""
    return asyncio.get_running_loop().call_later(seconds, call)


class Ota:
    """Hears events for devices and has the devices answer.

    :param say: takes `{device_id, services}` that a device publishes
    """

    def __init__(
        self, fleet: Fleet, say: Callable[[dict[str, Any]], None], *, later: Later = on_the_loop
    ) -> None:
        self.fleet = fleet
        self.say = say
        self.later = later

    def hear(self, addressee: Device, message_id: str, body: Mapping[str, Any]) -> None:
        """Have a device, or one that hangs on it, take an event."""
        about = body.get("object_device_id") or addressee.device_id
        device = self.fleet.device(about)
        via = None if device is addressee else addressee.device_id
        for service in body["services"]:
            paras = service.get("paras") or {}
            event_type = service["event_type"]
            if event_type == "version_query":
                self._asked(device, via)
            elif event_type.removesuffix("_v2").endswith("_upgrade"):
                kind = event_type.partition("_")[0]
                self._told(device, via, message_id, kind, paras)

    def resume(self, device: Device) -> None:
        """Go on with an upgrade that stood still while the device was away."""
        if device.ota.waiting and device.ota.running is not None:
            device.ota.waiting = False
            device.ota.running()

    # --- what a device does

    def _asked(self, device: Device, via: str | None) -> None:
        device.ota.queries += 1
        self.fleet.totals["queries"] += 1
        if not self.fleet.faults.ota.struck("silent", device.device_id):
            self.later(
                max(0.0, device.ota.up_at - time.monotonic()), partial(self._tell_version, device, via)
            )

    def _tell_version(self, device: Device, via: str | None) -> None:
        wrong = self.fleet.faults.misreports(device.device_id)
        paras: dict[str, Any] = {
            "fw_version": WRONG_VERSION if wrong else device.fw_version,
            "sw_version": WRONG_VERSION if wrong else device.sw_version,
        }
        if device.modules:
            paras["modules"] = device.modules
        self._say(device, via, "version_report", paras)

    def _told(
        self, device: Device, via: str | None, message_id: str, kind: str, paras: Mapping[str, Any]
    ) -> None:
        life, faults = device.ota, self.fleet.faults.ota
        times = life.notices[message_id] = life.notices.get(message_id, 0) + 1
        self.fleet.totals["notices"] += 1
        known = times > 1 or life.running is not None
        if known or any(faults.struck(fault, device.device_id) for fault in ("silent", "deaf")):
            return
        life.begun += 1
        self.fleet.totals["upgrades"] += 1
        install = partial(self._install, device, kind, paras)
        self._step(device, via, str(paras.get("version", "")), install, 1)

    def _step(
        self, device: Device, via: str | None, version: str, install: Callable[[], None], number: int
    ) -> None:
        """Wait for the next of so many steps; where the device is away, until it is back."""
        faults = self.fleet.faults.ota

        def arrive() -> None:
            if not self.fleet.is_online(device):
                device.ota.waiting = True
                return
            half = number == (faults.steps + 1) // 2
            if half and (code := faults.result(device.device_id)):
                device.ota.running = None
                self._progress(device, via, code, 100 * number // faults.steps, version)
                return
            if half and faults.struck("away", device.device_id):
                self._go_away(device, faults.away_seconds)
            if number == faults.steps:
                device.ota.running = None
                install()
                device.ota.up_at = time.monotonic() + faults.reboot
            self._progress(device, via, 0, 100 * number // faults.steps, version)
            if number < faults.steps:
                self._step(device, via, version, install, number + 1)

        device.ota.running = arrive
        self.later(faults.duration(device.device_id) / faults.steps, arrive)

    def _go_away(self, device: Device, seconds: float) -> None:
        self.later(0.0, partial(self.fleet.set_online, device.device_id, False))
        self.later(seconds, partial(self.fleet.set_online, device.device_id, True))

    def _install(self, device: Device, kind: str, paras: Mapping[str, Any]) -> None:
        if self.fleet.faults.ota.struck("keeps_version", device.device_id):
            return
        version = str(paras["version"])
        match kind:
            case "firmware":
                device.fw_version = version
            case "software":
                device.sw_version = version
            case "module":
                device.modules[str(paras["module_name"])] = version

    def _progress(self, device: Device, via: str | None, code: int, percent: int, version: str) -> None:
        paras = {"result_code": code, "progress": percent, "version": version}
        if code:
            paras["description"] = "simulated"
        self._say(device, via, "upgrade_progress_report", paras)

    def _say(self, device: Device, via: str | None, event_type: str, paras: Mapping[str, Any]) -> None:
        service = {
            "service_id": "$ota",
            "event_type": event_type,
            "event_time": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()),
            "paras": paras,
        }
        event: dict[str, Any] = {"device_id": via or device.device_id, "services": [service]}
        if via is not None:
            event["object_device_id"] = device.device_id
        for _ in range(2 if self.fleet.faults.ota.struck("twice", device.device_id) else 1):
            device.ota.reports += 1
            self.fleet.totals["reports"] += 1
            self.say(event)
