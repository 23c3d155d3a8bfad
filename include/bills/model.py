"""Bills as they are shown: what was made, not how (that is `include.billing`). No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from include.billing.model import Commodity

#: The longest span of `bills of a span` (A22).
SPAN_DAYS_MOST = 400

_KEY = re.compile(r"(?P<second>[0-9a-f]{8})(?P<id>[0-9a-f]{16})")
_BIGINT = 2**63
_CENT = Decimal("0.01")


@dataclass(frozen=True)
class BillFilter:
    """Which bills of a project a list is about.

    :ivar device_id: only of this meter
    :ivar subtype: only this kind of water; bills of electricity pass
    """

    project_id: str
    commodities: Sequence[Commodity]
    device_id: str | None = None
    subtype: str | None = None


@dataclass(frozen=True)
class DateSpan:
    """Local dates, both of them included."""

    start: date
    end: date


@dataclass(frozen=True)
class ListedBill:
    """A final bill in a list.

    :ivar device_id: of the meter in place at the end of the period
    :ivar opening: as the meter displayed it; None where it has no total register
    :ivar timezone: of the project; its times are shown by these clocks
    :ivar residents: who shares it: `name`, `cellphone`, `weight`, `amount`, texts; only in lists of a span
    """

    id: int
    device_id: str
    commodity: Commodity
    address: Sequence[str]
    state: str
    period_from: datetime
    period_to: datetime
    previous_quantity: Decimal
    quantity: Decimal
    unit: str
    opening: Decimal | None
    closing: Decimal | None
    charge: Decimal
    flags: Sequence[str]
    created_at: datetime
    timezone: str
    reading_mode: Literal["quantity", "register", "remaining"]
    residents: Sequence[Mapping[str, str]] = field(default=())

    @property
    def key(self) -> str:
        """Its id on the wire."""
        return bill_key(self.created_at, self.id)

    @property
    def shown_readings(self) -> tuple[Decimal, Decimal]:
        """`previous_reading_data` and `reading_data` as the project wants them (A1)."""
        if self.reading_mode == "register" and self.opening is not None and self.closing is not None:
            return self.opening, self.closing
        return self.previous_quantity, self.quantity


@dataclass(frozen=True)
class BillPage:
    """A page of a list: how many bills there are in all, and those of the page, the newest first."""

    count: int
    bills: Sequence[ListedBill]


def bill_key(created_at: datetime, bill_id: int) -> str:
    """Return the id of a bill on the wire, 24 hexadecimal digits: 8 of the Unix second, 16 of the number."""
    return f"{int(created_at.timestamp()):08x}{bill_id:016x}"


def read_bill_key(key: str) -> tuple[datetime, int] | None:
    """Return the second (UTC) and the number that a key spells, None where it is none."""
    match = _KEY.fullmatch(key)
    if match is None or int(match["id"], 16) >= _BIGINT:
        return None
    return datetime.fromtimestamp(int(match["second"], 16), UTC), int(match["id"], 16)


def two_decimals(value: Decimal) -> str:
    """Write an amount or quantity as the document does, such as `63.79`."""
    return f"{value.quantize(_CENT, ROUND_HALF_UP):f}"


def all_decimals(value: Decimal) -> str:
    """Write a quantity in full, with two decimals at least, such as `114.95` or `114.951`."""
    whole, _, fraction = f"{value:f}".partition(".")
    return f"{whole}.{fraction.rstrip('0'):0<2}"
