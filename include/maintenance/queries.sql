-- name: make_uid
-- A uid for a project that was sent without one.
SELECT 'MTP' || nextval('maintenance_uid') AS uid

-- name: insert_project
-- A new project, inactive; no row where its uid is taken.
WITH made AS (
    INSERT INTO definition (kind, schedule_id, project_id, name, description, enabled, active_since, misfire,
                            misfire_grace, overlap, created_at, updated_at)
    VALUES ('maintenance', %(schedule_id)s, nullif(%(organization_id)s, ''), %(uid)s, %(description)s, false, %(now)s,
            'run', %(misfire_grace)s, 'skip', %(now)s, %(now)s)
    ON CONFLICT DO NOTHING
    RETURNING id
)
INSERT INTO maintenance_project (definition_id, name, alias, cycle_type, statistics_id, period_num, period_unit,
                                 notice_num, notice_unit, guide, schedule_mode, grace_days, timezone, created_by,
                                 last_modified_by)
SELECT id, %(name)s, %(alias)s, %(cycle_type)s, %(statistics_id)s, %(period_num)s, %(period_unit)s, %(notice_num)s,
       %(notice_unit)s, %(guide)s, %(schedule_mode)s, %(grace_days)s, %(timezone)s, %(by)s, %(by)s
FROM made
RETURNING definition_id

-- name: put_objects
-- The objects of a project in the order given. New ones have no anchor yet.
INSERT INTO maintenance_state (definition_id, object_id, position)
SELECT %(project)s, object_id, position FROM unnest(%(object_ids)s::text[]) WITH ORDINALITY AS o (object_id, position)
ON CONFLICT (definition_id, object_id) DO UPDATE SET position = excluded.position

-- name: remove_objects
-- Objects that a project has no more; their tasks are cancelled before.
DELETE FROM maintenance_state WHERE definition_id = %(project)s AND object_id <> ALL(%(object_ids)s::text[])

-- name: find_projects
-- The projects with a uid that the caller can see, one in each organisation at most.
SELECT d.id, d.schedule_id, d.name AS uid, coalesce(d.project_id, '') AS organization_id, p.name, p.alias,
       coalesce(d.description, '') AS description, p.cycle_type, p.statistics_id, p.period_num, p.period_unit,
       p.notice_num, p.notice_unit, p.guide, p.schedule_mode, p.grace_days, p.timezone, d.enabled AS is_active,
       d.created_at, p.created_by, d.updated_at, p.last_modified_by,
       ARRAY(SELECT s.object_id FROM maintenance_state s WHERE s.definition_id = d.id ORDER BY s.position) AS object_ids
FROM definition d JOIN maintenance_project p ON p.definition_id = d.id
WHERE d.kind = 'maintenance' AND d.name = %(uid)s AND d.deleted_at IS NULL
  AND (%(projects)s::text[] IS NULL OR d.project_id = ANY(%(projects)s))
  AND (%(organization_id)s::text IS NULL OR coalesce(d.project_id, '') = %(organization_id)s)
ORDER BY d.id
LIMIT 2

-- name: lock_project
-- Keep out whoever else changes, evaluates or handles this project; no row where it was deleted meanwhile.
SELECT id FROM definition WHERE id = %(project)s AND deleted_at IS NULL FOR NO KEY UPDATE

-- name: update_project
-- New values of a project.
WITH changed AS (
    UPDATE definition
    SET schedule_id = %(schedule_id)s, description = %(description)s, revision = revision + 1, updated_at = %(now)s
    WHERE id = %(project)s
    RETURNING id
)
UPDATE maintenance_project p
SET name = %(name)s, alias = %(alias)s, cycle_type = %(cycle_type)s, statistics_id = %(statistics_id)s,
    period_num = %(period_num)s, period_unit = %(period_unit)s, notice_num = %(notice_num)s,
    notice_unit = %(notice_unit)s, guide = %(guide)s, schedule_mode = %(schedule_mode)s,
    grace_days = %(grace_days)s, last_modified_by = %(by)s
FROM changed
WHERE p.definition_id = changed.id

-- name: switch_project
-- Activate or stop. `active_since` is by the machine's clock.
WITH changed AS (
    UPDATE definition
    SET enabled = %(active)s, active_since = CASE WHEN %(active)s THEN %(active_since)s ELSE active_since END,
        revision = revision + 1, updated_at = %(now)s
    WHERE id = %(project)s
    RETURNING id
)
UPDATE maintenance_project p SET last_modified_by = %(by)s FROM changed WHERE p.definition_id = changed.id

-- name: delete_project
-- Out of sight for good; its tasks and handles stay.
UPDATE definition SET deleted_at = %(now)s, revision = revision + 1, updated_at = %(now)s WHERE id = %(project)s

-- name: find_statistic
-- The statistic with this uid.
SELECT id FROM statistic WHERE organization_id = %(organization_id)s AND uid = %(uid)s

-- name: anchor_objects
-- Have objects count from now: all of a project, or those that were never started.
UPDATE maintenance_state s
SET anchor_at = %(now)s, occurrence = 1, open_task_id = NULL,
    anchor_total = (SELECT v.total
                    FROM maintenance_project p
                    JOIN definition d ON d.id = p.definition_id
                    JOIN statistic x ON x.organization_id = coalesce(d.project_id, '') AND x.uid = p.statistics_id
                    JOIN statistic_value v ON v.statistic_id = x.id AND v.object_id = s.object_id
                    WHERE p.definition_id = s.definition_id AND p.cycle_type = '统计周期')
WHERE s.definition_id = %(project)s AND (%(anew)s OR s.anchor_at IS NULL)

-- name: rebase_objects
-- The period under way, which gets another length, begins where it began; by another statistic, now.
UPDATE maintenance_state s
SET anchor_at = CASE WHEN p.cycle_type = '统计周期' AND NOT %(same_statistic)s THEN %(now)s
                     WHEN %(cycle_type)s = '自然时间周期' AND s.occurrence > 1
                     THEN maintenance_due(s.anchor_at, s.occurrence - 1, %(period_num)s::integer, %(period_unit)s,
                                          p.timezone)
                     ELSE s.anchor_at END,
    anchor_total = CASE WHEN %(same_statistic)s THEN s.anchor_total + (s.occurrence - 1) * %(period_num)s
                        ELSE (SELECT v.total FROM statistic x JOIN statistic_value v ON v.statistic_id = x.id
                              WHERE x.organization_id = coalesce(d.project_id, '') AND x.uid = p.statistics_id
                                AND v.object_id = s.object_id AND p.cycle_type = '统计周期') END,
    occurrence = 1
FROM maintenance_project p JOIN definition d ON d.id = p.definition_id
WHERE s.definition_id = %(project)s AND p.definition_id = s.definition_id AND s.anchor_at IS NOT NULL

-- name: work_out
-- What is due when, from anchors and occurrences: of all objects of a project, or one.
UPDATE maintenance_state s
SET due_at = plan.due_at,
    notice_at = maintenance_shift(plan.due_at, -plan.notice_num, plan.notice_unit, plan.timezone),
    due_total = plan.due_total
FROM (
    SELECT o.object_id, p.notice_num, p.notice_unit, p.timezone,
           CASE WHEN p.cycle_type = '自然时间周期' THEN
               maintenance_due(o.anchor_at, o.occurrence, p.period_num::integer, p.period_unit, p.timezone)
           END AS due_at,
           CASE WHEN p.cycle_type = '统计周期' THEN o.anchor_total + o.occurrence * p.period_num END AS due_total
    FROM maintenance_state o JOIN maintenance_project p USING (definition_id)
    WHERE o.definition_id = %(project)s AND (%(object_id)s::text IS NULL OR o.object_id = %(object_id)s)
) plan
WHERE s.definition_id = %(project)s AND s.object_id = plan.object_id

-- name: follow_plan
-- Open tasks are due when the plan of their project says, which has just changed.
UPDATE maintenance_task t
SET cycle_type = p.cycle_type, statistics_id = p.statistics_id, period_num = p.period_num,
    period_unit = p.period_unit, notice_num = p.notice_num, notice_unit = p.notice_unit,
    due_at = s.due_at, due_total = s.due_total, due_since = NULL, overdue_since = NULL, missed = 0,
    below_threshold = false, updated_at = %(now)s
FROM maintenance_project p JOIN maintenance_state s USING (definition_id)
WHERE p.definition_id = %(project)s AND t.id = s.open_task_id

-- name: stop_tasks
-- The open tasks of a project rest with it.
UPDATE maintenance_task
SET state = 'stopped', updated_at = %(now)s
WHERE definition_id = %(project)s AND state IN ('noticed', 'due', 'overdue')

-- name: cancel_tasks
-- The open tasks of a project are nobody's any more: all, or those of objects that it has no more.
WITH gone AS (
    UPDATE maintenance_task
    SET state = 'cancelled', closed_at = %(now)s, updated_at = %(now)s
    WHERE definition_id = %(project)s AND state IN ('noticed', 'due', 'overdue', 'stopped')
      AND (%(kept)s::text[] IS NULL OR object_id <> ALL(%(kept)s))
    RETURNING id
)
UPDATE maintenance_state s SET open_task_id = NULL FROM gone WHERE s.definition_id = %(project)s AND s.open_task_id = gone.id

-- name: find_task
-- The task with this uid; the caller's projects decide whether it can be seen.
SELECT t.* FROM maintenance_task t
WHERE t.uid = %(uid)s AND (%(projects)s::text[] IS NULL OR t.organization_id = ANY(%(projects)s))

-- name: share_project_of_task
-- Wait for whoever changes the project of this task, and keep others from it; who handles shares it.
SELECT d.id
FROM definition d JOIN maintenance_task t ON t.definition_id = d.id
WHERE t.uid = %(uid)s AND (%(projects)s::text[] IS NULL OR t.organization_id = ANY(%(projects)s))
FOR SHARE OF d

-- name: lock_open_task
-- This task with the state of its object, both locked; no row where somebody closed it meanwhile.
SELECT t.*
FROM maintenance_task t JOIN maintenance_state s ON s.definition_id = t.definition_id AND s.object_id = t.object_id
WHERE t.uid = %(uid)s AND t.state IN ('noticed', 'due', 'overdue', 'stopped') AND s.open_task_id = t.id
FOR UPDATE OF s, t

-- name: close_task
-- A task that was handled or ignored, and the record of it.
WITH closed AS (
    UPDATE maintenance_task
    SET state = CASE %(kind)s WHEN 'HANDLE' THEN 'handled' ELSE 'ignored' END, closed_at = %(now)s,
        updated_at = %(now)s, last_modified_by = %(by)s
    WHERE id = %(task)s
    RETURNING id, organization_id
)
INSERT INTO maintenance_handle (task_id, organization_id, kind, description, handler_ids, handler_keys, handler_names,
                                fee, result, images, created_at, updated_at, created_by, last_modified_by)
SELECT id, organization_id, %(kind)s, %(description)s, %(handler_ids)s::jsonb, %(handler_keys)s, %(handler_names)s,
       %(fee)s, %(result)s, %(images)s::jsonb, %(now)s, %(now)s, %(by)s, %(by)s
FROM closed
RETURNING uid

-- name: move_on
-- After a task was closed: count from now where the work was done and its project floats, else the next point of
-- the plan that is still ahead.
UPDATE maintenance_state s
SET open_task_id = NULL,
    anchor_at = CASE WHEN plan.floats THEN %(now)s ELSE s.anchor_at END,
    anchor_total = CASE WHEN plan.floats THEN plan.total ELSE s.anchor_total END,
    occurrence = CASE WHEN plan.floats THEN 1
                      ELSE 1 + greatest(s.occurrence, coalesce(plan.passed, 0)) END
FROM (
    SELECT p.schedule_mode = 'floating' AND %(kind)s = 'HANDLE' AS floats, v.total,
           CASE WHEN p.cycle_type = '自然时间周期'
                THEN maintenance_passed(o.anchor_at, p.period_num::integer, p.period_unit, p.timezone, %(now)s)
                ELSE floor((v.total - o.anchor_total) / p.period_num)::integer END AS passed
    FROM maintenance_state o
    JOIN maintenance_project p ON p.definition_id = o.definition_id
    JOIN definition d ON d.id = o.definition_id
    LEFT JOIN statistic x ON x.organization_id = coalesce(d.project_id, '') AND x.uid = p.statistics_id
                         AND p.cycle_type = '统计周期'
    LEFT JOIN statistic_value v ON v.statistic_id = x.id AND v.object_id = o.object_id
    WHERE o.definition_id = %(project)s AND o.object_id = %(object_id)s
) plan
WHERE s.definition_id = %(project)s AND s.object_id = %(object_id)s

-- name: find_handle
-- The handle with this uid and its task; the caller's projects decide whether it can be seen.
SELECT h.uid, h.id, h.kind, h.description, h.handler_ids, h.handler_names, h.fee, h.result, h.images, h.created_at,
       h.created_by, h.updated_at, h.last_modified_by, t.uid AS task_uid
FROM maintenance_handle h JOIN maintenance_task t ON t.id = h.task_id
WHERE h.uid = %(uid)s AND (%(projects)s::text[] IS NULL OR h.organization_id = ANY(%(projects)s))
