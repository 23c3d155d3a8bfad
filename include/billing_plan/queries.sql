-- name: lock_schedule
-- One plan of a schedule at a time, and none while a request changes what hangs on it.
SELECT id FROM schedule WHERE id = %(schedule_id)s FOR NO KEY UPDATE

-- name: list_live
-- The tasks that a window of this schedule can have.
SELECT d.id, d.active_since
FROM definition d
WHERE d.schedule_id = %(schedule_id)s AND d.kind = 'billing' AND d.enabled AND d.deleted_at IS NULL
ORDER BY d.id

-- name: list_named
-- Which of these definitions hang on this schedule, enabled or not.
SELECT d.id
FROM definition d
WHERE d.schedule_id = %(schedule_id)s AND d.kind = 'billing' AND d.deleted_at IS NULL
  AND d.id = ANY(%(definition_ids)s)
ORDER BY d.id

-- name: arm_scheduled
-- An execution for each pair of task and instant; what is there stays.
INSERT INTO execution (definition_id, schedule_id, due_at, origin, state, next_attempt_at, run_id)
SELECT w.definition_id, %(schedule_id)s, w.due_at, 'scheduled', 'pending', w.due_at, %(run_id)s
FROM unnest(%(definition_ids)s::bigint[], %(dues)s::timestamptz[]) AS w (definition_id, due_at)
ON CONFLICT ON CONSTRAINT execution_once DO NOTHING

-- name: arm_condensed
-- One row a task that stands for the older instants of a long outage.
INSERT INTO execution (definition_id, schedule_id, due_at, origin, state, reason, covers_since, covers_count,
                       finished_at, run_id)
SELECT w.definition_id, %(schedule_id)s, w.due_at, 'scheduled', 'missed',
       'outage: the bills of the first later instant cover its time', w.since, w.count, %(now)s, %(run_id)s
FROM unnest(%(definition_ids)s::bigint[], %(dues)s::timestamptz[], %(sinces)s::timestamptz[],
            %(counts)s::integer[]) AS w (definition_id, due_at, since, count)
ON CONFLICT ON CONSTRAINT execution_once DO NOTHING

-- name: arm_manual
-- One execution at the moment of a manual run for each of these tasks; what is there stays.
INSERT INTO execution (definition_id, schedule_id, due_at, origin, state, next_attempt_at, run_id)
SELECT id, %(schedule_id)s, %(due_at)s, 'manual', 'pending', %(due_at)s, %(run_id)s
FROM unnest(%(definition_ids)s::bigint[]) AS id
ON CONFLICT ON CONSTRAINT execution_once DO NOTHING

-- name: skip_refused
-- What waits and must not be billed any more, since its task was switched off, deleted or moved meanwhile.
UPDATE execution e
SET state = 'skipped', next_attempt_at = NULL, finished_at = %(now)s,
    reason = CASE WHEN d.deleted_at IS NOT NULL THEN 'deleted'
                  WHEN d.schedule_id <> e.schedule_id THEN 'rescheduled' ELSE 'disabled' END
FROM definition d
WHERE d.id = e.definition_id AND e.schedule_id = %(schedule_id)s AND e.state = 'pending'
  AND e.origin = 'scheduled' AND e.due_at <= %(until)s
  AND (d.deleted_at IS NOT NULL OR d.schedule_id <> e.schedule_id OR NOT d.enabled)

-- name: take_scheduled
-- What a window has to do, by task: its own instants, and what earlier runs left open. Those that are open count as
-- this run's from now on; of a task with more than `most` the older ones are given up. Found task by task: the
-- ledger of a month may hold a million executions of others.
WITH wanted AS MATERIALIZED (
    SELECT e.id, e.due_at, e.definition_id, d.name, e.state = 'running'
           OR row_number() OVER (PARTITION BY e.definition_id ORDER BY e.due_at DESC) <= %(most)s AS listed
    FROM definition d
    CROSS JOIN LATERAL (
        SELECT w.* FROM execution w
        WHERE w.definition_id = d.id AND w.due_at > %(start)s AND w.due_at <= %(until)s
        UNION ALL
        SELECT o.* FROM execution o
        WHERE o.definition_id = d.id AND o.due_at <= %(start)s AND o.state IN ('pending', 'running', 'retrying')
    ) e
    WHERE d.schedule_id = %(schedule_id)s AND d.kind = 'billing' AND d.enabled AND d.deleted_at IS NULL
      AND e.schedule_id = d.schedule_id AND e.origin = 'scheduled' AND e.covers_since IS NULL
), taken AS (
    UPDATE execution e SET run_id = %(run_id)s
    FROM wanted w
    WHERE e.id = w.id AND e.due_at = w.due_at AND w.listed
      AND e.state IN ('pending', 'running', 'retrying') AND e.run_id IS DISTINCT FROM %(run_id)s
), given_up AS (
    UPDATE execution e
    SET state = 'missed', reason = 'the bills of a later instant cover its time', next_attempt_at = NULL,
        finished_at = %(now)s
    FROM wanted w
    WHERE e.id = w.id AND e.due_at = w.due_at AND NOT w.listed AND e.state IN ('pending', 'retrying')
)
SELECT definition_id, name, array_agg(due_at ORDER BY due_at) AS due_at
FROM wanted
WHERE listed
GROUP BY definition_id, name
ORDER BY definition_id

-- name: take_manual
-- What a manual run has to do, by task.
SELECT e.definition_id, d.name, array_agg(e.due_at) AS due_at
FROM execution e JOIN definition d ON d.id = e.definition_id
WHERE e.definition_id = ANY(%(definition_ids)s) AND e.due_at = %(due_at)s AND e.origin = 'manual'
  AND e.schedule_id = %(schedule_id)s AND d.deleted_at IS NULL
GROUP BY e.definition_id, d.name
ORDER BY e.definition_id

-- name: take_turn
-- Alone with a task as long as the session lives.
SELECT pg_try_advisory_lock(%(lock_class)s, (%(definition_id)s::bigint %% 2147483647)::integer) AS held

-- name: claim
-- An instant is to be billed, by whoever has the task's turn: so nobody else is at it, whatever its state says.
-- What was begun is ended, also when its task was switched off since; what did not succeed is done again.
WITH checked AS (
    SELECT e.id, e.due_at, e.attempts, e.state, e.reason, e.origin, t.commodity, d.project_id,
           coalesce(p.timezone, %(timezone)s) AS timezone, coalesce(p.cut, 'instant') AS cut,
           CASE WHEN e.state = 'succeeded' THEN 'done'
                WHEN d.deleted_at IS NOT NULL THEN 'deleted'
                WHEN e.origin = 'manual' THEN 'go'
                WHEN e.attempts > 0 AND e.state IN ('running', 'retrying') THEN 'go'
                WHEN NOT d.enabled THEN 'disabled'
                WHEN e.attempts > 0 THEN 'go'
                WHEN d.schedule_id <> e.schedule_id THEN 'rescheduled'
                WHEN e.due_at <= d.active_since THEN 'disabled'
                ELSE 'go' END AS verdict
    FROM execution e
    JOIN definition d ON d.id = e.definition_id
    JOIN billing_task t ON t.definition_id = d.id
    LEFT JOIN billing_project p ON p.project_id = d.project_id
    WHERE e.definition_id = %(definition_id)s AND e.due_at = %(due_at)s AND e.origin = %(origin)s
      AND e.covers_since IS NULL
    FOR UPDATE OF e
), interrupted AS (
    UPDATE attempt a
    SET state = 'failed', end_at = %(now)s, error = 'interrupted: the worker that billed stopped'
    FROM checked c
    WHERE a.execution_id = c.id AND a.due_at = c.due_at AND a.number = c.attempts AND a.state = 'started'
), claimed AS (
    UPDATE execution e
    SET state = 'running', claimed_by = nextval('claimer_id')::integer, claimed_at = %(now)s,
        attempts = e.attempts + 1, reason = NULL, finished_at = NULL,
        next_attempt_at = coalesce(e.next_attempt_at, %(now)s), run_id = %(run_id)s, run_try = %(run_try)s,
        lateness_ms = coalesce(e.lateness_ms,
                               extract(epoch FROM %(now)s - e.due_at)::double precision * 1000)
    FROM checked c
    WHERE c.verdict = 'go' AND e.id = c.id AND e.due_at = c.due_at
    RETURNING e.id, e.due_at, e.attempts, e.definition_id, e.origin
), opened AS (
    INSERT INTO attempt (execution_id, due_at, number, definition_id, run_type, state, begin_at)
    SELECT id, due_at, attempts, definition_id, CASE WHEN attempts = 1 AND origin = 'scheduled' THEN 1 ELSE 2 END,
           'started', %(now)s
    FROM claimed
), refused AS (
    UPDATE execution e
    SET state = CASE WHEN e.attempts = 0 THEN 'skipped' ELSE 'failed' END, reason = c.verdict,
        next_attempt_at = NULL, claimed_by = NULL, claimed_at = NULL, finished_at = %(now)s
    FROM checked c
    WHERE c.verdict NOT IN ('go', 'done') AND e.state IN ('pending', 'running', 'retrying')
      AND e.id = c.id AND e.due_at = c.due_at
)
SELECT c.id AS execution_id, c.verdict, k.attempts AS attempt, c.reason, c.project_id, c.commodity, c.timezone, c.cut
FROM checked c LEFT JOIN claimed k ON k.id = c.id

-- name: record
-- What came of an attempt. One that somebody else has taken up meanwhile counts no more.
WITH moved AS (
    UPDATE execution
    SET state = %(state)s, reason = %(reason)s, next_attempt_at = %(next_attempt_at)s,
        claimed_by = NULL, claimed_at = NULL,
        finished_at = CASE WHEN %(next_attempt_at)s::timestamptz IS NULL THEN %(now)s::timestamptz END
    WHERE id = %(execution_id)s AND due_at = %(due_at)s AND attempts = %(attempt)s AND state = 'running'
    RETURNING id, due_at
)
UPDATE attempt a
SET state = CASE WHEN %(state)s = 'succeeded' THEN 'succeeded' ELSE 'failed' END, end_at = %(now)s,
    response = %(response)s, error = %(error)s
FROM moved m
WHERE a.execution_id = m.id AND a.due_at = m.due_at AND a.number = %(attempt)s AND a.state = 'started'

-- name: end_left_open
-- At the end of a run: what its workers left behind when they stopped, and nobody has in hand.
WITH ended AS (
    UPDATE execution e
    SET state = 'failed', reason = %(reason)s, next_attempt_at = NULL, claimed_by = NULL, claimed_at = NULL,
        finished_at = %(now)s
    WHERE e.schedule_id = %(schedule_id)s AND e.run_id = %(run_id)s
      AND e.state IN ('pending', 'running', 'retrying')
      AND NOT EXISTS (
          SELECT FROM pg_locks l
          WHERE l.locktype = 'advisory' AND l.classid = %(lock_class)s AND l.objsubid = 2 AND l.granted
            AND l.objid = (e.definition_id %% 2147483647)::integer
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
    RETURNING e.id, e.due_at, e.attempts
)
UPDATE attempt a
SET state = 'failed', end_at = %(now)s, error = 'interrupted: the worker that billed stopped'
FROM ended e
WHERE a.execution_id = e.id AND a.due_at = e.due_at AND a.number = e.attempts AND a.state = 'started'

-- name: end_orphans
-- What was planned when its schedule became inactive, and Airflow does not start any more: what waits is skipped,
-- what was begun and nobody has in hand has failed.
WITH ended AS (
    UPDATE execution e
    SET state = CASE WHEN e.attempts = 0 THEN 'skipped' ELSE 'failed' END,
        reason = 'its schedule became inactive before it was billed', next_attempt_at = NULL,
        claimed_by = NULL, claimed_at = NULL, finished_at = %(now)s
    FROM schedule s
    WHERE s.id = e.schedule_id AND s.kind = 'billing' AND NOT s.active
      AND e.state IN ('pending', 'running', 'retrying')
      AND CASE WHEN e.attempts = 0 THEN e.next_attempt_at < %(planned_before)s
               ELSE e.claimed_at IS NULL OR e.claimed_at < %(begun_before)s END
      AND NOT EXISTS (
          SELECT FROM pg_locks l
          WHERE l.locktype = 'advisory' AND l.classid = %(lock_class)s AND l.objsubid = 2 AND l.granted
            AND l.objid = (e.definition_id %% 2147483647)::integer
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
    RETURNING e.id, e.due_at, e.attempts
)
UPDATE attempt a
SET state = 'failed', end_at = %(now)s, error = 'interrupted: the worker that billed stopped'
FROM ended e
WHERE a.execution_id = e.id AND a.due_at = e.due_at AND a.number = e.attempts AND a.state = 'started'
