-- name: active_schedules
-- What the DAG factory builds, in an order that never changes: all active ones, those of them that changed
-- within `recent`, or those of these ids, which a run under way may still need after the schedule has left.
SELECT id, kind, expression, timezone, cycle, dag_id, description, active, active_since, shards
FROM schedule
WHERE CASE WHEN %(dag_ids)s::text[] IS NULL
           THEN active AND (%(recent)s::interval IS NULL OR changed_at > now() - %(recent)s::interval)
           ELSE dag_id = ANY(%(dag_ids)s) END
ORDER BY dag_id

-- name: find_same_schedule
-- The schedule of this kind, expression, zone and cycle. Takes no lock: requests that share schedules do not wait here.
SELECT id FROM schedule
WHERE kind = %(kind)s AND expression = %(expression)s AND timezone = %(timezone)s AND cycle = %(cycle)s

-- name: lock_new_schedules
-- One transaction at a time makes new schedules: two that made the same ones in another order would deadlock.
SELECT pg_advisory_xact_lock(%(lock)s)

-- name: insert_schedule
-- A new schedule, inactive until something hangs on it; one that another request made meanwhile stays.
INSERT INTO schedule (kind, expression, timezone, cycle, dag_id, description)
VALUES (%(kind)s, %(expression)s, %(timezone)s, %(cycle)s, %(dag_id)s, %(description)s)
ON CONFLICT ON CONSTRAINT schedule_unique DO NOTHING

-- name: refresh_schedules
-- Set `active`, `active_since` and `shards` from what hangs on each schedule now. A one-shot schedule stays
-- active until `retire_once`, so that the next rerun or one-shot finds it armed.
WITH load AS (
    SELECT s.id,
           (SELECT count(*) FROM definition d
             WHERE d.schedule_id = s.id AND d.enabled AND d.deleted_at IS NULL AND NOT d.spent) AS live,
           EXISTS (SELECT FROM execution e
                    WHERE e.schedule_id = s.id AND e.state IN ('pending', 'running', 'retrying')) AS open
    FROM schedule s
    WHERE s.id = ANY(%(ids)s)
), wanted AS (
    SELECT s.id,
           l.live > 0 OR (s.expression = '@once' AND (s.active OR l.open)) AS active,
           least(64, greatest(s.shards,
                 power(2, ceil(log(2, greatest(1, ceil(l.live / %(per_shard)s::numeric))))))::integer) AS shards
    FROM schedule s JOIN load l USING (id)
)
UPDATE schedule s
SET active = w.active,
    active_since = CASE WHEN w.active AND NOT s.active THEN %(now)s ELSE s.active_since END,
    shards = CASE WHEN w.active THEN w.shards ELSE 1 END,
    announced = false, changed_at = %(now)s
FROM wanted w
WHERE w.id = s.id AND (s.active, s.shards) IS DISTINCT FROM (w.active, CASE WHEN w.active THEN w.shards ELSE 1 END)
RETURNING s.id

-- name: lock_schedules
-- Serialise two requests that change what hangs on the same schedules.
SELECT id FROM schedule WHERE id = ANY(%(ids)s) ORDER BY id FOR NO KEY UPDATE

-- name: unannounced_schedules
-- What the DAG processor has not been told yet.
SELECT id, active FROM schedule WHERE NOT announced ORDER BY id

-- name: mark_announced
-- The DAG processor has been asked to look at these.
UPDATE schedule SET announced = true WHERE id = ANY(%(ids)s)

-- name: notify_schedules
-- Wake the triggers that have a window of these schedules armed.
SELECT pg_notify('carillon_schedule', id::text) FROM unnest(%(ids)s::bigint[]) AS id

-- name: idle_once_schedules
-- One-shot schedules with nothing left to do since `before`.
SELECT s.id FROM schedule s
WHERE s.active AND s.expression = '@once'
  AND NOT EXISTS (SELECT FROM definition d
                   WHERE d.schedule_id = s.id AND d.enabled AND d.deleted_at IS NULL AND NOT d.spent)
  AND NOT EXISTS (SELECT FROM execution e
                   WHERE e.schedule_id = s.id AND e.state IN ('pending', 'running', 'retrying'))
  AND s.active_since < %(before)s
  AND NOT EXISTS (SELECT FROM execution e
                   WHERE e.schedule_id = s.id AND e.due_at >= %(before)s AND e.finished_at >= %(before)s)

-- name: retire_once
-- The DAGs of these one-shot schedules leave.
UPDATE schedule SET active = false, shards = 1, announced = false, changed_at = now() WHERE id = ANY(%(ids)s) AND active

-- name: find_orphaned_kinds
-- Kinds with open executions that no run will look after: overdue, and their schedule is not active any more.
-- Billing ends its own, see `end_orphans` of include/billing_plan: one-shots are fired, and bills are not.
SELECT DISTINCT s.kind
FROM execution e JOIN schedule s ON s.id = e.schedule_id
WHERE e.state IN ('pending', 'retrying') AND NOT s.active AND e.next_attempt_at < %(before)s
  AND s.kind <> 'billing'

-- name: rehome_orphans
-- The one-shot schedule of their kind looks after them from now on.
UPDATE execution e
SET schedule_id = %(once_id)s
FROM schedule s
WHERE s.id = e.schedule_id AND s.kind = %(kind)s AND NOT s.active
  AND e.state IN ('pending', 'retrying') AND e.next_attempt_at < %(before)s

-- name: limit_lock_wait
-- Making a partition locks its parent: whoever waits long for that lock makes all firing wait behind.
SELECT set_config('lock_timeout', '1s', true)

-- name: ensure_partitions
-- Monthly ledger partitions from last month to three months ahead.
SELECT ensure_ledger_partitions(%(now)s::timestamptz - interval '1 month', %(now)s::timestamptz + interval '3 months')
