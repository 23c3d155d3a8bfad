-- name: count_live
-- How many definitions of this shard a window can have.
SELECT count(*) AS live FROM definition d
WHERE d.schedule_id = %(schedule_id)s AND d.enabled AND d.deleted_at IS NULL AND NOT d.spent
  AND d.id %% %(shards)s = %(shard)s

-- name: adopt_moved
-- Take over instants of definitions that came from another schedule which has the same instant.
UPDATE execution e
SET schedule_id = d.schedule_id, run_id = %(run_id)s, state = 'pending', reason = NULL, finished_at = NULL,
    next_attempt_at = e.due_at
FROM definition d
CROSS JOIN unnest(%(instants)s::timestamptz[], %(days)s::smallint[]) AS i (due_at, day)
WHERE d.schedule_id = %(schedule_id)s AND d.enabled AND d.deleted_at IS NULL
  AND d.id %% %(shards)s = %(shard)s
  AND (d.weekdays IS NULL OR d.weekdays & i.day <> 0)
  AND e.definition_id = d.id AND e.origin = 'scheduled' AND e.due_at = i.due_at
  AND e.schedule_id <> d.schedule_id AND e.attempts = 0
  AND (e.state = 'pending' OR e.reason = 'rescheduled')

-- name: arm_scheduled
-- One execution per enabled definition of this shard and instant of the window; what is there stays. `days` are
-- the weekdays of the instants in the schedule's zone, as bits.
INSERT INTO execution (definition_id, schedule_id, due_at, origin, state, next_attempt_at, run_id)
SELECT d.id, d.schedule_id, i.due_at, 'scheduled', 'pending', i.due_at, %(run_id)s
FROM definition d
CROSS JOIN unnest(%(instants)s::timestamptz[], %(days)s::smallint[]) AS i (due_at, day)
WHERE d.schedule_id = %(schedule_id)s AND d.enabled AND d.deleted_at IS NULL AND NOT d.spent
  AND d.id %% %(shards)s = %(shard)s
  AND (d.weekdays IS NULL OR d.weekdays & i.day <> 0)
  AND i.due_at > d.active_since
  AND (d.expires_at IS NULL OR i.due_at <= d.expires_at)
ON CONFLICT ON CONSTRAINT execution_once DO NOTHING

-- name: arm_condensed
-- One row a definition that stands for the older instants of a long outage, of which each weekday has its
-- number and its latest.
INSERT INTO execution (definition_id, schedule_id, due_at, origin, state, reason, covers_since, covers_count,
                       finished_at, run_id)
SELECT d.id, d.schedule_id, older.latest, 'scheduled', 'missed', 'outage: older than what one run lists singly',
       greatest(%(since)s, d.active_since), older.count, %(now)s, %(run_id)s
FROM definition d
CROSS JOIN LATERAL (
    SELECT max(w.latest) AS latest, sum(w.count)::integer AS count
    FROM unnest(%(latests)s::timestamptz[], %(counts)s::integer[], %(days)s::smallint[]) AS w (latest, count, day)
    WHERE d.weekdays IS NULL OR d.weekdays & w.day <> 0
) AS older
WHERE d.schedule_id = %(schedule_id)s AND d.enabled AND d.deleted_at IS NULL
  AND d.id %% %(shards)s = %(shard)s
  AND older.latest > d.active_since
  AND (d.expires_at IS NULL OR older.latest <= d.expires_at)
ON CONFLICT ON CONSTRAINT execution_once DO NOTHING

-- name: arm_once
-- The one-shots of this shard that are due by the end of the window enter the ledger, once.
WITH due AS (
    UPDATE definition SET spent = true
    WHERE schedule_id = %(schedule_id)s AND enabled AND deleted_at IS NULL AND NOT spent
      AND id %% %(shards)s = %(shard)s AND due_at <= %(until)s
    RETURNING id, schedule_id, due_at
)
INSERT INTO execution (definition_id, schedule_id, due_at, origin, state, next_attempt_at, run_id)
SELECT id, schedule_id, due_at, 'scheduled', 'pending', due_at, %(run_id)s FROM due
ON CONFLICT ON CONSTRAINT execution_once DO NOTHING

-- name: arm_manual
-- One execution, now, per enabled definition of this shard, or per definition that was named.
INSERT INTO execution (definition_id, schedule_id, due_at, origin, state, next_attempt_at, run_id)
SELECT d.id, d.schedule_id, %(due_at)s, 'manual', 'pending', %(due_at)s, %(run_id)s
FROM definition d
WHERE d.schedule_id = %(schedule_id)s AND d.deleted_at IS NULL AND d.id %% %(shards)s = %(shard)s
  AND CASE WHEN %(definition_ids)s::bigint[] IS NULL THEN d.enabled AND NOT d.spent
           ELSE d.id = ANY(%(definition_ids)s) END
ON CONFLICT ON CONSTRAINT execution_once DO NOTHING

-- name: arm_rerun
-- One execution, now, per named definition, served by the one-shot schedule of its kind.
INSERT INTO execution (definition_id, schedule_id, due_at, origin, state, next_attempt_at)
SELECT id, %(once_id)s, %(due_at)s, 'manual', 'pending', %(due_at)s
FROM unnest(%(definition_ids)s::bigint[]) AS id
ON CONFLICT ON CONSTRAINT execution_once DO NOTHING
RETURNING id

-- name: settle_misfires
-- Apply each definition's misfire policy to what nobody fired in time: past its grace it is missed; of
-- several late instants only the latest fires, unless the policy is to fire all. `later` is 1 where the
-- latest one belongs to a window after this. What waits in a queue is not late: it waits.
WITH late AS (
    SELECT e.id, e.due_at, d.misfire, d.misfire_grace,
           row_number() OVER (PARTITION BY e.definition_id ORDER BY e.due_at DESC) + %(later)s AS age
    FROM execution e JOIN definition d ON d.id = e.definition_id
    WHERE e.schedule_id = %(schedule_id)s AND e.state = 'pending' AND e.attempts = 0
      AND e.origin = 'scheduled' AND e.reason IS NULL
      AND e.definition_id %% %(shards)s = %(shard)s
      AND e.due_at <= %(until)s
      AND e.due_at < %(now)s - %(threshold)s
      AND NOT (d.overlap = 'queue' AND EXISTS (
            SELECT FROM execution o
            WHERE o.definition_id = e.definition_id AND o.id <> e.id AND o.due_at < e.due_at
              AND o.state IN ('pending', 'running', 'retrying')))
), verdict AS (
    SELECT id, due_at,
           CASE WHEN due_at < %(now)s - misfire_grace THEN 'missed'
                WHEN misfire IN ('fire_once', 'skip') AND age > 1 AND due_at > %(start)s
                    THEN 'skipped' END AS state,
           CASE WHEN due_at < %(now)s - misfire_grace THEN 'misfire: older than its grace'
                ELSE 'misfire: a later instant fired in its place' END AS reason
    FROM late
)
UPDATE execution e
SET state = v.state, reason = v.reason, next_attempt_at = NULL, finished_at = %(now)s
FROM verdict v
WHERE v.state IS NOT NULL AND e.id = v.id AND e.due_at = v.due_at

-- name: reopen
-- A cleared run executes again what did not succeed in it.
UPDATE execution e
SET state = 'pending', reason = 'rerun', next_attempt_at = %(now)s, finished_at = NULL, retries_used = 0
FROM definition d
WHERE d.id = e.definition_id AND d.deleted_at IS NULL AND (d.enabled OR e.origin = 'manual')
  AND e.run_id = %(run_id)s AND e.schedule_id = %(schedule_id)s
  AND e.definition_id %% %(shards)s = %(shard)s
  AND e.state IN ('failed', 'skipped', 'missed') AND e.covers_count = 1
  AND e.run_try < %(run_try)s

-- name: release_dead_claims
-- Take back what was claimed by a process that is gone: the advisory lock it held is gone with it. Just after
-- the server started nobody has had the time to take its lock again.
WITH dead AS (
    SELECT e.id, e.due_at, e.attempts
    FROM execution e
    WHERE e.schedule_id = %(schedule_id)s AND e.state = 'running'
      AND e.definition_id %% %(shards)s = %(shard)s
      AND CASE WHEN e.claimed_by = %(claimer)s
               THEN NOT e.id = ANY(%(held)s) AND e.claimed_at < %(now)s
               ELSE pg_postmaster_start_time() < now() - interval '5 seconds' AND NOT EXISTS (
                   SELECT FROM pg_locks l
                   WHERE l.locktype = 'advisory' AND l.classid = %(lock_class)s AND l.objsubid = 2
                     AND l.objid = e.claimed_by AND l.granted
                     AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())) END
    FOR UPDATE OF e SKIP LOCKED
), interrupted AS (
    UPDATE attempt a
    SET state = 'failed', end_at = %(now)s, error = 'interrupted: the process that made the call stopped'
    FROM dead
    WHERE a.execution_id = dead.id AND a.due_at = dead.due_at AND a.number = dead.attempts AND a.state = 'started'
)
UPDATE execution e
SET state = 'retrying', claimed_by = NULL, claimed_at = NULL
FROM dead
WHERE e.id = dead.id AND e.due_at = dead.due_at

-- name: load_window
-- What a window still has to do, and what an earlier one left behind. The rows count as this run's from now on.
WITH mine AS (
    SELECT e.id, e.due_at
    FROM execution e
    WHERE e.schedule_id = %(schedule_id)s AND e.state IN ('pending', 'retrying')
      AND e.origin = 'scheduled'
      AND e.definition_id %% %(shards)s = %(shard)s
      AND (e.due_at > %(start)s OR e.next_attempt_at < %(orphaned_before)s) AND e.due_at <= %(until)s
      AND NOT e.id = ANY(%(known)s)
)
UPDATE execution e
SET run_try = %(run_try)s, run_id = %(run_id)s
FROM mine, definition d
WHERE e.id = mine.id AND e.due_at = mine.due_at AND d.id = e.definition_id
RETURNING e.id, e.due_at, e.definition_id, e.origin, e.attempts, e.retries_used, e.next_attempt_at, d.revision

-- name: load_once
-- What a one-shot window has to do: what is due in it, and what an earlier one left behind.
WITH mine AS (
    SELECT e.id, e.due_at
    FROM execution e
    WHERE e.schedule_id = %(schedule_id)s AND e.state IN ('pending', 'retrying')
      AND e.definition_id %% %(shards)s = %(shard)s
      AND e.next_attempt_at <= %(until)s
      AND NOT e.id = ANY(%(known)s)
)
UPDATE execution e
SET run_try = %(run_try)s, run_id = %(run_id)s
FROM mine, definition d
WHERE e.id = mine.id AND e.due_at = mine.due_at AND d.id = e.definition_id
RETURNING e.id, e.due_at, e.definition_id, e.origin, e.attempts, e.retries_used, e.next_attempt_at, d.revision

-- name: load_manual
-- What a manually triggered run still has to do.
UPDATE execution e
SET run_try = %(run_try)s
FROM definition d
WHERE e.schedule_id = %(schedule_id)s AND e.state IN ('pending', 'retrying')
  AND e.definition_id %% %(shards)s = %(shard)s
  AND e.run_id = %(run_id)s AND e.origin = 'manual' AND d.id = e.definition_id
  AND NOT e.id = ANY(%(known)s)
RETURNING e.id, e.due_at, e.definition_id, e.origin, e.attempts, e.retries_used, e.next_attempt_at, d.revision

-- name: count_open
-- How much of a scope has not ended, whoever has it.
SELECT count(*) AS open FROM execution e
WHERE e.schedule_id = %(schedule_id)s AND e.state IN ('pending', 'running', 'retrying')
  AND e.definition_id %% %(shards)s = %(shard)s
  AND CASE WHEN %(manual)s THEN e.run_id = %(run_id)s AND e.origin = 'manual'
           WHEN %(once)s THEN e.next_attempt_at > %(start)s AND e.next_attempt_at <= %(until)s
           ELSE e.origin = 'scheduled' AND e.due_at > %(start)s AND e.due_at <= %(until)s END

-- name: claim
-- Just before the instant: re-read what changed meanwhile, refuse what must not fire, claim the rest and
-- open an attempt for each.
WITH wanted AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(dues)s::timestamptz[], %(attempts)s::integer[], %(days)s::smallint[])
        AS w (id, due_at, attempts, day)
), checked AS (
    SELECT e.id, e.due_at, e.attempts, d.revision,
           CASE WHEN d.deleted_at IS NOT NULL THEN 'deleted'
                WHEN e.origin = 'manual' THEN 'go'
                WHEN NOT d.enabled THEN 'disabled'
                WHEN e.attempts > 0 OR e.reason = 'rerun' THEN 'go'
                WHEN d.schedule_id <> e.schedule_id OR (d.due_at IS NOT NULL AND d.due_at <> e.due_at)
                    THEN 'rescheduled'
                WHEN d.weekdays & w.day = 0 THEN 'rescheduled'
                WHEN d.expires_at < e.due_at THEN 'expired'
                WHEN d.overlap = 'allow' THEN 'go'
                WHEN EXISTS (SELECT FROM execution o
                              WHERE o.definition_id = e.definition_id AND o.id <> e.id AND o.due_at < e.due_at
                                AND o.state IN ('pending', 'running', 'retrying'))
                    THEN CASE d.overlap WHEN 'queue' THEN 'wait' ELSE 'overlap' END
                ELSE 'go' END AS verdict
    FROM wanted w
    -- Other attempts than were expected: somebody else was at it, and this is to be loaded anew.
    JOIN execution e ON e.id = w.id AND e.due_at = w.due_at AND e.attempts = w.attempts
    JOIN definition d ON d.id = e.definition_id
    WHERE e.state IN ('pending', 'retrying')
    FOR UPDATE OF e SKIP LOCKED
), claimed AS (
    UPDATE execution e
    SET state = 'running', claimed_by = %(claimer)s, claimed_at = %(now)s, attempts = e.attempts + 1
    FROM checked c
    WHERE c.verdict = 'go' AND e.id = c.id AND e.due_at = c.due_at
    RETURNING e.id, e.due_at, e.attempts, e.definition_id, e.retries_used, e.origin, e.next_attempt_at
), opened AS (
    INSERT INTO attempt (execution_id, due_at, number, definition_id, run_type, state, begin_at)
    SELECT id, due_at, attempts, definition_id,
           CASE WHEN attempts = 1 AND origin = 'scheduled' THEN 1 ELSE 2 END, 'started',
           greatest(next_attempt_at, %(now)s)
    FROM claimed
), refused AS (
    UPDATE execution e
    SET state = CASE WHEN e.attempts = 0 THEN 'skipped' ELSE 'failed' END, reason = c.verdict,
        next_attempt_at = NULL, finished_at = %(now)s
    FROM checked c
    WHERE c.verdict NOT IN ('go', 'wait') AND e.id = c.id AND e.due_at = c.due_at
)
-- Not joined with `claimed`: the planner takes both for a row each, and would compare each with each.
SELECT id, verdict, revision, CASE WHEN verdict = 'go' THEN attempts + 1 END AS attempt FROM checked

-- name: record
-- What came of a batch of attempts: the attempts end, their executions move on. A result counts also when
-- the claim was taken back meanwhile, as long as nobody has begun another attempt.
WITH result AS (
    SELECT * FROM json_to_recordset(%(results)s::json) AS r (
        id bigint, due_at timestamptz, number integer, attempt_state text, begin_at timestamptz,
        end_at timestamptz, url text, body text, status integer, response text, error text,
        state text, next_attempt_at timestamptz, reason text, lane bigint)
), ended AS (
    UPDATE attempt a
    SET state = r.attempt_state, begin_at = r.begin_at, end_at = r.end_at, url = r.url, body = r.body,
        status = r.status, response = r.response, error = r.error
    FROM result r
    WHERE a.execution_id = r.id AND a.due_at = r.due_at AND a.number = r.number
)
UPDATE execution e
SET state = r.state, reason = r.reason, next_attempt_at = r.next_attempt_at,
    claimed_by = NULL, claimed_at = NULL,
    finished_at = CASE WHEN r.next_attempt_at IS NULL THEN r.end_at END,
    retries_used = e.retries_used + CASE WHEN r.next_attempt_at IS NULL THEN 0 ELSE 1 END,
    lateness_ms = coalesce(e.lateness_ms,
                           extract(epoch FROM r.begin_at - e.due_at)::double precision * 1000),
    schedule_id = coalesce(r.lane, e.schedule_id)
FROM result r
WHERE e.id = r.id AND e.due_at = r.due_at AND e.attempts = r.number
  -- A CASE, which the planner does not take for a row or two and then compares each with each.
  AND CASE e.state WHEN 'running' THEN e.claimed_by = %(claimer)s WHEN 'retrying' THEN e.claimed_by IS NULL END

-- name: next_claimer_id
-- An identity for this process.
SELECT nextval('claimer_id')::integer AS id

-- name: hold_claimer_lock
-- Held as long as the session lives: others see by it that this process does.
SELECT pg_try_advisory_lock(%(lock_class)s, %(claimer)s) AS held
