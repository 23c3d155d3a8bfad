"""Use cases on one bill that was made: show it with its parts, and say in words how it came about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from include.billing.model import TariffVersion
from include.billing.words import explain_bill, money
from include.bills.record_repository import BillRecordRepository
from include.bills.records import BillDetail, BillLine, BillRecord, BillRef, BillShare
from include.errors import NotFoundError, PermissionDeniedError
from include.kit.db import Connection
from include.tariffs.repository import load_versions

#: Of a bill without a line of a tariff.
CURRENCY = "CNY"


@dataclass(frozen=True, slots=True)
class _Told:
    """A bill with its lines as the words want it."""

    bill: BillRecord
    detail: BillDetail

    def __getattr__(self, name: str) -> object:
        return getattr(self.detail if name in ("quantities", "lines") else self.bill, name)


class BillDetails:
    """The use cases, inside the caller's transaction.

    :param projects: the project ids that the caller's token may see, None for all
    """

    def __init__(self, connection: Connection, *, projects: Sequence[str] | None = None) -> None:
        self.connection = connection
        self.projects = projects
        self.repository = BillRecordRepository(connection, projects)

    async def find(self, ref: BillRef) -> BillRecord:
        """Return a bill without its parts. Raises NotFoundError."""
        found = await self.repository.find_records([ref.id])
        if not found or (ref.second is not None and int(ref.second.timestamp()) != _second(found[0])):
            raise NotFoundError(f"there is no bill {ref.text}")
        return found[0]

    async def detail(self, ref: BillRef) -> BillDetail:
        """Return a bill with its parts. Raises NotFoundError."""
        [found] = await self.details([await self.find(ref)])
        return BillDetail(
            found.bill,
            found.quantities,
            found.lines,
            found.shares,
            found.adjustments,
            await self.repository.list_audit(found.bill.id),
        )

    async def details(self, bills: Sequence[BillRecord]) -> list[BillDetail]:
        """Return bills with their parts, without what was done with them."""
        ids = [bill.id for bill in bills]
        quantities = await self.repository.list_quantities(ids)
        lines = await self.repository.list_lines(ids)
        shares = await self.repository.list_shares(ids)
        adjustments = await self.repository.list_corrections_of(ids)
        return [
            BillDetail(
                bill,
                quantities.get(bill.id, []),
                lines.get(bill.id, []),
                shares.get(bill.id, []),
                [one for one in adjustments if one.corrects_bill_id == bill.id],
            )
            for bill in bills
        ]

    async def shares(self, ref: BillRef) -> tuple[BillRecord, Sequence[BillShare]]:
        """Return to whom a bill falls. Raises NotFoundError."""
        bill = await self.find(ref)
        return bill, (await self.repository.list_shares([bill.id])).get(bill.id, [])

    async def explain(self, ref: BillRef) -> tuple[BillRecord, Sequence[str]]:
        """Return the sentences that derive a bill. Raises NotFoundError."""
        detail = await self.detail(ref)
        bill = detail.bill
        currency, versions = await self._tariffs(detail.lines)
        sentences = explain_bill(
            _Told(bill, detail),  # type: ignore[arg-type]  # by name, see __getattr__
            bill.period_from,
            bill.period_to,
            ZoneInfo(bill.timezone),
            currency,
            versions,
        )
        return bill, (*sentences, *_shares(detail, currency), *_afterwards(detail, currency))

    async def _tariffs(self, lines: Sequence[BillLine]) -> tuple[str, dict[int, TariffVersion]]:
        ids = [line.tariff_version_id for line in lines if line.tariff_version_id is not None]
        rows = await self.repository.currencies(ids)
        versions = await load_versions(self.connection, list({row["tariff_id"] for row in rows}))
        currencies = {row["id"]: row["currency"] for row in rows}
        currency = next((currencies[id_] for id_ in ids if id_ in currencies), CURRENCY)
        return currency, versions


def require_unmasking(known: bool, projects: Sequence[str] | None) -> None:
    """Refuse telephone numbers in full to whom they are not for: see docs/bills.md.

    :param known: whether the caller showed a token at all
    :raises PermissionDeniedError: no token, or one that is restricted to projects
    """
    if not known or projects is not None:
        raise PermissionDeniedError("telephone numbers are for tokens that are not restricted to projects")


def _shares(detail: BillDetail, currency: str) -> Iterator[str]:
    if len(detail.shares) > 1:
        parts = ", ".join(f"{one.name} {money(one.amount)} {currency}" for one in detail.shares)
        yield f"It is shared: {parts}."


def _afterwards(detail: BillDetail, currency: str) -> Iterator[str]:
    """Say what became of the bill."""
    bill = detail.bill
    if bill.original_bill_id is not None:
        yield f"It stands for bill {bill.original_bill_id}, which is void."
    if bill.state == "draft":
        yield "It is a draft: not final yet."
    if bill.state == "void":
        instead = f"; bill {bill.replaced_by_id} stands for it" if bill.replaced_by_id else ""
        yield f"It is void{instead}."
    for one in detail.adjustments:
        waits = f", of which {money(one.open_amount)} {currency} wait for a bill" if one.open_amount else ""
        cancelled = ", cancelled" if one.cancelled else ""
        yield f"Corrected by {money(one.amount)} {currency} ({one.reason}){waits}{cancelled}."


def _second(bill: BillRecord) -> int:
    made: datetime = bill.created_at
    return int(made.timestamp())
