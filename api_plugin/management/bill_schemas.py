"""Bills on the wire of the own API. Amounts have two decimals, quantities all they have; both are strings."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    Field,
    PlainSerializer,
)

from api_plugin.management.metering_schemas import Number
from api_plugin.management.schemas import Answer
from include.billing.model import Commodity, Kind, Method
from include.bills.records import (
    AdjustmentKind,
    BillDetail,
    BillRecord,
    BillShare,
    Flag,
    RunState,
    State,
    mask_phone,
)

_64_BITS = 2**64


def _two_decimals(amount: Decimal) -> str:
    return f"{amount:.2f}"


def _sixteen_digits(value: Any) -> Any:
    """Write a stored hash, a signed number, as it is compared."""
    return f"{value % _64_BITS:016x}" if isinstance(value, int) else value


Money = Annotated[Decimal, PlainSerializer(_two_decimals, return_type=str)]


class BillResponse(Answer):
    """A bill of `[period_from, period_to)`."""

    key: str = Field(description="as document 000 names it")
    id: int = Field(description="its number; paths take either")
    project_id: str
    service_point: str
    run_id: int | None
    device_id: str = Field(description="of the meter in place at the end of the period")
    commodity: Commodity
    subtype: str | None
    address: list[str]
    state: State
    period_from: AwareDatetime
    period_to: AwareDatetime
    months: Number
    coverage: Number = Field(description="its length in periods of the crontab")
    previous_quantity: Number
    quantity: Number
    unit: str
    opening: Number | None = Field(description="of the register TOTAL, as displayed")
    closing: Number | None
    charge: Money
    energy: Money = Field(description="of the charge what energy and tiers come to; so are the next four")
    fixed: Money
    minimum: Money
    tax: Money = Field(description="without what the prices contain already")
    corrections: Money = Field(description="of earlier bills")
    flags: list[Flag]
    original_bill_id: int | None = Field(description="the void bill that it stands for")
    replaced_by_id: int | None = Field(description="of a void bill: the one that stands for it")
    created_at: AwareDatetime


class QuantityResponse(Answer):
    """What a register counted in a stretch with one meter and one tariff version."""

    register_id: int
    kind: Kind
    from_at: AwareDatetime
    to_at: AwareDatetime
    opening: Number = Field(description="of the counter, its turns included")
    closing: Number
    quantity: Number
    opening_method: Method
    closing_method: Method
    opening_reading_id: int | None = Field(description="the last reading at or before that end")
    closing_reading_id: int | None


class LineResponse(Answer):
    """A line; amount is quantity times rate, or a correction."""

    kind: Literal["ENERGY", "TIER", "FIXED", "MINIMUM", "TAX", "TRUE_UP", "ADJUSTMENT"]
    label: str
    tier: int | None
    quantity: Number
    rate: Number
    amount: Money
    included: bool = Field(description="a tax that the prices contain: not in the sum")
    from_at: AwareDatetime
    to_at: AwareDatetime
    method: str
    tariff_version_id: int | None
    corrects_bill_id: int | None
    adjustment_id: int | None


class ShareResponse(Answer):
    """What of a bill falls to somebody who lived there."""

    party: str | None = Field(description="key")
    name: str
    cellphone: str = Field(description="its middle hidden, unless asked for with `unmask`")
    weight: Number
    amount: Money

    @classmethod
    def of(cls, share: BillShare, *, unmask: bool) -> ShareResponse:
        """Return what is shown of a share."""
        shown = share.cellphone if unmask else mask_phone(share.cellphone)
        return cls(
            party=share.party, name=share.name, cellphone=shown, weight=share.weight, amount=share.amount
        )


class SharesResponse(Answer):
    """The shares of a bill; they add up to its charge."""

    key: str
    id: int
    charge: Money
    items: list[ShareResponse]


class AdjustmentResponse(Answer):
    """A correction of a bill, carried by a later one."""

    id: int
    project_id: str
    service_point: str
    corrects_bill_id: int
    kind: AdjustmentKind
    quantity: Number
    amount: Money
    open_amount: Money = Field(description="not on a bill yet")
    first_bill_id: int | None = Field(description="the first bill that carries something of it")
    manual: bool = Field(description="a person's decision; else a difference that was found")
    cancelled: bool = Field(description="the bill was made again: it goes on no bill any more")
    reason: str
    detail: dict[str, Any] = Field(description="of a difference: what was billed, and the lines as of then")
    actor: str | None
    cutoff: AwareDatetime
    created_at: AwareDatetime


class AuditResponse(Answer):
    """What somebody did with a bill."""

    action: str
    actor: str | None
    detail: dict[str, Any]
    at: AwareDatetime


class BillDetailResponse(BillResponse):
    """A bill with all that belongs to it."""

    rounding_delta: Number = Field(description="charge minus the sum of the unrounded lines")
    year_quantity: Number | None = Field(
        description="what the year counted at its end; null: its tariff does not count by the year"
    )
    estimates_in_a_row: int
    cutoff: AwareDatetime = Field(description="readings recorded later are not in it")
    input_hash: Annotated[str, BeforeValidator(_sixteen_digits)] = Field(
        description="the same for the same readings, tariff and households"
    )
    engine_version: int
    tariff_version_ids: list[int]
    reading_ids: list[int]
    quantities: list[QuantityResponse]
    lines: list[LineResponse]
    shares: list[ShareResponse]
    adjustments: list[AdjustmentResponse] = Field(description="those that correct this bill")
    audit: list[AuditResponse]

    @classmethod
    def of(cls, detail: BillDetail, *, unmask: bool) -> BillDetailResponse:
        """Return what is shown of a bill."""
        return cls(
            **_columns(detail.bill),
            tariff_version_ids=detail.tariff_version_ids,
            reading_ids=detail.reading_ids,
            quantities=[QuantityResponse.model_validate(one) for one in detail.quantities],
            lines=[LineResponse.model_validate(one) for one in detail.lines],
            shares=[ShareResponse.of(one, unmask=unmask) for one in detail.shares],
            adjustments=[AdjustmentResponse.model_validate(one) for one in detail.adjustments],
            audit=[AuditResponse.model_validate(one) for one in detail.audit],
        )


class ExplainedResponse(Answer):
    """How a bill came about, in words."""

    key: str
    id: int
    sentences: list[str]
    text: str = Field(description="the same, a sentence a line")


class RunResponse(Answer):
    """A billing run."""

    id: int
    definition_id: int
    natrual_key: str = Field(description="of the billing task, as document 000 spells it")
    task: str
    project_id: str
    commodity: Commodity
    due_at: AwareDatetime
    period_to: AwareDatetime
    cutoff: AwareDatetime
    origin: Literal["scheduled", "manual"]
    state: RunState
    airflow_run: str | None
    billed: int
    adjusted: int
    parked: int
    total: Money
    reason: str | None
    started_at: AwareDatetime
    finished_at: AwareDatetime | None


def bill_of(bill: BillRecord) -> BillResponse:
    """Return what lists show of a bill."""
    return BillResponse.model_validate(bill)


def _columns(bill: BillRecord) -> dict[str, Any]:
    names = (name for name in BillDetailResponse.model_fields if hasattr(bill, name))
    return {name: getattr(bill, name) for name in names}
