"""Which status follows which, and how a task ends (research `iot.md` A6)."""

from __future__ import annotations

import pytest

from include.batch.model import Progress, TaskStatus
from include.batch.states import final_status


@pytest.mark.parametrize(
    ("status", "progress", "expected"),
    [
        ("Processing", Progress(total=2, success=2), "Success"),
        ("Processing", Progress(total=2, success=1, fail=1), "PartialSuccess"),
        ("Processing", Progress(total=2, success=1, stopped=1), "PartialSuccess"),
        ("Processing", Progress(total=2, fail=1, stopped=1), "Fail"),
        ("Processing", Progress(total=2, fail=2), "Fail"),
        ("Processing", Progress(total=2, stopped=1, removed=1), "Stopped"),
        ("Processing", Progress(), "Fail"),
        ("Processing", Progress(total=2, success=1, processing=1), None),
        ("Processing", Progress(total=2, success=1, fail_wait_retry=1), None),
        ("Waitting", Progress(total=1, waitting=1), None),
        ("Stopping", Progress(total=2, success=2), "Stopped"),
        ("Stopping", Progress(total=2, success=1, processing=1), None),
    ],
)
def test_how_a_task_ends(status: TaskStatus, progress: Progress, expected: TaskStatus | None) -> None:
    assert final_status(status, progress) == expected
