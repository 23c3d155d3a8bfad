"""What a batch task should be after any calls: research `iot.md` A6 once more, in plain Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

FINISHED = {"Success", "Fail", "PartialSuccess", "Stopped"}
OPEN = {"Waitting", "Processing", "FailWaitRetry"}
RETRY_REFUSED = {"Success", "Stopped", "Stopping", "Waitting", "Initializing"}


class RefusedError(Exception):
    """The call is refused, and nothing changes."""


@dataclass
class ModelSubtask:
    """A sub-task.

    :ivar confirmed: false while it waits for a confirm
    :ivar held: whether somebody performs it
    """

    status: str
    retries_left: int
    confirmed: bool = True
    held: bool = False


@dataclass
class ModelTask:
    """A task; `known` are its targets that are devices."""

    task_id: str
    upgrade: bool
    need_confirm: bool
    later: bool
    retries: int
    targets: Sequence[str]
    known: set[str]
    status: str = "Initializing"
    runs: int = 1
    subtasks: dict[str, ModelSubtask] = field(default_factory=dict)

    def progress(self) -> dict[str, int]:
        names = {
            "Waitting": "waitting",
            "Processing": "processing",
            "Success": "success",
            "Fail": "fail",
            "FailWaitRetry": "fail_wait_retry",
            "Stopped": "stopped",
            "Removed": "removed",
        }
        counts = dict.fromkeys(names.values(), 0)
        for one in self.subtasks.values():
            counts[names[one.status]] += 1
        return {"total": len(self.subtasks), **counts}

    # --- what the engine does

    def expand(self) -> None:
        if self.status != "Initializing":
            return
        for target in self.targets:
            known = target in self.known
            self.subtasks[target] = ModelSubtask(
                "Waitting" if known else "Fail", self.retries, not self.need_confirm
            )
        self._settle()
        if self.status == "Initializing":
            self.status = "Waitting" if self.need_confirm or self.later else "Processing"

    def due(self) -> set[str]:
        """Targets of which a try may begin now."""
        if self.later or self.status in FINISHED or self.status in ("Initializing", "Stopping"):
            return set()
        return {
            target
            for target, one in self.subtasks.items()
            if one.confirmed and one.status in ("Waitting", "FailWaitRetry")
        }

    def claim(self, targets: Sequence[str]) -> None:
        for target in targets:
            self.subtasks[target].status = "Processing"
            self.subtasks[target].held = True
        if targets and self.status == "Waitting":
            self.status = "Processing"

    def record(self, target: str, outcome: str) -> None:
        one = self.subtasks[target]
        one.held = False
        again = outcome == "Fail" and one.retries_left > 0 and self.status != "Stopping"
        one.status = "FailWaitRetry" if again else outcome
        one.retries_left -= again
        self._settle()

    def _settle(self) -> None:
        statuses = [one.status for one in self.subtasks.values()]
        if self.status in FINISHED or OPEN & set(statuses):
            return
        succeeded, failed = statuses.count("Success"), statuses.count("Fail")
        if self.status == "Stopping":
            self.status = "Stopped"
        elif succeeded == len(statuses):
            self.status = "Success"
        elif succeeded:
            self.status = "PartialSuccess"
        else:
            self.status = "Fail" if failed else "Stopped"

    # --- what clients call; `targets` is None for all

    def stop(self, targets: Sequence[str] | None) -> list[str]:
        return self._call(self._stop, targets)

    def retry(self, targets: Sequence[str] | None) -> list[str]:
        return self._call(self._retry, targets)

    def confirm(self, targets: Sequence[str] | None) -> list[str]:
        return self._call(self._confirm, targets)

    def delete(self) -> None:
        if self.status not in FINISHED:
            raise RefusedError

    def _call(
        self, change: Callable[[Sequence[str] | None], list[str]], targets: Sequence[str] | None
    ) -> list[str]:
        """Do all of a call or nothing; returns the named targets it acted on."""
        before = deepcopy(self.__dict__)
        try:
            return change(targets)
        except RefusedError:
            self.__dict__.update(before)
            raise

    def _stop(self, targets: Sequence[str] | None) -> list[str]:
        self.expand()
        if self.status in FINISHED or self.status == "Stopping":
            raise RefusedError
        fit = [name for name in self._meant(targets) if self._is(name, OPEN) and not self.subtasks[name].held]
        for name in fit:
            self.subtasks[name].status = "Stopped"
        if targets is None:
            self.status = "Stopping"
        self._settle()
        return fit

    def _retry(self, targets: Sequence[str] | None) -> list[str]:
        if self.status in RETRY_REFUSED:
            raise RefusedError
        fit = [name for name in self._meant(targets) if self._is(name, {"Fail", "FailWaitRetry", "Stopped"})]
        for name in fit:
            self.subtasks[name] = ModelSubtask("Waitting", self.retries)
        if fit and self.status in FINISHED:
            self.status = "Processing"
            self.runs += 1
        return fit

    def _confirm(self, targets: Sequence[str] | None) -> list[str]:
        self.expand()
        if not self.upgrade or self.status in FINISHED or self.status == "Stopping":
            raise RefusedError
        fit = [name for name in self._meant(targets) if self._is(name, {"Waitting"})]
        for name in fit:
            self.subtasks[name].confirmed = True
        if self.status == "Waitting" and not self.later and (fit or targets is None):
            self.status = "Processing"
        return fit

    def _meant(self, targets: Sequence[str] | None) -> list[str]:
        return list(self.subtasks if targets is None else dict.fromkeys(targets))

    def _is(self, name: str, statuses: set[str]) -> bool:
        return name in self.subtasks and self.subtasks[name].status in statuses
