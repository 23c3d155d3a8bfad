"""A town for tests: many alike service points with a meter each, written by a few statements."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import psycopg

LOCAL = timezone(timedelta(hours=8))


def local(text: str) -> datetime:
    """A local time of the town in UTC: `2026-01-01` or `2026-01-01 08:30`."""
    return datetime.fromisoformat(text).replace(tzinfo=LOCAL).astimezone(UTC)


class Town:
    """A project with a flat tariff and monthly tiers, and a billing task.

    :ivar definition_id: of the billing task, due on the first of each month at midnight
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        points: int = 3,
        *,
        project_id: str = "7",
        installed: str = "2026-01-01",
        initial: str = "100",
        **version: Any,
    ) -> None:
        self.db = connection
        self.project_id = project_id
        self.db.execute(
            """
            WITH p AS (
                INSERT INTO premise (project_id, key, address)
                SELECT %(project)s, 'P' || n, ARRAY['Garden', 'B1', 'U1', 'F1', 'R' || n]
                FROM generate_series(1, %(points)s) n RETURNING id, key
            ), s AS (
                INSERT INTO service_point (project_id, key, premise_id, commodity)
                SELECT %(project)s, replace(key, 'P', 'S'), id, 'electricity' FROM p ORDER BY id
                RETURNING id, key
            ), m AS (
                INSERT INTO meter (project_id, device_id, commodity)
                SELECT %(project)s, lpad(substr(key, 2), 12, '0'), 'electricity' FROM s ORDER BY id
                RETURNING id, device_id
            ), r AS (
                INSERT INTO register (meter_id, kind, unit) SELECT id, 'TOTAL', 'kWh' FROM m
            )
            INSERT INTO meter_installation (meter_id, service_point_id, valid_from)
            SELECT m.id, s.id, %(installed)s
            FROM s JOIN m ON m.device_id = lpad(substr(s.key, 2), 12, '0')
            """,
            {"project": project_id, "points": points, "installed": local(installed)},
        )
        if points > 1000:
            # Else a plan for empty tables may be made for the readings of all, and take minutes.
            self.db.execute("ANALYZE premise, service_point, meter, register, meter_installation")
        self.read(installed, initial, source="install")
        self.tariff(**version)
        self.definition_id = self.task()

    def tariff(
        self,
        key: str = "T",
        *,
        tiers: Sequence[tuple[str | None, str]] = (("100", "0.5"), ("200", "0.6"), (None, "0.9")),
        frame: str = "MONTH",
        **fields: Any,
    ) -> int:
        """Insert a tariff of full prices by tiers and assign it to all."""
        tariff = self.one(
            """
            INSERT INTO tariff (project_id, key, name, commodity)
            VALUES (%s, %s, 't', 'electricity') RETURNING id
            """,
            self.project_id,
            key,
        )
        version = self.one(
            """
            INSERT INTO tariff_version (tariff_id, effective_from, frame, mode, minimum_charge)
            VALUES (%s, '2000-01-01', %s, 'ABSOLUTE', %s) RETURNING id
            """,
            tariff,
            frame,
            fields.get("minimum_charge", 0),
        )
        for ordinal, (limit, price) in enumerate(tiers, 1):
            self.db.execute(
                "INSERT INTO tier (version_id, ordinal, upper_limit, price) VALUES (%s, %s, %s, %s)",
                [version, ordinal, limit, price],
            )
        self.db.execute(
            """
            INSERT INTO tariff_assignment (project_id, tariff_id, commodity, valid_from)
            VALUES (%s, %s, 'electricity', '2000-01-01')
            """,
            [self.project_id, tariff],
        )
        return int(tariff)

    def task(self, expression: str = "0 0 0 1 * *") -> int:
        """Insert a billing task."""
        schedule = self.one(
            """
            INSERT INTO schedule (kind, expression, timezone, dag_id, description, active, active_since)
            VALUES ('billing', %s, 'Asia/Shanghai', 'billing.' || random(), 'monthly', true, '2020-01-01')
            ON CONFLICT ON CONSTRAINT schedule_unique DO UPDATE SET active = true RETURNING id
            """,
            expression,
        )
        definition = self.one(
            """
            INSERT INTO definition (kind, schedule_id, project_id, name, enabled, active_since, misfire,
                                    misfire_grace, overlap, created_at, updated_at)
            VALUES ('billing', %s, %s, 'monthly', true, '2020-01-01', 'run', '400 days', 'queue', now(),
                    now())
            RETURNING id
            """,
            schedule,
            self.project_id,
        )
        self.db.execute(
            """
            INSERT INTO billing_task (definition_id, natrual_key, commodity, crontab)
            VALUES (%s, md5(random()::text), 'electricity', '{}')
            """,
            [definition],
        )
        return int(definition)

    def read(
        self, when: str, total: str | Decimal, *, device: str | None = None, source: str = "meter"
    ) -> None:
        """Record a reading of every meter, or of one, now."""
        self.db.execute(
            """
            INSERT INTO reading (register_id, installation_id, read_at, value, total, source, quality)
            SELECT r.id, i.id, %(at)s, %(total)s, %(total)s, %(source)s, 'ok'
            FROM meter m
            JOIN register r ON r.meter_id = m.id
            JOIN meter_installation i ON i.meter_id = m.id
            WHERE m.project_id = %(project)s AND (%(device)s::text IS NULL OR m.device_id = %(device)s)
            """,
            {
                "at": local(when),
                "total": total,
                "source": source,
                "project": self.project_id,
                "device": device,
            },
        )

    def read_spread(self, when: str, step: int) -> None:
        """Record a reading of every meter: 100 + step x its number modulo 400."""
        self.db.execute(
            """
            INSERT INTO reading (register_id, installation_id, read_at, value, total, source, quality)
            SELECT r.id, i.id, %(at)s, v.total, v.total, 'meter', 'ok'
            FROM meter m
            JOIN register r ON r.meter_id = m.id
            JOIN meter_installation i ON i.meter_id = m.id
            CROSS JOIN LATERAL (SELECT 100 + %(step)s * (m.device_id::bigint %% 400 + 0.25) AS total) v
            WHERE m.project_id = %(project)s
            """,
            {"at": local(when), "step": step, "project": self.project_id},
        )

    def device(self, number: int) -> str:
        return f"{number:012d}"

    def bills(self, number: int = 1) -> list[dict[str, Any]]:
        """The bills of a meter that are not void, the oldest first."""
        return self.rows(
            """
            SELECT b.* FROM bill b
            WHERE b.project_id = %s AND b.device_id = %s AND b.state <> 'void' ORDER BY b.period_to
            """,
            self.project_id,
            self.device(number),
        )

    def lines(self, bill_id: int) -> list[tuple[str, str, str, str]]:
        """(kind, quantity, rate, amount) of a bill's lines, without trailing zeros but for cents."""
        return [
            (
                row["kind"],
                f"{row['quantity'].normalize():f}",
                f"{row['rate'].normalize():f}",
                str(row["amount"]),
            )
            for row in self.rows("SELECT * FROM bill_line WHERE bill_id = %s ORDER BY ordinal", bill_id)
        ]

    def totals(self) -> dict[str, Any]:
        """What all bills of the project add up to."""
        return self.rows(
            """
            SELECT count(*) AS bills, count(DISTINCT service_point_id) AS points, sum(charge) AS charge,
                   sum(quantity) AS quantity
            FROM bill WHERE project_id = %s AND state <> 'void'
            """,
            self.project_id,
        )[0]

    def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        return self.db.execute(statement, list(values)).fetchall()

    def one(self, statement: str, *values: Any) -> Any:
        row = self.db.execute(statement, list(values)).fetchone()
        return next(iter(row.values()))
