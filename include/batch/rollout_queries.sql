-- name: unplaced_subtasks
-- What is due of a locked task and has no time of its own yet, or lies behind the end of its window: with the zone
-- of its device, and from when on it may begin.
SELECT s.id, s.target, d.timezone,
       CASE WHEN s.window_ends_at IS NULL THEN greatest(s.wake_at, w.opened_at) ELSE %(now)s END AS after
FROM batch_subtask s
LEFT JOIN batch_wave w ON w.batch_id = s.batch_id AND w.wave = s.wave
LEFT JOIN device d ON d.device_id = s.target AND d.project_id = %(project_id)s
WHERE s.batch_id = %(id)s AND s.status IN ('Waitting', 'FailWaitRetry') AND s.wake_at <= %(now)s
  AND s.wave <= %(open_wave)s AND (s.window_ends_at IS NULL OR s.window_ends_at <= %(now)s)
ORDER BY s.id
LIMIT %(limit)s

-- name: place_subtasks
-- When sub-tasks may begin.
UPDATE batch_subtask s
SET wake_at = p.wake_at, window_ends_at = p.window_ends_at, updated_at = %(now)s
FROM unnest(%(ids)s::bigint[], %(wakes)s::timestamptz[], %(ends)s::timestamptz[])
     AS p (id, wake_at, window_ends_at)
WHERE s.id = p.id

-- name: insert_waves
-- The waves of a task, the first of them open, and its sub-tasks in them: those that wait, in their order.
WITH waves AS (
    INSERT INTO batch_wave (batch_id, wave, size, opened_at)
    SELECT %(id)s, u.wave, u.size, CASE WHEN u.wave = 1 THEN %(now)s::timestamptz END
    FROM unnest(%(sizes)s::integer[]) WITH ORDINALITY AS u (size, wave)
    RETURNING wave, size
), ends AS (
    SELECT array_agg(past ORDER BY wave) AS past
    FROM (SELECT wave, sum(size) OVER (ORDER BY wave) AS past FROM waves) running
), placed AS (
    SELECT id, row_number() OVER (ORDER BY id) AS place
    FROM batch_subtask WHERE batch_id = %(id)s AND status = 'Waitting'
)
UPDATE batch_subtask s
SET wave = 1 + (SELECT count(*) FROM unnest(ends.past) AS e (past) WHERE e.past < placed.place)
FROM placed, ends
WHERE s.id = placed.id AND placed.place > ends.past[1]

-- name: leave_out_of_sample
-- From here on it is judged whether too many fail.
UPDATE batch_task SET judged_success = success, judged_fail = fail WHERE id = %(id)s

-- name: find_open_wave
-- The last wave that is open, if nothing in the open ones is waiting, and what succeeded of it.
SELECT w.size, w.approved_at IS NOT NULL AS approved,
       (SELECT count(*) FROM batch_subtask s
        WHERE s.batch_id = w.batch_id AND s.wave = w.wave AND s.status = 'Success') AS succeeded
FROM batch_wave w
WHERE w.batch_id = %(id)s AND w.wave = %(open_wave)s
  AND NOT EXISTS (SELECT FROM batch_subtask s
                  WHERE s.batch_id = w.batch_id AND s.status = 'Waitting' AND s.wave <= w.wave)

-- name: open_wave
-- The next wave begins.
WITH opened AS (
    UPDATE batch_wave SET opened_at = %(now)s WHERE batch_id = %(id)s AND wave = %(wave)s
)
UPDATE batch_task SET open_wave = %(wave)s, status_desc = NULL, updated_at = %(now)s WHERE id = %(id)s

-- name: describe_task
-- What a task waits for.
UPDATE batch_task SET status_desc = %(status_desc)s, updated_at = %(now)s
WHERE id = %(id)s AND status_desc IS DISTINCT FROM %(status_desc)s

-- name: pause_task
-- Nothing more of a task is begun.
UPDATE batch_task SET paused_at = %(now)s, pause_reason = %(reason)s, updated_at = %(now)s
WHERE id = %(id)s AND paused_at IS NULL

-- name: resume_task
-- It goes on, and what failed so far is not held against it.
UPDATE batch_task
SET paused_at = NULL, pause_reason = NULL, judged_success = success, judged_fail = fail, updated_at = %(now)s
WHERE id = %(id)s AND paused_at IS NOT NULL

-- name: approve_wave
-- Somebody lets the wave after this one begin.
UPDATE batch_wave SET approved_at = coalesce(approved_at, %(now)s), approved_by = coalesce(approved_by, %(by)s)
WHERE batch_id = %(id)s AND wave = %(wave)s

-- name: list_waves
-- The waves of a task, and how their sub-tasks stand.
SELECT w.wave, w.size, w.opened_at, w.approved_at, w.approved_by,
       count(*) FILTER (WHERE s.status IN ('Waitting', 'Processing', 'FailWaitRetry')) AS open,
       count(*) FILTER (WHERE s.status = 'Success') AS succeeded,
       count(*) FILTER (WHERE s.status = 'Fail') AS failed
FROM batch_wave w
LEFT JOIN batch_subtask s ON s.batch_id = w.batch_id AND s.wave = w.wave
WHERE w.batch_id = %(id)s
GROUP BY w.batch_id, w.wave
ORDER BY w.wave
