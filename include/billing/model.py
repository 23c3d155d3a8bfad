"""What billing works with: meters and readings, tariffs, and the bills made of them. Frozen; no I/O.

Moments are aware and in UTC, spans half-open `[from, to)`, quantities in the unit of the register after its
multiplier, money in the currency of the tariff. `docs/billing.md` has the arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

Commodity = Literal["water", "electricity"]
Kind = Literal["TOTAL", "TIP", "PEAK", "FLAT", "VALLEY", "DEEP"]
LineKind = Literal["ENERGY", "TIER", "FIXED", "MINIMUM", "TAX", "TRUE_UP", "ADJUSTMENT"]
Method = Literal[
    "exact_read",
    "interval",
    "day_weighted",
    "profile_split",
    "estimated_last_year",
    "estimated_average",
    "estimated_profile",
]

COMMODITIES: tuple[Commodity, ...] = ("water", "electricity")

#: In the order in which lines are printed.
KINDS: tuple[Kind, ...] = ("TOTAL", "TIP", "PEAK", "FLAT", "VALLEY", "DEEP")

#: From the best to the worst; a line has the worst method of the quantities in it.
METHODS: tuple[Method, ...] = (
    "exact_read",
    "interval",
    "day_weighted",
    "profile_split",
    "estimated_last_year",
    "estimated_average",
    "estimated_profile",
)

ENGINE_VERSION = 1

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Tier:
    """A step of a tariff version.

    :ivar upper_limit: in units a month, year or period as the version's frame says; None is open
    :ivar price: the full price of a unit, or in mode ADDER what is added to it
    :ivar persons_step: added to the limit, a month and person above `persons_base`
    :ivar kind_prices: in mode ABSOLUTE with time of use, prices by kind that stand for `price`
    """

    ordinal: int
    upper_limit: Decimal | None
    price: Decimal
    persons_step: Decimal = ZERO
    kind_prices: Mapping[Kind, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TouWindow:
    """A time-of-use window: local minutes of the days of a season.

    :ivar season_from: month x 100 + day; both ends belong to the season, which may run over the new year
    """

    season_from: int
    season_to: int
    day_type: Literal["any", "weekday", "holiday"]
    start_minute: int
    end_minute: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class FixedCharge:
    """An amount a day, or a period."""

    name: str
    basis: Literal["DAY", "PERIOD"]
    amount: Decimal


@dataclass(frozen=True, slots=True)
class TaxRule:
    """The tax on a category of lines; `ENERGY` holds ENERGY and TIER lines."""

    category: Literal["ENERGY", "FIXED", "MINIMUM"]
    rate: Decimal
    inclusive: bool


@dataclass(frozen=True, slots=True)
class TariffVersion:
    """What a tariff says from a date on. Never changes."""

    id: int
    tariff_id: int
    effective_from: datetime
    frame: Literal["MONTH", "YEAR", "PERIOD"]
    mode: Literal["ADDER", "ABSOLUTE"]
    on_occupant_change: Literal["RESET", "CONTINUE"] = "RESET"
    energy_price: Decimal = ZERO
    persons_base: int = 0
    minimum_charge: Decimal = ZERO
    tiers: tuple[Tier, ...] = ()
    tou_prices: Mapping[Kind, Decimal] = field(default_factory=dict)
    tou_windows: tuple[TouWindow, ...] = ()
    holidays: frozenset[date] = frozenset()
    weekend_is_holiday: bool = False
    fixed_charges: tuple[FixedCharge, ...] = ()
    tax_rules: tuple[TaxRule, ...] = ()

    @property
    def counts_persons(self) -> bool:
        return any(tier.persons_step for tier in self.tiers)


@dataclass(frozen=True, slots=True)
class TariffSpan:
    """A stretch of a service point's time in which one tariff version is in force."""

    version: TariffVersion
    valid_from: datetime
    valid_to: datetime


@dataclass(frozen=True, slots=True)
class Register:
    """A counter of a meter.

    :ivar modulus: it shows 0 again at this; None where it never turns over
    """

    id: int
    kind: Kind
    unit: str
    multiplier: Decimal = Decimal(1)
    modulus: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A good reading: not suspect, not superseded.

    :ivar total: what the counter has counted, turns included; never less than that of an earlier reading
    """

    id: int
    read_at: datetime
    total: Decimal


@dataclass(frozen=True, slots=True)
class Installation:
    """A meter at a service point, with the good readings of each register, the earliest first.

    :ivar readings: by register id, ordered by (read_at, id); the first is that of the installation
    """

    id: int
    meter_id: int
    device_id: str
    valid_from: datetime
    valid_to: datetime
    registers: tuple[Register, ...]
    readings: Mapping[int, tuple[Reading, ...]]


@dataclass(frozen=True, slots=True)
class Occupancy:
    """A party living at a service point."""

    party_id: int
    name: str
    cellphone: str
    valid_from: datetime
    valid_to: datetime
    persons: int = 1
    weight: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Household:
    """A stretch within which the occupants of a service point stay the same.

    :ivar since: when this generation of occupants began
    """

    valid_from: datetime
    valid_to: datetime
    persons: int
    since: datetime


@dataclass(frozen=True, slots=True)
class ProjectRules:
    """How a project is billed; the defaults are those of a project without a row."""

    timezone: str = "Asia/Shanghai"
    reading_mode: Literal["quantity", "register", "remaining"] = "quantity"
    cut: Literal["instant", "midnight"] = "instant"
    month_end: Literal["clamp", "skip"] = "clamp"
    boundary_tolerance: timedelta = timedelta(hours=2)
    estimates_in_a_row: int = 3
    plausibility_factor: Decimal = Decimal(3)
    share_key: Literal["equal", "persons", "weight"] = "weight"
    grace_days: int = 0

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the bill of a service point depends on, as it was known at a cutoff."""

    service_point_id: int
    rules: ProjectRules
    installations: tuple[Installation, ...]
    tariff: tuple[TariffSpan, ...]
    occupancies: tuple[Occupancy, ...] = ()
    households: tuple[Household, ...] = ()
    daily_quantity: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Period:
    """What a bill is for.

    :ivar months: its length in months, 10 decimals (see `include.billing.periods.months_between`)
    :ivar coverage: its length in periods of the billing task's crontab, 10 decimals
    """

    start: datetime
    end: datetime
    months: Decimal
    coverage: Decimal


@dataclass(frozen=True, slots=True)
class Before:
    """What a bill needs to know of those before it.

    :ivar counted: what was billed before, piece by piece: where each piece begins, and its quantity.
        Corrections are pieces, too, at the beginning of the last piece of the bill they correct.
    """

    period_to: datetime
    quantity: Decimal
    estimates_in_a_row: int
    counted: tuple[tuple[datetime, Decimal], ...] = ()


@dataclass(frozen=True, slots=True)
class Quantity:
    """What one register counted in a stretch with one meter and one tariff version."""

    register_id: int
    kind: Kind
    from_at: datetime
    to_at: datetime
    opening: Decimal
    closing: Decimal
    quantity: Decimal
    opening_method: Method
    closing_method: Method
    opening_reading_id: int | None
    closing_reading_id: int | None


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a bill.

    :ivar label: a kind, the name of a charge, or a tax category
    :ivar amount: two decimals, half up
    :ivar unrounded: exact; not stored
    :ivar included: a tax that is in the prices already, so not in the sum
    """

    kind: LineKind
    label: str
    tier: int | None
    quantity: Decimal
    rate: Decimal
    amount: Decimal
    unrounded: Decimal
    included: bool
    from_at: datetime
    to_at: datetime
    method: str
    tariff_version_id: int | None


@dataclass(frozen=True, slots=True)
class PricedBill:
    """A bill before corrections of earlier ones.

    :ivar quantity: consumption of the period
    :ivar charge: the sum of the lines that are not `included`
    :ivar rounding_delta: charge minus the sum of the unrounded lines
    :ivar year_quantity: consumption billed since the later of 1 January and, where the tariff resets,
        the last change of occupants; None where the tariff does not count by the year
    :ivar estimates_in_a_row: how many bills up to this one end at an estimate
    """

    meter_id: int
    device_id: str
    unit: str
    opening: Decimal | None
    closing: Decimal | None
    quantity: Decimal
    charge: Decimal
    rounding_delta: Decimal
    year_quantity: Decimal | None
    estimates_in_a_row: int
    flags: tuple[str, ...]
    quantities: tuple[Quantity, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Parked:
    """Why a service point gets no bill this time."""

    kind: Literal["no_tariff", "no_meter", "no_reading", "too_many_estimates"]
    detail: str


@dataclass(frozen=True, slots=True)
class Share:
    """What of a bill falls to one occupant."""

    party_id: int
    name: str
    cellphone: str
    weight: Decimal
    amount: Decimal
