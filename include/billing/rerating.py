"""Looking at bills again: what they would be with what is known now, and how that differs from what they are.

Pure. Source: docs/billing.md, Corrections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from include.billing.formula import price
from include.billing.model import Before, Facts, Period, PricedBill
from include.billing.stored import NewAdjustment, StoredBill


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


def rerate(facts: Facts, chain: Sequence[StoredBill]) -> list[Difference]:
    """Return how each bill of a chain differs from what it would be now, the oldest first.

    Each is priced after the one before it as that would be now, so that a year's tiers shift with it. A bill
    that cannot be priced now is left as it is.

    :param chain: the bills of one service point without a gap, the oldest first; `earlier` ones only tell
        the first of the others what came before
    """
    before: Before | None = None
    found: list[Difference] = []
    for bill in chain:
        if bill.earlier:
            before = bill.as_before
            continue
        known = before and replace(before, year_quantity=before.year_quantity + bill.carried_quantity)
        priced = price(facts, _period(bill), known)
        if not isinstance(priced, PricedBill):
            before = bill.as_before
            continue
        found.append(_difference(bill, priced))
        before = Before(bill.period_to, priced.quantity, priced.year_quantity, priced.estimates_in_a_row)
    return found


def _difference(bill: StoredBill, priced: PricedBill) -> Difference:
    return Difference(
        bill,
        priced,
        priced.quantity - bill.quantity - bill.adjusted_quantity,
        priced.charge - bill.own_charge - bill.adjusted_amount,
    )


def _period(bill: StoredBill) -> Period:
    return Period(bill.period_from, bill.period_to, bill.months, bill.coverage)


def changed(differences: Sequence[Difference]) -> list[Difference]:
    """Return those that are something."""
    return [one for one in differences if not one.is_nothing]
