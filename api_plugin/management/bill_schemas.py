"""Bills on the wire of the own API. Amounts have two decimals, quantities all they have; both are strings."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
)

from api_plugin.management.ledger_routes import Moment
from api_plugin.management.metering_schemas import Number
from api_plugin.management.schemas import Answer
from include.billing.model import Commodity, Kind, Method
from include.billing.rerating import Difference
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
from include.bills.rerates import Preview, Rerated
from include.metering.rows import check_key
from include.readings.corrections import REASON_LONGEST

BILLS_MOST, POINTS_MOST = 100, 10_000
_64_BITS = 2**64


def _two_decimals(amount: Decimal) -> str:
    return f"{amount:.2f}"


def _sixteen_digits(value: Any) -> Any:
    """Write a stored hash, a signed number, as it is compared."""
    return f"{value % _64_BITS:016x}" if isinstance(value, int) else value


def _amount(given: Any) -> Any:
    if isinstance(given, bool | float):
        raise ValueError("must be a string or a whole number: a float does not keep cents")
    return given


def _not_blank(text: str) -> str:
    if not text.strip() or "\x00" in text:
        raise ValueError(f"must have 1 to {REASON_LONGEST} characters")
    text.encode()
    return text


def _not_nothing(amount: Decimal) -> Decimal:
    if not amount:
        raise ValueError("must not be 0")
    return amount


Money = Annotated[Decimal, PlainSerializer(_two_decimals, return_type=str)]
Reason = Annotated[str, Field(min_length=1, max_length=REASON_LONGEST), AfterValidator(_not_blank)]
GivenMoney = Annotated[
    Decimal,
    BeforeValidator(_amount, json_schema_input_type=str | int),
    Field(max_digits=12, decimal_places=2),
    AfterValidator(_not_nothing),
]
GivenQuantity = Annotated[
    Decimal,
    BeforeValidator(_amount, json_schema_input_type=str | int),
    Field(max_digits=18, decimal_places=6),
]
PointKey = Annotated[str, AfterValidator(check_key)]
PointKeys = Annotated[
    list[PointKey], Field(min_length=1, max_length=POINTS_MOST, description="keys; without them all")
]


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
    first_bill_id: int | None = Field(description="the bill whose count of the year has its quantity")
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
    year_quantity: Number = Field(description="counted for tiers by the year at its end")
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


class ReasonFields(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


class AdjustmentFields(BaseModel):
    """A correction that somebody decides on; it goes on the next bill."""

    model_config = ConfigDict(extra="forbid")

    amount: GivenMoney = Field(description="below 0 a credit, above a debit")
    quantity: GivenQuantity = Field(Decimal(0), description="counted for tiers by the year")
    reason: Reason


class PreviewFields(BaseModel):
    """What would be billed."""

    model_config = ConfigDict(extra="forbid")

    commodity: Commodity
    at: Moment = Field(description="an instant of the billing, ISO 8601 with an offset")
    service_points: PointKeys | None = None
    task: str | None = Field(None, description="natrual_key of the billing task whose crontab counts")
    limit: int = Field(10, ge=0, le=BILLS_MOST, description="most bills to show")


class PreviewLine(Answer):
    """A line of a bill that was not made."""

    kind: str
    label: str
    tier: int | None
    quantity: Number
    rate: Number
    amount: Money
    included: bool
    from_at: AwareDatetime
    to_at: AwareDatetime
    method: str
    tariff_version_id: int | None


class PreviewedBill(Answer):
    """A bill that was not made."""

    service_point: str
    device_id: str
    period_from: AwareDatetime
    period_to: AwareDatetime
    quantity: Number
    unit: str
    opening: Number | None
    closing: Number | None
    charge: Money
    flags: list[Flag]
    lines: list[PreviewLine]


class PreviewResponse(Answer):
    """What a run would do now."""

    period_to: AwareDatetime
    billed: int
    adjusted: int = Field(description="earlier bills that would be corrected")
    parked: int
    parked_by_kind: dict[str, int]
    total: Money
    bills: list[PreviewedBill]


class RerateResponse(Answer):
    """A bill as it was made and as it would be now."""

    key: str
    id: int
    cutoff: AwareDatetime = Field(description="what was recorded up to now")
    quantity_billed: Number
    quantity_now: Number
    charge_billed: Money = Field(description="without corrections of earlier bills")
    charge_now: Money
    quantity_adjusted: Number = Field(description="what differences that were found corrected already")
    amount_adjusted: Money
    quantity_difference: Number = Field(description="what is still to be corrected")
    amount_difference: Money
    lines_billed: list[PreviewLine]
    lines_now: list[PreviewLine]


class RerateFields(BaseModel):
    """Which bills are looked at again: those that end after `from`, and at `to` or before."""

    model_config = ConfigDict(extra="forbid")

    ends_after: Moment = Field(alias="from", description="exclusive, ISO 8601 with an offset")
    ends_by: Moment = Field(alias="to", description="inclusive")
    commodity: Commodity | None = None
    service_points: PointKeys | None = None
    commit: bool = Field(False, description="write the differences as adjustments")
    reason: Reason | None = Field(None, description="for the audit")
    cursor: str | None = Field(None, max_length=200, description="`next` of the call before")
    limit: int = Field(BILLS_MOST, ge=0, le=1000, description="most differences to show")


class DifferenceItem(Answer):
    """A bill that would be another one now."""

    key: str
    id: int
    service_point: str
    period_from: AwareDatetime
    period_to: AwareDatetime
    quantity_billed: Number
    quantity_now: Number
    charge_billed: Money
    charge_now: Money
    quantity_difference: Number
    amount_difference: Money


class RangeResponse(Answer):
    """What re-rating found."""

    cutoff: AwareDatetime
    service_points: int
    bills: int = Field(description="that were looked at")
    unpriced: int = Field(description="of those, what cannot be priced with what is known now")
    changed: int
    quantity_difference: Number
    amount_difference: Money
    committed: bool
    items: list[DifferenceItem]
    next: str | None = Field(description="there are more service points: give it as `cursor`")


class CreatedAdjustment(Answer):
    """The adjustment that was made."""

    id: int


def bill_of(bill: BillRecord) -> BillResponse:
    """Return what lists show of a bill."""
    return BillResponse.model_validate(bill)


def preview_of(preview: Preview) -> PreviewResponse:
    """Return what is shown of a dry run."""
    names = (name for name in PreviewResponse.model_fields if name != "bills")
    return PreviewResponse(
        **{name: getattr(preview, name) for name in names},
        bills=[_previewed(one) for one in preview.bills],
    )


def _previewed(detail: BillDetail) -> PreviewedBill:
    names = (name for name in PreviewedBill.model_fields if name != "lines")
    return PreviewedBill(
        **{name: getattr(detail.bill, name) for name in names},
        lines=[PreviewLine.model_validate(line) for line in detail.lines],
    )


def rerated_of(rerated: Rerated) -> RerateResponse:
    """Return what is shown of a bill that was looked at again."""
    found = rerated.difference
    return RerateResponse(
        key=rerated.bill.key,
        id=rerated.bill.id,
        cutoff=rerated.cutoff,
        quantity_billed=found.bill.quantity,
        quantity_now=found.priced.quantity,
        charge_billed=found.bill.own_charge,
        charge_now=found.priced.charge,
        quantity_adjusted=found.bill.adjusted_quantity,
        amount_adjusted=found.bill.adjusted_amount,
        quantity_difference=found.quantity,
        amount_difference=found.amount,
        lines_billed=[PreviewLine.model_validate(line) for line in rerated.lines],
        lines_now=[PreviewLine.model_validate(line) for line in found.priced.lines],
    )


def difference_of(bill: BillRecord, found: Difference) -> DifferenceItem:
    """Return what a list shows of a bill that would be another one now."""
    return DifferenceItem(
        key=bill.key,
        id=bill.id,
        service_point=bill.service_point,
        period_from=bill.period_from,
        period_to=bill.period_to,
        quantity_billed=found.bill.quantity,
        quantity_now=found.priced.quantity,
        charge_billed=found.bill.own_charge,
        charge_now=found.priced.charge,
        quantity_difference=found.quantity,
        amount_difference=found.amount,
    )


def _columns(bill: BillRecord) -> dict[str, Any]:
    names = (name for name in BillDetailResponse.model_fields if hasattr(bill, name))
    return {name: getattr(bill, name) for name in names}
