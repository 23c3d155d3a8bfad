"""What a client says about premises, meters and people: the rows that REST bodies and import files share.

They check what can be seen in the row itself, so that a wrong cell of a spreadsheet and a wrong field of a
request are refused by the same rule and in the same words. `…Fields` is a body whose key is in the path;
`…Row` is the same with its key, one of many.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from include.billing.model import Commodity, Kind

KEY_LONGEST, TEXT_LONGEST, PROJECT_LONGEST = 128, 200, 64
ADDRESS_PARTS = 5
PERSONS_MOST = 100_000

#: 10^12 would not fit the column: numeric(18, 6).
DIGITS_MOST = 11

#: Where a meter's unit is not told.
UNITS: Mapping[Commodity, str] = {"water": "m3", "electricity": "kWh"}

_EARLIEST, _LATEST = datetime(1900, 1, 2, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def check_key(text: str) -> str:
    """Return a client's key: what can stand in one segment of a path. Raises ValueError."""
    usable = 1 <= len(text) <= KEY_LONGEST and text.isprintable() and text == text.strip()
    if not usable or "/" in text or text in (".", ".."):
        raise ValueError(
            f"must have 1 to {KEY_LONGEST} printable characters, none of them /, no blank at its ends"
        )
    return text


def check_project(text: str) -> str:
    """Return a project id. Raises ValueError."""
    if not 1 <= len(text) <= PROJECT_LONGEST or not text.isprintable():
        raise ValueError(f"must have 1 to {PROJECT_LONGEST} printable characters")
    return text


def _check_text(text: str) -> str:
    text = text.strip()
    if len(text) > TEXT_LONGEST:
        raise ValueError(f"must have at most {TEXT_LONGEST} characters")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise ValueError("must not contain control characters")
    return text


def _check_filled(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


def _check_moment(moment: datetime) -> datetime:
    if not _EARLIEST <= moment <= _LATEST:
        raise ValueError("must lie between the years 1900 and 9000")
    return moment.astimezone(UTC)


def _address(parts: object) -> object:
    """Return the five parts, "" for those that are missing at the end."""
    if isinstance(parts, (list, tuple)):
        if not 1 <= len(parts) <= ADDRESS_PARTS:
            raise ValueError(f"must be a list of 1 to {ADDRESS_PARTS} texts")
        return [*parts, *[""] * (ADDRESS_PARTS - len(parts))]
    return parts


def _no_truth(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Key = Annotated[str, AfterValidator(check_key)]
Text = Annotated[str, AfterValidator(_check_text)]
FilledText = Annotated[Text, AfterValidator(_check_filled)]
Moment = Annotated[AwareDatetime, AfterValidator(_check_moment)]
Address = Annotated[
    list[Text], BeforeValidator(_address), Field(description='five parts, "" for missing ones')
]
Displayed = Annotated[
    Decimal,
    BeforeValidator(_no_truth),
    Field(ge=0, max_digits=18, decimal_places=6, description="as the register displays it"),
]
Positive = Annotated[Decimal, BeforeValidator(_no_truth), Field(gt=0, max_digits=18, decimal_places=6)]
Multiplier = Annotated[
    Decimal,
    BeforeValidator(_no_truth),
    Field(gt=0, max_digits=12, decimal_places=6, description="what one unit of the display stands for"),
]
Modulus = Annotated[
    Decimal,
    BeforeValidator(_no_truth),
    Field(
        gt=0,
        max_digits=18,
        decimal_places=6,
        description="where the register shows 0 again, its largest value and one more:"
        " 100000 for five digits; null: it never does",
    ),
]
Digits = Annotated[
    int,
    BeforeValidator(_no_truth),
    Field(ge=1, le=DIGITS_MOST, description="shorthand for modulus: digits before the point"),
]
Persons = Annotated[int, BeforeValidator(_no_truth), Field(ge=0, le=PERSONS_MOST)]
Weight = Annotated[
    Decimal,
    BeforeValidator(_no_truth),
    Field(ge=0, max_digits=12, decimal_places=6, description="for shares"),
]
RegisterReadings = Annotated[
    dict[Kind, Displayed], Field(min_length=1, description="by kind of register, every register of the meter")
]


class Row(BaseModel):
    """One thing as a client tells it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PremiseFields(Row):
    """Where service points are."""

    address: Address
    area: Positive | None = Field(None, description="square metres")


class PremiseRow(PremiseFields):
    key: Key


class UsageClassFields(Row):
    """What service points of a class use a day, where nothing better is known."""

    daily_quantity: Displayed = Field(description="in units of the bill")


class UsageClassRow(UsageClassFields):
    key: Key


class ServicePointFields(Row):
    """Where a commodity is delivered; what is billed."""

    premise: Key = Field(description="key of the premise")
    commodity: Commodity
    subtype: FilledText | None = Field(None, description="of water: 自来水表, 纯净水表")
    usage_class: Key | None = Field(None, description="key of the usage class")


class PointRow(ServicePointFields):
    key: Key


class RegisterRow(Row):
    """A counter of a meter."""

    kind: Kind = "TOTAL"
    unit: FilledText | None = Field(None, description="by default m3 of water, kWh of electricity")
    multiplier: Multiplier = Decimal(1)
    modulus: Modulus | None = None
    digits: Digits | None = None

    @model_validator(mode="after")
    def _one_modulus(self) -> RegisterRow:
        if self.modulus is not None and self.digits is not None:
            raise ValueError("give modulus or digits, not both")
        return self

    @property
    def turns_at(self) -> Decimal | None:
        """Where it shows 0 again."""
        return Decimal(10**self.digits) if self.digits else self.modulus


class MeterFields(Row):
    """A device with registers."""

    commodity: Commodity
    registers: list[RegisterRow] = Field([RegisterRow()], min_length=1, validate_default=True)

    @field_validator("registers")
    @classmethod
    def _kinds_once(cls, registers: list[RegisterRow]) -> list[RegisterRow]:
        kinds = [register.kind for register in registers]
        twice = next((kind for kind in kinds if kinds.count(kind) > 1), None)
        if twice:
            raise ValueError(f"{twice} stands twice")
        return registers


class MeterRow(MeterFields):
    device_id: Key


class InstallFields(Row):
    """A meter comes to a service point."""

    device_id: Key
    installed_at: Moment
    readings: RegisterReadings


class InstallRow(InstallFields):
    service_point: Key


class RemoveFields(Row):
    """The meter leaves."""

    removed_at: Moment
    readings: RegisterReadings


class ReplaceFields(Row):
    """Another meter takes the place of the one that is there."""

    replaced_at: Moment
    final_readings: RegisterReadings = Field(description="of the meter that leaves")
    device_id: Key = Field(description="of the meter that comes")
    initial_readings: RegisterReadings = Field(description="of the meter that comes")


class PartyFields(Row):
    """Somebody who may live at service points."""

    name: FilledText
    cellphone: Text = ""


class PartyRow(PartyFields):
    key: Key


class OccupancyFields(Row):
    """A party lives at a service point."""

    party: Key
    moved_in_at: Moment
    moved_out_at: Moment | None = None
    persons: Persons = 1
    weight: Weight = Decimal(1)

    @model_validator(mode="after")
    def _span(self) -> OccupancyFields:
        if self.moved_out_at is not None and self.moved_out_at <= self.moved_in_at:
            raise ValueError("moved_out_at must be after moved_in_at")
        return self


class OccupancyRow(OccupancyFields):
    service_point: Key


class MoveOutFields(Row):
    """A party leaves."""

    party: Key
    moved_out_at: Moment


class ServicePointRow(Row):
    """A service point with its premise, meter and resident in one row, as a spreadsheet has it.

    What is left out is not touched: without `device_id` no meter, without `name` and `party` no resident.
    """

    key: Key
    commodity: Commodity
    subtype: FilledText | None = None
    usage_class: Key | None = None
    premise: Key | None = Field(None, description="by default that of the same key as the service point")
    address: Address | None = Field(None, description="makes or changes the premise")
    area: Positive | None = None
    device_id: Key | None = Field(None, description="makes the meter where there is none")
    register_kind: Kind = Field("TOTAL", alias="register")
    unit: FilledText | None = None
    multiplier: Multiplier | None = None
    modulus: Modulus | None = None
    digits: Digits | None = None
    installed_at: Moment | None = None
    initial_reading: Displayed | None = None
    party: Key | None = Field(None, description="by default that of the same key as the service point")
    name: FilledText | None = Field(None, description="makes or changes the resident")
    cellphone: Text | None = None
    moved_in_at: Moment | None = Field(None, description="by default installed_at")
    persons: Persons = 1
    weight: Weight = Decimal(1)

    @model_validator(mode="after")
    def _whole(self) -> ServicePointRow:
        if self.modulus is not None and self.digits is not None:
            raise ValueError("give modulus or digits, not both")
        if self.area is not None and self.address is None:
            raise ValueError("area needs an address")
        parts = [self.device_id, self.installed_at, self.initial_reading]
        if any(part is not None for part in parts) and any(part is None for part in parts):
            raise ValueError("device_id, installed_at and initial_reading go together")
        if self.cellphone and self.name is None:
            raise ValueError("cellphone needs a name")
        if self.resident and (self.moved_in_at or self.installed_at) is None:
            raise ValueError("a resident needs moved_in_at or installed_at")
        return self

    @property
    def premise_key(self) -> str:
        return self.premise or self.key

    @property
    def resident(self) -> str | None:
        """The key of the party that lives there."""
        return self.party or (self.key if self.name else None)

    @property
    def turns_at(self) -> Decimal | None:
        return Decimal(10**self.digits) if self.digits else self.modulus
