"""Handling many tasks in one request, all or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from include.errors import NotFoundError
from include.maintenance.handling import HandlingService
from include.maintenance.model import Handle, HandleFields
from include.metering.problems import Problems, refuse_twice

ROWS_MOST: Final = 500


async def handle_many(
    service: HandlingService, rows: Sequence[tuple[str, HandleFields]], by: int = 0
) -> list[Handle]:
    """Handle tasks by uid, each with what was done about it; returns the handles in the order of the rows.

    :raises InvalidRowsError: a task stands in several rows
    :raises ConflictingRowsError: names each row whose task the caller does not see or somebody closed
    """
    problems = Problems()
    refuse_twice(problems, "task_id", [uid for uid, _ in rows])
    problems.check()
    handles: dict[int, Handle] = {}
    # In one order, so that two such requests do not wait for each other in a circle.
    for index, (uid, fields) in sorted(enumerate(rows), key=lambda row: row[1][0]):
        try:
            handles[index] = await service.handle(uid, fields, by)
        except NotFoundError as error:
            problems.contradict(index, "task_id", error.message)
    problems.check()
    return [handles[index] for index in range(len(rows))]
