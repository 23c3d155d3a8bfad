"""Deleting devices takes what hangs on them along, and costs the devices and not the registry."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest

from include.devices.repository import queries as registry
from include.timers.repository import queries as timers

#: A fifth of the devices has something of each kind that may hang on a device, and each has a timer.
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
    INSERT INTO schedule (kind, expression, timezone, dag_id, description)
    VALUES ('timer', '0 30 7 * * *', 'Asia/Shanghai', 'timer.0730', 'At 07:30')
    """,
    """
    INSERT INTO timer_group (group_id, device_id, period, first_day, timezone, enabled, offline, offline_ttl,
                             created_at, updated_at, deleted_at)
    SELECT lpad(id::text, 32, '0'), id, '1111111', 'sunday', 'Asia/Shanghai', true, 'skip', '1 hour',
           now(), now(), CASE WHEN id % 3 = 0 THEN now() END
    FROM device
    """,
    """
    INSERT INTO definition (kind, schedule_id, name, enabled, active_since, weekdays, misfire, misfire_grace,
                            overlap, created_at, updated_at, deleted_at)
    SELECT 'timer', s.id, g.group_id, true, now(), 127, 'skip', '1 minute',
           'allow', now(), now(), g.deleted_at
    FROM timer_group g, schedule s
    """,
    """
    INSERT INTO device_timer (definition_id, group_id, name, ordinal, hour, minute, commands)
    SELECT d.id, g.id, d.name, 0, '7', '30', '{}' FROM definition d JOIN timer_group g ON g.group_id = d.name
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
        groups = [id for (id,) in hung.execute(timers.groups_of_devices, {"devices": ids})]
        gone = hung.execute(timers.delete_groups, {"ids": groups, "now": datetime.now(UTC)}).rowcount
        deleted = hung.execute(registry.delete_devices, {"ids": ids}).rowcount
        tables = hung.execute(
            "SELECT relname, seq_scan, idx_scan FROM pg_stat_xact_user_tables WHERE seq_scan + idx_scan > 0"
        ).fetchall()
    assert deleted == count
    assert gone == len(groups) == sum(id % 3 > 0 for id in ids)
    assert [name for name, whole, _ in tables if whole] == []
    # Every table that refers to devices was looked into, devices themselves among them.
    assert {(name,) for name, _, _ in tables} >= set(hung.execute(REFERENCES))
