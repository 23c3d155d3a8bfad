"""What devices say moves their open upgrades: kept where whoever performs the sub-task finds it, and told.

The way in does not matter: pushed to the own API, or heard from a broker. What is late or repeated changes
nothing. The protocol has no request id, so reports are told apart by what the upgrade waits for, and by the
device's own clock, compared with nothing but itself: what it said before something that counted is old.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from include.batch.model import Phase
from include.devices.model import Device
from include.devices.service import find_devices, mark_offline, mark_online
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection
from include.ota.model import Upgrade
from include.ota.reports import ProgressReport, Report, StatusReport, VersionReport
from include.ota.upgrade_repository import UpgradeRepository


@dataclass(slots=True)
class Tally:
    """What became of reports.

    :ivar accepted: that moved an upgrade or told something new of a device
    :ivar late: late or repeated, or about an upgrade that nobody waits for
    """

    accepted: int = 0
    late: int = 0
    unknown_devices: int = 0


class Mailbox:
    """What one device has said of its open upgrade.

    :ivar news: whether whoever performs the sub-task should look
    :ivar heard: whether anything is to be kept
    """

    def __init__(self, upgrade: Upgrade, phase: Phase | None) -> None:
        self.upgrade = upgrade
        self.phase = phase
        self.version = upgrade.version
        self.result_code = upgrade.result_code
        self.result_text = upgrade.result_text
        self.progress = upgrade.progress
        self.device_time = upgrade.device_time
        self.news = False
        self.heard = False

    def outdated(self, report: Report) -> bool:
        """Return whether the device said it before something that has counted already."""
        said, last = report.device_time, self.device_time
        return said is not None and last is not None and said < last

    def take(self, report: Report) -> bool:
        """Take a report in; tell whether it counts."""
        if self.outdated(report):
            return False
        match report:
            case VersionReport():
                counts = self._take_version(self._version_in(report))
            case ProgressReport():
                counts = self.upgrade.stage == "result" and self._take_progress(report)
            case _:
                return False
        if counts:
            self.heard = True
            self.device_time = report.device_time or self.device_time
        return counts

    def online(self) -> None:
        """The device came online: whoever waits for that should know."""
        if self.phase == "online" or self.upgrade.stage in ("online", "verify"):
            self.heard = self.news = True

    def _version_in(self, report: VersionReport) -> str | None:
        match self.upgrade.kind:
            case "firmware":
                return report.fw_version
            case "software":
                return report.sw_version
            case "module":
                return report.modules.get(self.upgrade.module_name or "")

    def _take_version(self, version: str | None) -> bool:
        stage, target = self.upgrade.stage, self.upgrade.target
        awaited = stage in ("version", "verify") or (stage == "result" and version == target)
        if version is None or not awaited or version == self.version:
            return False
        self.version = version
        self.news = True
        return True

    def _take_progress(self, report: ProgressReport) -> bool:
        if self.result_code is not None:
            return False
        if report.final:
            self.result_code, self.result_text = report.result_code, report.description
            self.progress = 100 if report.result_code == 0 else self.progress
            self.news = True
            return True
        if report.progress is None or report.progress <= (self.progress or -1):
            return False
        self.progress = report.progress
        return True


class DeviceEventService:
    """Takes what devices say, inside the caller's transaction.

    :param projects: the only projects whose devices are known to the caller, None for all
    """

    def __init__(
        self,
        connection: Connection,
        *,
        projects: Collection[str] | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self.connection = connection
        self.projects = projects
        self.clock = clock
        self.repository = UpgradeRepository(connection)

    async def take(self, reports: Sequence[Report]) -> Tally:
        """Take reports in the order in which they came."""
        now = self.clock()
        tally = Tally()
        known = await self._known(reports, tally)
        ids = {report.device_id for report in known}
        # Tasks are locked before anything else: so does everybody who changes sub-tasks.
        tasks = await self.repository.tasks_of_devices(ids)
        await self.repository.lock_tasks(tasks)
        open_upgrades = await self.repository.upgrades_of_devices(ids, tasks)
        boxes = {device_id: Mailbox(*found) for device_id, found in open_upgrades.items()}
        versions: dict[str, dict[str, str | None]] = {}
        statuses: dict[str, StatusReport] = {}
        for report in known:
            box = boxes.get(report.device_id)
            counts = box is not None and box.take(report)
            if isinstance(report, StatusReport):
                statuses[report.device_id] = report
                counts = True
            elif isinstance(report, VersionReport) and (box is None or not box.outdated(report)):
                told = {"fw_version": report.fw_version, "sw_version": report.sw_version}
                before = versions.get(report.device_id, told)
                versions[report.device_id] = {name: told[name] or before[name] for name in told}
                counts = True
            tally.accepted += counts
            tally.late += not counts
        await self._keep_statuses(statuses, boxes, now)
        await self._keep_versions(versions, now)
        await self._keep_words(boxes.values(), now)
        return tally

    async def _known(self, reports: Sequence[Report], tally: Tally) -> list[Report]:
        devices = await find_devices(self.connection, {report.device_id for report in reports})
        known = [report for report in reports if self._knows(devices.get(report.device_id), report)]
        tally.unknown_devices = len(reports) - len(known)
        return known

    def _knows(self, device: Device | None, report: Report) -> bool:
        if device is None or (self.projects is not None and device.project_id not in self.projects):
            return False
        # A gateway speaks for the devices that hang on it and for no others.
        return report.via is None or report.via == device.gateway_id

    async def _keep_statuses(
        self, statuses: dict[str, StatusReport], boxes: dict[str, Mailbox], now: datetime
    ) -> None:
        groups: dict[tuple[bool, datetime], list[str]] = defaultdict(list)
        for device_id, report in statuses.items():
            # What a platform with a fast clock says must not outweigh what is said later.
            groups[report.online, min(report.at or now, now)].append(device_id)
            if report.online and device_id in boxes:
                boxes[device_id].online()
        for (online, at), device_ids in groups.items():
            mark = mark_online if online else mark_offline
            await mark(self.connection, device_ids, at)

    async def _keep_versions(self, versions: dict[str, dict[str, str | None]], now: datetime) -> None:
        items = [{"device_id": device_id, **told} for device_id, told in versions.items()]
        if items:
            await self.repository.put_versions(items, now)

    async def _keep_words(self, boxes: Iterable[Mailbox], now: datetime) -> None:
        heard = [box for box in boxes if box.heard]
        if not heard:
            return
        words = [
            {
                "device_id": box.upgrade.device_id,
                "version": box.version,
                "result_code": box.result_code,
                "result_text": box.result_text,
                "progress": box.progress,
                "device_time": box.device_time,
                "news": box.news,
            }
            for box in heard
        ]
        await self.repository.keep_words(words, now)
        moves = [
            {"subtask_id": box.upgrade.subtask_id, "progress": box.progress, "news": box.news}
            for box in heard
        ]
        await self.repository.tell_batches(await self.repository.move_subtasks(moves, now))
