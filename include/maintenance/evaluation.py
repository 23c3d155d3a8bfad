"""What is due by now: tasks are opened, become due and overdue.

Set-based, a chunk of projects a transaction. Done twice, at once, or cut off and done again, it makes each
task once: rows that somebody else holds are passed over, and an object has one open task at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from include.kit.clock import Clock
from include.kit.db import Connection, Database
from include.maintenance.clock import maintenance_clock
from include.maintenance.evaluation_repository import EvaluationRepository, Moved

#: Objects of a transaction; a project, which has ten thousand at most, is not divided.
CHUNK = 5000

#: How often, and with which pause, to look again for what somebody else held.
LOOKS = 10
LOOK_SECONDS = 0.5


async def evaluate(connection: Connection, projects: Sequence[int], now: datetime) -> list[Moved]:
    """Open and move the tasks of active projects, inside the caller's transaction.

    :param projects: ids of their definitions
    """
    return await _move(connection, projects, now) + await _open(connection, projects, now)


async def evaluate_schedule(
    database: Database, schedule_id: int, clock: Clock = maintenance_clock
) -> list[Moved]:
    """Open and move the tasks of all active projects of a cycle, and return how many of each."""
    now = clock()
    moved, left = await _look(database, schedule_id, now)
    for _ in range(LOOKS):
        if not left:
            break
        # A process that was killed holds its rows until the server has noticed.
        again, left = await _look(database, schedule_id, now)
        moved += again
        if left:
            await asyncio.sleep(LOOK_SECONDS)
    return moved


async def _look(database: Database, schedule_id: int, now: datetime) -> tuple[list[Moved], bool]:
    """Open and move what nobody else holds; return also whether less was opened than was found."""
    async with database.transaction() as connection:
        repository = EvaluationRepository(connection)
        await repository.plan_wide(schedule_id)
        waiting = await repository.list_waiting(schedule_id, now)
    moved: list[Moved] = []
    # A task that was opened is what it is by now, so nothing is left to move.
    for projects in _chunks((project.id, project.open) for project in waiting):
        async with database.transaction() as connection:
            moved += await _move(connection, projects, now)
    opened: list[Moved] = []
    for projects in _chunks((project.id, project.ripe) for project in waiting):
        async with database.transaction() as connection:
            opened += await _open(connection, projects, now)
    left = sum(project.ripe for project in waiting) > sum(each.count for each in opened)
    return moved + opened, left


async def _move(connection: Connection, projects: Sequence[int], now: datetime) -> list[Moved]:
    repository = EvaluationRepository(connection)
    await repository.plan_for_chunks()
    return await repository.move_tasks(projects, now)


async def _open(connection: Connection, projects: Sequence[int], now: datetime) -> list[Moved]:
    repository = EvaluationRepository(connection)
    await repository.plan_for_chunks()
    await repository.take_first_samples(projects)
    return await repository.open_tasks(projects, now)


def _chunks(counts: Iterable[tuple[int, int]]) -> Iterator[list[int]]:
    """Yield ids of projects that have some thousand objects together; those that have none are left out."""
    chunk: list[int] = []
    size = 0
    for project, count in counts:
        if count:
            chunk.append(project)
            size += count
        if size >= CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
