"""Whole projects with meters, readings and a tariff, inserted by a statement each.

Meter *n* came 30 days ago, has used 100 + n mod 50 kWh since, at 0.5 each, and was read a minute ago.
"""

from __future__ import annotations

from decimal import Decimal

import psycopg

PRICE = Decimal("0.5")

STATEMENTS = (
    """
    INSERT INTO premise (project_id, key, address)
    VALUES (%(project)s, 'house', ARRAY['house', '', '', '', ''])
    """,
    """
    INSERT INTO service_point (project_id, key, premise_id, commodity)
    SELECT p.project_id, 'point ' || n, p.id, 'electricity'
    FROM premise p, generate_series(1, %(meters)s) AS n WHERE p.project_id = %(project)s
    """,
    """
    INSERT INTO meter (project_id, device_id, commodity)
    SELECT %(project)s, lpad(n::text, 12, '0'), 'electricity' FROM generate_series(1, %(meters)s) AS n
    """,
    """
    INSERT INTO register (meter_id, kind, unit)
    SELECT id, 'TOTAL', 'kWh' FROM meter WHERE project_id = %(project)s
    """,
    """
    INSERT INTO meter_installation (meter_id, service_point_id, valid_from)
    SELECT m.id, s.id, date_trunc('hour', now()) - interval '30 days'
    FROM service_point s JOIN meter m ON m.project_id = s.project_id
     AND m.device_id = lpad(substr(s.key, 7), 12, '0')
    WHERE s.project_id = %(project)s
    """,
    """
    INSERT INTO reading (register_id, installation_id, read_at, value, total, source, quality)
    SELECT r.id, i.id, i.valid_from, 0, 0, 'install', 'ok'
    FROM meter m JOIN register r ON r.meter_id = m.id JOIN meter_installation i ON i.meter_id = m.id
    WHERE m.project_id = %(project)s
    """,
    """
    WITH made AS (
        INSERT INTO tariff (project_id, key, name, commodity)
        VALUES (%(project)s, 'flat', 'flat', 'electricity') RETURNING id
    ), version AS (
        INSERT INTO tariff_version (tariff_id, effective_from, frame, mode, energy_price)
        SELECT id, '2020-01-01', 'MONTH', 'ADDER', %(price)s FROM made
    )
    INSERT INTO tariff_assignment (project_id, tariff_id, commodity, valid_from)
    SELECT %(project)s, id, 'electricity', '2020-01-01' FROM made
    """,
)

READ = """
INSERT INTO reading (register_id, installation_id, read_at, value, total, source, quality)
SELECT r.id, i.id, now() - interval '1 minute', 100 + n %% 50, 100 + n %% 50, 'meter', 'ok'
FROM generate_series(%(first)s::integer, %(last)s::integer) AS n
JOIN meter m ON m.project_id = %(project)s AND m.device_id = lpad(n::text, 12, '0')
JOIN register r ON r.meter_id = m.id JOIN meter_installation i ON i.meter_id = m.id
"""


def insert_project(url: str, project: str, meters: int, *, unread: int = 0) -> None:
    """Insert a project; the last `unread` meters were not read since they were installed."""
    values = {"project": project, "meters": meters, "price": PRICE}
    with psycopg.connect(url) as connection:
        for statement in STATEMENTS:
            connection.execute(statement, values)
            # As autovacuum does soon after: a plan made for small tables takes minutes with large ones.
            connection.execute("ANALYZE")
    read(url, project, 1, meters - unread)


def read(url: str, project: str, first: int, last: int) -> None:
    """Insert the readings of a minute ago of the meters with these numbers."""
    with psycopg.connect(url) as connection:
        connection.execute(READ, {"project": project, "first": first, "last": last})
        connection.execute("ANALYZE")


def worth(meters: int) -> Decimal:
    """What the first bills of so many meters come to."""
    return sum((PRICE * (100 + n % 50) for n in range(1, meters + 1)), Decimal(0))
