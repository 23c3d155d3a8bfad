"""What an upgrade does next (research `iot.md` A10). Pure: the upgrade, its limits and `now` go in.

`stage` says what the upgrade waits for and is stored before the device is told; the `phase` of the sub-task
follows when that has gone out. So where they differ, a process ended between the two, or the device could not
be reached, and it is told again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from include.batch.model import Phase, Step
from include.gateway.model import Outcome
from include.ota.model import Package, Stage, Upgrade
from include.ota.reasons import (
    CHECK_TIMEOUT,
    NOT_SENT,
    ONLINE_TIMEOUT,
    OTHER_SOURCE,
    RESULT_TIMEOUT,
    VERSION_TIMEOUT,
    WRONG_VERSION,
    Reason,
    reason_of,
)
from include.settings import Settings

#: How soon a device that is away is tried again: after as long as it has been waited for, within these.
FIRST_BACKOFF, LONGEST_BACKOFF = timedelta(seconds=10), timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an upgrade waits.

    :ivar online: for a device that is away
    :ivar version: for its version
    :ivar result: for the result, once it was told what to load
    :ivar verify: for the version it has then
    :ivar ask: between two questions for a version
    :ivar quiet: how long a device that loads may say nothing until it is asked
    """

    online: timedelta = timedelta(hours=25)
    version: timedelta = timedelta(minutes=3)
    result: timedelta = timedelta(hours=24)
    verify: timedelta = timedelta(minutes=10)
    ask: timedelta = timedelta(minutes=1)
    quiet: timedelta = timedelta(minutes=15)

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return them as they are set."""
        return cls(
            online=timedelta(seconds=settings.upgrade_online_seconds),
            version=timedelta(seconds=settings.upgrade_version_seconds),
            result=timedelta(seconds=settings.upgrade_result_seconds),
            verify=timedelta(seconds=settings.upgrade_verify_seconds),
            ask=timedelta(seconds=settings.upgrade_ask_seconds),
            quiet=timedelta(seconds=settings.upgrade_quiet_seconds),
        )


@dataclass(frozen=True, slots=True)
class Say:
    """Something that the device is told; `stage` is what is waited for then."""

    what: Literal["query", "notice"]
    stage: Stage


@dataclass(frozen=True, slots=True)
class Situation:
    """An upgrade at a moment.

    :ivar phase: what the sub-task shows, None before the first step of an attempt
    """

    upgrade: Upgrade
    phase: Phase | None
    phase_ends_at: datetime | None
    package: Package
    limits: Limits
    now: datetime

    def over(self, phase: Phase) -> bool:
        """Return whether the sub-task is in a phase and that has taken too long."""
        ends_at = self.phase_ends_at
        return self.phase == phase and ends_at is not None and self.now >= ends_at

    # --- what to do

    def decide(self) -> Step | Say:
        """Return how the sub-task ends or waits, or what the device is told."""
        upgrade = self.upgrade
        if upgrade.result_code:
            return self.failed(reason_of(upgrade.result_code, upgrade.result_text))
        if upgrade.version == upgrade.target:
            return self._succeeded()
        match upgrade.stage:
            case "online":
                return Say("query", "version")
            case "version":
                return self._with_version() if upgrade.version is not None else self._without_version()
            case "result":
                return self._loading()
            case "verify":
                return self._verifying()

    def _with_version(self) -> Step | Say:
        version = self.upgrade.version or ""
        if not self.package.upgrades_from(version):
            return self.failed(OTHER_SOURCE, version=version)
        return Say("notice", "result")

    def _without_version(self) -> Step | Say:
        return self.failed(VERSION_TIMEOUT) if self.over("version") else Say("query", "version")

    def _loading(self) -> Step | Say:
        if self.upgrade.result_code == 0 or self.over("download"):
            return Say("query", "verify")
        if self.phase != "download":
            # A device that has begun was told, whether the gateway could say so or not.
            begun = self.upgrade.progress is not None
            return self._downloading() if begun else Say("notice", "result")
        speaks_until = (self.upgrade.heard_at or self.now) + self.limits.quiet
        if self.now < speaks_until:
            return self._waiting("download", self.phase_ends_at, speaks_until - self.now)
        return Say("query", "result")

    def _verifying(self) -> Step | Say:
        reported = self.upgrade.result_code == 0
        if self.upgrade.version is not None:
            reason = WRONG_VERSION if reported else RESULT_TIMEOUT
            return self.failed(reason, version=self.upgrade.version)
        if self.over("verify"):
            return self.failed(VERSION_TIMEOUT if reported else CHECK_TIMEOUT)
        return Say("query", "verify")

    # --- what became of what was said

    def said(self, say: Say, outcome: Outcome, error: str | None) -> Step:
        """Return how the sub-task goes on after the device was told, or could not be."""
        if outcome == "refused":
            return self.failed(NOT_SENT, error=error)
        match say.stage:
            case "verify":
                return self._entered("verify", self.limits.verify, self.limits.ask, progress=self._percent())
            case "result" if say.what == "query":
                return self._waiting("download", self.phase_ends_at, self.limits.quiet)
        if outcome != "acknowledged":
            return self._unreached()
        if say.what == "notice":
            return self._downloading()
        return self._entered("version", self.limits.version, self.limits.ask, progress=0)

    def _downloading(self) -> Step:
        return self._entered("download", self.limits.result, self.limits.quiet)

    def _unreached(self) -> Step:
        """Wait until the device can be reached; all of such waiting together has one end."""
        waited = self.now - self.upgrade.since
        if waited >= self.limits.online:
            return self.failed(ONLINE_TIMEOUT)
        backoff = min(max(waited, FIRST_BACKOFF), LONGEST_BACKOFF)
        return self._waiting("online", self.upgrade.since + self.limits.online, backoff)

    def _entered(
        self, phase: Phase, limit: timedelta, pause: timedelta, *, progress: int | None = None
    ) -> Step:
        """Be in a phase: its time counts from when it was entered first."""
        ends_at = self.phase_ends_at if self.phase == phase else self.now + limit
        return self._waiting(phase, ends_at, pause, progress=progress)

    def _waiting(
        self, phase: Phase, ends_at: datetime | None, pause: timedelta, *, progress: int | None = None
    ) -> Step:
        wake_at = self.now + pause
        return Step(
            self.upgrade.subtask_id,
            "Processing",
            phase=phase,
            phase_ends_at=ends_at,
            wake_at=wake_at if ends_at is None else min(wake_at, ends_at),
            progress=progress,
        )

    def _percent(self) -> int | None:
        return 100 if self.upgrade.result_code == 0 else None

    def _succeeded(self) -> Step:
        target = self.upgrade.target
        if self.upgrade.stage == "version":
            return Step(
                self.upgrade.subtask_id, "Success", output=f"the device has the version {target} already"
            )
        return Step(self.upgrade.subtask_id, "Success", output=f"upgraded to {target}", progress=100)

    def failed(self, reason: Reason, **words: str | None) -> Step:
        return failed(self.upgrade.subtask_id, reason, **words)


def failed(subtask_id: int, reason: Reason, **words: str | None) -> Step:
    """Return a failure; `words` fill the braces of its text."""
    return Step(
        subtask_id,
        "Fail",
        error_code=reason.code,
        error_msg=reason.text.format(**words) if words else reason.text,
        retryable=reason.retryable,
    )
