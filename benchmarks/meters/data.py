"""The meters, readings and the tariff of the billing benchmark, made set by set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

import psycopg
from psycopg import sql

from include.kit.sql import load_queries

queries = load_queries(__file__)

Tariff = Literal["tiers", "tiers x kinds"]

ZONE = ZoneInfo("Asia/Shanghai")
PROJECT, COMMODITY = "bench", "electricity"
EXPRESSION = "0 0 0 1 * *"

#: Where bills begin and end: the first month warms up, the second is measured.
BOUNDARIES = tuple(datetime(2026, month, 1, tzinfo=ZONE).astimezone(UTC) for month in (1, 2, 3))
WARM_UP, MEASURED = BOUNDARIES[1], BOUNDARIES[2]

KINDS: dict[Tariff, tuple[str, ...]] = {
    "tiers": ("TOTAL",),
    "tiers x kinds": ("TIP", "PEAK", "FLAT", "VALLEY"),
}

#: Of the connection that loads, which is no part of what is measured.
LOAD_SETTINGS = {"maintenance_work_mem": "512MB", "work_mem": "256MB", "enable_nestloop": "off", "jit": "off"}


@dataclass(frozen=True)
class Dataset:
    """A project of one tariff and that many meters, each with a register for each kind."""

    tariff: Tariff
    meters: int

    @property
    def kinds(self) -> tuple[str, ...]:
        return KINDS[self.tariff]

    @property
    def registers(self) -> int:
        return self.meters * len(self.kinds)

    @property
    def parameters(self) -> dict[str, Any]:
        """What the statements that load it need to know."""
        return {
            "project_id": PROJECT,
            "commodity": COMMODITY,
            "meters": self.meters,
            "kinds": list(self.kinds),
            "tou_kinds": [kind for kind in self.kinds if kind != "TOTAL"],
            "registers": len(self.kinds),
            "installed_at": BOUNDARIES[0],
            "expression": EXPRESSION,
            "zone": ZONE.key,
        }


def load(url: str, dataset: Dataset, say: Callable[[str], None]) -> None:
    """Fill a migrated database; every table is analysed as soon as it is full."""
    with psycopg.connect(url, autocommit=True) as connection:
        for name, value in LOAD_SETTINGS.items():
            connection.execute("SELECT set_config(%s, %s, false)", [name, value])
        for statement, table in (
            (queries.add_premises, "premise"),
            (queries.add_service_points, "service_point"),
            (queries.add_meters, "meter"),
            (queries.add_installations, "meter_installation"),
            (queries.add_registers, "register"),
        ):
            _run(connection, statement, table, dataset.parameters)
        for month, read_at in enumerate(BOUNDARIES):
            source = "meter" if month else "install"
            more = {"month": month, "read_at": read_at, "source": source}
            _run(connection, queries.add_readings, "reading", {**dataset.parameters, **more})
        connection.execute(queries.add_tariff, dataset.parameters)
        connection.execute(queries.add_task, dataset.parameters)
        connection.execute("ANALYZE")
    say(f"{dataset.meters:,} meters with {dataset.registers * len(BOUNDARIES):,} readings are there")


def _run(connection: psycopg.Connection, statement: str, table: str, parameters: dict[str, Any]) -> None:
    connection.execute(statement, parameters)
    connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table)))
