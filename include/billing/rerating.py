"""Looking at bills again: what they would be with what is known now, and how that differs from what they are.

Pure. Source: docs/billing.md, Corrections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from include.billing.formula import price
from include.billing.model import Before, Facts, Parked, Period, PricedBill
from include.billing.stored import NewAdjustment, Pieces, StoredBill


@dataclass(frozen=True)
class Difference:
    """A bill as it was made and as it would be now.

    :ivar quantity: what has to be added to what was billed and already adjusted; `amount` likewise
    """

    bill: StoredBill
    priced: PricedBill
    quantity: Decimal
    amount: Decimal

    @property
    def is_nothing(self) -> bool:
        return not self.quantity and not self.amount

    def adjustment(self) -> NewAdjustment:
        """Return the correction that settles it."""
        estimated = "estimated" in self.bill.flags
        kind = "TRUE_UP" if estimated else "CREDIT" if self.amount < 0 else "DEBIT"
        reason = (
            "readings replaced an estimate"
            if estimated
            else "readings were recorded or corrected after the bill"
        )
        return NewAdjustment(
            self.bill.service_point_id,
            self.bill.id,
            kind,  # type: ignore[arg-type]  # mypy widens the conditional
            self.quantity,
            self.amount,
            reason,
            {
                "billed": {"quantity": str(self.bill.quantity), "charge": str(self.bill.own_charge)},
                "now": {"quantity": str(self.priced.quantity), "charge": str(self.priced.charge)},
                "lines": [
                    {
                        "kind": line.kind,
                        "label": line.label,
                        "tier": line.tier,
                        "quantity": str(line.quantity),
                        "rate": str(line.rate),
                        "amount": str(line.amount),
                        "included": line.included,
                    }
                    for line in self.priced.lines
                ],
            },
        )


@dataclass(frozen=True)
class Rerated:
    """What became of a chain that was looked at again.

    :ivar differences: one for each bill, the oldest first
    :ivar stuck: the bill that cannot be priced any more, and why; those after it were not looked at
    """

    differences: Sequence[Difference] = ()
    stuck: tuple[StoredBill, Parked] | None = None

    @property
    def changes(self) -> list[Difference]:
        return [one for one in self.differences if not one.is_nothing]


def rerate(facts: Facts, chain: Sequence[StoredBill]) -> Rerated:
    """Return how each bill of a chain differs from what it would be now.

    Each is priced after those before it as they would be now, so that a year's tiers shift with them.

    :param chain: the bills of one service point without a gap, the oldest first; `earlier` ones only tell
        the others what came before
    """
    last: Before | None = None
    counted: Pieces = ()
    found: list[Difference] = []
    for bill in chain:
        if bill.earlier:
            counted += bill.counted_now
            last = Before(bill.period_to, bill.quantity, bill.estimates_in_a_row)
            continue
        priced = price(facts, _period(bill), last and replace(last, counted=counted))
        if not isinstance(priced, PricedBill):
            nothing = Parked("no_meter", "no meter is there any more in its period")
            return Rerated(found, (bill, priced or nothing))
        found.append(_difference(bill, priced))
        pieces = tuple((one.from_at, one.quantity) for one in priced.quantities)
        counted += bill.counted(pieces, bill.granted_quantity)
        last = Before(bill.period_to, priced.quantity, priced.estimates_in_a_row)
    return Rerated(found)


def _difference(bill: StoredBill, priced: PricedBill) -> Difference:
    return Difference(
        bill,
        priced,
        priced.quantity - bill.quantity - bill.found_quantity,
        priced.charge - bill.own_charge - bill.found_amount,
    )


def _period(bill: StoredBill) -> Period:
    return Period(bill.period_from, bill.period_to, bill.months, bill.coverage)
