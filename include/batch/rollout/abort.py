"""Whether so many failed that a task must not go on by itself."""

from __future__ import annotations

from dataclasses import dataclass

from include.batch.rollout.model import Abort


@dataclass(frozen=True, slots=True)
class Sample:
    """What an abort is judged by: sub-tasks that ended since the task was last resumed or retried."""

    succeeded: int
    failed: int

    @property
    def executed(self) -> int:
        return self.succeeded + self.failed


def abort_reason(abort: Abort | None, sample: Sample) -> str | None:
    """Say why a task is to be halted; None where it may go on."""
    if abort is None or sample.executed < abort.min_executed:
        return None
    if sample.failed * 100 < abort.failed_percent * sample.executed:
        return None
    share = 100 * sample.failed / sample.executed
    return f"{share:.4g} % of {sample.executed} failed, the limit is {abort.failed_percent.normalize():f} %"
