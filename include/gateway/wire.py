"""The gateway protocol as bytes and texts: bodies, and what an answer means. Pure.

Source of calls, codes and payloads: research `iot.md` A8 and A12.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from include.errors import InvalidInputError
from include.gateway.model import Command, DeviceEvent, Message, Outcome, Reply
from include.kit.clock import system_clock

#: Both become part of a path and of an MQTT topic, so what would end or widen those is refused.
DEVICE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")

ERROR_CHARACTERS, CODE_CHARACTERS = 500, 64
#: Kept of an answer that cannot be read.
START_CHARACTERS = 2000

#: IoTDA's error codes that are not a plain refusal (iot.md A8).
OUTCOMES: dict[str, Outcome] = {
    "IOTDA.014016": "offline",  # device offline
    "IOTDA.014028": "offline",  # the gateway it hangs on is offline
    "IOTDA.014111": "timeout",  # with HTTP 200
    "IOTDA.021101": "unreachable",  # too many calls
    "IOTDA.021102": "unreachable",
    # It is our credential that does not open the platform: nothing is said about the device.
    "IOTDA.000002": "unreachable",
    "IOTDA.000004": "unreachable",
    "IOTDA.000021": "unreachable",
    "IOTDA.000022": "unreachable",
    "IOTDA.001006": "unreachable",
}
#: The gateway cannot serve now, whatever the body says: 401 is about our credential.
UNSERVED = frozenset({401, 408, 425, 429})


class Verdict(NamedTuple):
    """What an answer means."""

    outcome: Outcome
    response: str | None = None
    error: str | None = None
    error_code: str | None = None

    def reply(self, begin_at: datetime, status: int | None = None) -> Reply:
        return Reply(
            self.outcome, begin_at, system_clock(), status, self.response, self.error, self.error_code
        )


#: Judges the JSON object of an answer that has neither an error status nor an error code.
Judge = Callable[[Mapping[str, Any]], Verdict]


def check_ids(device_id: str, request_id: str) -> None:
    """Raises InvalidInputError for an id that could change where something is sent."""
    if not DEVICE_ID.match(device_id):
        raise InvalidInputError(f"{device_id!r} is not a device id", field="device_id")
    if not REQUEST_ID.match(request_id):
        raise InvalidInputError(f"{request_id!r} is not a request id", field="request_id")


def encode(document: Mapping[str, Any]) -> bytes:
    """Raises InvalidInputError for what JSON cannot hold."""
    try:
        return orjson.dumps(document)
    except TypeError as error:
        raise InvalidInputError(f"cannot be put into JSON: {error}") from None


def command_body(command: Command) -> dict[str, Any]:
    return {
        "service_id": command.service_id,
        "command_name": command.command_name,
        "paras": command.paras,
    }


def message_body(message: Message) -> dict[str, Any]:
    body = {
        "message_id": message.message_id,
        "name": message.name,
        "message": message.message,
        "properties": message.properties,
        "encoding": message.encoding,
        "payload_format": message.payload_format,
        "topic": message.topic,
        "topic_full_name": message.topic_full_name,
        "ttl": message.ttl,
    }
    return {name: value for name, value in body.items() if value is not None}


def event_body(event: DeviceEvent) -> dict[str, Any]:
    service = {
        "service_id": event.service_id,
        "event_type": event.event_type,
        "event_time": f"{event.event_time:%Y%m%dT%H%M%SZ}",
        "paras": event.paras,
    }
    return {"object_device_id": event.object_device_id or event.device_id, "services": [service]}


def judge_answer(status: int, content_type: str | None, body: bytes, judge: Judge) -> Verdict:
    """Tell what an HTTP answer means; never raises.

    :param judge: for the document of a good answer
    """
    document = _document(content_type, body)
    if status >= 500 or status in UNSERVED:
        return Verdict("unreachable", error=_complaint(status, document or {}))
    if document is None:
        return Verdict("garbage", _start(body), f"the answer with status {status} is no JSON object")
    if code := document.get("error_code"):
        outcome = OUTCOMES.get(str(code), "refused")
        complaint = _complaint(status, document)
        return Verdict(outcome, _text(document.get("response")), complaint, str(code)[:CODE_CHARACTERS])
    if not 200 <= status < 300:
        return Verdict("garbage", _start(body), f"the answer with status {status} has no error_code")
    return judge(document)


def judge_command(document: Mapping[str, Any]) -> Verdict:
    """Judge the answer to a synchronous command, which holds the device's own."""
    response = document.get("response")
    if not isinstance(response, dict):
        return Verdict("garbage", _text(response), "the answer holds no response of the device")
    return judge_device(response)


def judge_device(response: Mapping[str, Any]) -> Verdict:
    """Judge what a device answered: `{result_code, response_name, paras}`; without a code it went well."""
    code = response.get("result_code", 0)
    if type(code) is not int:
        return Verdict("garbage", _text(response), f"{code!r:.100} is not a result code")
    error = f"the device answered with result code {code}" if code else None
    return Verdict("refused" if code else "acknowledged", _text(response), error)


def judge_accepted(name: str) -> Judge:
    """Return a judge of answers that say the gateway has it: they hold the field `name`."""

    def judge(document: Mapping[str, Any]) -> Verdict:
        if name not in document:
            return Verdict("garbage", _text(document), f"the answer has no {name}")
        return Verdict("acknowledged", _text(document))

    return judge


def judge_event(document: Mapping[str, Any]) -> Verdict:
    """Judge the answer to a message that nobody keeps: what could not be delivered met nobody."""
    result = document.get("result")
    status = result.get("status") if isinstance(result, dict) else None
    if status in ("FAILED", "TIMEOUT"):
        return Verdict("offline", _text(document), f"the gateway could not deliver it: {status}")
    return judge_accepted("message_id")(document)


def judge_payload(payload: bytes) -> Verdict:
    """Judge a device's answer over MQTT."""
    document = _document(None, payload)
    if document is None:
        return Verdict("garbage", _start(payload), "the device's answer is no JSON object")
    return judge_device(document)


def _document(content_type: str | None, body: bytes) -> dict[str, Any] | None:
    kind = (content_type or "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        return None
    try:
        document = orjson.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _complaint(status: int, document: Mapping[str, Any]) -> str:
    words = " ".join(str(document[name]) for name in ("error_code", "error_msg") if document.get(name))
    text = f"the gateway answered with status {status}{': ' if words else ''}{words}"
    return text[:ERROR_CHARACTERS].replace("\x00", "\ufffd")


def _start(body: bytes) -> str:
    # Without the one character that Postgres cannot store.
    return body.decode(errors="replace")[:START_CHARACTERS].replace("\x00", "\ufffd")


def _text(value: object) -> str | None:
    return None if value is None else orjson.dumps(value).decode()
