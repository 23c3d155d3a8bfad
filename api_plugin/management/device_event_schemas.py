"""What devices say, as it is pushed."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api_plugin.management.schemas import Answer

EVENTS_MOST = 1000


class DeviceEventsBody(BaseModel):
    """Events and statuses of devices, in the order in which they happened.

    An item is what a device published on `$oc/devices/{device_id}/sys/events/up` with its `device_id`
    (`{device_id, object_device_id?, services: [{service_id: "$ota", event_type, event_time, paras}]}`), or
    `{device_id, status: "ONLINE" | "OFFLINE", status_time?}`, or a platform's notification
    (`{resource: "device.message" | "device.status", event, event_time, notify_data: {header, body}}`), which
    may also be the whole body.
    """

    model_config = ConfigDict(extra="forbid")

    events: list[dict[str, Any]] = Field(description=f"at most {EVENTS_MOST:,}")


class DeviceEventsResponse(Answer):
    """What became of them: late or repeated ones, unknown devices and services change nothing."""

    accepted: int
    late: int
    unknown_devices: int
    unknown_services: int
