-- name: insert_task
-- A new definition and its billing task.
WITH made AS (
    INSERT INTO definition (kind, schedule_id, project_id, name, description, enabled, active_since, misfire,
                            misfire_grace, overlap, created_at, updated_at)
    VALUES ('billing', %(schedule_id)s, %(project_id)s, %(name)s, %(description)s, %(enabled)s, %(now)s, 'run',
            %(misfire_grace)s, 'queue', %(now)s, %(now)s)
    RETURNING id
)
INSERT INTO billing_task (definition_id, natrual_key, commodity, crontab)
SELECT id, %(natrual_key)s, %(commodity)s, %(crontab)s::jsonb FROM made

-- name: find_task
-- The task with this key; the caller's projects decide whether it can be seen.
SELECT d.id AS definition_id, t.natrual_key, d.project_id, t.commodity, d.name,
       coalesce(d.description, '') AS description, t.crontab, d.enabled, s.expression, s.timezone,
       coalesce(p.timezone, %(timezone)s) AS project_timezone, d.active_since, t.last_run_at, t.run_count,
       d.created_at, d.updated_at
FROM billing_task t
JOIN definition d ON d.id = t.definition_id
JOIN schedule s ON s.id = d.schedule_id
LEFT JOIN billing_project p ON p.project_id = d.project_id
WHERE t.natrual_key = %(natrual_key)s AND d.deleted_at IS NULL
  AND (%(projects)s::text[] IS NULL OR d.project_id = ANY(%(projects)s))

-- name: list_tasks
-- A page of a project's tasks, the oldest first, with the count of all: one row where the page is empty.
WITH found AS MATERIALIZED (
    SELECT d.id, d.name, d.description, d.enabled, d.schedule_id, d.active_since, d.created_at, d.updated_at,
           d.project_id, t.natrual_key, t.commodity, t.crontab, t.last_run_at, t.run_count
    FROM definition d JOIN billing_task t ON t.definition_id = d.id
    WHERE d.kind = 'billing' AND d.project_id = %(project_id)s AND d.deleted_at IS NULL
      AND t.commodity = ANY(%(commodities)s)
)
SELECT total.count, f.id AS definition_id, f.natrual_key, f.project_id, f.commodity, f.name,
       coalesce(f.description, '') AS description, f.crontab, f.enabled, s.expression, s.timezone,
       coalesce(p.timezone, %(timezone)s) AS project_timezone, f.active_since, f.last_run_at, f.run_count,
       f.created_at, f.updated_at
FROM (SELECT count(*) AS count FROM found) total
LEFT JOIN LATERAL (SELECT * FROM found ORDER BY id LIMIT %(limit)s OFFSET %(offset)s) f ON true
LEFT JOIN schedule s ON s.id = f.schedule_id
LEFT JOIN billing_project p ON p.project_id = f.project_id
ORDER BY f.id

-- name: lock_task
-- The task with this key, locked.
SELECT d.id AS definition_id, d.project_id, d.schedule_id, t.crontab, d.enabled
FROM billing_task t JOIN definition d ON d.id = t.definition_id
WHERE t.natrual_key = %(natrual_key)s AND d.deleted_at IS NULL
  AND (%(projects)s::text[] IS NULL OR d.project_id = ANY(%(projects)s))
FOR NO KEY UPDATE OF d

-- name: lock_tasks_of_project
-- All tasks of a project, locked.
SELECT d.id AS definition_id, d.project_id, d.schedule_id, t.crontab, d.enabled
FROM definition d JOIN billing_task t ON t.definition_id = d.id
WHERE d.kind = 'billing' AND d.project_id = %(project_id)s AND d.deleted_at IS NULL
ORDER BY d.id
FOR NO KEY UPDATE OF d

-- name: update_task
-- New values; one that was `moved` or enabled answers for instants from now on.
WITH changed AS (
    UPDATE definition
    SET schedule_id = %(schedule_id)s, name = %(name)s, description = %(description)s, enabled = %(enabled)s,
        active_since = CASE WHEN %(moved)s OR (%(enabled)s AND NOT enabled) THEN %(now)s ELSE active_since END,
        revision = revision + 1, updated_at = %(now)s
    WHERE id = %(id)s
    RETURNING id
)
UPDATE billing_task t SET crontab = %(crontab)s::jsonb FROM changed WHERE t.definition_id = changed.id

-- name: move_task
-- Another schedule, and nothing else: the project's clocks changed.
UPDATE definition
SET schedule_id = %(schedule_id)s, active_since = %(now)s, revision = revision + 1, updated_at = %(now)s
WHERE id = %(id)s

-- name: project_calendar
-- The clocks and month ends of a project, held until the end: who changes them moves the tasks made by then.
SELECT timezone, month_end FROM billing_project WHERE project_id = %(project_id)s FOR SHARE
