-- name: list_outlook
-- A page of the objects of a project: what is due now or next, and after that as long as everything is handled
-- on the day on which it is due, what is past today. What is counted is forecast by how it grew lately.
SELECT s.object_id, s.position, coalesce(o.name, s.object_id) AS name, coalesce(o.alias, s.object_id) AS alias,
       CASE WHEN s.anchor_at IS NULL THEN 'not_started'
            WHEN p.cycle_type = '统计周期' AND s.anchor_total IS NULL THEN 'no_data'
            ELSE coalesce(t.state, 'waiting') END AS state,
       t.uid AS task_id, coalesce(s.due_at, counted.due_at) AS due_at,
       coalesce(s.notice_at, counted.notice_at) AS notice_at,
       v.total - s.anchor_total AS grown, s.due_total - s.anchor_total AS due_growth, v.daily_growth,
       v.at AS counted_at, coalesce(timed.due_ats, counted.due_ats, '{}') AS following
FROM maintenance_state s
JOIN maintenance_project p ON p.definition_id = s.definition_id
JOIN definition d ON d.id = s.definition_id
LEFT JOIN maintenance_object o ON o.organization_id = coalesce(d.project_id, '') AND o.object_id = s.object_id
LEFT JOIN maintenance_task t ON t.id = s.open_task_id
LEFT JOIN statistic x ON x.organization_id = coalesce(d.project_id, '') AND x.uid = p.statistics_id
                     AND p.cycle_type = '统计周期'
LEFT JOIN statistic_value v ON v.statistic_id = x.id AND v.object_id = s.object_id
LEFT JOIN LATERAL (
    SELECT array_agg(due_at ORDER BY due_at) AS due_ats
    FROM (SELECT maintenance_due(CASE WHEN past.floats THEN %(now)s ELSE s.anchor_at END, k, p.period_num::integer,
                                 p.period_unit, p.timezone) AS due_at
          FROM (SELECT s.due_at <= %(now)s AND p.schedule_mode = 'floating' AS floats,
                       CASE WHEN s.due_at > %(now)s THEN s.occurrence
                            WHEN p.schedule_mode = 'floating' THEN 0
                            ELSE maintenance_passed(s.anchor_at, p.period_num::integer, p.period_unit, p.timezone,
                                                    %(now)s) END AS passed) past
          CROSS JOIN LATERAL generate_series(past.passed + 1, past.passed + %(points)s) AS k) points
    WHERE due_at <= %(until)s
) timed ON s.due_at IS NOT NULL
LEFT JOIN LATERAL (
    SELECT first.due_at,
           greatest(%(now)s, maintenance_forecast(v.at, s.due_total - v.total - maintenance_ahead(
               p.notice_num, p.notice_unit, x.unit, v.daily_growth), v.daily_growth)) AS notice_at,
           ARRAY(SELECT moment
                 FROM generate_series(1, %(points)s) AS k
                 CROSS JOIN LATERAL (
                     SELECT maintenance_forecast(greatest(%(now)s, first.due_at), k * p.period_num, v.daily_growth)
                            AS moment) point
                 WHERE moment <= %(until)s) AS due_ats
    FROM (SELECT coalesce(t.due_at, greatest(%(now)s, maintenance_forecast(v.at, s.due_total - v.total,
                                                                           v.daily_growth))) AS due_at) first
) counted ON s.due_total IS NOT NULL AND v.daily_growth > 0
WHERE s.definition_id = %(project)s AND s.position > %(after)s
ORDER BY s.position
LIMIT %(limit)s

-- name: list_calendar
-- What is due until a moment, in all active projects that the caller sees: of objects that stand alike how many,
-- and the names of the first ones. What follows the next time is told of cycles of days and longer.
WITH standing AS (
    SELECT d.id, s.anchor_at, s.occurrence, s.position, coalesce(o.name, s.object_id) AS object_name, t.state,
           coalesce(s.due_at, t.due_at, CASE WHEN v.daily_growth > 0 THEN greatest(
               %(now)s, maintenance_forecast(v.at, s.due_total - v.total, v.daily_growth)) END) AS due_at
    FROM maintenance_project p
    JOIN definition d ON d.id = p.definition_id
    JOIN maintenance_state s ON s.definition_id = d.id
    LEFT JOIN maintenance_object o ON o.organization_id = coalesce(d.project_id, '') AND o.object_id = s.object_id
    LEFT JOIN maintenance_task t ON t.id = s.open_task_id
    LEFT JOIN statistic x ON x.organization_id = coalesce(d.project_id, '') AND x.uid = p.statistics_id
                         AND p.cycle_type = '统计周期'
    LEFT JOIN statistic_value v ON v.statistic_id = x.id AND v.object_id = s.object_id
    WHERE d.enabled AND d.deleted_at IS NULL
      AND (%(projects)s::text[] IS NULL OR d.project_id = ANY(%(projects)s))
      AND (%(uid)s::text IS NULL OR d.name = %(uid)s)
), alike AS MATERIALIZED (
    SELECT id, due_at, occurrence, state, min(anchor_at) AS anchor_at, count(*) AS objects,
           (array_agg(object_name ORDER BY position))[:%(names)s] AS names
    FROM standing
    WHERE due_at <= %(until)s
    GROUP BY id, due_at, occurrence, state
), points AS (
    SELECT id, due_at, state, objects, names FROM alike
    UNION ALL
    SELECT a.id, point.due_at, NULL, a.objects, a.names
    FROM alike a
    JOIN maintenance_project p ON p.definition_id = a.id
    CROSS JOIN LATERAL (
        SELECT a.due_at <= %(now)s AND p.schedule_mode = 'floating' AS floats,
               CASE WHEN a.due_at > %(now)s THEN a.occurrence
                    WHEN p.schedule_mode = 'floating' THEN 0
                    ELSE maintenance_passed(a.anchor_at, p.period_num::integer, p.period_unit, p.timezone, %(now)s)
                    END AS passed) past
    CROSS JOIN LATERAL generate_series(past.passed + 1, past.passed + %(points)s) AS k
    CROSS JOIN LATERAL (
        SELECT maintenance_due(CASE WHEN past.floats THEN %(now)s ELSE a.anchor_at END, k, p.period_num::integer,
                               p.period_unit, p.timezone) AS due_at) point
    WHERE p.cycle_type = '自然时间周期' AND p.period_unit <> '小时' AND point.due_at <= %(until)s
)
SELECT d.name AS uid, coalesce(d.project_id, '') AS organization_id, p.name, p.guide, p.timezone,
       CASE WHEN p.cycle_type = '自然时间周期' THEN p.period_unit ELSE '日' END AS unit,
       points.due_at, points.state, points.objects, points.names
FROM points
JOIN definition d ON d.id = points.id
JOIN maintenance_project p ON p.definition_id = d.id
ORDER BY points.due_at, d.id
LIMIT %(limit)s
