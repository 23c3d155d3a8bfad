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
-- Of these samples those whose object has another value at that moment.
SELECT g.row, s.value
FROM unnest(%(object_ids)s::text[], %(ats)s::timestamptz[], %(values)s::numeric[]) WITH ORDINALITY
     AS g (object_id, at, value, row)
JOIN statistic_sample s ON s.statistic_id = %(id)s AND s.object_id = g.object_id AND s.at = g.at
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
), start AS MATERIALIZED (
    SELECT s.object_id, s.since, p.value, coalesce(p.total, 0) AS total
    FROM (SELECT object_id, min(at) AS since FROM given GROUP BY object_id) s
    LEFT JOIN LATERAL (SELECT value, total FROM statistic_sample x
                        WHERE x.statistic_id = %(id)s AND x.object_id = s.object_id AND x.at < s.since
                        ORDER BY x.at DESC LIMIT 1) p ON true
), following AS (
    SELECT object_id, at, value FROM given WHERE value IS NOT NULL
    UNION ALL
    SELECT x.object_id, x.at, x.value
    FROM start s
    JOIN statistic_sample x ON x.statistic_id = %(id)s AND x.object_id = s.object_id AND x.at >= s.since
    WHERE NOT EXISTS (SELECT FROM given g WHERE g.object_id = x.object_id AND g.at = x.at)
), stepped AS (
    SELECT f.object_id, f.at, f.value, s.total AS base, coalesce(lag(f.value) OVER counter, s.value) AS before
    FROM following f JOIN start s USING (object_id)
    WINDOW counter AS (PARTITION BY f.object_id ORDER BY f.at)
), grown AS (
    SELECT object_id, at, value, base,
           CASE WHEN %(kind)s = 'delta' THEN value
                WHEN before IS NULL THEN 0
                WHEN value < before THEN value
                ELSE value - before END AS growth,
           %(kind)s = 'cumulative' AND coalesce(value < before, false) AS reset
    FROM stepped
)
INSERT INTO statistic_sample AS s (statistic_id, object_id, at, value, total, reset)
SELECT %(id)s, object_id, at, value, base + sum(growth) OVER (PARTITION BY object_id ORDER BY at), reset
FROM grown
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
WITH known AS (
    SELECT object_id, at, total FROM statistic_value
    WHERE statistic_id = %(id)s AND object_id = ANY(%(object_ids)s)
), latest AS (
    SELECT o.object_id, l.at, l.value, l.total
    FROM unnest(%(object_ids)s::text[]) AS o (object_id)
    CROSS JOIN LATERAL (SELECT at, value, total FROM statistic_sample s
                         WHERE s.statistic_id = %(id)s AND s.object_id = o.object_id
                         ORDER BY at DESC LIMIT 1) l
), put AS (
    INSERT INTO statistic_value AS v (statistic_id, object_id, at, value, total, daily_growth)
    SELECT %(id)s, l.object_id, l.at, l.value, l.total,
           CASE WHEN n.samples = 3
                THEN (l.total - f.total) / (extract(epoch FROM l.at - f.at) / 86400) END
    FROM latest l
    CROSS JOIN LATERAL (SELECT at, total FROM statistic_sample s
                         WHERE s.statistic_id = %(id)s AND s.object_id = l.object_id
                           AND s.at >= l.at - interval '30 days'
                         ORDER BY at LIMIT 1) f
    CROSS JOIN LATERAL (SELECT count(*) AS samples
                        FROM (SELECT FROM statistic_sample s
                               WHERE s.statistic_id = %(id)s AND s.object_id = l.object_id
                                 AND s.at >= l.at - interval '30 days' LIMIT 3) three) n
    ORDER BY l.object_id
    ON CONFLICT (statistic_id, object_id) DO UPDATE
    SET at = excluded.at, value = excluded.value, total = excluded.total, daily_growth = excluded.daily_growth
    RETURNING object_id
)
SELECT p.object_id, k.at AS known_at, k.total AS known_total FROM put p LEFT JOIN known k USING (object_id)

-- name: lock_anchors
-- The states of objects whose anchors the samples from a moment on may reach: what was counted by their anchors.
WITH touched AS (
    SELECT * FROM unnest(%(object_ids)s::text[], %(sinces)s::timestamptz[]) AS t (object_id, since)
), based AS MATERIALIZED (
    SELECT s.definition_id, s.object_id, s.anchor_at
    FROM maintenance_project p
    JOIN definition d ON d.id = p.definition_id
    JOIN maintenance_state s ON s.definition_id = p.definition_id
    JOIN touched t ON t.object_id = s.object_id
    WHERE p.cycle_type = '统计周期' AND p.statistics_id = %(uid)s AND d.deleted_at IS NULL
      AND coalesce(d.project_id, '') = %(organization_id)s
      AND s.anchor_at IS NOT NULL AND (s.anchor_total IS NULL OR t.since <= s.anchor_at)
    ORDER BY s.definition_id, s.object_id
    FOR UPDATE OF s
)
SELECT b.definition_id, b.object_id, coalesce(a.total, 0) AS total
FROM based b
LEFT JOIN LATERAL (SELECT total FROM statistic_sample x
                    WHERE x.statistic_id = %(id)s AND x.object_id = b.object_id AND x.at <= b.anchor_at
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
FROM maintenance_threshold s
JOIN unnest(%(object_ids)s::text[], %(corrected)s::boolean[], %(known)s::numeric[])
     AS c (object_id, corrected, known) USING (object_id)
LEFT JOIN maintenance_task t ON t.id = s.open_task_id
CROSS JOIN LATERAL (
    SELECT CASE WHEN t.id IS NULL OR t.due_since IS NULL AND t.below_threshold THEN s.notice_total
                ELSE s.due_total END AS threshold
) next
WHERE s.statistic_id = %(id)s AND s.enabled
  AND (t.id IS NULL OR t.state = 'noticed' OR t.below_threshold OR c.corrected)
  AND CASE WHEN s.total >= next.threshold THEN c.corrected OR coalesce(c.known < next.threshold, true)
           ELSE t.id IS NOT NULL AND c.corrected END

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
