-- name: insert_task
-- A task as it was asked for. Its task_id is the moment in milliseconds and a number, so that it sorts by creation.
INSERT INTO batch_task (id, task_id, project_id, app_id, task_name, task_type, task_mode, need_confirm, task_ext_info,
                        targets, targets_filter, document, document_source, schedule_time, retry_count,
                        retry_interval, rollout, created_by, created_at, updated_at)
OVERRIDING SYSTEM VALUE
SELECT n.id,
       lpad(to_hex((extract(epoch FROM %(now)s::timestamptz) * 1000)::bigint), 12, '0') || lpad(to_hex(n.id), 12, '0'),
       %(project_id)s, %(app_id)s, %(task_name)s, %(task_type)s, %(task_mode)s, %(need_confirm)s, %(task_ext_info)s,
       %(targets)s, %(targets_filter)s, %(document)s, %(document_source)s, %(schedule_time)s, %(retry_count)s,
       %(retry_interval)s, %(rollout)s, %(created_by)s, %(now)s, %(now)s
FROM (SELECT nextval(pg_get_serial_sequence('batch_task', 'id')) AS id) n
RETURNING id

-- name: find_task
-- A task by our id or by that of clients; its targets, up to megabytes, only where they are asked for.
SELECT id, task_id, project_id, app_id, task_name, task_type, task_mode, need_confirm, task_ext_info,
       CASE WHEN %(with_targets)s THEN targets END AS targets, targets_filter, document, document_source,
       schedule_time, retry_count, retry_interval, rollout, created_by, status, status_desc, total, waitting,
       processing, success, fail, fail_wait_retry, stopped, removed, paused_at, pause_reason, dispatched,
       paced_until, judged_success, judged_fail, open_wave, runs_wanted, runs_started, created_at, started_at,
       finished_at
FROM batch_task
WHERE (id = %(id)s OR task_id = %(task_id)s)
  AND (%(projects)s::text[] IS NULL OR project_id = ANY(%(projects)s))

-- name: lock_task
-- A task without its targets, locked: whoever changes its sub-tasks comes here first, so counters are exact.
SELECT id, task_id, project_id, app_id, task_name, task_type, task_mode, need_confirm, task_ext_info,
       NULL AS targets, targets_filter, document, document_source,
       schedule_time, retry_count, retry_interval, rollout, created_by, status, status_desc, total, waitting,
       processing, success, fail, fail_wait_retry, stopped, removed, paused_at, pause_reason, dispatched,
       paced_until, judged_success, judged_fail, open_wave, runs_wanted, runs_started, created_at, started_at,
       finished_at
FROM batch_task
WHERE id = %(id)s
FOR NO KEY UPDATE

-- name: move_task
-- Another status of a task, that the table allows; a finished one says when it finished.
UPDATE batch_task
SET status = %(status)s::text, status_desc = %(status_desc)s, updated_at = %(now)s,
    started_at = CASE WHEN %(status)s::text = 'Processing' THEN coalesce(started_at, %(now)s) ELSE started_at END,
    finished_at = CASE WHEN %(finished)s THEN %(now)s END
WHERE id = %(id)s

-- name: count_dispatched
-- Attempts that a claim began, and what they leave of its rate.
UPDATE batch_task SET dispatched = dispatched + %(count)s, paced_until = %(paced_until)s
WHERE id = %(id)s

-- name: runless_tasks
-- Tasks of which a run is wanted that was not started yet, the oldest first.
SELECT id, task_id, task_name, task_type, schedule_time, runs_wanted, runs_started, created_by
FROM batch_task WHERE runs_wanted > runs_started AND id > %(after)s
ORDER BY id LIMIT %(limit)s

-- name: mark_run_started
-- Airflow has the runs of a task up to this one.
UPDATE batch_task SET runs_started = greatest(runs_started, %(runs)s), run_failure = NULL
WHERE id = %(id)s

-- name: mark_run_failed
-- Why Airflow does not have the next run of a task yet.
UPDATE batch_task SET run_failure = %(failure)s WHERE id = %(id)s AND run_failure IS DISTINCT FROM %(failure)s

-- name: want_run
-- One more run of a task.
UPDATE batch_task SET runs_wanted = runs_wanted + 1 WHERE id = %(id)s

-- name: unexpanded_tasks
-- Tasks that must not wait for their run to be expanded: it is scheduled for later, or their file goes after an hour.
SELECT id FROM batch_task
WHERE status = 'Initializing' AND (schedule_time > %(now)s OR document_source IS NOT NULL)
ORDER BY id LIMIT %(limit)s

-- name: notify_task
-- Whoever works on a task looks at it again once this is committed.
SELECT pg_notify('carillon_batch', %(id)s::text)

-- name: try_lock_sending
-- Nobody may stop this task while what was just claimed leaves; held by this session.
SELECT pg_try_advisory_lock_shared(%(lock_class)s, %(key)s) AS held

-- name: unlock_sending
-- What was claimed has left.
SELECT pg_advisory_unlock_shared(%(lock_class)s, %(key)s)

-- name: lock_stopping
-- Wait until what was claimed has left; nothing more is claimed until this transaction ends.
SELECT pg_advisory_xact_lock(%(lock_class)s, %(key)s)

-- name: limit_lock_wait
-- How long this transaction waits for a lock.
SELECT set_config('lock_timeout', %(milliseconds)s::text, true)

-- name: insert_subtasks
-- The sub-tasks of a task, in the order of its targets, each once. Of several sources the first counts: inline
-- targets, groups, the rows of a file. A target that the task's project does not have has failed already.
WITH wanted AS (
    SELECT b.id AS batch_id, u.target, u.place, NULL::jsonb AS input
    FROM batch_task b CROSS JOIN LATERAL unnest(b.targets) WITH ORDINALITY AS u (target, place)
    WHERE b.id = %(id)s
    UNION ALL
    SELECT b.id, d.device_id, d.id, NULL
    FROM batch_task b
    JOIN device_group g ON g.project_id = b.project_id AND b.targets_filter -> 'group_ids' ? g.group_id
    JOIN device_group_member m ON m.group_id = g.id
    JOIN device d ON d.id = m.device_id
    WHERE b.id = %(id)s AND b.targets IS NULL
    UNION ALL
    SELECT b.id,
           coalesce(CASE b.task_type WHEN 'createDevices'
                         THEN (r.cells ->> 'product_id') || '_' || (r.cells ->> 'node_id')
                         ELSE r.cells ->> 'device_id' END, 'row ' || r.row),
           r.row, r.cells
    FROM batch_task b
    JOIN batch_file f ON f.file_id = b.document_source AND f.project_id = b.project_id
    JOIN batch_file_row r ON r.file_id = f.id
    WHERE b.id = %(id)s AND b.targets IS NULL AND b.targets_filter IS NULL
), once AS (
    SELECT DISTINCT ON (batch_id, target) * FROM wanted ORDER BY batch_id, target, place
)
INSERT INTO batch_subtask (batch_id, target, input, status, retries_left, wake_at, error_code, error_msg,
                           created_at, updated_at, finished_at)
SELECT o.batch_id, o.target, o.input, CASE WHEN known THEN 'Waitting' ELSE 'Fail' END, coalesce(b.retry_count, 0),
       CASE WHEN known THEN %(wake_at)s::timestamptz END,
       CASE WHEN NOT known THEN %(error_code)s END, CASE WHEN NOT known THEN 'there is no such device' END,
       %(now)s, %(now)s, CASE WHEN NOT known THEN %(now)s::timestamptz END
FROM once o
JOIN batch_task b ON b.id = o.batch_id
LEFT JOIN device d ON d.device_id = o.target AND d.project_id = b.project_id
CROSS JOIN LATERAL (SELECT d.id IS NOT NULL OR b.task_type = 'createDevices' AS known) k
ORDER BY o.place
ON CONFLICT ON CONSTRAINT batch_subtask_once DO NOTHING

-- name: claim_subtasks
-- What is due of a task that is locked: first what goes on with an attempt, then what begins a new one. Each comes
-- with what its device is; null: the project has it no more.
WITH going AS (
    SELECT id, status FROM batch_subtask
    WHERE batch_id = %(id)s AND (status = 'Processing') AND wake_at <= %(now)s AND claimed_by IS NULL
    ORDER BY wake_at, id LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), fresh AS (
    SELECT id, status FROM batch_subtask
    WHERE batch_id = %(id)s AND (status = 'Processing') IS FALSE AND wake_at <= %(now)s AND claimed_by IS NULL
      AND wave <= %(open_wave)s
    ORDER BY wake_at, id LIMIT least(%(fresh)s, %(limit)s - (SELECT count(*) FROM going))
    FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE batch_subtask s
    SET status = 'Processing', claimed_by = %(claimer)s, wake_at = NULL, updated_at = %(now)s,
        attempt = s.attempt + CASE WHEN due.status = 'Processing' THEN 0 ELSE 1 END
    FROM (SELECT * FROM going UNION ALL SELECT * FROM fresh) due
    WHERE s.id = due.id
    RETURNING s.*, due.status AS was
)
SELECT c.id, c.batch_id, c.target, c.input, c.wave, c.status, c.attempt, c.retries_left, c.phase, c.phase_ends_at,
       c.progress, c.output, c.error_code, c.error_msg, c.created_at, c.updated_at, c.finished_at, c.was,
       d.status AS device_status
FROM claimed c LEFT JOIN device d ON d.device_id = c.target AND d.project_id = %(project_id)s
ORDER BY c.id

-- name: release_dead_claims
-- Take back what was claimed by a process that is gone, as in `include/ledger`: its attempt goes on under the same
-- request id. Of a task that is stopping nothing more is sent.
UPDATE batch_subtask s
SET claimed_by = NULL, updated_at = %(now)s,
    status = CASE WHEN %(stopping)s THEN 'Stopped' ELSE s.status END,
    wake_at = CASE WHEN NOT %(stopping)s THEN %(now)s::timestamptz END,
    phase = CASE WHEN NOT %(stopping)s THEN s.phase END,
    phase_ends_at = CASE WHEN NOT %(stopping)s THEN s.phase_ends_at END,
    error_code = CASE WHEN %(stopping)s THEN %(error_code)s ELSE s.error_code END,
    error_msg = CASE WHEN %(stopping)s THEN 'interrupted: whether the device acted is not known' ELSE s.error_msg END,
    finished_at = CASE WHEN %(stopping)s THEN %(now)s::timestamptz END
WHERE s.batch_id = %(id)s AND s.claimed_by IS NOT NULL
  AND CASE WHEN s.claimed_by = %(claimer)s THEN NOT s.id = ANY(%(held)s)
           ELSE pg_postmaster_start_time() < now() - interval '5 seconds' AND NOT EXISTS (
               SELECT FROM pg_locks l
               WHERE l.locktype = 'advisory' AND l.classid = %(lock_class)s AND l.objsubid = 2
                 AND l.objid = s.claimed_by AND l.granted
                 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())) END

-- name: record_steps
-- What became of sub-tasks of a task that is locked. A result counts also where the claim was taken back meanwhile,
-- as long as nobody has gone on with it. What may be tried again waits for that; of a task that is stopping nothing
-- goes on.
UPDATE batch_subtask s
SET status = n.next, claimed_by = NULL, updated_at = %(now)s,
    retries_left = s.retries_left - CASE WHEN n.next = 'FailWaitRetry' THEN 1 ELSE 0 END,
    wake_at = CASE n.next WHEN 'FailWaitRetry' THEN %(retry_at)s::timestamptz WHEN 'Processing' THEN n.wake_at END,
    phase = CASE WHEN n.next = 'Processing' THEN n.phase END,
    phase_ends_at = CASE WHEN n.next = 'Processing' THEN n.phase_ends_at END,
    progress = coalesce(n.progress, s.progress), output = coalesce(n.output, s.output),
    error_code = n.error_code, error_msg = n.error_msg,
    finished_at = CASE WHEN n.next NOT IN ('FailWaitRetry', 'Processing') THEN %(now)s::timestamptz END
FROM (
    SELECT r.*, CASE WHEN r.status = 'Fail' AND r.retryable AND c.retries_left > 0 AND NOT %(stopping)s
                         THEN 'FailWaitRetry'
                     WHEN r.status = 'Processing' AND %(stopping)s THEN 'Stopped'
                     ELSE r.status END AS next
    FROM jsonb_to_recordset(%(steps)s::jsonb)
         AS r (id bigint, attempt integer, was text, status text, output text, error_code text, error_msg text,
               phase text, phase_ends_at timestamptz, wake_at timestamptz, progress smallint, retryable boolean)
    -- OFFSET: by the id and in no other way. Statistics lag far behind a task under way, and plans from all that is
    -- in hand compare each of that with each of these.
    CROSS JOIN LATERAL (SELECT * FROM batch_subtask WHERE id = r.id OFFSET 0) c
    WHERE c.batch_id = %(id)s AND c.status = 'Processing' AND c.attempt = r.attempt
      AND (c.claimed_by = %(claimer)s OR c.claimed_by IS NULL) AND c.phase IS NOT DISTINCT FROM r.was
) n
WHERE s.id = n.id
RETURNING s.id, s.status

-- name: reopen_subtasks
-- Sub-tasks that ended, or wait for their next try, begin anew: all of these statuses, or those of named targets.
UPDATE batch_subtask
SET status = 'Waitting', retries_left = %(retries)s, wake_at = %(wake_at)s, phase = NULL, phase_ends_at = NULL,
    window_ends_at = NULL, progress = NULL, output = NULL, error_code = NULL, error_msg = NULL,
    updated_at = %(now)s, finished_at = NULL
WHERE batch_id = %(id)s AND status = ANY(%(statuses)s)
  AND (%(targets)s::text[] IS NULL OR target = ANY(%(targets)s))
RETURNING target

-- name: next_wake
-- When something of a task is due next, null where nothing is by itself.
SELECT least(
    (SELECT wake_at FROM batch_subtask
     WHERE batch_id = %(id)s AND (status = 'Processing') AND wake_at IS NOT NULL AND claimed_by IS NULL
     ORDER BY wake_at, id LIMIT 1),
    (SELECT wake_at FROM batch_subtask
     WHERE %(fresh)s AND batch_id = %(id)s AND (status = 'Processing') IS FALSE AND wake_at IS NOT NULL
       AND claimed_by IS NULL AND wave <= %(open_wave)s
     ORDER BY wake_at, id LIMIT 1)) AS wake_at

-- name: main_failure
-- What most of the sub-tasks that failed failed of, and in the words of one of them.
SELECT error_code, min(error_msg) AS error_msg, count(*) AS count
FROM batch_subtask WHERE batch_id = %(id)s AND status = 'Fail'
GROUP BY error_code ORDER BY count DESC, error_code LIMIT 1
