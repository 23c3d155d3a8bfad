"""IoTDA's calls of research `iot.md` A12, as the simulator answers them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import orjson

from include.simulator.answers import Answer, RefusedError, Request, answer
from include.simulator.devices import Device, Fleet
from include.simulator.ota import EVENTS_DOWN, WRONG_VERSION, Ota

REQUEST_ID = b"x-request-id"
TOKEN = b"x-auth-token"
DAY_SECONDS = 86_400

#: Ways in which an answer cannot be read.
GARBAGE = (
    Answer(200, b"<html><body>Bad gateway</body></html>", content_type="text/html"),
    Answer(200, b'{"command_id": "x", "response": {"resu'),
    Answer(200, b"[1, 2]"),
    Answer(200, b"\xff\xfe\x00"),
    Answer(200, b'{"response": {"result_code": "zero"}}'),
    Answer(200, b"{}"),
    Answer(200, b"\x00\x01 this is not HTTP\r\n\r\n", wire="raw"),
)


class Iotda:
    """Answers requests below `/v5/iot/{project_id}/devices/{device_id}`."""

    def __init__(self, fleet: Fleet, ota: Ota) -> None:
        self.fleet = fleet
        self.ota = ota
        self.calls: dict[tuple[str, str], Callable[[Device, Request], Answer]] = {
            ("POST", "commands"): self.command,
            ("POST", "async-commands"): self.async_command,
            ("GET", "async-commands"): self.async_commands,
            ("POST", "messages"): self.message,
            ("GET", "properties"): self.properties,
            ("PUT", "properties"): self.set_properties,
            ("GET", "shadow"): self.shadow,
            ("PUT", "shadow"): self.set_shadow,
            ("GET", ""): self.show,
        }

    def handle(self, request: Request) -> Answer:
        # "", v5, iot, project, devices, device, call
        words = request.path.partition("?")[0].split("/")
        call = self.calls.get((request.method, "/".join(words[6:]))) if len(words) >= 6 else None
        if call is None or words[1:3] != ["v5", "iot"] or words[4] != "devices":
            raise RefusedError(404, "IOTDA.000003", f"there is no {request.method} {request.path}")
        faults = self.fleet.faults
        if faults.token is not None and request.headers.get(TOKEN) != faults.token:
            raise RefusedError(401, "IOTDA.000002", "authentication failed")
        device_id = unquote(words[5])
        if device_id in faults.unknown:
            raise RefusedError(404, "IOTDA.014000", f"the device {device_id} does not exist")
        return call(self.fleet.device(device_id), request)

    # --- commands

    def command(self, device: Device, request: Request) -> Answer:
        fleet = self.fleet
        document = _object(request.body, "paras")
        if not fleet.calm and fleet.strikes(fleet.faults.unavailable):
            return answer({"error_code": "IOTDA.000001", "error_msg": "unavailable"}, 503)
        if not fleet.is_online(device):
            fleet.totals["offline"] += 1
            raise RefusedError(403, "IOTDA.014016", f"the device {device.device_id} is not online")
        command_id = request.headers.get(REQUEST_ID) or uuid.uuid4().hex
        fleet.receive(device, command_id, document)
        if fleet.calm:
            return _answered(command_id, 0)
        return self._troubled(command_id)

    def _troubled(self, command_id: str) -> Answer:
        """Answer a command that the device has received, under the present faults."""
        fleet, faults = self.fleet, self.fleet.faults
        delay = faults.latency.draw(fleet.random)
        if fleet.strikes(faults.reset):
            return Answer(0, b"", delay, "reset")
        if fleet.strikes(faults.hang):
            return Answer(0, b"", wire="hang")
        if fleet.strikes(faults.garbage):
            return fleet.random.choice(GARBAGE)._replace(delay=delay)
        if delay > faults.patience or fleet.strikes(faults.loss):
            late = {"command_id": command_id, "response": None}
            late |= {"error_code": "IOTDA.014111", "error_msg": "the device did not answer in time"}
            return answer(late)._replace(delay=faults.patience)
        good = _answered(command_id, int(fleet.strikes(faults.refuse)))._replace(delay=delay)
        return good._replace(wire="twice") if fleet.strikes(faults.duplicate) else good

    def async_command(self, device: Device, request: Request) -> Answer:
        document = _object(request.body, "paras", "send_strategy")
        strategy = document["send_strategy"]
        if strategy not in ("immediately", "delay"):
            raise RefusedError(400, "IOTDA.000006", "send_strategy must be immediately or delay")
        command_id = request.headers.get(REQUEST_ID) or uuid.uuid4().hex
        if command_id in device.commands:
            return answer(_shown(device.commands[command_id]))
        expire_time = int(document.get("expire_time") or DAY_SECONDS) if strategy == "delay" else 0
        command = {
            "device_id": device.device_id,
            "command_id": command_id,
            "service_id": document.get("service_id", ""),
            "command_name": document.get("command_name", ""),
            "paras": document["paras"],
            "expire_time": expire_time,
            "status": "PENDING",
            "created_time": now(),
            "send_strategy": strategy,
            "expires_at": time.time() + expire_time,
        }
        device.commands[command_id] = command
        if self.fleet.is_online(device):
            command["status"] = "SENT"
            self.fleet.receive(device, command_id, command, "async-command")
        elif strategy == "delay":
            device.pending[command_id] = command
        else:
            del device.commands[command_id]
            raise RefusedError(403, "IOTDA.014016", f"the device {device.device_id} is not online")
        return answer(_shown(command))

    def async_commands(self, device: Device, request: Request) -> Answer:
        return answer({"commands": [_shown(command) for command in device.commands.values()]})

    def message(self, device: Device, request: Request) -> Answer:
        document = _object(request.body, "message")
        message_id = str(document.get("message_id") or uuid.uuid4().hex)
        online = self.fleet.is_online(device)
        if not online and document.get("ttl") == 0:  # nobody keeps it
            return answer(
                {"message_id": message_id, "result": {"status": "FAILED", "created_time": now()}}, 201
            )
        device.messages.append({**document, "message_id": message_id, "at": time.time()})
        status = "DELIVERED" if online else "PENDING"
        self.fleet.totals["messages"] += 1
        if online and str(document.get("topic_full_name") or "").endswith(EVENTS_DOWN):
            self.ota.hear(device, message_id, orjson.loads(document["message"]))
        return answer({"message_id": message_id, "result": {"status": status, "created_time": now()}}, 201)

    # --- properties, shadow, the device itself

    def properties(self, device: Device, request: Request) -> Answer:
        services = [
            {"service_id": service, "properties": shadow.reported, "event_time": now()}
            for service, shadow in device.shadows.items()
        ]
        return answer({"response": {"services": services}})

    def set_properties(self, device: Device, request: Request) -> Answer:
        if not self.fleet.is_online(device):
            raise RefusedError(403, "IOTDA.014016", f"the device {device.device_id} is not online")
        for service in _object(request.body, "services")["services"]:
            device.shadow(service["service_id"]).reported.update(service.get("properties") or {})
        return answer({"response": {"result_code": 0, "result_desc": "success"}})

    def shadow(self, device: Device, request: Request) -> Answer:
        shown = [
            {
                "service_id": service,
                "desired": {"properties": shadow.desired, "event_time": now()},
                "reported": {"properties": shadow.reported, "event_time": now()},
                "version": shadow.version,
            }
            for service, shadow in device.shadows.items()
        ]
        return answer({"device_id": device.device_id, "shadow": shown})

    def set_shadow(self, device: Device, request: Request) -> Answer:
        for item in _object(request.body, "shadow")["shadow"]:
            shadow = device.shadow(item["service_id"])
            if item.get("version") not in (None, shadow.version):
                raise RefusedError(400, "IOTDA.000006", f"the version is {shadow.version}")
            shadow.desired = _merged(shadow.desired, item["desired"])
            shadow.version += 1
        if self.fleet.is_online(device):
            self.fleet.deliver(device)
        return self.shadow(device, request)

    def show(self, device: Device, request: Request) -> Answer:
        wrong = self.fleet.faults.misreports(device.device_id)
        return answer(
            {
                "device_id": device.device_id,
                "status": "ONLINE" if self.fleet.is_online(device) else "OFFLINE",
                "fw_version": WRONG_VERSION if wrong else device.fw_version,
                "sw_version": WRONG_VERSION if wrong else device.sw_version,
            }
        )


def _answered(command_id: str, code: int) -> Answer:
    response = {"result_code": code, "response_name": "COMMAND_RESPONSE", "paras": {}}
    return answer({"command_id": command_id, "response": response, "error_code": None, "error_msg": None})


def _merged(desired: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Null deletes a key, an empty object clears all, one level deep."""
    if not change:
        return {}
    return {name: value for name, value in {**desired, **change}.items() if value is not None}


def _object(body: bytes, *required: str) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except ValueError:
        raise RefusedError(400, "IOTDA.000008", "the body is not JSON") from None
    if not isinstance(document, dict) or any(name not in document for name in required):
        raise RefusedError(400, "IOTDA.000006", f"the body needs {', '.join(required)}")
    return document


def _shown(command: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in command.items() if name != "expires_at"}


def now() -> str:
    """Return the time as IoTDA writes it."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
