"""What retention works on: the ledger's monthly partitions. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

#: Partitions that `ensure_ledger_partitions` makes (migration 0001).
_NAME = re.compile(r"(?:execution|attempt)_(?P<year>[0-9]{4})_(?P<month>0[1-9]|1[0-2])")


@dataclass(frozen=True)
class Partition:
    """One partition of `execution` or `attempt`.

    :ivar rows: as the statistics estimate it
    :ivar bytes: with indexes and TOAST
    """

    name: str
    rows: int
    bytes: int


@dataclass(frozen=True, order=True)
class Month:
    """A calendar month in UTC, as the ledger is cut."""

    year: int
    month: int

    @property
    def ends(self) -> datetime:
        """The first moment after it."""
        return datetime(self.year + self.month // 12, self.month % 12 + 1, 1, tzinfo=UTC)

    def partition_of(self, table: str) -> str:
        """Return the name of its partition of `execution` or `attempt`."""
        return f"{table}_{self.year:04}_{self.month:02}"

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"


@dataclass
class LedgerReport:
    """What was done to the ledger, or would be.

    :ivar kept: months that are over, and why they stay
    :ivar executions_deleted: rows of the default partition, which belong to no month's own
    :ivar partitions_made: for coming months; None where the ledger was in use all the time
    """

    cutoff: datetime
    dropped: list[Month] = field(default_factory=list)
    kept: dict[Month, str] = field(default_factory=dict)
    rows: int = 0
    bytes: int = 0
    executions_deleted: int = 0
    attempts_deleted: int = 0
    partitions_made: int | None = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "cutoff": self.cutoff.isoformat(),
            "months_dropped": [str(month) for month in self.dropped],
            "months_kept": {str(month): reason for month, reason in self.kept.items()},
            "rows_dropped_estimate": self.rows,
            "bytes_freed": self.bytes,
            "executions_deleted": self.executions_deleted,
            "attempts_deleted": self.attempts_deleted,
            "partitions_made": self.partitions_made,
        }


def months_of(partitions: list[Partition]) -> list[Month]:
    """Return the months that have a partition of their own, the oldest first."""
    matches = (_NAME.fullmatch(partition.name) for partition in partitions)
    return sorted({Month(int(match["year"]), int(match["month"])) for match in matches if match})


def is_over(month: Month, cutoff: datetime) -> bool:
    """Whether everything in a month is older than the cutoff."""
    return month.ends <= cutoff
