"""Corrections of samples, which must not move what objects had done when they were last maintained (B30)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from include.kit.db import Connection
from include.maintenance.repository import MaintenanceRepository


@asynccontextmanager
async def keeping_anchors(
    connection: Connection, statistic_id: int, object_ids: Sequence[str]
) -> AsyncIterator[None]:
    """Correct samples inside this block, in the caller's transaction; progress is then what they say.

    Totals at the anchors of objects may change as well; growth counts from what they are then.
    """
    repository = MaintenanceRepository(connection)
    before = await repository.lock_anchors(statistic_id, object_ids)
    yield
    after = await repository.lock_anchors(statistic_id, object_ids)
    shifts = {key: total - before[key] for key, total in after.items() if key in before}
    await repository.shift_anchors({key: shift for key, shift in shifts.items() if shift})
