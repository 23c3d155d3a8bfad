"""Metering master data on the wire. What is sent is in `include/metering/rows.py`, as files have it, too.

Quantities are strings, so that nobody's floating point rounds them.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from api_plugin.management.schemas import Answer
from include.billing.model import Commodity, Kind, ProjectRules
from include.metering.model import ROWS_MOST
from include.metering.rows import Row

Item = TypeVar("Item", bound=Row)


def _plain(number: Decimal) -> str:
    """Return a number without trailing zeros."""
    return f"{number.normalize():f}"


def _not_too_many(items: Any) -> Any:
    if isinstance(items, list) and len(items) > ROWS_MOST:
        raise ValueError(f"must have at most {ROWS_MOST:,} items, not {len(items):,}")
    return items


Number = Annotated[Decimal, PlainSerializer(_plain, return_type=str)]


class Bulk(BaseModel, Generic[Item]):
    """Many at once: all of them are stored, or none."""

    model_config = ConfigDict(extra="forbid")

    items: Annotated[list[Item], BeforeValidator(_not_too_many)] = Field(description=f"at most {ROWS_MOST:,}")


class BulkResponse(Answer):
    """What became of the items; those that say what is stored already are unchanged."""

    created: int
    updated: int
    unchanged: int


class RulesBody(BaseModel):
    """How a project is billed. What is left out has its default."""

    model_config = ConfigDict(extra="forbid")

    timezone: str = Field(max_length=64, description="IANA name")
    reading_mode: Literal["quantity", "register", "remaining"] = Field(
        "quantity",
        description="what `reading_data` of bills shows; `remaining`: meters count down what was bought",
    )
    cut: Literal["instant", "midnight"] = Field("instant", description="where a period ends")
    month_end: Literal["clamp", "skip"] = Field("clamp", description="days 29 to 31 in shorter months")
    boundary_tolerance_seconds: int = Field(
        7200, ge=0, le=31 * 86_400, description="a reading at most that old counts as one at the boundary"
    )
    estimates_in_a_row: int = Field(3, ge=0, le=120, description="bills that may end at an estimate")
    plausibility_factor: Decimal = Field(
        Decimal(3), gt=0, max_digits=9, decimal_places=3, description="times the average a counter may jump"
    )
    share_key: Literal["equal", "persons", "weight"] = Field(
        "weight", description="how residents share a bill"
    )
    grace_days: int = Field(0, ge=0, le=366, description="days that bills stay drafts")

    def rules(self) -> ProjectRules:
        """Return them as the product knows them."""
        values = self.model_dump(exclude={"boundary_tolerance_seconds"})
        return ProjectRules(**values, boundary_tolerance=timedelta(seconds=self.boundary_tolerance_seconds))


class RulesResponse(Answer):
    """How a project is billed."""

    timezone: str
    reading_mode: str
    cut: str
    month_end: str
    boundary_tolerance_seconds: int
    estimates_in_a_row: int
    plausibility_factor: Number
    share_key: str
    grace_days: int

    @classmethod
    def of(cls, rules: ProjectRules) -> RulesResponse:
        """Return what is shown of them."""
        seconds = int(rules.boundary_tolerance.total_seconds())
        shown = {name: getattr(rules, name) for name in cls.model_fields if hasattr(rules, name)}
        return cls(**shown, boundary_tolerance_seconds=seconds)


class PremiseResponse(Answer):
    """Where service points are."""

    key: str
    address: list[str] = Field(description='five parts, "" for missing ones')
    area: Number | None = Field(description="square metres")


class UsageClassResponse(Answer):
    """What service points of a class use a day, where nothing better is known."""

    key: str
    daily_quantity: Number


class ServicePointResponse(Answer):
    """Where a commodity is delivered; what is billed."""

    key: str
    premise: str
    commodity: Commodity
    subtype: str | None
    usage_class: str | None
    device_id: str | None = Field(description="of the meter that is there")


class RegisterResponse(Answer):
    """A counter of a meter."""

    kind: Kind
    unit: str
    multiplier: Number = Field(description="what one unit of the display stands for")
    modulus: Number | None = Field(description="where it shows 0 again; null: it never does")


class MeterResponse(Answer):
    """A device with registers."""

    device_id: str
    commodity: Commodity
    service_point: str | None = Field(description="where it is")
    registers: list[RegisterResponse]


class InstallationResponse(Answer):
    """A stay of a meter at a service point, with its displays at both ends, corrections included."""

    id: int
    service_point: str
    device_id: str
    installed_at: AwareDatetime
    removed_at: AwareDatetime | None
    initial_readings: dict[Kind, Number]
    final_readings: dict[Kind, Number]


class ReplacementResponse(Answer):
    """The meter that left and the one that came."""

    removed: InstallationResponse
    installed: InstallationResponse


class PartyResponse(Answer):
    """Somebody who may live at service points."""

    key: str
    name: str
    cellphone: str


class OccupancyResponse(Answer):
    """A party lives at a service point."""

    id: int
    service_point: str
    party: str
    name: str
    moved_in_at: AwareDatetime
    moved_out_at: AwareDatetime | None
    persons: int
    weight: Number = Field(description="for shares")


class HouseholdResponse(Answer):
    """A stretch within which the occupants stay the same."""

    valid_from: AwareDatetime
    valid_to: AwareDatetime | None
    persons: int
    since: AwareDatetime = Field(description="when the first of this generation of occupants moved in")


class HouseholdsResponse(Answer):
    """All households of a service point, the first one first."""

    items: list[HouseholdResponse]
