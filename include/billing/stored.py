"""What runs keep and pass on: chunks of service points, and bills as they were made. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from include.billing.model import Commodity, ProjectRules

#: Where stretches of billed time begin, and what was used in them.
Pieces = tuple[tuple[datetime, Decimal], ...]


@dataclass(frozen=True)
class Factor:
    """How long a period is that begins at `start`: in months and in periods of the crontab."""

    start: datetime
    months: Decimal
    coverage: Decimal


@dataclass(frozen=True)
class Chunk:
    """What one statement bills.

    :ivar low: with `high`, the range of service point ids
    :ivar factors: of the beginnings that are expected; service points that begin elsewhere are left alone
    :ivar only_ids: of the range only these; `skip_ids`: all but these
    :ivar only_from: bill from here instead of the end of the last bill, for a bill that takes another's place
    :ivar slot: of the tally; chunks that run side by side have different ones
    """

    project_id: str
    commodity: Commodity
    low: int
    high: int
    period_to: datetime
    cutoff: datetime
    rules: ProjectRules
    factors: Sequence[Factor]
    now: datetime
    run_id: int | None = None
    state: Literal["draft", "final"] = "final"
    only_ids: Sequence[int] | None = None
    skip_ids: Sequence[int] = ()
    only_from: datetime | None = None
    original_bill_id: int | None = None
    slot: int = 0


@dataclass(frozen=True)
class ChunkResult:
    """What a statement did.

    :ivar unknown_starts: beginnings that were not among the factors
    """

    billed: int = 0
    total: Decimal = Decimal(0)
    parked: int = 0
    unknown_starts: Sequence[datetime] = ()

    def __add__(self, other: ChunkResult) -> ChunkResult:
        return ChunkResult(self.billed + other.billed, self.total + other.total, self.parked + other.parked)


@dataclass(frozen=True)
class StoredBill:
    """A bill as it was made.

    :ivar own_charge: its charge without corrections of earlier bills
    :ivar found_quantity: of the differences that were found in it so far; `found_amount` likewise
    :ivar granted_quantity: what a person decided to add to its quantity
    :ivar pieces: where each of its quantities begins, and how much it is
    :ivar earlier: it is not looked at; those after it need to know it
    """

    id: int
    service_point_id: int
    period_from: datetime
    period_to: datetime
    months: Decimal
    coverage: Decimal
    quantity: Decimal
    estimates_in_a_row: int
    flags: Sequence[str]
    cutoff: datetime
    own_charge: Decimal
    pieces: Pieces
    found_quantity: Decimal = Decimal(0)
    found_amount: Decimal = Decimal(0)
    granted_quantity: Decimal = Decimal(0)
    earlier: bool = False

    def counted(self, pieces: Pieces, corrected: Decimal) -> Pieces:
        """Return pieces and what they are corrected by, which counts where the last of them begins."""
        if not corrected:
            return pieces
        return (*pieces, (pieces[-1][0] if pieces else self.period_from, corrected))

    @property
    def counted_now(self) -> Pieces:
        """What it counts as it stands."""
        return self.counted(self.pieces, self.found_quantity + self.granted_quantity)


@dataclass(frozen=True)
class Bucket:
    """A range of ids and how many service points of a project are in it."""

    low: int
    high: int
    points: int


@dataclass(frozen=True)
class RunRow:
    """A row of `billing_run`."""

    id: int
    period_to: datetime
    cutoff: datetime
    billed: int
    adjusted: int
    parked: int
    total: Decimal
    state: str
    repeated: bool = True


@dataclass(frozen=True)
class Ordered:
    """A billing task as a run sees it."""

    definition_id: int
    project_id: str
    name: str
    commodity: Commodity
    expression: str
    timezone: str


@dataclass(frozen=True)
class NewAdjustment:
    """A correction to be carried by the next bill."""

    service_point_id: int
    bill_id: int
    kind: Literal["TRUE_UP", "CREDIT", "DEBIT"]
    quantity: Decimal
    amount: Decimal
    reason: str
    detail: Mapping[str, object] = field(default_factory=dict)
