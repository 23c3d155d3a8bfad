-- name: count_projects
-- How many projects meet a condition, of those that the caller can see.
SELECT count(*) AS count
FROM definition d JOIN maintenance_project p ON p.definition_id = d.id
WHERE d.kind = 'maintenance' AND d.deleted_at IS NULL
  AND (%(projects)s::text[] IS NULL OR d.project_id = ANY(%(projects)s))
  AND {condition}

-- name: list_projects
-- A page of them, the newest first.
SELECT d.id, d.schedule_id, d.name AS uid, coalesce(d.project_id, '') AS organization_id, p.name, p.alias,
       coalesce(d.description, '') AS description, p.cycle_type, p.statistics_id, p.period_num, p.period_unit,
       p.notice_num, p.notice_unit, p.guide, p.schedule_mode, p.grace_days, p.timezone,
       d.enabled AS is_active, d.created_at, p.created_by, d.updated_at, p.last_modified_by,
       ARRAY(SELECT s.object_id FROM maintenance_state s WHERE s.definition_id = d.id ORDER BY s.position)
       AS object_ids
FROM definition d JOIN maintenance_project p ON p.definition_id = d.id
WHERE d.kind = 'maintenance' AND d.deleted_at IS NULL
  AND (%(projects)s::text[] IS NULL OR d.project_id = ANY(%(projects)s))
  AND {condition}
ORDER BY d.created_at DESC, d.name, d.id
LIMIT %(limit)s OFFSET %(offset)s

-- name: count_tasks
-- How many tasks meet a condition, of those that the caller can see.
SELECT count(*) AS count
FROM maintenance_task t
WHERE (%(projects)s::text[] IS NULL OR t.organization_id = ANY(%(projects)s))
  AND {condition}

-- name: list_tasks
-- A page of them, the newest first.
SELECT t.*
FROM maintenance_task t
WHERE (%(projects)s::text[] IS NULL OR t.organization_id = ANY(%(projects)s))
  AND {condition}
ORDER BY t.created_at DESC, t.uid
LIMIT %(limit)s OFFSET %(offset)s

-- name: count_handles
-- How many handles meet a condition, of those that the caller can see.
SELECT count(*) AS count
FROM maintenance_handle h JOIN maintenance_task t ON t.id = h.task_id
WHERE (%(projects)s::text[] IS NULL OR h.organization_id = ANY(%(projects)s))
  AND {condition}

-- name: list_handles
-- A page of them, the newest first.
SELECT h.id, h.uid, h.kind, h.task_id, h.description, h.handler_ids, h.handler_names, h.fee, h.result, h.images,
       h.created_at, h.created_by, h.updated_at, h.last_modified_by
FROM maintenance_handle h JOIN maintenance_task t ON t.id = h.task_id
WHERE (%(projects)s::text[] IS NULL OR h.organization_id = ANY(%(projects)s))
  AND {condition}
ORDER BY h.created_at DESC, h.uid
LIMIT %(limit)s OFFSET %(offset)s

-- name: tasks_of_handles
-- The tasks with these ids.
SELECT t.* FROM maintenance_task t WHERE t.id = ANY(%(ids)s)
