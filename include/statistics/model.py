"""Statistics that maintenance counts by, and their samples. Moments are aware and in UTC. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal, NamedTuple, get_args

#: Cumulative: a sample says what the counter shows. Delta: what was counted since the sample before.
StatisticKind = Literal["cumulative", "delta"]
#: What becomes of a sample whose object has another value at that moment.
OnDuplicate = Literal["reject", "replace"]
ON_DUPLICATE: tuple[OnDuplicate, ...] = get_args(OnDuplicate)

ROWS_MOST: Final = 10_000
#: How far a client's clock may be ahead of ours.
FUTURE_TOLERANCE: Final = timedelta(minutes=5)
#: The Airflow asset of which an event says that objects came to a threshold.
STATISTICS_ASSET: Final = "carillon_statistics"


@dataclass(frozen=True, slots=True)
class Statistic:
    """Something that is counted of objects.

    :ivar unit: of its values, such as `小时`; hours make notices exact (research B4)
    """

    id: int
    uid: str
    organization_id: str
    name: str
    unit: str
    kind: StatisticKind
    created_at: datetime
    updated_at: datetime


class NewSample(NamedTuple):
    """A row of a request that can be read; `row` counts from 0."""

    row: int
    object_id: str
    at: datetime
    value: Decimal


@dataclass(frozen=True, slots=True)
class Sample:
    """A stored sample.

    :ivar total: growth since the first sample of the object; it never falls
    :ivar reset: the counter showed less than before: it began anew
    """

    object_id: str
    at: datetime
    value: Decimal
    total: Decimal
    reset: bool


@dataclass(frozen=True, slots=True)
class ObjectValue:
    """Where an object stands: its last sample.

    :ivar daily_growth: of the 30 days before it; None: from fewer than 3 samples
    """

    object_id: str
    at: datetime
    value: Decimal
    total: Decimal
    daily_growth: Decimal | None


@dataclass(frozen=True, slots=True)
class SampleReport:
    """What became of the rows of a request.

    :ivar crossed: states of objects that came to be noticed or due by it
    """

    accepted: int = 0
    corrected: int = 0
    unchanged: int = 0
    resets: int = 0
    crossed: int = 0
