"""Readings on their way in, what is stored of them, and reports. Moments are aware and in UTC.

What a batch has ten thousand of is a named tuple: it is made in a fraction of the time of a frozen dataclass.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from include.billing.model import Commodity, Kind
from include.errors import RowProblem
from include.readings.turns import Counted

Source = Literal["meter", "manual", "import", "pull", "install", "remove", "correction"]
Quality = Literal["ok", "late", "estimated", "edited", "suspect"]
OnDecrease = Literal["reject", "quarantine"]
OnDuplicate = Literal["reject", "skip"]
OnSpike = Literal["reject", "quarantine", "accept"]
Fault = Literal["reverse_read", "spike"]
ExceptionKind = Literal[
    "no_tariff",
    "no_meter",
    "no_reading",
    "too_many_estimates",
    "reverse_read",
    "spike",
    "zero_usage",
    "long_period",
    "pull_failed",
    "failed",
]
ExceptionState = Literal["open", "resolved"]

#: What clients may say of a reading of theirs.
CLIENT_SOURCES: tuple[Source, ...] = ("meter", "manual", "import", "pull")
CLIENT_QUALITIES: tuple[Quality, ...] = ("ok", "estimated")

ROWS_MOST = 10_000


class NewReading(NamedTuple):
    """A row that can be read; whether it fits its counter is not known yet.

    :ivar row: its place in the batch, from 0
    """

    row: int
    device_id: str
    kind: Kind
    read_at: datetime
    value: Decimal
    quality: Quality
    source: Source
    top_up: Decimal
    note: str | None


class RegisterRow(NamedTuple):
    """A register and its meter."""

    id: int
    kind: Kind
    modulus: Decimal | None
    meter_id: int
    device_id: str


class InstallationRow(NamedTuple):
    """A stay of a meter at a service point.

    :ivar valid_to: None while it lasts
    :ivar billed_to: the end of the last bill of the service point, or of a run that may be making one
    """

    id: int
    meter_id: int
    service_point_id: int
    valid_from: datetime
    valid_to: datetime | None
    billed_to: datetime | None

    def holds(self, moment: datetime) -> bool:
        """Both ends count: a meter is read when it comes and when it goes."""
        return self.valid_from <= moment and (self.valid_to is None or moment <= self.valid_to)


class Stored(NamedTuple):
    """A reading that is there already.

    :ivar good: neither suspect nor superseded
    :ivar original: not a correction, so no other reading may have its register, moment and source
    """

    id: int
    counted: Counted
    source: Source
    good: bool
    original: bool


class Place(NamedTuple):
    """A register during an installation: the chain in which totals never decrease."""

    register: RegisterRow
    installation: InstallationRow


class Placed(NamedTuple):
    """A new reading with its total. A suspect one fits nowhere; its total is its value and means nothing.

    :ivar since: the good reading before it, or the beginning of the installation
    :ivar fault: why it is suspect, where it fits nowhere
    """

    new: NewReading
    place: Place
    total: Decimal
    quality: Quality
    since: datetime
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class BadRow:
    """What is wrong with a row of a batch.

    :ivar row: its place, from 0
    """

    row: int
    field: str
    message: str

    def problem(self) -> RowProblem:
        """Return it as an error lists it: there the first row is 1."""
        return RowProblem(self.field, self.message, self.row + 1)


@dataclass(frozen=True, slots=True)
class BulkReport:
    """What became of a batch.

    :ivar accepted: stored as good readings
    :ivar duplicates: were there already, with the same value
    :ivar quarantined: stored as suspect, each with an entry in the exceptions queue
    :ivar late: of the accepted ones, those that a bill should have known
    :ivar refused: rows that were left out; only where the caller asked for that
    """

    accepted: int
    duplicates: int
    quarantined: tuple[BadRow, ...]
    late: int
    refused: tuple[BadRow, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadingRules:
    """How the readings of a project are understood."""

    timezone: str
    reading_mode: Literal["quantity", "register", "remaining"]
    plausibility_factor: Decimal
    boundary_tolerance: timedelta

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def counts_down(self) -> bool:
        return self.reading_mode == "remaining"


@dataclass(frozen=True, slots=True)
class ReadingRow:
    """A reading as it is shown.

    :ivar superseded_by_id: the correction that stands for it, as far as that was known
    """

    id: int
    device_id: str
    register: Kind
    installation_id: int
    read_at: datetime
    recorded_at: datetime
    value: Decimal
    total: Decimal
    top_up: Decimal
    source: Source
    quality: Quality
    supersedes_id: int | None
    superseded_by_id: int | None
    note: str | None


@dataclass(frozen=True, slots=True)
class ReadingFilter:
    """Which readings of a meter are listed.

    :ivar known_at: only what was recorded by then, and as if nothing came after
    :ivar superseded: whether those that a correction stands for are listed too
    """

    kind: Kind | None = None
    read_from: datetime | None = None
    read_to: datetime | None = None
    quality: Quality | None = None
    known_at: datetime | None = None
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class MissingRow:
    """A meter of which registers lack a reading at a boundary.

    :ivar last_read_at: of the latest good reading up to the boundary, of any register; None without one
    """

    meter_id: int
    device_id: str
    commodity: Commodity
    service_point_id: int
    service_point: str
    registers: list[Kind]
    last_read_at: datetime | None


@dataclass(frozen=True, slots=True)
class ExceptionRow:
    """An entry of the exceptions queue."""

    id: int
    project_id: str
    kind: ExceptionKind
    state: ExceptionState
    detail: str
    parked: bool
    service_point_id: int | None
    service_point: str | None
    device_id: str | None
    reading_id: int | None
    run_id: int | None
    resolution: str | None
    actor: str | None
    created_at: datetime
    resolved_at: datetime | None
