"""Metering master data as it is stored and shown.

Moments are aware and in UTC; None stands for the end of a span that has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from include.billing.model import Commodity, Kind

#: How many rows one call takes.
ROWS_MOST = 10_000

#: How far a client's clock may be ahead of ours: nobody has read a meter in the future.
FUTURE_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the rows of a call; those that say what is stored already are unchanged."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.created + other.created, self.updated + other.updated, self.unchanged + other.unchanged
        )


@dataclass(frozen=True, slots=True)
class Premise:
    """Where service points are.

    :ivar address: five parts, "" for those that are missing
    :ivar area: square metres
    """

    key: str
    address: Sequence[str]
    area: Decimal | None


@dataclass(frozen=True, slots=True)
class UsageClass:
    """What service points of a class use a day where nothing better is known."""

    key: str
    daily_quantity: Decimal


@dataclass(frozen=True, slots=True)
class ServicePoint:
    """Where a commodity is delivered.

    :ivar premise: key
    :ivar usage_class: key
    :ivar device_id: of the meter that is there
    """

    key: str
    premise: str
    commodity: Commodity
    subtype: str | None
    usage_class: str | None
    device_id: str | None


@dataclass(frozen=True, slots=True)
class Register:
    """A counter of a meter. `modulus`: it shows 0 again at this; None where it never does."""

    kind: Kind
    unit: str
    multiplier: Decimal
    modulus: Decimal | None


@dataclass(frozen=True, slots=True)
class Meter:
    """A device. `service_point`: the key of where it is installed."""

    device_id: str
    commodity: Commodity
    service_point: str | None
    registers: Sequence[Register]


@dataclass(frozen=True, slots=True)
class LockedMeter:
    """What changing or installing a meter must know of it.

    :ivar installed: whether it is at a service point and not removed
    :ivar used: the kinds of those registers that have readings
    """

    id: int
    device_id: str
    commodity: Commodity
    installed: bool
    registers: Mapping[Kind, Register]
    used: frozenset[Kind]


@dataclass(frozen=True, slots=True)
class LockedPoint:
    """What changes at a service point must know of it. `measured`: a meter is or was there."""

    id: int
    key: str
    commodity: Commodity
    measured: bool


@dataclass(frozen=True, slots=True)
class Installation:
    """A stay of a meter at a service point, with the displays when it came and when it went.

    A reading that was corrected shows as corrected.
    """

    id: int
    service_point: str
    device_id: str
    installed_at: datetime
    removed_at: datetime | None
    initial_readings: Mapping[Kind, Decimal]
    final_readings: Mapping[Kind, Decimal]


@dataclass(frozen=True, slots=True)
class Stay:
    """An installation in the way of a new one, or the same.

    :ivar row: of the new one
    """

    row: int
    id: int
    service_point: str
    device_id: str
    installed_at: datetime
    removed_at: datetime | None
    initial_readings: Mapping[Kind, Decimal]


@dataclass(frozen=True, slots=True)
class CurrentStay:
    """The last installation of a service point."""

    id: int
    meter_id: int
    device_id: str
    installed_at: datetime
    removed_at: datetime | None


@dataclass(frozen=True, slots=True)
class LastReading:
    """The last good reading of a register during an installation, and the first of the 90 days before it.

    :ivar later: whether there are readings after the moment in question
    """

    register_id: int
    kind: Kind
    modulus: Decimal | None
    read_at: datetime
    value: Decimal
    total: Decimal
    history_at: datetime
    history_value: Decimal
    history_total: Decimal
    later: bool


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody who may live at service points."""

    key: str
    name: str
    cellphone: str


@dataclass(frozen=True, slots=True)
class OccupancyRecord:
    """A party lives at a service point."""

    id: int
    service_point: str
    party: str
    name: str
    moved_in_at: datetime
    moved_out_at: datetime | None
    persons: int
    weight: Decimal


@dataclass(frozen=True, slots=True)
class HouseholdRecord:
    """A stretch within which the occupants of a service point stay the same.

    :ivar since: when the first of this generation of occupants moved in
    """

    valid_from: datetime
    valid_to: datetime | None
    persons: int
    since: datetime
