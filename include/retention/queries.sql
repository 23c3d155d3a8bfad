-- name: list_partitions
-- The ledger's partitions with their size.
SELECT c.relname AS name, greatest(c.reltuples, 0)::bigint AS rows, pg_total_relation_size(c.oid) AS bytes
FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent IN ('execution'::regclass, 'attempt'::regclass)
ORDER BY c.relname

-- name: wait_briefly_for_locks
-- A partition that comes or goes locks the whole ledger; what is firing must not queue up behind our wait.
SET LOCAL lock_timeout = '1s'

-- name: lock_ledger
-- From here on nobody writes to the ledger, so what is counted as open stays so.
LOCK TABLE execution IN ACCESS EXCLUSIVE MODE

-- name: count_open
-- Executions of a month that have not ended.
SELECT count(*) AS open FROM execution
WHERE state IN ('pending', 'running', 'retrying')
  AND due_at >= %(starts)s AND due_at < %(ends)s

-- name: drop_month
-- Both partitions of a month; the names are put in as identifiers.
DROP TABLE IF EXISTS {execution}, {attempt}

-- name: delete_stray_attempts
-- Attempts of the default partition whose execution has ended or is gone.
DELETE FROM attempt_rest a
WHERE a.due_at < %(cutoff)s
  AND NOT EXISTS (SELECT FROM execution_rest e
                   WHERE e.id = a.execution_id AND e.due_at = a.due_at
                     AND e.state IN ('pending', 'running', 'retrying'))

-- name: delete_stray_executions
-- Executions of the default partition that have ended.
DELETE FROM execution_rest
WHERE due_at < %(cutoff)s AND state IN ('succeeded', 'failed', 'skipped', 'missed')

-- name: count_stray
-- What the two above would delete.
SELECT (SELECT count(*) FROM execution_rest
         WHERE due_at < %(cutoff)s AND state IN ('succeeded', 'failed', 'skipped', 'missed')) AS executions,
       (SELECT count(*) FROM attempt_rest a
         WHERE a.due_at < %(cutoff)s
           AND NOT EXISTS (SELECT FROM execution_rest e
                            WHERE e.id = a.execution_id AND e.due_at = a.due_at
                              AND e.state IN ('pending', 'running', 'retrying'))) AS attempts
