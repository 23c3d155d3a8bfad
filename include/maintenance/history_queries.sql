-- name: list_history
-- A page of tasks with what became of them, the newest first.
SELECT t.id, t.uid, t.organization_id, t.project_uid AS project_id, t.project_name, t.object_id, t.object_name,
       t.cycle_type, t.state, t.created_at AS noticed_at, t.due_at, t.due_total, t.due_since, t.overdue_since,
       t.closed_at, t.missed, t.below_threshold, h.uid AS handle_id, h.description, h.handler_ids, h.handler_names,
       h.fee, h.result, h.images
FROM maintenance_task t
LEFT JOIN maintenance_handle h ON h.task_id = t.id
WHERE (%(projects)s::text[] IS NULL OR t.organization_id = ANY(%(projects)s))
  AND (%(organization_id)s::text IS NULL OR t.organization_id = %(organization_id)s)
  AND (%(project)s::text IS NULL OR t.project_uid = %(project)s)
  AND (%(object_id)s::text IS NULL OR t.object_id = %(object_id)s)
  AND (%(state)s::text IS NULL OR t.state = %(state)s)
  AND (%(start)s::timestamptz IS NULL OR t.created_at >= %(start)s)
  AND (%(end)s::timestamptz IS NULL OR t.created_at < %(end)s)
  AND (%(before_at)s::timestamptz IS NULL OR (t.created_at, t.id) < (%(before_at)s, %(before_id)s))
ORDER BY t.created_at DESC, t.id DESC
LIMIT %(limit)s

-- name: report_compliance
-- Of what was due in a span: what became of it, by project, by object or by month. What was handled early counts
-- by when it was planned; what has no plan (a statistic that was handled before it was due) by its handling.
SELECT g.key, max(g.name) AS name, count(*) AS planned,
       count(*) FILTER (WHERE t.state = 'handled' AND t.overdue_since IS NULL) AS on_time,
       count(*) FILTER (WHERE t.state = 'handled' AND t.overdue_since IS NOT NULL) AS late,
       count(*) FILTER (WHERE t.state = 'ignored') AS ignored,
       count(*) FILTER (WHERE t.state = 'overdue') AS overdue,
       count(*) FILTER (WHERE t.state IN ('noticed', 'due', 'stopped')) AS open,
       sum(t.missed) AS missed, coalesce(sum(h.fee), 0) AS cost
FROM maintenance_task t
LEFT JOIN maintenance_handle h ON h.task_id = t.id
CROSS JOIN LATERAL (
    SELECT CASE %(by)s WHEN 'project' THEN t.project_uid WHEN 'object' THEN t.object_id
                       ELSE to_char(coalesce(t.due_at, t.closed_at) AT TIME ZONE %(zone)s, 'YYYY-MM') END AS key,
           CASE %(by)s WHEN 'project' THEN t.project_name WHEN 'object' THEN t.object_name ELSE '' END AS name
) g
WHERE (%(projects)s::text[] IS NULL OR t.organization_id = ANY(%(projects)s))
  AND (%(organization_id)s::text IS NULL OR t.organization_id = %(organization_id)s)
  AND (%(project)s::text IS NULL OR t.project_uid = %(project)s)
  AND t.state <> 'cancelled'
  AND coalesce(t.due_at, t.closed_at) >= %(start)s AND coalesce(t.due_at, t.closed_at) < %(end)s
GROUP BY g.key
HAVING g.key > %(after)s
ORDER BY g.key
LIMIT %(limit)s
