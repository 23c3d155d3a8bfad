"""What is said to a device that is upgraded: which version have you, and take this one. Pure.

Source: research `iot.md` A3 and A10. A package lies in an object store, so its notice is the one that the
vendor sends then (`firmware_upgrade_v2`), unless `CARILLON_UPGRADE_NOTICE` says `v1`. What cannot be known
without opening the file, its size, is left out. No public text has the events of modules; those are our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

from include.batch.model import Task
from include.gateway.model import DeviceEvent
from include.ota.model import KINDS, Package


@dataclass(frozen=True, slots=True)
class Addressee:
    """A device, and the gateway that it hangs on.

    :ivar siblings: sub-devices of that gateway in the same task, itself among them; None: not to be told
    """

    device_id: str
    gateway_id: str | None
    siblings: int | None = None


def version_query(task: Task, package: Package, to: Addressee, message_id: str, now: datetime) -> DeviceEvent:
    """Return the question for a device's version."""
    paras = _about_module(package) | _about_task(task, to)
    return _event(to, message_id, "version_query", paras, now)


def upgrade_notice(
    task: Task,
    package: Package,
    to: Addressee,
    message_id: str,
    now: datetime,
    *,
    form: Literal["v1", "v2"],
    url: str,
    expires: int,
) -> DeviceEvent:
    """Return the word that a device shall load a package and install it.

    :param url: of a file, with the names of `obs_location` in braces
    :param expires: seconds that the device has
    """
    location = package.file_location["obs_location"]
    paras = {
        "version": package.version,
        "url": file_url(url, location),
        "file_name": str(location["object_key"]).rpartition("/")[2],
        "expires": expires,
        "sign": location.get("sign"),
        "custom_info": package.custom_info,
        **_about_module(package),
        **_about_task(task, to),
    }
    suffix = "_v2" if form == "v2" else ""
    event_type = f"{KINDS[task.asked.task_type]}_upgrade{suffix}"
    said = {name: value for name, value in paras.items() if value is not None}
    return _event(to, message_id, event_type, said, now)


def file_url(template: str, location: Mapping[str, Any]) -> str:
    """Return where a file is."""
    url = template
    for name in ("region_name", "bucket_name", "object_key"):
        url = url.replace(f"{{{name}}}", quote(str(location[name])))
    return url


def _event(
    to: Addressee, message_id: str, event_type: str, paras: Mapping[str, Any], now: datetime
) -> DeviceEvent:
    # A sub-device has no connection of its own.
    return DeviceEvent(
        to.gateway_id or to.device_id, message_id, event_type, paras, now, object_device_id=to.device_id
    )


def _about_task(task: Task, to: Addressee) -> dict[str, Any]:
    about: dict[str, Any] = {}
    if to.siblings is not None:
        about |= {"task_id": task.task_id, "sub_device_count": to.siblings}
    if task.asked.task_ext_info is not None:
        about["task_ext_info"] = task.asked.task_ext_info
    return about


def _about_module(package: Package) -> dict[str, Any]:
    return {} if package.module_name is None else {"module_name": package.module_name}
