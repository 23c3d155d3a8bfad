"""Deleting devices takes what hangs on them along, and costs the devices and not the registry."""

from __future__ import annotations

import psycopg
import pytest

from include.devices.repository import queries

#: A fifth of the devices has something of each kind that may hang on a device.
HANG = (
    """
    INSERT INTO device_binding (user_name, device_id, created_at)
    SELECT 'alice', id, now() FROM device WHERE id % 5 = 0
    """,
    """
    INSERT INTO device_shadow (device_id, service_id) SELECT id, 'valve' FROM device WHERE id % 5 = 0
    """,
    """
    INSERT INTO device_command (command_id, device_id, paras, send_strategy, status, expires_at, created_at)
    SELECT 'c' || id, id, '{}', 'immediately', CASE WHEN id % 10 = 0 THEN 'PENDING' ELSE 'SUCCESSFUL' END,
           now(), now()
    FROM device WHERE id % 5 = 0
    """,
    """
    INSERT INTO device_message (message_id, device_id, message, status, expires_at, created_at)
    SELECT 'm', id, '{}', CASE WHEN id % 10 = 0 THEN 'PENDING' ELSE 'DELIVERED' END, now(), now()
    FROM device WHERE id % 5 = 0
    """,
    """
    INSERT INTO timer_group (group_id, device_id, period, first_day, timezone, enabled, offline, offline_ttl,
                             created_at, updated_at, deleted_at)
    SELECT lpad(id::text, 32, '0'), id, '1111111', 'sunday', 'Asia/Shanghai', true, 'skip', '1 hour',
           now(), now(), CASE WHEN id % 10 = 0 THEN now() END
    FROM device WHERE id % 5 = 0
    """,
    "VACUUM ANALYZE",
)

REFERENCES = """
SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'f' AND confrelid = 'device'::regclass
"""


@pytest.fixture(scope="module")
def hung(filled: psycopg.Connection) -> psycopg.Connection:
    for statement in HANG:
        filled.execute(statement)
    return filled


@pytest.mark.parametrize("count", [1, 100])
def test_deleting_reads_no_table_from_end_to_end(hung: psycopg.Connection, count: int) -> None:
    ids = [2_000 + 10 * number for number in range(count)]
    with hung.transaction(force_rollback=True):
        deleted = hung.execute(queries.delete_devices, {"ids": ids}).rowcount
        tables = hung.execute(
            "SELECT relname, seq_scan, idx_scan FROM pg_stat_xact_user_tables WHERE seq_scan + idx_scan > 0"
        ).fetchall()
    assert deleted == count
    assert [name for name, whole, _ in tables if whole] == []
    # Every table that refers to devices was looked into, devices themselves among them.
    assert {(name,) for name, _, _ in tables} == set(hung.execute(REFERENCES))
