"""Bills with all that belongs to them, as the own API and exports show them. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from include.billing.model import COMMODITIES, Commodity, Quantity
from include.bills.model import bill_key, read_bill_key

State = Literal["draft", "final", "void"]
Flag = Literal[
    "corrected",
    "estimated",
    "first",
    "long_period",
    "minimum",
    "profile_split",
    "replaced",
    "rollover",
    "split",
    "zero_usage",
]
AdjustmentKind = Literal["TRUE_UP", "CREDIT", "DEBIT"]
RunState = Literal["running", "succeeded", "partial", "failed"]

_NUMBER = re.compile(r"[1-9][0-9]{0,18}")
_BIGINT = 2**63
_SEEN_AT_FRONT, _SEEN_AT_END = 3, 4


@dataclass(frozen=True, slots=True)
class BillRef:
    """How a client names a bill: by its key, or by its number alone.

    :ivar second: of its making, from the key
    """

    text: str
    id: int
    second: datetime | None = None


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which bills of a project a list or export is about; None and nothing: any.

    :ivar service_point: its key
    :ivar device_id: of the meter in place at the end of the period
    :ivar ends_from: the period ends then or later; `ends_to`: it ends before
    :ivar flags: the bill has all of them
    """

    commodity: Commodity | None = None
    service_point: str | None = None
    device_id: str | None = None
    state: State | None = None
    ends_from: datetime | None = None
    ends_to: datetime | None = None
    flags: Sequence[Flag] = ()
    run_id: int | None = None

    @property
    def commodities(self) -> list[Commodity]:
        return [self.commodity] if self.commodity else list(COMMODITIES)


@dataclass(frozen=True, slots=True)
class BillRecord:
    """A bill. Moments are aware, amounts in the currency of the tariff.

    :ivar year_quantity: what the year counted at its end; None where its tariff does not count by the year
    :ivar energy: of its charge what ENERGY and TIER lines come to; likewise the four after it
    :ivar original_bill_id: the void bill that it stands for; `replaced_by_id`: that stands for this one
    :ivar timezone: of the project
    """

    id: int
    project_id: str
    service_point_id: int
    service_point: str
    run_id: int | None
    device_id: str
    commodity: Commodity
    subtype: str | None
    address: Sequence[str]
    state: State
    period_from: datetime
    period_to: datetime
    months: Decimal
    coverage: Decimal
    previous_quantity: Decimal
    quantity: Decimal
    unit: str
    opening: Decimal | None
    closing: Decimal | None
    charge: Decimal
    energy: Decimal
    fixed: Decimal
    minimum: Decimal
    tax: Decimal
    corrections: Decimal
    rounding_delta: Decimal
    year_quantity: Decimal | None
    estimates_in_a_row: int
    flags: Sequence[Flag]
    cutoff: datetime
    input_hash: int
    engine_version: int
    original_bill_id: int | None
    replaced_by_id: int | None
    created_at: datetime
    timezone: str

    @property
    def key(self) -> str:
        return bill_key(self.created_at, self.id)


@dataclass(frozen=True, slots=True)
class BillLine:
    """A line as it was stored.

    :ivar included: a tax that is in the prices already, so not in the sum
    """

    kind: str
    label: str
    tier: int | None
    quantity: Decimal
    rate: Decimal
    amount: Decimal
    included: bool
    from_at: datetime
    to_at: datetime
    method: str
    tariff_version_id: int | None
    corrects_bill_id: int | None
    adjustment_id: int | None


@dataclass(frozen=True, slots=True)
class BillShare:
    """What of a bill falls to one who lived there, by the name of then."""

    party_id: int
    party: str | None
    name: str
    cellphone: str
    weight: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A correction of a bill.

    :ivar open_amount: not on a bill yet
    :ivar manual: a person's decision; else a difference that was found
    :ivar cancelled: what it corrected is void and was made again: it goes on no bill any more
    """

    id: int
    project_id: str
    service_point: str
    corrects_bill_id: int
    kind: AdjustmentKind
    quantity: Decimal
    amount: Decimal
    open_amount: Decimal
    reason: str
    detail: Mapping[str, Any]
    manual: bool
    cancelled: bool
    actor: str | None
    cutoff: datetime
    first_bill_id: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What somebody did with a bill."""

    action: str
    actor: str | None
    detail: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class BillDetail:
    """A bill with its parts."""

    bill: BillRecord
    quantities: Sequence[Quantity]
    lines: Sequence[BillLine]
    shares: Sequence[BillShare]
    adjustments: Sequence[Adjustment]
    audit: Sequence[AuditEntry] = field(default=())

    @property
    def tariff_version_ids(self) -> list[int]:
        return sorted({line.tariff_version_id for line in self.lines if line.tariff_version_id is not None})

    @property
    def reading_ids(self) -> list[int]:
        """The readings at and before the ends of what was measured."""
        ends = [id_ for one in self.quantities for id_ in (one.opening_reading_id, one.closing_reading_id)]
        return sorted({id_ for id_ in ends if id_ is not None})


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A billing run, with the task it is of."""

    id: int
    definition_id: int
    natrual_key: str
    task: str
    project_id: str
    commodity: Commodity
    due_at: datetime
    period_to: datetime
    cutoff: datetime
    origin: Literal["scheduled", "manual"]
    state: RunState
    airflow_run: str | None
    billed: int
    adjusted: int
    parked: int
    total: Decimal
    reason: str | None
    started_at: datetime
    finished_at: datetime | None


def read_bill_ref(text: str) -> BillRef:
    """Return the bill that a text names. Raises ValueError."""
    read = read_bill_key(text)
    if read is not None:
        return BillRef(text, read[1], read[0])
    if _NUMBER.fullmatch(text) is None or int(text) >= _BIGINT:
        raise ValueError("must be the key of a bill, 24 hexadecimal digits, or its number")
    return BillRef(text, int(text))


def mask_phone(text: str) -> str:
    """Hide the middle of a telephone number: `138****0001`; of a short one all but the last two."""
    if len(text) > _SEEN_AT_FRONT + _SEEN_AT_END:
        hidden = len(text) - _SEEN_AT_FRONT - _SEEN_AT_END
        return f"{text[:_SEEN_AT_FRONT]}{'*' * hidden}{text[-_SEEN_AT_END:]}"
    return "*" * (len(text) - 2) + text[-2:] if len(text) > 2 else "*" * len(text)
