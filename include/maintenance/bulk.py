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
    done: dict[str, Handle | NotFoundError] = {}
    # In one order, so that two such requests do not wait for each other in a circle.
    for uid, fields in sorted(rows, key=lambda row: row[0]):
        try:
            done[uid] = await service.handle(uid, fields, by)
        except NotFoundError as error:
            done[uid] = error
    handles = []
    for index, (uid, _) in enumerate(rows):
        outcome = done[uid]
        if isinstance(outcome, Handle):
            handles.append(outcome)
        else:
            problems.contradict(index, "task_id", outcome.message)
    problems.check()
    return handles
