"""The statements of billing runs: the only caller of this domain's `queries.sql`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson

from include.billing.model import ENGINE_VERSION, KINDS, METHODS, Commodity, Facts, ProjectRules
from include.billing.stored import (
    Bucket,
    Chunk,
    ChunkResult,
    NewAdjustment,
    Ordered,
    Pieces,
    RunRow,
    StoredBill,
)
from include.kit.db import Repository
from include.kit.sql import load_queries
from include.settings import get_settings

queries = load_queries(__file__)

#: Service points of one statement, by ranges of ids.
CHUNK = 4096

CHUNK_TIMEOUT = "15min"

Row = Mapping[str, Any]


class BillingRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits."""

    async def allow_long(self) -> None:
        """Let the statements of this transaction take as long as chunks do."""
        await self._rows(queries.allow_long, timeout=CHUNK_TIMEOUT)

    async def plan_for_chunks(self, *, wide: bool = True) -> None:
        """Have what follows in this transaction planned for `price_chunk`, or as usual again."""
        await self._rows(queries.plan_for_chunks, nestloop="off" if wide else "on")

    async def load_rules(self, project_id: str) -> ProjectRules:
        rows = await self._rows(queries.find_rules, project_id=project_id)
        return ProjectRules(**rows[0]) if rows else ProjectRules(timezone=get_settings().timezone)

    async def find_ordered(self, definition_id: int) -> Ordered | None:
        rows = await self._rows(queries.find_ordered, definition_id=definition_id)
        return Ordered(**rows[0]) if rows else None

    # --- runs

    async def open_run(
        self,
        task: Ordered,
        *,
        due_at: datetime,
        period_to: datetime,
        origin: str,
        airflow_run: str,
        now: datetime,
    ) -> RunRow:
        """Return the run of a task at an instant, made, taken up again, or `succeeded` already."""
        run = {"definition_id": task.definition_id, "due_at": due_at}
        rows = await self._rows(
            queries.open_run,
            **run,
            project_id=task.project_id,
            commodity=task.commodity,
            period_to=period_to,
            origin=origin,
            airflow_run=airflow_run,
            now=now,
        )
        return RunRow(**(rows or await self._rows(queries.find_run, **run))[0])

    async def count_chunk(self, run_id: int, result: ChunkResult, adjusted: int) -> None:
        await self.connection.execute(
            queries.count_chunk,
            {
                "run_id": run_id,
                "billed": result.billed,
                "parked": result.parked,
                "total": result.total,
                "adjusted": adjusted,
            },
        )

    async def finish_run(self, run_id: int, state: str | None, reason: str | None, now: datetime) -> RunRow:
        """End a run; without a state it is `partial` where service points were parked, else `succeeded`."""
        rows = await self._rows(queries.finish_run, run_id=run_id, state=state, reason=reason, now=now)
        return RunRow(**rows[0])

    async def note_run(self, definition_id: int, due_at: datetime, *, repeated: bool) -> None:
        await self.connection.execute(
            queries.note_run, {"definition_id": definition_id, "due_at": due_at, "repeated": repeated}
        )

    # --- chunks

    async def list_buckets(self, project_id: str, commodity: Commodity) -> list[Bucket]:
        rows = await self._rows(queries.list_buckets, project_id=project_id, commodity=commodity, size=CHUNK)
        return [Bucket(row["low"], row["high"], row["points"]) for row in rows]

    async def lock_points(self, project_id: str, commodity: Commodity, low: int, high: int) -> None:
        """Wait for others who write bills of these service points, and keep them out until the end."""
        await self._rows(
            queries.lock_points, project_id=project_id, commodity=commodity, low=low, high=high, size=CHUNK
        )

    async def price_chunk(self, chunk: Chunk) -> ChunkResult:
        """Measure, price and write the bills of a range of service points; see docs/billing.md."""
        rules = chunk.rules
        cursor = await self.connection.execute(
            queries.price_chunk,
            {
                "project_id": chunk.project_id,
                "commodity": chunk.commodity,
                "low": chunk.low,
                "high": chunk.high,
                "skip_ids": list(chunk.skip_ids),
                "only_ids": None if chunk.only_ids is None else list(chunk.only_ids),
                "only_from": chunk.only_from,
                "period_to": chunk.period_to,
                "cutoff": chunk.cutoff,
                "now": chunk.now,
                "run_id": chunk.run_id,
                "state": chunk.state,
                "slot": chunk.slot,
                "original_bill_id": chunk.original_bill_id,
                "starts": [factor.start for factor in chunk.factors],
                "months": [factor.months for factor in chunk.factors],
                "coverages": [factor.coverage for factor in chunk.factors],
                "zone": rules.timezone,
                "tolerance": rules.boundary_tolerance,
                "estimates_in_a_row": rules.estimates_in_a_row,
                "share_key": rules.share_key,
                "kinds": list(KINDS),
                "methods": list(METHODS),
                "engine_version": ENGINE_VERSION,
            },
            prepare=False,  # a plan for any range would be a bad one for each
        )
        [row] = await cursor.fetchall()
        return ChunkResult(row["billed"], row["total"], row["parked"], tuple(row["unknown_starts"] or ()))

    async def list_points(self, project_id: str, commodity: Commodity, low: int, high: int) -> list[int]:
        rows = await self._rows(
            queries.list_points, project_id=project_id, commodity=commodity, low=low, high=high
        )
        return [row["id"] for row in rows]

    async def park_points(self, chunk: Chunk, ids: Sequence[int], kind: str, detail: str) -> None:
        await self.connection.execute(
            queries.park_points,
            {
                "project_id": chunk.project_id,
                "run_id": chunk.run_id,
                "ids": list(ids),
                "kind": kind,
                "detail": detail,
                "now": chunk.now,
            },
        )

    async def close_exceptions(self, chunk: Chunk) -> None:
        await self.connection.execute(
            queries.close_exceptions,
            {"low": chunk.low, "high": chunk.high, "period_to": chunk.period_to, "now": chunk.now},
        )

    async def finalize_drafts(self, chunk: Chunk, before: datetime) -> None:
        await self.connection.execute(
            queries.finalize_drafts,
            {
                "project_id": chunk.project_id,
                "commodity": chunk.commodity,
                "low": chunk.low,
                "high": chunk.high,
                "slot": chunk.slot,
                "before": before,
            },
        )

    # --- corrections

    async def list_doubtful(self, chunk: Chunk) -> dict[int, datetime]:
        """Return the service points whose bills must be looked at again, and from when on."""
        rows = await self._rows(
            queries.list_doubtful,
            project_id=chunk.project_id,
            commodity=chunk.commodity,
            low=chunk.low,
            high=chunk.high,
            cutoff=chunk.cutoff,
        )
        return {row["id"]: row["since"] for row in rows}

    async def load_chain(self, since: Mapping[int, datetime]) -> dict[int, list[StoredBill]]:
        """Return the bills of service points that end after a moment, after the one before them, in order."""
        rows = await self._rows(queries.load_chain, ids=list(since), sinces=list(since.values()))
        chains: dict[int, list[StoredBill]] = {service_point_id: [] for service_point_id in since}
        for row in rows:
            chains[row["service_point_id"]].append(StoredBill(**{**row, "pieces": _pieces(row["pieces"])}))
        return chains

    async def insert_adjustments(
        self, project_id: str, adjustments: Sequence[NewAdjustment], *, cutoff: datetime, now: datetime
    ) -> None:
        rows = orjson.dumps([asdict(one) for one in adjustments], default=str).decode()
        await self.connection.execute(
            queries.insert_adjustments,
            {"project_id": project_id, "rows": rows, "cutoff": cutoff, "now": now},
        )

    async def drop_requests(self, ids: Iterable[int], cutoff: datetime) -> None:
        """Forget what was asked for up to a cutoff."""
        await self.connection.execute(queries.drop_requests, {"ids": list(ids), "cutoff": cutoff})

    async def load_facts(self, service_point_ids: Sequence[int], cutoff: datetime) -> dict[int, Facts]:
        """Return all that the bills of these service points depend on, as it was known at a cutoff."""
        from include.billing.facts import load_facts

        return await load_facts(self, service_point_ids, cutoff)

    async def rows_of(self, name: str, **parameters: Any) -> list[Row]:
        """Return what one of the `facts_of_…` statements finds."""
        return await self._rows(getattr(queries, name), **parameters)


def _pieces(rows: Sequence[Sequence[str]] | None) -> Pieces:
    return tuple(
        (datetime.fromtimestamp(0, UTC) + timedelta(seconds=float(at)), Decimal(quantity))
        for at, quantity in rows or ()
    )
