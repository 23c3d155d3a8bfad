"""What is asked of bills and answered, where it changes money or says what would."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from api_plugin.management.bill_schemas import Money
from api_plugin.management.ledger_routes import Moment
from api_plugin.management.metering_schemas import Number
from api_plugin.management.schemas import Answer
from include.billing.model import Commodity
from include.billing.rerating import Difference
from include.bills.records import BillDetail, BillRecord, Flag
from include.bills.rerates import POINTS_MOST, Preview, Rerated
from include.metering.rows import check_key
from include.readings.corrections import REASON_LONGEST

BILLS_MOST = 100


def _number(given: Any) -> Any:
    if isinstance(given, bool):
        raise ValueError("must be a number or a string that spells one")
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


Reason = Annotated[str, Field(min_length=1, max_length=REASON_LONGEST), AfterValidator(_not_blank)]
GivenMoney = Annotated[
    Decimal,
    BeforeValidator(_number, json_schema_input_type=str | float),
    Field(max_digits=12, decimal_places=2),
    AfterValidator(_not_nothing),
]
GivenQuantity = Annotated[
    Decimal,
    BeforeValidator(_number, json_schema_input_type=str | float),
    Field(max_digits=18, decimal_places=6),
]
PointKey = Annotated[str, AfterValidator(check_key)]
PointKeys = Annotated[
    list[PointKey], Field(min_length=1, max_length=POINTS_MOST, description="keys; without them all")
]


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
    task: str | None = Field(
        None, pattern="^[0-9a-f]{32}$", description="natrual_key of the billing task whose crontab counts"
    )
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
        quantity_adjusted=found.bill.found_quantity,
        amount_adjusted=found.bill.found_amount,
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
