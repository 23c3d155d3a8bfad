"""The admin API of the simulator: faults, devices, counters. For tests, demos and benchmarks.

GET    /_admin/health                    {"status": "healthy"}
GET    /_admin/faults                    what goes wrong now
PUT    /_admin/faults                    set all of it; what is not named goes well
DELETE /_admin/faults                    all goes well
GET    /_admin/counters                  totals
GET    /_admin/received                  request ids with their counts, by device
GET    /_admin/arrivals                  commands as they came: {"arrivals": [{"device_id", "at", …}]}
GET    /_admin/upgrades                  what each device went through with upgrades, by device
GET    /_admin/devices/{id}              one device: commands, messages, shadow
PUT    /_admin/devices/{id}              {"online": true | false | null, "fw_version": …, "sw_version": …}
POST   /_admin/online, /_admin/offline   {"device_ids": […]}
GET    /_admin/push                      where what devices say is pushed, and how that goes
PUT    /_admin/push                      {"url": …, "token": …}
DELETE /_admin/push                      nowhere
DELETE /_admin/devices                   forget all devices and counts; with {"device_ids": […]} these devices
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from include.simulator.answers import Answer, RefusedError, Request, answer
from include.simulator.devices import Device, Fleet
from include.simulator.faults import Faults
from include.simulator.push import Pusher

PREFIX = "/_admin/"

Model = TypeVar("Model", bound=BaseModel)


class DeviceChange(BaseModel):
    """Only what is named is changed."""

    model_config = ConfigDict(extra="forbid")

    online: bool | None = None
    fw_version: Annotated[str, Field(max_length=256)] | None = None
    sw_version: Annotated[str, Field(max_length=256)] | None = None


class PushTarget(BaseModel):
    """Where what devices say is pushed, with a token of the own API."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(pattern="^https?://")
    token: SecretStr


class DeviceIds(BaseModel):
    """Some devices."""

    model_config = ConfigDict(extra="forbid")

    device_ids: list[str]


class Admin:
    """Answers requests below `/_admin/`."""

    def __init__(self, fleet: Fleet, pusher: Pusher) -> None:
        self.fleet = fleet
        self.pusher = pusher
        self.calls: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("GET", "health"): lambda _: answer({"status": "healthy"}),
            ("GET", "faults"): lambda _: self.faults(),
            ("PUT", "faults"): self.set_faults,
            ("DELETE", "faults"): lambda _: self.clear_faults(),
            ("GET", "counters"): lambda _: self.counters(),
            ("GET", "received"): lambda _: self.received(),
            ("GET", "arrivals"): lambda _: self.arrivals(),
            ("GET", "upgrades"): lambda _: self.upgrades(),
            ("POST", "online"): lambda request: self.set_online(request, True),
            ("POST", "offline"): lambda request: self.set_online(request, False),
            ("DELETE", "devices"): self.forget,
            ("GET", "push"): lambda _: answer(self.pusher.shown()),
            ("PUT", "push"): self.aim,
            ("DELETE", "push"): lambda _: self.aim_nowhere(),
        }

    def handle(self, request: Request) -> Answer:
        words = request.path.removeprefix(PREFIX).partition("?")[0]
        call = self.calls.get((request.method, words))
        if call is None and words.startswith("devices/"):
            device = self.fleet.device(unquote(words.removeprefix("devices/")))
            if request.method == "GET":
                return answer(self.shown(device))
            if request.method == "PUT":
                return self.change(device, request)
        if call is None:
            raise RefusedError(404, "SIM.404", f"there is no {request.method} {request.path}")
        return call(request)

    def faults(self) -> Answer:
        return answer(self.fleet.faults.model_dump(mode="json"))

    def set_faults(self, request: Request) -> Answer:
        self.fleet.set_faults(_read(Faults, request))
        return self.faults()

    def clear_faults(self) -> Answer:
        self.fleet.set_faults(Faults())
        return self.faults()

    def counters(self) -> Answer:
        devices = self.fleet.devices.values()
        totals: dict[str, Any] = dict.fromkeys(
            (
                *("received", "duplicates", "offline", "messages", "requests"),
                *("queries", "notices", "upgrades", "reports"),
            ),
            0,
        )
        executed = sum(device.executed for device in devices)
        return answer({**totals, **self.fleet.totals, "executed": executed, "devices": len(devices)})

    def received(self) -> Answer:
        return answer(
            {device.device_id: device.seen for device in self.fleet.devices.values() if device.seen}
        )

    def arrivals(self) -> Answer:
        came = [
            {"device_id": device.device_id, **asdict(item)}
            for device in self.fleet.devices.values()
            for item in device.received
        ]
        return answer({"arrivals": sorted(came, key=lambda item: item["at"])})

    def upgrades(self) -> Answer:
        devices = self.fleet.devices.values()
        return answer({device.device_id: _ota(device) for device in devices if device.ota.notices})

    def set_online(self, request: Request, online: bool) -> Answer:
        ids = _read(DeviceIds, request).device_ids
        for device_id in ids:
            self.fleet.set_online(device_id, online)
        return answer({"changed": len(ids)})

    def aim(self, request: Request) -> Answer:
        target = _read(PushTarget, request)
        self.pusher.aim(target.url, target.token.get_secret_value())
        return answer(self.pusher.shown())

    def aim_nowhere(self) -> Answer:
        self.pusher.aim(None, "")
        return answer(self.pusher.shown())

    def forget(self, request: Request) -> Answer:
        self.fleet.forget(_read(DeviceIds, request).device_ids if request.body else None)
        return self.counters()

    def change(self, device: Device, request: Request) -> Answer:
        change = _read(DeviceChange, request)
        if "online" in change.model_fields_set:
            self.fleet.set_online(device.device_id, change.online)
        device.fw_version = change.fw_version or device.fw_version
        device.sw_version = change.sw_version or device.sw_version
        return answer(self.shown(device))

    def shown(self, device: Device) -> dict[str, Any]:
        return {
            "device_id": device.device_id,
            "online": self.fleet.is_online(device),
            "fw_version": device.fw_version,
            "sw_version": device.sw_version,
            "executed": device.executed,
            "duplicates": device.duplicates,
            "received": [asdict(item) for item in device.received],
            "messages": list(device.messages),
            "pending": list(device.pending),
            "ota": _ota(device),
            "shadow": {name: asdict(shadow) for name, shadow in device.shadows.items()},
        }


def _ota(device: Device) -> dict[str, Any]:
    return {
        "queries": device.ota.queries,
        "notices": device.ota.notices,
        "upgrades": device.ota.begun,
        "reports": device.ota.reports,
        "upgrading": device.ota.running is not None,
    }


def _read(model: type[Model], request: Request) -> Model:
    try:
        return model.model_validate_json(request.body)
    except ValidationError as error:
        first = error.errors()[0]
        raise RefusedError(400, "SIM.400", f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
