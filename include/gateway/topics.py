"""The MQTT topics of research `iot.md` A12: what goes to a device, and whose answer a message is. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

COMMAND_REPLIES = "$oc/devices/+/sys/commands/response/#"
PROPERTY_REPLIES = "$oc/devices/+/sys/properties/set/response/#"
EVENTS = "$oc/devices/+/sys/events/up"
#: Of all processes that subscribe to it one gets each event (MQTT 5).
SHARED_EVENTS = f"$share/carillon/{EVENTS}"

_REPLY = re.compile(
    r"\$oc/devices/(?P<device>[^/]+)/sys/(?P<kind>commands|properties/set)/response/request_id=(?P<request>[^/]+)\Z"
)


_EVENT = re.compile(r"\$oc/devices/(?P<device>[^/]+)/sys/events/up\Z")


class Question(NamedTuple):
    """What an answer belongs to; with the device, so that nobody answers for another."""

    kind: str
    device_id: str
    request_id: str


def command_topic(device_id: str, request_id: str) -> str:
    return f"$oc/devices/{device_id}/sys/commands/request_id={request_id}"


def properties_topic(device_id: str, request_id: str) -> str:
    return f"$oc/devices/{device_id}/sys/properties/set/request_id={request_id}"


def message_topic(device_id: str, suffix: str | None) -> str:
    base = f"$oc/devices/{device_id}"
    return f"{base}/user/{suffix}" if suffix else f"{base}/sys/messages/down"


def events_topic(device_id: str) -> str:
    return f"$oc/devices/{device_id}/sys/events/down"


def said_by(topic: str) -> str | None:
    """Return the device whose event a message on this topic is; None if it is no event."""
    match = _EVENT.match(topic)
    return match and match["device"]


def answered(topic: str) -> Question | None:
    """Return the question that a message on this topic answers; None if it is no answer."""
    match = _REPLY.match(topic)
    return match and Question(match["kind"], match["device"], match["request"])


class Presence:
    """Who is away, by a topic of the operator's own such as `presence/{device_id}`.

    Devices keep it by a retained `online` and a last will `offline`; without either nothing is known.
    """

    def __init__(self, template: str) -> None:
        before, _, after = template.partition("{device_id}")
        self.filter = f"{before}+{after}"
        self.away: set[str] = set()
        self._pattern = re.compile(rf"{re.escape(before)}(?P<device>[^/]+){re.escape(after)}\Z")

    def heard(self, topic: str, payload: bytes) -> tuple[str, bool] | None:
        """Take a message in; return the device and whether it is online, None if it is of another topic."""
        match = self._pattern.match(topic)
        if match is None:
            return None
        online = payload.strip().lower() != b"offline"
        if online:
            self.away.discard(match["device"])
        else:
            self.away.add(match["device"])
        return match["device"], online

    def forget(self) -> None:
        """The broker is gone; it tells again when it is back."""
        self.away.clear()
