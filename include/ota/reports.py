"""What devices say, as it comes: topics of a broker, bulk requests, notifications of a platform. Pure.

Source: research `iot.md` A10 (`$ota` events); a platform's notifications `device.status` and `device.message`
have the outer form of A13, with the device in `notify_data.header`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from include.devices.rows import check_characters, check_device_id
from include.errors import InvalidInputError

SERVICE = "$ota"
VERSION_LONGEST, WORDS_LONGEST = 256, 1024

#: A device that has lost its clock begins at some epoch; no platform of this kind is older than this.
CLOCK_UNSET_BEFORE = datetime(2015, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Something that a device said.

    :ivar via: the gateway that passed it on; None: it came from the device itself
    :ivar device_time: when, by the device's own clock, which may be wrong; None: it does not say
    """

    device_id: str
    via: str | None = None
    device_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionReport(Report):
    """What a device has installed; what it does not tell is None."""

    fw_version: str | None = None
    sw_version: str | None = None
    modules: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressReport(Report):
    """How far an upgrade is.

    :ivar result_code: 0 while it goes well (A10)
    :ivar progress: percent
    """

    result_code: int
    progress: int | None = None
    description: str | None = None

    @property
    def final(self) -> bool:
        """Whether the device will say no more: it is done, or it has failed."""
        return self.result_code != 0 or self.progress is None or self.progress == 100


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport(Report):
    """A device came online or went away.

    :ivar at: when, by the platform's clock; None: it does not say
    """

    online: bool
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read, and how much of it is not for us."""

    reports: list[Report]
    unknown_services: int = 0


def read_payload(device_id: str, payload: bytes) -> Reading:
    """Read what a device published on `$oc/devices/{device_id}/sys/events/up`.

    :raises InvalidInputError: naming the field
    """
    try:
        document = orjson.loads(payload)
    except ValueError:
        raise InvalidInputError("the payload is not JSON") from None
    return read_message(device_id, document)


def read_item(item: Any) -> Reading:
    """Read one item of a bulk request: events or the status of a device, or a platform's notification.

    :raises InvalidInputError: naming the field
    """
    document = _object(item, "")
    if "resource" in document:
        return _read_notification(document)
    device_id = _device_id(document.get("device_id"), "device_id")
    if "status" in document:
        return _read_status(device_id, document["status"], document.get("status_time"), "status")
    return read_message(device_id, document)


def read_message(device_id: str, document: Any) -> Reading:
    """Read `{object_device_id, services: […]}` that came from a device.

    :param device_id: who sent it; `object_device_id` is whom it is about
    :raises InvalidInputError: naming the field
    """
    message = _object(document, "")
    about = message.get("object_device_id") or device_id
    about = _device_id(about, "object_device_id")
    services = message.get("services")
    if not isinstance(services, list):
        raise InvalidInputError("must be a list", field="services")
    reports, unknown = [], 0
    for number, service in enumerate(services):
        report = _read_service(
            about, None if about == device_id else device_id, service, f"services.{number}"
        )
        if report is None:
            unknown += 1
        else:
            reports.append(report)
    return Reading(reports, unknown)


def _read_service(device_id: str, via: str | None, value: Any, place: str) -> Report | None:
    service = _object(value, place)
    if service.get("service_id") != SERVICE:
        return None
    paras = _object(service.get("paras") or {}, f"{place}.paras")
    read = Paras(paras, f"{place}.paras")
    device_time = read_moment(service.get("event_time"))
    if device_time is not None and device_time < CLOCK_UNSET_BEFORE:
        device_time = None
    match service.get("event_type"):
        case "version_report":
            return VersionReport(
                device_id=device_id,
                via=via,
                device_time=device_time,
                fw_version=read.text("fw_version", VERSION_LONGEST),
                sw_version=read.text("sw_version", VERSION_LONGEST),
                modules=read.versions("modules"),
            )
        case "upgrade_progress_report":
            code = read.number("result_code", 0, 32_767)
            if code is None:
                raise InvalidInputError("is required", field=f"{place}.paras.result_code")
            return ProgressReport(
                device_id=device_id,
                via=via,
                device_time=device_time,
                result_code=code,
                progress=read.number("progress", 0, 100),
                description=read.text("description", WORDS_LONGEST),
            )
    return None


@dataclass(frozen=True, slots=True)
class Paras:
    """The parameters of an event; every reader raises InvalidInputError naming the place."""

    values: Mapping[str, Any]
    place: str

    def text(self, name: str, longest: int) -> str | None:
        return _text(self.values.get(name), longest, f"{self.place}.{name}")

    def number(self, name: str, least: int, most: int) -> int | None:
        value = self.values.get(name)
        if value is None:
            return None
        if type(value) is not int or not least <= value <= most:
            raise InvalidInputError(
                f"must be a whole number from {least} to {most}", field=f"{self.place}.{name}"
            )
        return value

    def versions(self, name: str) -> dict[str, str]:
        place = f"{self.place}.{name}"
        items = _object(self.values.get(name) or {}, place).items()
        found = {key: _text(value, VERSION_LONGEST, f"{place}.{key:.64}") for key, value in items}
        return {key: value for key, value in found.items() if value is not None}


def _read_notification(document: Mapping[str, Any]) -> Reading:
    resource = document["resource"]
    if resource not in ("device.status", "device.message"):
        return Reading([], 1)
    data = _object(document.get("notify_data"), "notify_data")
    header = _object(data.get("header"), "notify_data.header")
    device_id = _device_id(header.get("device_id"), "notify_data.header.device_id")
    body = _object(data.get("body"), "notify_data.body")
    if resource == "device.status":
        times = (body.get("status_update_time"), document.get("event_time_ms"), document.get("event_time"))
        said_at = next((time for time in times if time), None)
        return _read_status(device_id, body.get("status"), said_at, "notify_data.body.status")
    content = body.get("content")
    if isinstance(content, str):
        try:
            content = orjson.loads(content)
        except ValueError:
            return Reading([], 1)  # a message of the device's own, which may be anything
    if not isinstance(content, dict) or "services" not in content:
        return Reading([], 1)
    return read_message(device_id, content)


def _read_status(device_id: str, status: Any, said_at: Any, place: str) -> Reading:
    if not isinstance(status, str):
        raise InvalidInputError("must be a text", field=place)
    online = {"ONLINE": True, "OFFLINE": False}.get(status.upper())
    if online is None:  # ABNORMAL and others say nothing that is acted upon
        return Reading([], 1)
    return Reading([StatusReport(device_id=device_id, online=online, at=read_moment(said_at))])


def read_moment(value: Any) -> datetime | None:
    """Return the moment that `20151212T121212Z` or ISO 8601 in UTC says; None for anything else (A10)."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def flatten(document: Any) -> Iterator[Any]:
    """Yield the items of a request: `{events: […]}`, a notification alone, or a list of those.

    :raises InvalidInputError: it is neither
    """
    if isinstance(document, dict) and "resource" in document:
        yield document
        return
    items = document.get("events") if isinstance(document, dict) else document
    if not isinstance(items, list):
        raise InvalidInputError("must be a list", field="events")
    yield from items


def _object(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInputError("must be an object", field=place or None)
    return value


def _device_id(value: Any, place: str) -> str:
    try:
        return check_device_id(value if isinstance(value, str) else "")
    except ValueError as error:
        raise InvalidInputError(str(error), field=place) from None


def _text(value: Any, longest: int, place: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > longest:
        raise InvalidInputError(f"must be a text of at most {longest} characters", field=place)
    try:
        return check_characters(value) or None
    except ValueError as error:
        raise InvalidInputError(str(error), field=place) from None
