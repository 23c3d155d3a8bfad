"""Use cases that change what somebody owes: void, make again, adjust, make final.

A final bill never changes. Each use case holds the lock that runs hold (`BillingRepository.lock_points`), so
that no bill is made meanwhile, and writes `billing_audit`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from include.billing.repository import BillingRepository
from include.billing.rerating import rerate
from include.billing.stored import Chunk, Factor, StoredBill
from include.bills.detail import BillDetails
from include.bills.record_repository import BillRecordRepository
from include.bills.records import BillRecord, BillRef
from include.errors import ConflictError
from include.kit.db import Connection
from include.readings.locks import close_readings

#: Of the tally: chunks of runs have those from 0 on.
SLOT = -1

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class _Voided:
    """What became of adjustments when a bill was made void.

    :ivar reopened: ids of those that it carried; they wait for another bill
    :ivar cancelled: ids of the differences found in it
    :ivar carried: what of those is on later bills
    """

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

        What it carried waits for that bill. Differences that were found in it are cancelled with it; what a
        person decided on stays.

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

        Later bills stay. They are looked at again in the next run; what of this bill they have corrected by
        now is taken back by an adjustment.

        :raises NotFoundError: no such bill for this caller
        :raises ConflictError: it is void already, or its period cannot be billed now
        """
        bill = await self._locked(ref)
        await close_readings(self.connection, bill.project_id)
        now = await self.repository.moment()
        before = await self._later(bill)
        voided = await self._make_void(bill, now)
        # Else what waits for the next bill would go on this one, in the middle.
        held = (
            await self.repository.hold_back(bill.service_point_id, bill.id, voided.reopened) if before else []
        )
        made = await self._make_again(bill, now)
        await self.repository.let_go(held)
        settled_by = await self._settle_later(bill, made, voided, before, now) if before else []
        detail = {"reason": reason, "charge": bill.charge, "made": made.id, "charge_now": made.charge}
        lists = {"cancelled": voided.cancelled, "settled_by": settled_by}
        await self._note(bill, "regenerate", {**detail, **lists}, now)
        await self._note(made, "made_again", {"reason": reason, "original": bill.id}, now)
        return made

    async def adjust(self, ref: BillRef, amount: Decimal, quantity: Decimal, reason: str) -> int:
        """Have the next bill carry a credit (below 0) or debit; returns the id of the adjustment.

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
        detail = {"reason": reason, "adjustment": adjustment_id, "amount": amount, "quantity": quantity}
        await self._note(bill, "adjust", detail, now)
        return adjustment_id

    async def finalize(self, ref: BillRef) -> BillRecord:
        """Make a draft final.

        :raises NotFoundError: no such bill for this caller
        :raises ConflictError: it is void, or final already
        """
        bill = await self._locked(ref)
        if bill.state != "draft":
            raise ConflictError(f"bill {bill.id} is {bill.state} already")
        now = await self.repository.moment()
        await self.repository.set_state(bill.id, "final")
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
        await self.repository.set_state(bill.id, "void")
        if bill.state == "final":
            await self.repository.tally(bill, -1)
        reopened = await self.repository.reopen_carried(bill.id)
        cancelled, carried = await self.repository.cancel_found(bill.id, now)
        return _Voided(reopened, cancelled, carried)

    async def _make_again(self, bill: BillRecord, now: datetime) -> BillRecord:
        result = await self.billing.price_chunk(
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
                state="draft" if bill.state == "draft" else "final",
                only_ids=[bill.service_point_id],
                only_from=bill.period_from,
                original_bill_id=bill.id,
                slot=SLOT,
            )
        )
        made_id = await self.repository.replacement_of(bill.id, bill.service_point_id)
        if not result.billed or made_id is None:
            why = await self.repository.why_parked(bill.service_point_id) if result.parked else None
            raise ConflictError(f"its period cannot be billed now: {why or 'no meter was installed in it'}")
        [made] = await self.repository.find_records([made_id])
        return made

    async def _later(self, bill: BillRecord) -> list[StoredBill]:
        """Return the bills after a bill that is not void, that one first; nothing where it is the latest."""
        chains = await self.billing.load_chain({bill.service_point_id: bill.period_to})
        chain = chains[bill.service_point_id]
        return chain if len(chain) > 1 else []

    async def _settle_later(
        self,
        bill: BillRecord,
        made: BillRecord,
        voided: _Voided,
        before: Sequence[StoredBill],
        now: datetime,
    ) -> list[int]:
        """Take back what later bills carry of differences in the bill, and correct their count of the year.

        Returns the ids of the adjustments. They are a person's, so that no run takes them for differences
        that it found, and tries to settle them again.
        """
        adjustments = []
        detail = {"regenerated": bill.id}
        if voided.carried:
            reason = f"bill {made.id} stands for bill {bill.id}, whose corrections are on later bills"
            adjustments.append(await self._insert(made, -voided.carried, ZERO, reason, detail, now))
        quantity = await self._count_difference(before, await self._later(made), now)
        if quantity:
            [last] = await self.repository.find_records([before[-1].id])
            reason = f"the count of the year, since bill {made.id} stands for bill {bill.id}"
            adjustments.append(await self._insert(last, ZERO, quantity, reason, detail, now))
        await self.repository.request_rerates([bill.service_point_id], bill.period_to, now)
        return adjustments

    async def _count_difference(
        self, before: Sequence[StoredBill], after: Sequence[StoredBill], now: datetime
    ) -> Decimal:
        """Return by how much the year's count at the end of a chain changes with the bill before it."""
        point = before[0].service_point_id
        facts = (await self.billing.load_facts([point], now))[point]
        was = await asyncio.to_thread(rerate, facts, before)
        is_ = await asyncio.to_thread(rerate, facts, after)
        if not was or not is_ or not was[-1].bill.id == is_[-1].bill.id == before[-1].id:
            return ZERO
        return is_[-1].priced.year_quantity - was[-1].priced.year_quantity

    async def _insert(
        self,
        bill: BillRecord,
        amount: Decimal,
        quantity: Decimal,
        reason: str,
        detail: Mapping[str, Any],
        now: datetime,
    ) -> int:
        return await self.repository.insert_manual(
            bill, amount=amount, quantity=quantity, reason=reason, detail=detail, actor=self.actor, now=now
        )

    async def _note(self, bill: BillRecord, action: str, detail: Mapping[str, Any], now: datetime) -> None:
        await self.repository.audit(bill.project_id, {bill.id: detail}, action, self.actor, now)
