"""Packages that devices are upgraded with, and what devices say while they are. Moments are aware. No I/O.

Source: research `iot.md` A10 and A11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from include.batch.model import TaskType

PackageType = Literal["softwarePackage", "firmwarePackage", "modulePackage"]

#: Which packages a task of an upgrade takes.
TYPE_OF_TASK: Mapping[TaskType, PackageType] = {
    "softwareUpgrade": "softwarePackage",
    "firmwareUpgrade": "firmwarePackage",
    "moduleUpgrade": "modulePackage",
}

#: What of a device an upgrade is about.
Kind = Literal["firmware", "software", "module"]
KINDS: Mapping[TaskType, Kind] = {
    "firmwareUpgrade": "firmware",
    "softwareUpgrade": "software",
    "moduleUpgrade": "module",
}

#: What the open upgrade of a device waits for: that it is online, its version, the result, its new version.
Stage = Literal["online", "version", "result", "verify"]


@dataclass(frozen=True, slots=True)
class Package:
    """A stored package; Carillon knows where its file is and has no copy.

    :ivar id: ours; clients know `package_id`, 24 hexadecimal digits that sort by creation
    :ivar product_id: devices of another product are not upgraded with it; None: it is for all
    :ivar support_source_versions: the only versions it upgrades; None: all
    :ivar file_location: `{"obs_location": {region_name, bucket_name, object_key, sign_method, sign}}`
    """

    id: int
    package_id: str
    project_id: str
    app_id: str
    package_type: PackageType
    product_id: str | None
    module_name: str | None
    version: str
    support_source_versions: Sequence[str] | None
    description: str | None
    custom_info: str | None
    file_location: Mapping[str, Any]
    created_at: datetime

    def upgrades_from(self, version: str) -> bool:
        """Return whether a device of this version may be upgraded with it."""
        return not self.support_source_versions or version in self.support_source_versions


@dataclass(frozen=True, slots=True)
class PackageFilter:
    """What a list of packages is about, the newest first; None does not limit it.

    :ivar marker: only packages older than this one
    :ivar offset: rows to skip after the marker
    """

    app_id: str | None = None
    package_type: PackageType | None = None
    product_id: str | None = None
    version: str | None = None
    marker: str = "f" * 24
    offset: int = 0
    limit: int = 10


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The open upgrade of a device: there is one at most.

    :ivar attempt: of the sub-task; a retry begins anew
    :ivar since: when this attempt began
    :ivar kind: what of the device is upgraded
    :ivar target: the version it shall have
    :ivar asked: how often anything was sent, so that each sending has an id of its own
    :ivar version: what the device said in this stage, None: nothing yet
    :ivar result_code: how the device says that it ended, None: it has not
    :ivar result_text: the device's own words on that
    :ivar heard_at: when it last said anything that counted, or this stage began
    :ivar device_time: of what was heard last, by the device's own clock
    """

    device_id: str
    subtask_id: int
    attempt: int
    stage: Stage
    since: datetime
    kind: Kind
    module_name: str | None
    target: str
    asked: int
    version: str | None
    result_code: int | None
    result_text: str | None
    progress: int | None
    heard_at: datetime | None
    device_time: datetime | None
