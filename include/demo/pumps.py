"""The pumps of the batch demo: made-up pumps, which of them fail, and what is asked of the instance. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from include.simulator.faults import OtaFaults

STATIONS = ("North Basin", "South Basin", "Hill Reservoir", "Old Mill", "River Intake", "Water Tower")
PRODUCT = "pump"
VERSION = "2.0.0"

#: One of so many pumps fails, each time with the next of these codes.
FAILS_EVERY = 50
CODES = (5, 7)

#: A wave of a tenth must succeed in so many of a hundred before the rest begins.
FIRST_PERCENT, SUCCESS_PERCENT = 10, 90

#: How a pump takes its upgrade: seconds to load and install, with so many reports on the way.
SECONDS, STEPS = 2.0, 4

#: A share of each code is wide enough to find pumps for it, and narrow enough to find others.
SHARE = 1 / FAILS_EVERY / len(CODES)

FAULTY = OtaFaults(seconds=SECONDS, steps=STEPS, results=dict.fromkeys(CODES, SHARE))
HEALED = OtaFaults(seconds=SECONDS, steps=STEPS)


@dataclass(frozen=True)
class Pump:
    """A device.

    :ivar code: the result with which its first upgrade ends; 0: all goes well
    """

    device_id: str
    name: str
    code: int


def plan_pumps(mark: str, *, count: int) -> list[Pump]:
    """Return the pumps of one demo: every fiftieth fails, so each wave has its part.

    Which devices a share strikes is the simulator's to say, by their ids: so serial numbers are skipped until
    one comes that it treats as wanted.

    :param mark: what makes their ids unique
    """
    pumps: list[Pump] = []
    serial = 0
    while len(pumps) < count:
        serial += 1
        device_id = f"demo-{mark}-{serial:05}"
        code = FAULTY.result(device_id)
        if code == _wanted(len(pumps)):
            number = len(pumps)
            name = f"Pump {number // len(STATIONS) + 1}, {STATIONS[number % len(STATIONS)]}"
            pumps.append(Pump(device_id, name, code))
    return pumps


def _wanted(number: int) -> int:
    turn, place = divmod(number, FAILS_EVERY)
    return CODES[turn % len(CODES)] if place == FAILS_EVERY - 1 else 0


def device_row(pump: Pump, project_id: str) -> dict[str, Any]:
    """Return a pump as the registry takes it."""
    return {
        "device_id": pump.device_id,
        "node_id": pump.device_id,
        "product_id": PRODUCT,
        "project_id": project_id,
        "name": pump.name,
        "tags": {"made-up": "yes"},
    }


def package_body() -> dict[str, Any]:
    """Return the firmware as an OTA package; nobody opens the file, which does not exist."""
    location = {"region_name": "local", "bucket_name": "demo-pumps", "object_key": f"pump-{VERSION}.bin"}
    return {
        "app_id": "demo",
        "package_type": "firmwarePackage",
        "product_id": PRODUCT,
        "version": VERSION,
        "file_location": {"obs_location": location},
    }


def task_body(pumps: Sequence[Pump], package_id: str) -> dict[str, Any]:
    """Return the body of document 004 that upgrades them in two waves."""
    return {
        "task_name": "demo_pumps",
        "task_type": "firmwareUpgrade",
        "targets": [pump.device_id for pump in pumps],
        "document": {"package_ids": [package_id]},
        "x_rollout": {
            "waves": [{"percent": FIRST_PERCENT, "success_percent": SUCCESS_PERCENT}, {"rest": True}]
        },
    }


def deletion_body(device_ids: Sequence[str]) -> dict[str, Any]:
    """Return the body of document 004 that takes them away."""
    return {"task_name": "demo_pumps_away", "task_type": "deleteDevices", "targets": list(device_ids)}
