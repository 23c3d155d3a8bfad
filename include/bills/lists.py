"""Use cases on the bills of a project: lists of them, of runs that made them, of what corrects them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from include.billing.model import Commodity
from include.bills.record_repository import LAST_ID, BillRecordRepository
from include.bills.records import (
    Adjustment,
    AdjustmentKind,
    BillRecord,
    RecordFilter,
    RunRecord,
    RunState,
)
from include.errors import InvalidInputError, NotFoundError
from include.kit.db import Connection

_MICROSECOND = timedelta(microseconds=1)


class BillLists:
    """The use cases of one project, inside the caller's transaction. Lists have the newest first.

    :param projects: the project ids that the caller's token may see, None for all
    :raises NotFoundError: the project is not one of them
    """

    def __init__(
        self, connection: Connection, project_id: str, *, projects: Sequence[str] | None = None
    ) -> None:
        require_visible(project_id, projects)
        self.project_id = project_id
        self.repository = BillRecordRepository(connection, [project_id])

    async def bills(
        self, wanted: RecordFilter, *, before: tuple[datetime, int] | None, limit: int
    ) -> list[BillRecord]:
        """Return bills that meet conditions, from the one that ends and is numbered `before` on.

        :raises InvalidInputError: see `narrow`
        """
        narrowed = await narrow(self.repository, self.project_id, wanted)
        if narrowed is None:
            return []
        ids = await self.repository.page_record_ids(self.project_id, narrowed, before, limit)
        return await self.repository.find_records(ids)

    async def adjustments(
        self,
        *,
        service_point: str | None,
        kind: AdjustmentKind | None,
        open: bool | None,
        before_id: int,
        limit: int,
    ) -> list[Adjustment]:
        """Return adjustments of a lower id than `before_id` (0: all).

        :param open: only those that wait for a bill, or only those that do not
        """
        return await self.repository.list_adjustments(
            self.project_id,
            service_point=service_point,
            kind=kind,
            open=open,
            before_id=before_id or LAST_ID,
            limit=limit,
        )

    async def runs(
        self, *, commodity: Commodity | None, state: RunState | None, before_id: int, limit: int
    ) -> list[RunRecord]:
        """Return billing runs of a lower id than `before_id` (0: all)."""
        return await self.repository.list_runs(
            projects=[self.project_id],
            commodity=commodity,
            state=state,
            before_id=before_id or LAST_ID,
            limit=limit,
        )


async def find_run(connection: Connection, run_id: int, *, projects: Sequence[str] | None) -> RunRecord:
    """Return a billing run. Raises NotFoundError."""
    rows = await BillRecordRepository(connection).list_runs(id=run_id, projects=projects)
    if not rows:
        raise NotFoundError(f"there is no billing run {run_id}")
    return rows[0]


async def narrow(
    repository: BillRecordRepository, project_id: str, wanted: RecordFilter
) -> RecordFilter | None:
    """Return conditions with what the index knows of a run: its bills end where it ends. None: no bills.

    :raises InvalidInputError: flags, which no index knows, and nothing that bounds the search for them
    """
    bounds = (wanted.ends_from, wanted.run_id, wanted.service_point, wanted.device_id)
    if wanted.flags and not any(bounds):
        raise InvalidInputError(
            "needs one of from, run, service_point and device_id beside it", field="flags"
        )
    if wanted.run_id is None:
        return wanted
    rows = await repository.list_runs(id=wanted.run_id, projects=[project_id])
    if not rows or wanted.commodity not in (None, rows[0].commodity):
        return None
    end = rows[0].period_to
    return RecordFilter(
        commodity=rows[0].commodity,
        service_point=wanted.service_point,
        device_id=wanted.device_id,
        state=wanted.state,
        ends_from=max(end, wanted.ends_from or end),
        ends_to=min(end + _MICROSECOND, wanted.ends_to or end + _MICROSECOND),
        flags=wanted.flags,
        run_id=wanted.run_id,
    )


def require_visible(project_id: str, projects: Sequence[str] | None) -> None:
    """Raise NotFoundError where a caller with these projects (None is all) may not see one."""
    if projects is not None and project_id not in projects:
        raise NotFoundError(f"there is no project {project_id!r}")
