-- name: missing_group
-- One of these groups that a project does not have.
SELECT u.group_id FROM unnest(%(group_ids)s::text[]) AS u (group_id)
WHERE NOT EXISTS (SELECT FROM device_group g WHERE g.group_id = u.group_id AND g.project_id = %(project_id)s)
LIMIT 1

-- name: list_tasks
-- Tasks of a project with their targets, the newest first.
SELECT * FROM batch_task
WHERE project_id = %(project_id)s AND task_id < %(marker)s
  AND (%(task_type)s::text IS NULL OR task_type = %(task_type)s)
  AND (%(app_id)s::text IS NULL OR app_id = %(app_id)s)
  AND (%(status)s::text IS NULL OR status = %(status)s)
ORDER BY task_id DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: count_tasks
-- How many tasks match, on all pages.
SELECT count(*) AS count FROM batch_task
WHERE project_id = %(project_id)s
  AND (%(task_type)s::text IS NULL OR task_type = %(task_type)s)
  AND (%(app_id)s::text IS NULL OR app_id = %(app_id)s)
  AND (%(status)s::text IS NULL OR status = %(status)s)

-- name: list_subtasks
-- Sub-tasks of a task, the newest first.
SELECT * FROM batch_subtask
WHERE batch_id = %(id)s AND id < %(before)s
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(target)s::text IS NULL OR target = %(target)s)
ORDER BY id DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: find_targets
-- How sub-tasks of a task stand, by target; and whether somebody has them in hand.
SELECT target, status, claimed_by IS NOT NULL AS in_hand FROM batch_subtask
WHERE batch_id = %(id)s AND target = ANY(%(targets)s)

-- name: stop_subtasks
-- What is open of a task and in nobody's hand ends here: all of it, or named targets.
UPDATE batch_subtask
SET status = 'Stopped', wake_at = NULL, phase = NULL, phase_ends_at = NULL, window_ends_at = NULL,
    updated_at = %(now)s, finished_at = %(now)s
WHERE batch_id = %(id)s AND status IN ('Waitting', 'FailWaitRetry', 'Processing') AND claimed_by IS NULL
  AND (%(targets)s::text[] IS NULL OR target = ANY(%(targets)s))

-- name: confirm_subtasks
-- What waits for a confirm may begin.
UPDATE batch_subtask SET wake_at = %(wake_at)s, updated_at = %(now)s
WHERE batch_id = %(id)s AND status = 'Waitting' AND wake_at IS NULL
  AND (%(targets)s::text[] IS NULL OR target = ANY(%(targets)s))

-- name: delete_task
-- A task goes with all its sub-tasks.
DELETE FROM batch_task WHERE id = %(id)s
