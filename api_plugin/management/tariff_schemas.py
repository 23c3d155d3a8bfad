"""Tariffs on the wire. What is sent is in `include/tariffs/model.py`; a version reads as it was sent."""

from __future__ import annotations

from datetime import date, tzinfo
from typing import Literal

from pydantic import AwareDatetime, ConfigDict, Field

from api_plugin.management.metering_schemas import Number
from api_plugin.management.schemas import Answer
from include.billing.model import Commodity, TariffVersion
from include.tariffs.model import Applied, Assignment, Source, TouKind
from include.tariffs.windows import write_minute, write_month_day


class TariffResponse(Answer):
    """A tariff."""

    key: str
    name: str
    commodity: Commodity
    currency: str
    versions: int = Field(description="how many it has")


class TierResponse(Answer):
    """A step; of the last one upper_limit is null."""

    upper_limit: Number | None
    price: Number
    persons_step: Number
    kind_prices: dict[TouKind, Number]


class WindowResponse(Answer):
    """A time-of-use window, local and half-open."""

    season_from: str
    season_to: str
    day_type: Literal["any", "weekday", "holiday"]
    start: str
    end: str
    kind: TouKind


class FixedChargeResponse(Answer):
    """An amount a day or a period."""

    name: str
    basis: Literal["DAY", "PERIOD"]
    amount: Number


class TaxResponse(Answer):
    """The tax on a category of lines."""

    category: Literal["ENERGY", "FIXED", "MINIMUM"]
    rate: Number
    inclusive: bool


class VersionResponse(Answer):
    """What a tariff says from a local date on."""

    id: int
    effective_from: date
    frame: Literal["MONTH", "YEAR", "PERIOD"]
    mode: Literal["ADDER", "ABSOLUTE"]
    on_occupant_change: Literal["RESET", "CONTINUE"]
    energy_price: Number
    persons_base: int
    minimum_charge: Number
    tiers: list[TierResponse]
    tou_prices: dict[TouKind, Number]
    tou_windows: list[WindowResponse]
    holidays: list[date]
    weekend_is_holiday: bool
    fixed_charges: list[FixedChargeResponse]
    tax_rules: list[TaxResponse]

    @classmethod
    def of(cls, version: TariffVersion, zone: tzinfo) -> VersionResponse:
        """Return what is shown of a version of a project in this zone."""
        shown = {name: getattr(version, name) for name in cls.model_fields if hasattr(version, name)}
        return cls.model_validate(
            {
                **shown,
                "effective_from": version.effective_from.astimezone(zone).date(),
                "holidays": sorted(version.holidays),
                "tou_windows": [
                    {
                        "season_from": write_month_day(window.season_from),
                        "season_to": write_month_day(window.season_to),
                        "day_type": window.day_type,
                        "start": write_minute(window.start_minute),
                        "end": write_minute(window.end_minute),
                        "kind": window.kind,
                    }
                    for window in version.tou_windows
                ],
            }
        )


class VersionsResponse(Answer):
    """All versions of a tariff, the earliest first."""

    items: list[VersionResponse]


class AssignmentResponse(Answer):
    """Which tariff holds in a span of local dates."""

    model_config = ConfigDict(from_attributes=True, serialize_by_alias=True, validate_by_name=True)

    id: int
    tariff: str
    service_point: str | None
    commodity: Commodity
    subtype: str | None
    valid_from: date = Field(alias="from")
    valid_to: date | None = Field(alias="to")

    @classmethod
    def of(cls, assignment: Assignment, zone: tzinfo) -> AssignmentResponse:
        """Return what is shown of an assignment of a project in this zone."""
        end = assignment.valid_to
        return cls(
            id=assignment.id,
            tariff=assignment.tariff,
            service_point=assignment.service_point,
            commodity=assignment.commodity,
            subtype=assignment.subtype,
            valid_from=assignment.valid_from.astimezone(zone).date(),
            valid_to=end and end.astimezone(zone).date(),
        )


class AppliedResponse(Answer):
    """The tariff version that holds at a service point at a moment."""

    at: AwareDatetime
    tariff: str
    assignment_id: int
    source: Source = Field(
        description="an assignment of its own, the default of its subtype, or the default of all others"
    )
    version: VersionResponse

    @classmethod
    def make(cls, at: AwareDatetime, found: Applied, version: VersionResponse) -> AppliedResponse:
        return cls(
            at=at,
            tariff=found.tariff,
            assignment_id=found.assignment_id,
            source=found.source,
            version=version,
        )
