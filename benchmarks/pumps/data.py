"""The projects, objects and open tasks of the maintenance benchmark, made set by set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

import psycopg

from include.kit.sql import load_queries

queries = load_queries(__file__)

Cycle = Literal["natural", "statistics"]

ZONE = ZoneInfo("Asia/Shanghai")

#: When the tick is; the cycle is 30 days or 500 hours, its notice 3 days (24 hours each) or 1.
NOW = datetime(2026, 3, 1, tzinfo=ZONE).astimezone(UTC)

#: Objects of a project.
OBJECTS = 1000


@dataclass(frozen=True)
class Dataset:
    """So many objects of projects of one cycle: of a hundred one has its notice now, and one an open task."""

    cycle: Cycle
    states: int

    @property
    def opened(self) -> int:
        """Tasks that a tick opens."""
        return self.states // 100

    @property
    def parameters(self) -> dict[str, Any]:
        """What the statements that load it need to know."""
        natural = self.cycle == "natural"
        return {
            "organization": "bench",
            "states": self.states,
            "objects": OBJECTS,
            "natural": natural,
            "cycle_type": "自然时间周期" if natural else "统计周期",
            "period": 30 if natural else 500,
            "notice_days": 3 if natural else 1,
            "zone": ZONE.key,
            "now": NOW,
        }


def load(url: str, dataset: Dataset, say: Callable[[str], None]) -> None:
    """Fill a migrated database."""
    statements = [queries.add_projects, queries.add_objects, queries.add_states]
    if dataset.cycle == "statistics":
        statements += [queries.add_statistic, queries.add_values]
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in (*statements, queries.add_tasks):
            connection.execute(statement, dataset.parameters)
            connection.execute("ANALYZE")
        connection.execute("VACUUM (ANALYZE)")
    say(f"{dataset.states:,} states are there")
