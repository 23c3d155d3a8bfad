-- name: add_projects
-- Active projects of one cycle.
WITH new_schedule AS (
    INSERT INTO schedule (kind, expression, timezone, dag_id, description, active, active_since, cycle)
    VALUES ('maintenance', '0 0 * * *', %(zone)s, 'maintenance.bench', 'bench', true, %(now)s,
            CASE WHEN %(natural)s THEN 'every_30_days' ELSE 'statistics' END)
    RETURNING id
), new_definition AS (
    INSERT INTO definition (kind, schedule_id, project_id, name, enabled, active_since, misfire, misfire_grace, overlap,
                            created_at, updated_at)
    SELECT 'maintenance', id, %(organization)s, 'project-' || n, true, %(now)s, 'run', '1 day', 'skip', %(now)s,
           %(now)s
    FROM new_schedule, generate_series(0, (%(states)s - 1) / %(objects)s) n
    RETURNING id
)
INSERT INTO maintenance_project (definition_id, name, alias, cycle_type, statistics_id, period_num, period_unit,
                                 notice_num, notice_unit, guide, timezone)
SELECT id, 'Pumps', 'pumps', %(cycle_type)s, CASE WHEN %(natural)s THEN '' ELSE 'hours' END, %(period)s,
       CASE WHEN %(natural)s THEN '日' ELSE '' END, %(notice_days)s, '日', 'Change the oil.', %(zone)s
FROM new_definition

-- name: add_objects
-- A name for every other object.
INSERT INTO maintenance_object (organization_id, object_id, name, alias, updated_at)
SELECT %(organization)s, 'pump-' || n, 'Pump ' || n, 'P' || n, %(now)s FROM generate_series(1, %(states)s, 2) n

-- name: add_states
-- Where objects stand: one of a hundred has its notice now, one has an open task (`add_tasks`), the others have time.
INSERT INTO maintenance_state (definition_id, object_id, position, anchor_at, anchor_total, due_at, notice_at,
                               due_total)
SELECT d.id, 'pump-' || n, place, %(now)s + (days - 30) * interval '1 day', CASE WHEN NOT %(natural)s THEN 0 END,
       CASE WHEN %(natural)s THEN %(now)s + days * interval '1 day' END,
       CASE WHEN %(natural)s THEN %(now)s + (days - %(notice_days)s) * interval '1 day' END,
       CASE WHEN NOT %(natural)s THEN %(period)s END
FROM (
    SELECT n, (n - 1) / %(objects)s AS project, mod(n - 1, %(objects)s) + 1 AS place,
           CASE mod(n, 100) WHEN 0 THEN %(notice_days)s
                            WHEN 1 THEN (ARRAY[0, -1, 1, -30])[1 + mod(n / 100, 4)]
                            ELSE %(notice_days)s + 1 + mod(n, 27) END AS days
    FROM generate_series(1, %(states)s) n
) one
JOIN definition d ON d.name = 'project-' || one.project

-- name: add_statistic
-- The statistic of all objects.
INSERT INTO statistic (organization_id, uid, name, unit, created_at, updated_at)
VALUES (%(organization)s, 'hours', 'Running hours', '小时', %(now)s, %(now)s)

-- name: add_values
-- How much each object has grown: one of a hundred has its notice now, one has an open task.
INSERT INTO statistic_value (statistic_id, object_id, at, value, total, daily_growth)
SELECT x.id, 'pump-' || n, %(now)s, total, total, 12
FROM statistic x, generate_series(1, %(states)s) n,
     LATERAL (SELECT CASE mod(n, 100) WHEN 0 THEN 480
                                      WHEN 1 THEN (ARRAY[500, 505, 480, 1000])[1 + mod(n / 100, 4)]
                                      ELSE mod(n, 470) END AS total) grown

-- name: add_tasks
-- Open tasks, by turns: due by now, overdue by now, not due yet, and overdue for so long that a point of the plan
-- passes.
WITH made AS (
    INSERT INTO maintenance_task (definition_id, organization_id, object_id, state, project_uid, project_name,
                                  project_alias, object_name, object_alias, cycle_type, statistics_id, period_num,
                                  period_unit, notice_num, notice_unit, guide, due_at, due_total, due_since,
                                  overdue_since, created_at, updated_at)
    SELECT s.definition_id, d.project_id, s.object_id, turn.state, d.name, p.name, p.alias, s.object_id, s.object_id,
           p.cycle_type, p.statistics_id, p.period_num, p.period_unit, p.notice_num, p.notice_unit, p.guide,
           CASE WHEN %(natural)s THEN s.due_at ELSE turn.since END, s.due_total, turn.since,
           CASE turn.state WHEN 'overdue' THEN turn.since + interval '1 day' END, %(now)s - interval '40 days',
           %(now)s - interval '40 days'
    FROM maintenance_state s
    JOIN definition d ON d.id = s.definition_id
    JOIN maintenance_project p ON p.definition_id = s.definition_id
    JOIN (VALUES (0, 'noticed', NULL), (1, 'due', %(now)s - interval '1 day'), (2, 'noticed', NULL),
                 (3, 'overdue', %(now)s - interval '30 days')) AS turn (number, state, since)
      ON turn.number = mod(substr(s.object_id, 6)::integer / 100, 4)
    WHERE mod(s.position, 100) = 1
    RETURNING id, definition_id, object_id
)
UPDATE maintenance_state s SET open_task_id = made.id
FROM made WHERE (s.definition_id, s.object_id) = (made.definition_id, made.object_id)

-- name: find_schedule
-- The schedule of the cycle.
SELECT id FROM schedule WHERE kind = 'maintenance'

-- name: tick_natural
-- The peer: one tick in one statement, by somebody who knows that nobody else is at work, that all cycles are of days,
-- and that all days have 24 hours.
WITH moved AS (
    UPDATE maintenance_task t
    SET state = now.state, missed = now.missed, updated_at = %(now)s, due_since = coalesce(t.due_since, %(now)s),
        overdue_since = CASE WHEN now.state = 'overdue' THEN coalesce(t.overdue_since, %(now)s) END
    FROM (
        SELECT t.id,
               CASE WHEN %(now)s >= t.due_at + (1 + p.grace_days) * interval '1 day' THEN 'overdue' ELSE 'due' END AS state,
               (floor(extract(epoch FROM %(now)s - s.anchor_at) / (86400 * p.period_num)) - s.occurrence)::integer
               AS missed
        FROM maintenance_task t
        JOIN maintenance_state s ON (s.definition_id, s.object_id) = (t.definition_id, t.object_id)
        JOIN maintenance_project p ON p.definition_id = t.definition_id
        JOIN definition d ON d.id = t.definition_id
        WHERE d.schedule_id = %(schedule)s AND d.enabled AND d.deleted_at IS NULL
          AND t.state IN ('noticed', 'due', 'overdue') AND t.due_at <= %(now)s
    ) now
    WHERE t.id = now.id AND (now.state, now.missed) <> (t.state, t.missed)
), made AS (
    INSERT INTO maintenance_task (definition_id, organization_id, object_id, state, project_uid, project_name,
                                  project_alias, object_name, object_alias, cycle_type, statistics_id, period_num,
                                  period_unit, notice_num, notice_unit, guide, due_at, due_since, overdue_since,
                                  missed, created_at, updated_at)
    SELECT d.id, d.project_id, s.object_id,
           CASE WHEN %(now)s < s.due_at THEN 'noticed'
                WHEN %(now)s < s.due_at + (1 + p.grace_days) * interval '1 day' THEN 'due'
                ELSE 'overdue' END,
           d.name, p.name, p.alias, coalesce(o.name, s.object_id), coalesce(o.alias, s.object_id), p.cycle_type,
           p.statistics_id, p.period_num, p.period_unit, p.notice_num, p.notice_unit, p.guide, s.due_at,
           CASE WHEN %(now)s >= s.due_at THEN %(now)s END,
           CASE WHEN %(now)s >= s.due_at + (1 + p.grace_days) * interval '1 day' THEN %(now)s END,
           greatest(0, floor(extract(epoch FROM %(now)s - s.anchor_at) / (86400 * p.period_num)) - s.occurrence),
           %(now)s, %(now)s
    FROM maintenance_state s
    JOIN maintenance_project p ON p.definition_id = s.definition_id
    JOIN definition d ON d.id = s.definition_id
    LEFT JOIN maintenance_object o ON (o.organization_id, o.object_id) = (d.project_id, s.object_id)
    WHERE d.schedule_id = %(schedule)s AND d.enabled AND d.deleted_at IS NULL
      AND s.open_task_id IS NULL AND s.notice_at <= %(now)s
    RETURNING id, definition_id, object_id
)
UPDATE maintenance_state s SET open_task_id = made.id
FROM made WHERE (s.definition_id, s.object_id) = (made.definition_id, made.object_id)

-- name: tick_statistics
-- The peer: one tick in one statement, by somebody who knows that nobody else is at work, that all statistics are in
-- hours and notices in days, that all days have 24 hours, and that every object has a sample.
WITH moved AS (
    UPDATE maintenance_task t
    SET state = now.state, missed = now.missed, updated_at = %(now)s, due_at = coalesce(t.due_at, %(now)s),
        due_since = coalesce(t.due_since, %(now)s),
        overdue_since = CASE WHEN now.state = 'overdue' THEN coalesce(t.overdue_since, %(now)s) END
    FROM (
        SELECT t.id,
               CASE WHEN %(now)s >= date_trunc('day', t.due_at, p.timezone) + (1 + p.grace_days) * interval '1 day'
                    THEN 'overdue' ELSE 'due' END AS state,
               (floor((v.total - s.anchor_total) / p.period_num) - s.occurrence)::integer AS missed
        FROM maintenance_task t
        JOIN maintenance_state s ON (s.definition_id, s.object_id) = (t.definition_id, t.object_id)
        JOIN maintenance_project p ON p.definition_id = t.definition_id
        JOIN definition d ON d.id = t.definition_id
        JOIN statistic x ON (x.organization_id, x.uid) = (d.project_id, p.statistics_id)
        JOIN statistic_value v ON (v.statistic_id, v.object_id) = (x.id, t.object_id)
        WHERE d.schedule_id = %(schedule)s AND d.enabled AND d.deleted_at IS NULL
          AND t.state IN ('noticed', 'due', 'overdue') AND v.total >= t.due_total
    ) now
    WHERE t.id = now.id AND (now.state, now.missed) <> (t.state, t.missed)
), made AS (
    INSERT INTO maintenance_task (definition_id, organization_id, object_id, state, project_uid, project_name,
                                  project_alias, object_name, object_alias, cycle_type, statistics_id, period_num,
                                  period_unit, notice_num, notice_unit, guide, due_at, due_total, due_since, missed,
                                  created_at, updated_at)
    SELECT d.id, d.project_id, s.object_id, CASE WHEN v.total >= s.due_total THEN 'due' ELSE 'noticed' END, d.name,
           p.name, p.alias, coalesce(o.name, s.object_id), coalesce(o.alias, s.object_id), p.cycle_type,
           p.statistics_id, p.period_num, p.period_unit, p.notice_num, p.notice_unit, p.guide,
           CASE WHEN v.total >= s.due_total THEN %(now)s END, s.due_total,
           CASE WHEN v.total >= s.due_total THEN %(now)s END,
           greatest(0, floor((v.total - s.anchor_total) / p.period_num) - s.occurrence), %(now)s, %(now)s
    FROM maintenance_state s
    JOIN maintenance_project p ON p.definition_id = s.definition_id
    JOIN definition d ON d.id = s.definition_id
    JOIN statistic x ON (x.organization_id, x.uid) = (d.project_id, p.statistics_id)
    JOIN statistic_value v ON (v.statistic_id, v.object_id) = (x.id, s.object_id)
    LEFT JOIN maintenance_object o ON (o.organization_id, o.object_id) = (d.project_id, s.object_id)
    WHERE d.schedule_id = %(schedule)s AND d.enabled AND d.deleted_at IS NULL
      AND s.open_task_id IS NULL AND v.total >= s.due_total - p.notice_num * 24
    RETURNING id, definition_id, object_id
)
UPDATE maintenance_state s SET open_task_id = made.id
FROM made WHERE (s.definition_id, s.object_id) = (made.definition_id, made.object_id)

-- name: digest
-- What a tick came to, so that those of two contenders can be compared: how many tasks it opened and changed, and what
-- all of them and their states say. Ids, of which each has others, do not count.
SELECT count(*) FILTER (WHERE t.created_at = %(now)s) AS opened,
       count(*) FILTER (WHERE t.created_at < %(now)s AND t.updated_at = %(now)s) AS changed,
       (SELECT count(*) FROM maintenance_state WHERE open_task_id IS NOT NULL) AS held,
       bit_xor(hashtextextended(concat_ws('|', t.definition_id, t.organization_id, t.object_id, t.state, t.project_uid,
                   t.project_name, t.project_alias, t.object_name, t.object_alias, t.cycle_type, t.statistics_id,
                   t.period_num, t.period_unit, t.notice_num, t.notice_unit, t.guide, 'at ' || t.due_at,
                   'of ' || t.due_total, 'due ' || t.due_since, 'overdue ' || t.overdue_since, t.missed,
                   t.below_threshold, t.created_at, t.updated_at), 0)) AS hash
FROM maintenance_task t
JOIN maintenance_state s ON s.open_task_id = t.id AND (s.definition_id, s.object_id) = (t.definition_id, t.object_id)
