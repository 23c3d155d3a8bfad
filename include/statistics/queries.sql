-- name: put_statistic
-- A new statistic, or what is told of one.
INSERT INTO statistic AS s (organization_id, uid, name, unit, kind, created_at, updated_at)
VALUES (%(organization_id)s, %(uid)s, %(name)s, %(unit)s, %(kind)s, %(now)s, %(now)s)
ON CONFLICT (organization_id, uid) DO UPDATE
SET name = excluded.name, unit = excluded.unit, kind = excluded.kind, updated_at = excluded.updated_at
RETURNING xmax = 0 AS created

-- name: find_statistics
-- Those with a uid: one an organisation at most.
SELECT id, uid, organization_id, name, unit, kind, created_at, updated_at
FROM statistic
WHERE uid = %(uid)s
  AND (%(projects)s::text[] IS NULL OR organization_id = ANY(%(projects)s))
  AND (%(organization_id)s::text IS NULL OR organization_id = %(organization_id)s)
ORDER BY id

-- name: lock_statistic
-- Whoever changes the samples of a statistic waits for others who do.
SELECT id, uid, organization_id, name, unit, kind, created_at, updated_at
FROM statistic WHERE id = %(id)s FOR NO KEY UPDATE

-- name: list_statistics
-- A page of statistics, the oldest first.
SELECT id, uid, organization_id, name, unit, kind, created_at, updated_at
FROM statistic
WHERE id > %(after)s
  AND (%(projects)s::text[] IS NULL OR organization_id = ANY(%(projects)s))
  AND (%(organization_id)s::text IS NULL OR organization_id = %(organization_id)s)
ORDER BY id
LIMIT %(limit)s

-- name: has_samples
-- Whether anything was counted yet.
SELECT EXISTS (SELECT FROM statistic_value WHERE statistic_id = %(id)s) AS found

-- name: project_that_counts
-- A project that is due by this statistic.
SELECT d.name AS uid
FROM maintenance_project p JOIN definition d ON d.id = p.definition_id
WHERE p.cycle_type = '统计周期' AND p.statistics_id = %(uid)s AND d.deleted_at IS NULL
  AND coalesce(d.project_id, '') = %(organization_id)s
LIMIT 1

-- name: delete_statistic
-- With its samples.
DELETE FROM statistic WHERE id = %(id)s

-- name: other_values
-- Of these samples those whose object has another value at that moment. Here and below LATERAL and OFFSET 0 make
-- a look-up for each row of the request of what would else be planned by guesses about how few rows there are.
SELECT g.row, s.value
FROM unnest(%(object_ids)s::text[], %(ats)s::timestamptz[], %(values)s::numeric[]) WITH ORDINALITY
     AS g (object_id, at, value, row)
CROSS JOIN LATERAL (SELECT value FROM statistic_sample x
                     WHERE x.statistic_id = %(id)s AND x.object_id = g.object_id AND x.at = g.at OFFSET 0) s
WHERE s.value <> g.value
ORDER BY g.row

-- name: delete_sample
-- Its total is in those after it until they are reckoned anew.
DELETE FROM statistic_sample WHERE statistic_id = %(id)s AND object_id = %(object_id)s AND at = %(at)s

-- name: store_samples
-- New samples and corrected ones, and the totals of all that follow them. A value that is null stands for a
-- sample that was deleted. What says what is stored already is not written.
WITH given AS MATERIALIZED (
    SELECT object_id, at, value
    FROM unnest(%(object_ids)s::text[], %(ats)s::timestamptz[], %(values)s::numeric[]) AS g (object_id, at, value)
), known AS (
    -- The sample before the first that is given, with its total, and all from there on.
    SELECT s.object_id, x.at, x.value, x.total
    FROM (SELECT object_id, min(at) AS since FROM given GROUP BY object_id) s
    CROSS JOIN LATERAL (
        (SELECT at, value, total FROM statistic_sample x
          WHERE x.statistic_id = %(id)s AND x.object_id = s.object_id AND x.at < s.since
          ORDER BY x.at DESC LIMIT 1)
        UNION ALL
        SELECT at, value, NULL FROM statistic_sample x
         WHERE x.statistic_id = %(id)s AND x.object_id = s.object_id AND x.at >= s.since) x
), merged AS (
    SELECT DISTINCT ON (object_id, at) object_id, at, value, total
    FROM (SELECT object_id, at, value, NULL AS total, true AS given FROM given
          UNION ALL
          SELECT object_id, at, value, total, false FROM known) both_of_them
    ORDER BY object_id, at, given DESC
), stepped AS (
    SELECT object_id, at, value, total, lag(value) OVER (PARTITION BY object_id ORDER BY at) AS before
    FROM merged
    WHERE value IS NOT NULL
), counted AS (
    SELECT object_id, at, value, total IS NULL AS anew,
           %(kind)s = 'cumulative' AND coalesce(value < before, false) AS reset,
           sum(CASE WHEN total IS NOT NULL THEN total
                    WHEN %(kind)s = 'delta' THEN value
                    WHEN before IS NULL THEN 0
                    WHEN value < before THEN value
                    ELSE value - before END) OVER (PARTITION BY object_id ORDER BY at) AS total
    FROM stepped
)
INSERT INTO statistic_sample AS s (statistic_id, object_id, at, value, total, reset)
SELECT %(id)s, object_id, at, value, total, reset
FROM counted
WHERE anew
ORDER BY object_id, at
ON CONFLICT (statistic_id, object_id, at) DO UPDATE
SET value = excluded.value, total = excluded.total, reset = excluded.reset
WHERE (s.value, s.total, s.reset) IS DISTINCT FROM (excluded.value, excluded.total, excluded.reset)
RETURNING xmax = 0 AS created, reset

-- name: forget_values
-- Of objects whose samples are all gone.
DELETE FROM statistic_value v
WHERE v.statistic_id = %(id)s AND v.object_id = ANY(%(object_ids)s)
  AND NOT EXISTS (SELECT FROM statistic_sample s
                   WHERE s.statistic_id = v.statistic_id AND s.object_id = v.object_id)
RETURNING object_id

-- name: put_values
-- The last sample of each object, with what it grows by a day; says what was the last one before.
WITH latest AS MATERIALIZED (
    SELECT o.object_id, l.at, l.value, l.total, k.at AS known_at, k.total AS known_total,
           CASE WHEN n.samples = 3
                THEN (l.total - f.total) / (extract(epoch FROM l.at - f.at) / 86400) END AS daily_growth
    FROM unnest(%(object_ids)s::text[]) AS o (object_id)
    CROSS JOIN LATERAL (SELECT at, value, total FROM statistic_sample s
                         WHERE s.statistic_id = %(id)s AND s.object_id = o.object_id
                         ORDER BY at DESC LIMIT 1) l
    CROSS JOIN LATERAL (SELECT at, total FROM statistic_sample s
                         WHERE s.statistic_id = %(id)s AND s.object_id = o.object_id
                           AND s.at >= l.at - interval '30 days'
                         ORDER BY at LIMIT 1) f
    CROSS JOIN LATERAL (SELECT count(*) AS samples
                        FROM (SELECT FROM statistic_sample s
                               WHERE s.statistic_id = %(id)s AND s.object_id = o.object_id
                                 AND s.at >= l.at - interval '30 days' LIMIT 3) three) n
    LEFT JOIN LATERAL (SELECT at, total FROM statistic_value v
                        WHERE v.statistic_id = %(id)s AND v.object_id = o.object_id OFFSET 0) k ON true
), put AS (
    INSERT INTO statistic_value AS v (statistic_id, object_id, at, value, total, daily_growth)
    SELECT %(id)s, object_id, at, value, total, daily_growth FROM latest ORDER BY object_id
    ON CONFLICT (statistic_id, object_id) DO UPDATE
    SET at = excluded.at, value = excluded.value, total = excluded.total, daily_growth = excluded.daily_growth
)
SELECT object_id, known_at, known_total FROM latest

-- name: lock_anchors
-- The states of objects whose anchors the samples from a moment on may reach: what was counted by their anchors.
WITH reached AS MATERIALIZED (
    SELECT s.definition_id, s.object_id
    FROM unnest(%(object_ids)s::text[], %(sinces)s::timestamptz[]) AS t (object_id, since)
    CROSS JOIN LATERAL (
        SELECT definition_id, object_id FROM maintenance_state
        WHERE object_id = t.object_id AND anchor_at IS NOT NULL
          AND (anchor_total IS NULL OR t.since <= anchor_at) OFFSET 0) s
    CROSS JOIN LATERAL (
        SELECT FROM maintenance_project p JOIN definition d ON d.id = p.definition_id
        WHERE p.definition_id = s.definition_id AND p.cycle_type = '统计周期' AND p.statistics_id = %(uid)s
          AND d.deleted_at IS NULL AND coalesce(d.project_id, '') = %(organization_id)s OFFSET 0) p
    ORDER BY s.definition_id, s.object_id
)
SELECT s.definition_id, s.object_id, coalesce(a.total, 0) AS total
FROM reached r
CROSS JOIN LATERAL (
    SELECT definition_id, object_id, anchor_at FROM maintenance_state
    WHERE definition_id = r.definition_id AND object_id = r.object_id FOR UPDATE) s
LEFT JOIN LATERAL (SELECT total FROM statistic_sample x
                    WHERE x.statistic_id = %(id)s AND x.object_id = s.object_id AND x.at <= s.anchor_at
                    ORDER BY x.at DESC LIMIT 1) a ON true

-- name: move_anchors
-- What was counted by these anchors was another total before: so is what is due (research B30). An object that
-- waited for its first sample begins with it, one that has none left waits again (B28).
WITH counted AS (
    SELECT s.definition_id, s.object_id, p.period_num,
           CASE WHEN v.object_id IS NOT NULL
                THEN coalesce(s.anchor_total - b.total, 0) + coalesce(a.total, 0) END AS total
    FROM unnest(%(definitions)s::bigint[], %(object_ids)s::text[], %(totals)s::numeric[])
         AS b (definition_id, object_id, total)
    JOIN maintenance_state s USING (definition_id, object_id)
    JOIN maintenance_project p USING (definition_id)
    LEFT JOIN statistic_value v ON v.statistic_id = %(id)s AND v.object_id = s.object_id
    LEFT JOIN LATERAL (SELECT total FROM statistic_sample x
                        WHERE x.statistic_id = %(id)s AND x.object_id = s.object_id AND x.at <= s.anchor_at
                        ORDER BY x.at DESC LIMIT 1) a ON true
), moved AS (
    UPDATE maintenance_state s
    SET anchor_total = c.total, due_total = c.total + s.occurrence * c.period_num
    FROM counted c
    WHERE (s.definition_id, s.object_id) = (c.definition_id, c.object_id)
      AND (s.anchor_total, s.due_total) IS DISTINCT FROM (c.total, c.total + s.occurrence * c.period_num)
    RETURNING s.open_task_id, s.due_total
)
UPDATE maintenance_task t SET due_total = m.due_total
FROM moved m
WHERE t.id = m.open_task_id AND m.due_total IS NOT NULL

-- name: count_crossings
-- States that came to their notice or to what they are due at by what was stored, or that a correction took
-- back from there or may have moved the threshold of.
SELECT count(*) AS count
FROM unnest(%(object_ids)s::text[], %(corrected)s::boolean[], %(known)s::numeric[])
     AS c (object_id, corrected, known)
CROSS JOIN LATERAL (
    SELECT total, daily_growth FROM statistic_value
    WHERE statistic_id = %(id)s AND object_id = c.object_id OFFSET 0) v
CROSS JOIN LATERAL (
    SELECT definition_id, due_total, open_task_id FROM maintenance_state
    WHERE object_id = c.object_id AND due_total IS NOT NULL OFFSET 0) s
CROSS JOIN LATERAL (
    SELECT p.notice_num, p.notice_unit FROM maintenance_project p JOIN definition d ON d.id = p.definition_id
    WHERE p.definition_id = s.definition_id AND p.cycle_type = '统计周期' AND p.statistics_id = %(uid)s
      AND d.enabled AND d.deleted_at IS NULL AND coalesce(d.project_id, '') = %(organization_id)s OFFSET 0) p
LEFT JOIN LATERAL (
    SELECT state, due_since, below_threshold FROM maintenance_task WHERE id = s.open_task_id OFFSET 0) t ON true
CROSS JOIN LATERAL (
    SELECT s.due_total - CASE
        WHEN t.state IS NULL OR t.due_since IS NULL AND t.below_threshold
        THEN maintenance_ahead(p.notice_num, p.notice_unit, %(unit)s, v.daily_growth) ELSE 0 END AS threshold) next
WHERE (t.state IS NULL OR t.state = 'noticed' OR t.below_threshold OR c.corrected)
  AND CASE WHEN v.total >= next.threshold THEN c.corrected OR coalesce(c.known < next.threshold, true)
           ELSE t.state IS NOT NULL AND c.corrected END

-- name: list_samples
-- A page of the samples of an object, the newest first.
SELECT object_id, at, value, total, reset
FROM statistic_sample
WHERE statistic_id = %(id)s AND object_id = %(object_id)s
  AND at >= coalesce(%(start)s, '-infinity'::timestamptz) AND at < coalesce(%(end)s, 'infinity'::timestamptz)
  AND at < coalesce(%(before)s, 'infinity'::timestamptz)
ORDER BY at DESC
LIMIT %(limit)s

-- name: list_values
-- Where objects stand, by their ids.
SELECT object_id, at, value, total, daily_growth
FROM statistic_value
WHERE statistic_id = %(id)s AND object_id > %(after)s
ORDER BY object_id
LIMIT %(limit)s
