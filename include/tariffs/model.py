"""What a client says of tariffs: fields that can be checked one by one, and what must hold between them.

`…Fields` are bodies of requests. `version_problems` finds what a version contradicts itself in, each with the
path of the field, such as `tiers.2.upper_limit`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from include.billing.model import (
    KINDS,
    ZERO,
    Commodity,
    FixedCharge,
    Kind,
    TariffVersion,
    TaxRule,
    Tier,
    TouWindow,
)
from include.errors import RowProblem
from include.tariffs.windows import minute_of_day, month_day, window_problems, write_minute, write_month_day

TouKind = Literal["TIP", "PEAK", "FLAT", "VALLEY", "DEEP"]
Source = Literal["own", "subtype", "default"]

TEXT_LONGEST = 200
TIERS_MOST, WINDOWS_MOST, HOLIDAYS_MOST, CHARGES_MOST = 20, 400, 2000, 20


def _number(given: Any) -> Any:
    if isinstance(given, bool) or not isinstance(given, str | int | float | Decimal):
        raise ValueError("must be a number or a string that spells one")
    return given


def _text(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError(f"must have 1 to {TEXT_LONGEST} printable characters")
    return text


def _usable_date(day: date) -> date:
    if not 1900 <= day.year < 9000:
        raise ValueError("must lie between the years 1900 and 9000")
    return day


Price = Annotated[
    Decimal,
    BeforeValidator(_number, json_schema_input_type=str | float),
    Field(ge=0, max_digits=12, decimal_places=6),
]
Amount = Annotated[
    Decimal,
    BeforeValidator(_number, json_schema_input_type=str | float),
    Field(ge=0, max_digits=14, decimal_places=6),
]
Limit = Annotated[
    Decimal,
    BeforeValidator(_number, json_schema_input_type=str | float),
    Field(gt=0, max_digits=18, decimal_places=6),
]
Step = Annotated[
    Decimal,
    BeforeValidator(_number, json_schema_input_type=str | float),
    Field(ge=0, max_digits=18, decimal_places=6),
]
Rate = Annotated[
    Decimal,
    BeforeValidator(_number, json_schema_input_type=str | float),
    Field(ge=0, lt=1, max_digits=8, decimal_places=6),
]
Force = Annotated[
    bool, Field(description="in billed time, too: the bills there are looked at again by the next run")
]
Text = Annotated[str, Field(min_length=1, max_length=TEXT_LONGEST), AfterValidator(_text)]
Day = Annotated[date, AfterValidator(_usable_date)]


def _checked_day(text: str) -> str:
    return write_month_day(month_day(text))


def _checked_time(text: str) -> str:
    return write_minute(minute_of_day(text))


MonthDay = Annotated[str, AfterValidator(_checked_day)]
TimeOfDay = Annotated[str, AfterValidator(_checked_time)]


class Fields(BaseModel):
    """What is sent: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class TariffFields(Fields):
    """A tariff; its prices are in its versions."""

    name: Text
    commodity: Commodity
    currency: str = Field("CNY", pattern="^[A-Z]{3}$", description="ISO 4217")


class TierFields(Fields):
    """A step. The last one is open: its upper_limit is null."""

    upper_limit: Limit | None = Field(
        None,
        description="in units a month, year or period as `frame` says; a value at the limit belongs to it",
    )
    price: Price = Field(description="of a unit; in mode ADDER what is added to its price")
    persons_step: Step = Field(ZERO, description="added to the limit, a month and person above persons_base")
    kind_prices: dict[TouKind, Price] = Field(
        default_factory=dict, description="in mode ABSOLUTE with time of use: prices that stand for `price`"
    )


class WindowFields(Fields):
    """A time-of-use window, local and half-open."""

    season_from: MonthDay = Field("01-01", description="MM-DD, belongs to the season")
    season_to: MonthDay = Field("12-31", description="MM-DD, belongs to it, may lie in the next year")
    day_type: Literal["any", "weekday", "holiday"] = "any"
    start: TimeOfDay = Field(description="HH:MM")
    end: TimeOfDay = Field(description="HH:MM, up to 24:00; a window over midnight is two windows")
    kind: TouKind

    def window(self) -> TouWindow:
        return TouWindow(
            month_day(self.season_from),
            month_day(self.season_to),
            self.day_type,
            minute_of_day(self.start),
            minute_of_day(self.end),
            self.kind,
        )


class FixedChargeFields(Fields):
    """An amount a local day, or a period of the billing task."""

    name: Text
    basis: Literal["DAY", "PERIOD"]
    amount: Amount


class TaxFields(Fields):
    """The tax on a category of lines."""

    category: Literal["ENERGY", "FIXED", "MINIMUM"]
    rate: Rate = Field(description="0.13 is 13 %")
    inclusive: bool = Field(description="whether the prices contain it")


class VersionFields(Fields):
    """What a tariff says from a date on. It never changes; another one takes over at a later date."""

    effective_from: Day = Field(description="a local date of the project: from its midnight on")
    frame: Literal["MONTH", "YEAR", "PERIOD"] = Field(description="what the limits of tiers count for")
    mode: Literal["ADDER", "ABSOLUTE"] = Field(
        description="whether the price of a tier is added to that of the energy, or is all of it"
    )
    on_occupant_change: Literal["RESET", "CONTINUE"] = "RESET"
    energy_price: Price = Field(ZERO, description="of a unit, in mode ADDER without time of use")
    persons_base: int = Field(0, ge=0, le=1000)
    minimum_charge: Amount = Field(ZERO, description="a period")
    tiers: list[TierFields] = Field(default_factory=list, max_length=TIERS_MOST)
    tou_prices: dict[TouKind, Price] = Field(default_factory=dict, description="of a unit, by kind")
    tou_windows: list[WindowFields] = Field(default_factory=list, max_length=WINDOWS_MOST)
    holidays: list[Day] = Field(default_factory=list, max_length=HOLIDAYS_MOST)
    weekend_is_holiday: bool = False
    fixed_charges: list[FixedChargeFields] = Field(default_factory=list, max_length=CHARGES_MOST)
    tax_rules: list[TaxFields] = Field(default_factory=list, max_length=3)
    force: Force = False


class AssignmentFields(Fields):
    """Which tariff holds from a date on, for one service point or as a default of the project."""

    tariff: Text = Field(description="its key")
    service_point: Text | None = Field(None, description="its key; null: a default")
    subtype: Text | None = Field(
        None, description="of a default: for service points of this subtype; null: for all others"
    )
    valid_from: Day = Field(alias="from", description="a local date: from its midnight on")
    valid_to: Day | None = Field(None, alias="to", description="a local date, exclusive; null: until ended")
    force: Force = False


class EndFields(Fields):
    """The end of an assignment."""

    valid_to: Day | None = Field(alias="to", description="a local date, exclusive; null: it has no end")
    force: Force = False


@dataclass(frozen=True, slots=True)
class Tariff:
    """A tariff of a project; `versions` is how many it has."""

    id: int
    key: str
    name: str
    commodity: Commodity
    currency: str
    versions: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which tariff holds in a span. `valid_to` is None where it has no end."""

    id: int
    tariff: str
    service_point: str | None
    service_point_id: int | None
    commodity: Commodity
    subtype: str | None
    valid_from: datetime
    valid_to: datetime | None

    def span(self, first: datetime, until: datetime | None) -> Span:
        """Return a part of the time in which it holds."""
        return Span(self.service_point_id, self.subtype, first, until)


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which a tariff begins or ceases to hold at a service point, or as a default.

    :ivar service_point_id: None for a default
    :ivar until: exclusive, None where there is no end
    """

    service_point_id: int | None
    subtype: str | None
    first: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Applied:
    """What holds at a service point at a moment.

    :ivar source: an assignment of its own, the default of its subtype, or the default of all others
    """

    assignment_id: int
    source: Source
    tariff: str
    version_id: int


def local_midnight(day: date, zone: tzinfo) -> datetime:
    """Return the beginning of a local day, in UTC."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def make_version(fields: VersionFields, zone: tzinfo, *, id: int = 0, tariff_id: int = 0) -> TariffVersion:
    """Return the version that the fields describe."""
    return TariffVersion(
        id=id,
        tariff_id=tariff_id,
        effective_from=local_midnight(fields.effective_from, zone),
        frame=fields.frame,
        mode=fields.mode,
        on_occupant_change=fields.on_occupant_change,
        energy_price=fields.energy_price,
        persons_base=fields.persons_base,
        minimum_charge=fields.minimum_charge,
        tiers=tuple(
            Tier(ordinal, tier.upper_limit, tier.price, tier.persons_step, in_order(tier.kind_prices))
            for ordinal, tier in enumerate(fields.tiers, 1)
        ),
        tou_prices=in_order(fields.tou_prices),
        tou_windows=tuple(window.window() for window in fields.tou_windows),
        holidays=frozenset(fields.holidays),
        weekend_is_holiday=fields.weekend_is_holiday,
        fixed_charges=tuple(FixedCharge(one.name, one.basis, one.amount) for one in fields.fixed_charges),
        tax_rules=tuple(TaxRule(one.category, one.rate, one.inclusive) for one in fields.tax_rules),
    )


def in_order(prices: Mapping[Any, Decimal]) -> dict[Kind, Decimal]:
    """Return prices by kind in the order in which kinds are printed."""
    return {kind: prices[kind] for kind in KINDS if kind in prices}


def version_problems(version: TariffVersion) -> list[RowProblem]:
    """Return what a version contradicts itself in, empty where it can be used."""
    return [
        *_price_problems(version),
        *_tier_problems(version),
        *_window_problems(version),
        *_tax_problems(version),
    ]


def _price_problems(version: TariffVersion) -> Iterator[RowProblem]:
    if version.mode == "ABSOLUTE" and not version.tiers:
        yield RowProblem("tiers", "mode ABSOLUTE needs at least one tier")
    if version.energy_price and (version.mode == "ABSOLUTE" or version.tou_prices):
        yield RowProblem("energy_price", "is for mode ADDER without tou_prices; here it would not be used")


def _tier_problems(version: TariffVersion) -> Iterator[RowProblem]:
    before: Tier | None = None
    for index, tier in enumerate(version.tiers):
        last = index == len(version.tiers) - 1
        if not last and tier.upper_limit is None:
            yield RowProblem(f"tiers.{index}.upper_limit", "is required: only the last tier is open")
        if last and tier.upper_limit is not None:
            yield RowProblem(
                f"tiers.{index}.upper_limit", "must be null: the last tier is open, so that all is billed"
            )
        elif before and before.upper_limit and tier.upper_limit and tier.upper_limit <= before.upper_limit:
            yield RowProblem(
                f"tiers.{index}.upper_limit", f"must be above that of the tier before, {before.upper_limit:f}"
            )
        yield from _step_problems(index, tier, before, last=last)
        yield from _kind_price_problems(version, index, tier)
        before = tier


def _step_problems(index: int, tier: Tier, before: Tier | None, *, last: bool) -> Iterator[RowProblem]:
    if last and tier.persons_step:
        yield RowProblem(f"tiers.{index}.persons_step", "has no limit to be added to")
    elif not last and before and tier.persons_step < before.persons_step:
        yield RowProblem(
            f"tiers.{index}.persons_step",
            "must not be below that of the tier before: the limits of large households would cross",
        )


def _kind_price_problems(version: TariffVersion, index: int, tier: Tier) -> Iterator[RowProblem]:
    if tier.kind_prices and (version.mode != "ABSOLUTE" or not version.tou_prices):
        yield RowProblem(f"tiers.{index}.kind_prices", "needs mode ABSOLUTE and tou_prices")
        return
    for kind in tier.kind_prices:
        if kind not in version.tou_prices:
            yield RowProblem(f"tiers.{index}.kind_prices.{kind}", "is not a kind of tou_prices")


def _window_problems(version: TariffVersion) -> Iterator[RowProblem]:
    sound = True
    for index, window in enumerate(version.tou_windows):
        if window.kind not in version.tou_prices:
            yield RowProblem(f"tou_windows.{index}.kind", f"{window.kind} has no price in tou_prices")
        if window.start_minute >= window.end_minute:
            sound = False
            yield RowProblem(
                f"tou_windows.{index}.end", "must be after start; a window over midnight is two windows"
            )
    if sound and (version.tou_prices or version.tou_windows):
        for message in window_problems(version.tou_windows):
            yield RowProblem("tou_windows", message)


def _tax_problems(version: TariffVersion) -> Iterator[RowProblem]:
    categories = [rule.category for rule in version.tax_rules]
    for index, category in enumerate(categories):
        if category in categories[:index]:
            yield RowProblem(f"tax_rules.{index}.category", f"{category} stands twice")
