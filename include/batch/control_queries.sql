-- name: list_tasks
-- Tasks without their targets, the newest first.
SELECT id, task_id, project_id, app_id, task_name, task_type, task_mode, need_confirm, task_ext_info,
       NULL AS targets, targets_filter, document, document_source,
       schedule_time, retry_count, retry_interval, rollout, created_by, status, status_desc, total, waitting,
       processing, success, fail, fail_wait_retry, stopped, removed, paused_at, pause_reason, dispatched,
       paced_until, judged_success, judged_fail, open_wave, runs_wanted, runs_started, created_at, started_at,
       finished_at, run_failure
FROM batch_task
WHERE task_id < %(before)s
  AND (%(projects)s::text[] IS NULL OR project_id = ANY(%(projects)s))
  AND (%(project)s::text IS NULL OR project_id = %(project)s)
  AND (%(task_type)s::text IS NULL OR task_type = %(task_type)s)
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(name)s::text IS NULL OR position(lower(%(name)s) IN lower(task_name)) > 0)
  AND (%(paused)s::boolean IS NULL OR (paused_at IS NOT NULL) = %(paused)s)
ORDER BY task_id DESC
LIMIT %(limit)s

-- name: find_run_failure
-- Why the last try to start a run of a task failed.
SELECT run_failure FROM batch_task WHERE id = %(id)s

-- name: list_subtasks
-- Sub-tasks of a task, in their order. That begins with the task, and that is no plain `=`, so that no plan walks
-- along the sub-tasks of all tasks to those of a late one.
SELECT id, target, wave, status, attempt, retries_left, phase, phase_ends_at, wake_at,
       nullif(window_ends_at, %(forever)s) AS window_ends_at, progress, output, error_code, error_msg, created_at,
       updated_at, finished_at
FROM batch_subtask
WHERE batch_id = ANY(ARRAY[%(id)s::bigint]) AND id > %(after)s
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(wave)s::smallint IS NULL OR wave = %(wave)s)
ORDER BY batch_id, id
LIMIT %(limit)s

-- name: count_exclusions
-- How many sub-tasks of a task would not be performed as things stand, by the first reason that applies. What a
-- device is matters to what is sent to it; one that is away is only waited for by what can wait.
SELECT reason, count(*) AS count
FROM (
    SELECT CASE
        WHEN s.status = 'Fail' THEN 'unknown'
        WHEN %(task_type)s = 'createDevices' AND d.id IS NOT NULL THEN 'exists'
        WHEN %(task_type)s = 'unfreezeDevices' AND d.status <> 'FROZEN' THEN 'not_frozen'
        WHEN %(sent)s AND d.status = 'FROZEN' THEN 'frozen'
        WHEN %(upgraded)s AND EXISTS (SELECT FROM device_upgrade u WHERE u.device_id = s.target) THEN 'in_conflict'
        WHEN %(upgraded)s AND %(version)s = CASE %(task_type)s WHEN 'firmwareUpgrade' THEN d.fw_version
                                                               WHEN 'softwareUpgrade' THEN d.sw_version END
            THEN 'same_version'
        WHEN %(online)s AND d.status <> 'ONLINE' THEN 'offline'
        END AS reason
    FROM batch_subtask s
    LEFT JOIN device d ON d.device_id = s.target AND d.project_id = %(project_id)s
    WHERE s.batch_id = %(id)s
) judged
WHERE reason IS NOT NULL
GROUP BY reason

-- name: count_zones
-- How many sub-tasks that wait have a device in which zone; null: it says none.
SELECT d.timezone, count(*) AS count
FROM batch_subtask s
LEFT JOIN device d ON d.device_id = s.target AND d.project_id = %(project_id)s
WHERE s.batch_id = %(id)s AND s.status = 'Waitting'
GROUP BY d.timezone
