-- name: plan_wide
-- Have `list_waiting` look at all objects of statistics at once: one by one is four times as long. Those of natural
-- cycles are found by their index.
SELECT set_config('enable_nestloop', 'off', true), set_config('work_mem', '64MB', true), set_config('jit', 'off', true)
FROM schedule
WHERE id = %(schedule)s AND cycle = 'statistics'

-- name: plan_for_chunks
-- For this transaction: join in the order that is written, and look up the rows of a chunk one by one. What is joined
-- by several columns is expected to be a row, after which each table is read whole for each row of another.
SELECT set_config('join_collapse_limit', '1', true), set_config('random_page_cost', '1.1', true),
       set_config('jit', 'off', true), set_config('work_mem', '64MB', true)

-- name: list_waiting
-- The active projects of a schedule that have open tasks, or objects to open some for at a moment, and how many.
WITH live AS (
    SELECT d.id, coalesce(d.project_id, '') AS organization_id FROM definition d
    WHERE d.schedule_id = %(schedule)s AND d.enabled AND d.deleted_at IS NULL
)
SELECT id, sum(open)::integer AS open, sum(ripe)::integer AS ripe
FROM (
    SELECT live.id, count(*) AS open, 0 AS ripe FROM live JOIN maintenance_task t ON t.definition_id = live.id
    WHERE t.state IN ('noticed', 'due', 'overdue', 'stopped')
    GROUP BY live.id
    UNION ALL
    SELECT live.id, 0, count(*) FROM live JOIN maintenance_state s ON s.definition_id = live.id
    WHERE s.open_task_id IS NULL AND s.notice_at <= %(now)s
    GROUP BY live.id
    UNION ALL
    SELECT live.id, 0, count(*)
    FROM live
    JOIN maintenance_project p ON p.definition_id = live.id AND p.cycle_type = '统计周期'
    JOIN statistic x ON x.organization_id = live.organization_id AND x.uid = p.statistics_id
    JOIN maintenance_state s ON s.definition_id = live.id
    JOIN statistic_value v ON v.statistic_id = x.id AND v.object_id = s.object_id
    WHERE s.open_task_id IS NULL AND s.anchor_at IS NOT NULL
      AND (s.anchor_total IS NULL
           OR v.total >= s.due_total - maintenance_ahead(p.notice_num, p.notice_unit, x.unit, v.daily_growth))
    GROUP BY live.id
) AS waiting
GROUP BY id
ORDER BY id

-- name: take_first_samples
-- Objects without a sample count from their first.
WITH first AS (
    SELECT s.definition_id, s.object_id, p.period_num
    FROM maintenance_project p
    JOIN definition d ON d.id = p.definition_id
    JOIN maintenance_state s ON s.definition_id = p.definition_id
    JOIN statistic x ON x.organization_id = coalesce(d.project_id, '') AND x.uid = p.statistics_id
    JOIN statistic_value v ON v.statistic_id = x.id AND v.object_id = s.object_id
    WHERE p.definition_id = ANY(%(projects)s) AND p.cycle_type = '统计周期'
      AND s.anchor_at IS NOT NULL AND s.anchor_total IS NULL
    FOR UPDATE OF s SKIP LOCKED
)
UPDATE maintenance_state s
SET anchor_total = 0, due_total = s.occurrence * first.period_num
FROM first
WHERE (s.definition_id, s.object_id) = (first.definition_id, first.object_id)

-- name: move_tasks
-- Open tasks become due and overdue, or what they are by now after a stop; points of the plan that pass meanwhile
-- are counted. Rows that somebody else has in hand are theirs.
WITH open AS (
    SELECT t.id, t.definition_id, t.state AS was, now.state, now.due_at, now.missed, now.below
    FROM maintenance_task t
    JOIN definition d ON d.id = t.definition_id
    JOIN maintenance_project p ON p.definition_id = t.definition_id
    JOIN maintenance_state s ON s.definition_id = t.definition_id AND s.object_id = t.object_id
    LEFT JOIN statistic x ON x.organization_id = t.organization_id AND x.uid = t.statistics_id
                         AND t.cycle_type = '统计周期'
    LEFT JOIN statistic_value v ON v.statistic_id = x.id AND v.object_id = t.object_id
    CROSS JOIN LATERAL (
        -- What was due stays so when a clock is set back.
        SELECT CASE WHEN t.cycle_type = '自然时间周期' THEN t.due_at <= %(now)s OR t.state IN ('due', 'overdue')
                    ELSE t.due_since IS NOT NULL OR coalesce(v.total >= t.due_total, false) END AS due
    ) reached
    CROSS JOIN LATERAL (
        SELECT coalesce(t.due_at, %(now)s) AS due_at
    ) since
    CROSS JOIN LATERAL (
        SELECT CASE WHEN t.overdue_since IS NOT NULL OR (reached.due AND %(now)s >= maintenance_late(
                        since.due_at, CASE t.cycle_type WHEN '自然时间周期' THEN t.period_unit ELSE '日' END,
                        p.grace_days, p.timezone)) THEN 'overdue'
                    WHEN reached.due THEN 'due'
                    ELSE 'noticed' END AS state,
               CASE WHEN reached.due OR t.due_at IS NOT NULL THEN since.due_at END AS due_at,
               greatest(t.missed, coalesce(CASE
                   WHEN t.cycle_type = '统计周期' THEN floor((v.total - s.anchor_total) / t.period_num)::integer
                   WHEN reached.due THEN
                       maintenance_passed(s.anchor_at, t.period_num::integer, t.period_unit, p.timezone, %(now)s)
                   END - s.occurrence, 0)) AS missed,
               t.cycle_type = '统计周期' AND coalesce(v.total < t.due_total - CASE
                   WHEN t.due_since IS NOT NULL THEN 0
                   ELSE maintenance_ahead(t.notice_num, t.notice_unit, x.unit, v.daily_growth) END, false) AS below
        OFFSET 0    -- worked out once a row
    ) now
    WHERE t.definition_id = ANY(%(projects)s) AND t.state IN ('noticed', 'due', 'overdue', 'stopped')
      AND d.enabled AND d.deleted_at IS NULL AND s.open_task_id = t.id
      AND (now.state, now.missed, now.below) IS DISTINCT FROM (t.state, t.missed, t.below_threshold)
    FOR SHARE OF d SKIP LOCKED FOR UPDATE OF s, t SKIP LOCKED
), moved AS (
    UPDATE maintenance_task t
    SET state = open.state, due_at = open.due_at, missed = open.missed, below_threshold = open.below,
        due_since = CASE WHEN open.state IN ('due', 'overdue') THEN coalesce(t.due_since, %(now)s) END,
        overdue_since = CASE WHEN open.state = 'overdue' THEN coalesce(t.overdue_since, %(now)s) END,
        updated_at = %(now)s
    FROM open
    WHERE t.id = open.id
    RETURNING open.definition_id, open.was, open.state
)
SELECT d.name AS project, coalesce(d.project_id, '') AS organization, moved.state, count(*) AS count
FROM moved JOIN definition d ON d.id = moved.definition_id
WHERE moved.was <> moved.state
GROUP BY d.id, moved.state

-- name: open_tasks
-- A task for each object whose notice has come and that has none open.
WITH timed AS (
    SELECT s.definition_id, s.object_id, s.position, s.due_at, NULL::numeric AS due_total,
           s.due_at <= %(now)s AS due, s.due_at AS since,
           CASE WHEN s.due_at <= %(now)s
                THEN maintenance_passed(s.anchor_at, p.period_num::integer, p.period_unit, p.timezone, %(now)s)
                     - s.occurrence
                ELSE 0 END AS missed
    FROM maintenance_state s
    JOIN maintenance_project p ON p.definition_id = s.definition_id
    JOIN definition d ON d.id = s.definition_id
    WHERE s.definition_id = ANY(%(projects)s) AND s.open_task_id IS NULL AND s.notice_at <= %(now)s
      AND d.enabled AND d.deleted_at IS NULL
    FOR SHARE OF d SKIP LOCKED FOR UPDATE OF s SKIP LOCKED
), counted AS (
    SELECT s.definition_id, s.object_id, s.position,
           CASE WHEN v.total >= s.due_total THEN %(now)s::timestamptz END AS due_at, s.due_total,
           v.total >= s.due_total AS due, %(now)s::timestamptz AS since,
           floor((v.total - s.anchor_total) / p.period_num)::integer - s.occurrence AS missed
    FROM maintenance_project p
    JOIN definition d ON d.id = p.definition_id
    CROSS JOIN LATERAL (
        SELECT x.id, x.unit FROM statistic x
        WHERE x.organization_id = coalesce(d.project_id, '') AND x.uid = p.statistics_id
        OFFSET 0    -- one a project, which as a join is expected to be less
    ) x
    JOIN maintenance_state s ON s.definition_id = p.definition_id
    JOIN statistic_value v ON v.statistic_id = x.id AND v.object_id = s.object_id
    WHERE p.definition_id = ANY(%(projects)s) AND p.cycle_type = '统计周期' AND s.open_task_id IS NULL
      AND v.total >= s.due_total - maintenance_ahead(p.notice_num, p.notice_unit, x.unit, v.daily_growth)
      AND d.enabled AND d.deleted_at IS NULL
    FOR SHARE OF d SKIP LOCKED FOR UPDATE OF s SKIP LOCKED
), ripe AS (
    SELECT found.*, CASE WHEN NOT found.due THEN 'noticed'
                         WHEN %(now)s >= maintenance_late(
                             found.since, CASE p.cycle_type WHEN '自然时间周期' THEN p.period_unit ELSE '日' END,
                             p.grace_days, p.timezone) THEN 'overdue'
                         ELSE 'due' END AS state
    FROM (SELECT * FROM timed UNION ALL SELECT * FROM counted) AS found
    JOIN maintenance_project p USING (definition_id)
), made AS (
    INSERT INTO maintenance_task (definition_id, organization_id, object_id, state, project_uid, project_name,
                                  project_alias, object_name, object_alias, cycle_type, statistics_id, period_num,
                                  period_unit, notice_num, notice_unit, guide, due_at, due_total, due_since,
                                  overdue_since, missed, created_at, updated_at)
    SELECT d.id, coalesce(d.project_id, ''), ripe.object_id, ripe.state, d.name, p.name, p.alias,
           coalesce(o.name, ripe.object_id), coalesce(o.alias, ripe.object_id), p.cycle_type, p.statistics_id,
           p.period_num, p.period_unit, p.notice_num, p.notice_unit, p.guide, ripe.due_at, ripe.due_total,
           CASE WHEN ripe.due THEN %(now)s::timestamptz END,
           CASE WHEN ripe.state = 'overdue' THEN %(now)s::timestamptz END,
           greatest(0, ripe.missed), %(now)s, %(now)s
    FROM ripe
    JOIN definition d ON d.id = ripe.definition_id
    JOIN maintenance_project p ON p.definition_id = d.id
    LEFT JOIN maintenance_object o ON o.organization_id = coalesce(d.project_id, '') AND o.object_id = ripe.object_id
    ORDER BY d.id, ripe.position
    RETURNING id, definition_id, object_id, state
), held AS (
    UPDATE maintenance_state s SET open_task_id = made.id
    FROM made
    WHERE s.definition_id = made.definition_id AND s.object_id = made.object_id
)
SELECT d.name AS project, coalesce(d.project_id, '') AS organization, made.state, count(*) AS count
FROM made JOIN definition d ON d.id = made.definition_id
GROUP BY d.id, made.state

-- name: count_no_data
-- Active projects of a schedule that count by a statistic of which objects have no sample yet, and how many.
SELECT d.name AS project, coalesce(d.project_id, '') AS organization, count(*) AS count
FROM definition d JOIN maintenance_state s ON s.definition_id = d.id
WHERE d.schedule_id = %(schedule)s AND d.enabled AND d.deleted_at IS NULL
  AND s.anchor_at IS NOT NULL AND s.due_at IS NULL AND s.anchor_total IS NULL
GROUP BY d.id
ORDER BY organization, project
