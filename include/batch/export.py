"""All sub-tasks of a batch task as CSV, of one moment, in constant memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Final

from include.batch.control import BatchControl
from include.batch.control_repository import SubtaskRecord
from include.batch.model import SubtaskStatus
from include.kit.db import Database
from include.kit.export import BOM, csv_text, harmless, snapshot

#: How many sub-tasks are in memory.
PIECE: Final = 1000

#: In this order; docs/rollouts.md says what they are.
COLUMNS: Final = (
    "target",
    "wave",
    "status",
    "attempts",
    "progress",
    "error_code",
    "error_msg",
    "output",
    "created_at",
    "updated_at",
    "finished_at",
)


async def export_subtasks(
    database: Database,
    task_id: str,
    *,
    projects: Sequence[str] | None = None,
    status: SubtaskStatus | None = None,
    wave: int | None = None,
    bom: bool = False,
) -> AsyncGenerator[str, None]:
    """Yield the CSV of a task's sub-tasks in the order of its targets; the first piece is the head.

    :param bom: begin with a byte order mark, so that spreadsheets read it as UTF-8
    :raises NotFoundError: no such task
    :raises DatabaseUnavailableError: the database is away
    """
    async with snapshot(database) as connection:
        control = BatchControl(connection, projects=projects)
        after = 0
        head = (BOM if bom else "") + csv_text([COLUMNS])
        while True:
            found = await control.subtasks(task_id, status=status, wave=wave, after=after, limit=PIECE)
            yield head + csv_text(map(row, found))
            if len(found) < PIECE:
                return
            head, after = "", found[-1].id


def row(one: SubtaskRecord) -> list[str]:
    """Return the cells of a sub-task."""
    return [
        one.target,
        str(one.wave),
        one.status,
        str(one.attempt),
        "" if one.progress is None else str(one.progress),
        *(harmless(text or "") for text in (one.error_code, one.error_msg, one.output)),
        *(_time(moment) for moment in (one.created_at, one.updated_at, one.finished_at)),
    ]


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else ""
