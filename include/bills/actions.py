"""Use cases that change what somebody owes: void, make again, adjust, make final.

A final bill never changes. Each use case holds the lock that runs hold (`BillingRepository.lock_points`), so
that no bill is made meanwhile, and writes `billing_audit`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg

from include.billing.repository import BillingRepository
from include.billing.stored import Chunk, ChunkResult, Factor
from include.bills.detail import BillDetails
from include.bills.record_repository import BillRecordRepository
from include.bills.records import BillRecord, BillRef, State
from include.errors import ConflictError
from include.kit.db import Connection
from include.readings.locks import close_readings
from include.readings.rerates import request_rerates

#: Of the tally: chunks of runs have those from 0 on.
SLOT = -1

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class _Voided:
    """A bill that was made void, and what became of adjustments.

    :ivar state: of the bill until then
    :ivar reopened: ids of those that it carried; they wait for another bill
    :ivar cancelled: ids of the differences found in it
    :ivar carried: what of those is on later bills
    """

    state: State
    reopened: Sequence[int]
    cancelled: Sequence[int]
    carried: Decimal


class BillActions:
    """The use cases, inside the caller's transaction.

    :param projects: the project ids that the caller's token may see, None for all
    :param actor: who asks, for the audit
    """

    def __init__(self, connection: Connection, *, projects: Sequence[str] | None, actor: str) -> None:
        self.connection = connection
        self.projects = projects
        self.actor = actor
        self.details = BillDetails(connection, projects=projects)
        self.repository = BillRecordRepository(connection, projects)
        self.billing = BillingRepository(connection)

    async def void(self, ref: BillRef, reason: str) -> BillRecord:
        """Make a bill void; the next run bills its period again, with what follows.

        What it carried waits for that bill. Differences that were found in it are cancelled with it. What a
        person decided on stays as an amount; its quantity counts no more, as nothing of a void bill does.

        :raises NotFoundError: no such bill for this caller
        :raises ConflictError: it is void already, or not the latest of its service point
        """
        bill = await self._locked(ref)
        last_id = await self.repository.last_bill_id(bill.service_point_id)
        if last_id != bill.id:
            raise ConflictError(
                f"bill {last_id} follows it: void that one first, or regenerate this one in its place"
            )
        now = await self.repository.moment()
        voided = await self._make_void(bill, now)
        detail = {"reason": reason, "charge": bill.charge}
        lists = {"reopened": voided.reopened, "cancelled": voided.cancelled}
        await self._note(bill, "void", {**detail, **lists}, now)
        return await self.details.find(ref)

    async def regenerate(self, ref: BillRef, reason: str) -> BillRecord:
        """Make a bill void and another one for the same period, with what is known now; returns the new one.

        Later bills stay. They are looked at again in the next run, since the year may have counted something
        else before them; what of this bill they have corrected by now is taken back by an adjustment. What a
        person decided on becomes a correction of the new bill, so that its quantity still counts.

        :raises NotFoundError: no such bill for this caller
        :raises ConflictError: it is void already, or its period cannot be billed now
        """
        bill = await self._locked(ref)
        await close_readings(self.connection, bill.project_id)
        now = await self.repository.moment()
        latest = await self.repository.last_bill_id(bill.service_point_id) == bill.id
        voided = await self._make_void(bill, now)
        # Else what waits for the next bill would go on this one, in the middle.
        held = [] if latest else await self.repository.hold_back(bill.service_point_id, voided.reopened)
        made = await self._make_again(bill, voided.state, now)
        await self.repository.let_go(held)
        moved = await self.repository.move_manual(bill.id, made.id)
        settled_by = [] if latest else await self._settle_later(bill, made, voided, now)
        detail = {"reason": reason, "charge": bill.charge, "made": made.id, "charge_now": made.charge}
        lists = {"cancelled": voided.cancelled, "moved": moved, "settled_by": settled_by}
        await self._note(bill, "regenerate", {**detail, **lists}, now)
        await self._note(made, "made_again", {"reason": reason, "original": bill.id}, now)
        return made

    async def adjust(self, ref: BillRef, amount: Decimal, quantity: Decimal, reason: str) -> int:
        """Have the next bill carry a credit (below 0) or debit; returns the id of the adjustment.

        With a quantity, later bills are looked at again: the year counted something else before them.

        :raises NotFoundError: no such bill for this caller
        :raises ConflictError: it is void, or a draft
        """
        bill = await self._locked(ref)
        if bill.state != "final":
            raise ConflictError(f"bill {bill.id} is a draft: make it again, or final first")
        now = await self.repository.moment()
        adjustment_id = await self.repository.insert_manual(
            bill, amount=amount, quantity=quantity, reason=reason, detail={}, actor=self.actor, now=now
        )
        if quantity:
            await request_rerates(self.connection, bill.project_id, {bill.service_point_id: bill.period_to})
        detail = {"reason": reason, "adjustment": adjustment_id, "amount": amount, "quantity": quantity}
        await self._note(bill, "adjust", detail, now)
        return adjustment_id

    async def finalize(self, ref: BillRef) -> BillRecord:
        """Make a draft final.

        :raises NotFoundError: no such bill for this caller
        :raises ConflictError: it is void, or final already
        """
        bill = await self._locked(ref)
        now = await self.repository.moment()
        if not await self.repository.make_final(bill.id):
            raise ConflictError(f"bill {bill.id} is final already")
        await self.repository.tally(bill, 1)
        await self._note(bill, "finalize", {"charge": bill.charge}, now)
        return await self.details.find(ref)

    async def _locked(self, ref: BillRef) -> BillRecord:
        """Return a bill that is not void, alone with its service point until the transaction ends."""
        bill = await self.details.find(ref)
        point = bill.service_point_id
        await self.billing.lock_points(bill.project_id, bill.commodity, point, point)
        bill = await self.details.find(ref)
        if bill.state == "void":
            instead = f"; bill {bill.replaced_by_id} stands for it" if bill.replaced_by_id else ""
            raise ConflictError(f"bill {bill.id} is void{instead}")
        return bill

    async def _make_void(self, bill: BillRecord, now: datetime) -> _Voided:
        state = await self.repository.make_void(bill.id)
        if state == "final":
            await self.repository.tally(bill, -1)
        reopened = await self.repository.reopen_carried(bill.id)
        cancelled, carried = await self.repository.cancel_found(bill.id, now)
        return _Voided(state, reopened, cancelled, carried)

    async def _make_again(self, bill: BillRecord, state: State, now: datetime) -> BillRecord:
        try:
            result = await self._price(bill, state, now)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            why = str(error).split("\n", 1)[0]
            raise ConflictError(f"its period cannot be billed now: {why}") from error
        made_id = await self.repository.replacement_of(bill.id, bill.service_point_id)
        if not result.billed or made_id is None:
            parked = await self.repository.why_parked(bill.service_point_id) if result.parked else None
            raise ConflictError(
                f"its period cannot be billed now: {parked or 'no meter was installed in it'}"
            )
        [made] = await self.repository.find_records([made_id])
        return made

    async def _price(self, bill: BillRecord, state: State, now: datetime) -> ChunkResult:
        return await self.billing.price_chunk(
            Chunk(
                bill.project_id,
                bill.commodity,
                bill.service_point_id,
                bill.service_point_id,
                bill.period_to,
                now,
                await self.billing.load_rules(bill.project_id),
                [Factor(bill.period_from, bill.months, bill.coverage)],
                now,
                run_id=bill.run_id,
                state="draft" if state == "draft" else "final",
                only_ids=[bill.service_point_id],
                only_from=bill.period_from,
                original_bill_id=bill.id,
                slot=SLOT,
            )
        )

    async def _settle_later(
        self, bill: BillRecord, made: BillRecord, voided: _Voided, now: datetime
    ) -> list[int]:
        """Take back what later bills carry of differences in the bill, and have them looked at again.

        Returns the ids of the adjustments. They are a person's, so that no run takes them for differences
        that it found, and tries to settle them again. They count nothing: what the void bill's corrections
        counted went with it.
        """
        await request_rerates(self.connection, bill.project_id, {bill.service_point_id: bill.period_to})
        if not voided.carried:
            return []
        taken_back = await self.repository.insert_manual(
            made,
            amount=-voided.carried,
            quantity=ZERO,
            reason=f"bill {made.id} stands for bill {bill.id}, whose corrections are on later bills",
            detail={"regenerated": bill.id},
            actor=self.actor,
            now=now,
        )
        return [taken_back]

    async def _note(self, bill: BillRecord, action: str, detail: Mapping[str, Any], now: datetime) -> None:
        await self.repository.audit(bill.project_id, {bill.id: detail}, action, self.actor, now)
