"""A registry of 100,000 devices, for what must cost the same however many there are."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.databases import Databases

DEVICES = 100_000

#: 98 projects with about ten devices each, one with a fifth of all, and one with the rest.
FILL = """
INSERT INTO device (device_id, project_id, product_id, node_id, name, gateway_id, status, tags,
                    created_at, updated_at)
SELECT 'd' || n,
       CASE WHEN mod(n, 100) = 99 AND n < 98000 THEN 'small' || n / 1000
            WHEN mod(n, 5) = 0 THEN 'half' ELSE 'main' END,
       'p' || mod(n, 40), 'n' || n, 'device ' || lpad(mod(n * 7919, 100000)::text, 6, '0'),
       CASE WHEN n > 1000 THEN 'd' || 1 + mod(n, 200) END,
       CASE WHEN mod(n, 1000) = 1 THEN 'ABNORMAL' WHEN mod(n, 2) = 0 THEN 'ONLINE' ELSE 'OFFLINE' END,
       jsonb_build_object('site', 's' || mod(n, 500), 'kind', 'meter'), now(), now()
FROM generate_series(1, %(n)s) n
"""


@pytest.fixture(scope="module")
def filled(databases: Databases) -> Iterator[psycopg.Connection]:
    name = databases.create()
    with psycopg.connect(databases.postgres.url(name), autocommit=True) as connection:
        connection.execute(FILL, {"n": DEVICES})
        connection.execute(
            "INSERT INTO device_group (group_id, project_id, name, created_at)"
            " VALUES ('g', 'main', 'g', now())"
        )
        connection.execute(
            "INSERT INTO device_group_member"
            " SELECT g.id, d.id FROM device_group g, device d WHERE d.project_id = 'main' AND d.id % 2 = 0"
        )
        connection.execute("VACUUM ANALYZE")
        yield connection
    databases.drop(name)
