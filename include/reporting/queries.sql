-- name: list_schedules
-- A page of schedules by ascending id, or the one with this id; with a caller's projects only those on which
-- a definition of theirs hangs.
SELECT s.id, s.kind, s.expression, s.timezone, s.dag_id, s.description, s.active, s.active_since, s.shards,
       l.definitions, l.weekdays
FROM schedule s
CROSS JOIN LATERAL (
    SELECT count(*) AS definitions, bit_or(coalesce(d.weekdays, 127::smallint))::integer AS weekdays
    FROM definition d
    WHERE d.schedule_id = s.id AND d.enabled AND d.deleted_at IS NULL AND NOT d.spent
      AND (%(projects)s::text[] IS NULL OR d.project_id = ANY(%(projects)s))
) AS l
WHERE s.id > %(after)s
  AND (%(id)s::bigint IS NULL OR s.id = %(id)s)
  AND (%(kind)s::text IS NULL OR s.kind = %(kind)s)
  AND (%(active)s::boolean IS NULL OR s.active = %(active)s)
  AND (%(projects)s::text[] IS NULL OR EXISTS (
        SELECT FROM definition d
         WHERE d.schedule_id = s.id AND d.deleted_at IS NULL AND d.project_id = ANY(%(projects)s)))
ORDER BY s.id
LIMIT %(limit)s

-- name: list_definitions
-- A page of definitions by ascending id: those of a schedule, or the one with this id. Deleted ones are left
-- out unless asked for. Secrets stay where they are.
SELECT d.id, d.kind, d.name, d.project_id, d.description, d.schedule_id, s.expression, s.timezone, d.enabled,
       d.active_since, d.weekdays, d.due_at, d.spent, d.expires_at, d.misfire,
       extract(epoch FROM d.misfire_grace)::double precision AS misfire_grace_seconds, d.overlap, d.revision,
       d.created_at, d.updated_at, d.deleted_at,
       CASE WHEN t.definition_id IS NOT NULL THEN jsonb_build_object(
           'module', t.module, 'type', t.type, 'start_time', t.start_time, 'url', t.url, 'method', t.method,
           'resp_regexp', t.resp_regexp, 'body', t.body, 'body_type', t.body_type,
           'redo_delays', to_jsonb(t.redo_delays), 'timeout', t.timeout, 'headers', t.headers,
           'signed', t.secret IS NOT NULL) END AS callback,
       CASE WHEN dt.definition_id IS NOT NULL THEN jsonb_build_object(
           'group_id', g.group_id, 'device_id', v.device_id, 'period', g.period, 'first_day', g.first_day,
           'hour', dt.hour, 'minute', dt.minute, 'commands', dt.commands, 'offline', g.offline,
           'offline_ttl', extract(epoch FROM g.offline_ttl)::double precision) END AS timer
FROM definition d
JOIN schedule s ON s.id = d.schedule_id
LEFT JOIN callback_task t ON t.definition_id = d.id
LEFT JOIN device_timer dt ON dt.definition_id = d.id
LEFT JOIN timer_group g ON g.id = dt.group_id
LEFT JOIN device v ON v.id = g.device_id
WHERE d.id > %(after)s
  AND (%(id)s::bigint IS NULL OR d.id = %(id)s)
  AND (%(schedule_id)s::bigint IS NULL OR d.schedule_id = %(schedule_id)s)
  AND (%(deleted)s OR d.deleted_at IS NULL)
  AND (%(projects)s::text[] IS NULL OR d.project_id = ANY(%(projects)s))
ORDER BY d.id
LIMIT %(limit)s

-- name: list_executions
-- A page of the ledger, the latest instant first.
SELECT e.id, e.definition_id, d.name AS definition_name, d.kind, e.schedule_id, e.due_at, e.origin, e.state,
       e.reason, e.covers_since, e.covers_count, e.attempts, e.next_attempt_at, e.run_id, e.lateness_ms,
       e.finished_at, e.created_at
FROM execution e
JOIN definition d ON d.id = e.definition_id
WHERE (%(id)s::bigint IS NULL OR e.id = %(id)s)
  AND (%(definition_id)s::bigint IS NULL OR e.definition_id = %(definition_id)s)
  AND (%(schedule_id)s::bigint IS NULL OR e.schedule_id = %(schedule_id)s)
  AND (%(kind)s::text IS NULL OR d.kind = %(kind)s)
  AND (%(state)s::text IS NULL OR e.state = %(state)s)
  AND (%(origin)s::text IS NULL OR e.origin = %(origin)s)
  AND (%(due_from)s::timestamptz IS NULL OR e.due_at >= %(due_from)s)
  AND (%(due_to)s::timestamptz IS NULL OR e.due_at < %(due_to)s)
  AND (%(projects)s::text[] IS NULL OR d.project_id = ANY(%(projects)s))
  AND (%(before_due)s::timestamptz IS NULL OR (e.due_at, e.id) < (%(before_due)s, %(before_id)s::bigint))
ORDER BY e.due_at DESC, e.id DESC
LIMIT %(limit)s

-- name: list_attempts
-- The attempts of an execution, the first one first; one row of nulls where there was none yet.
SELECT a.number, a.run_type, a.state, a.begin_at, a.end_at, a.url, a.body, a.status, a.response, a.error
FROM execution e
JOIN definition d ON d.id = e.definition_id
LEFT JOIN attempt a ON a.execution_id = e.id AND a.due_at = e.due_at
WHERE e.id = %(id)s
  AND (%(projects)s::text[] IS NULL OR d.project_id = ANY(%(projects)s))
ORDER BY a.number

-- name: find_answer
-- The ledger's row for an instant of a definition: its own, else the condensed one that stands for it. Windows
-- touch, so only the first row from the instant on can do that.
SELECT * FROM (
    SELECT e.id, e.definition_id, d.name AS definition_name, d.kind, e.schedule_id, e.due_at, e.origin, e.state,
           e.reason, e.covers_since, e.covers_count, e.attempts, e.next_attempt_at, e.run_id, e.lateness_ms,
           e.finished_at, e.created_at
    FROM execution e
    JOIN definition d ON d.id = e.definition_id
    WHERE e.definition_id = %(definition_id)s AND e.due_at >= %(at)s
      AND (e.origin = 'scheduled' OR e.due_at = %(at)s)
    ORDER BY e.due_at, e.origin DESC
    LIMIT 1
) AS first
WHERE first.due_at = %(at)s OR first.covers_since < %(at)s

-- name: lateness
-- How late scheduled executions began, by kind: percentiles, and counts between the bounds.
WITH measured AS (
    SELECT d.kind, e.lateness_ms, width_bucket(e.lateness_ms, %(bounds)s::double precision[]) AS bucket
    FROM execution e
    JOIN definition d ON d.id = e.definition_id
    WHERE e.due_at >= %(due_from)s AND e.due_at < %(due_to)s
      AND e.origin = 'scheduled' AND e.lateness_ms IS NOT NULL
      AND (%(kind)s::text IS NULL OR d.kind = %(kind)s)
      AND (%(projects)s::text[] IS NULL OR d.project_id = ANY(%(projects)s))
), counted AS (
    SELECT kind, bucket, count(*) AS number FROM measured GROUP BY kind, bucket
)
SELECT m.kind, count(*) AS executions,
       percentile_disc(0.50) WITHIN GROUP (ORDER BY m.lateness_ms) AS p50_ms,
       percentile_disc(0.95) WITHIN GROUP (ORDER BY m.lateness_ms) AS p95_ms,
       percentile_disc(0.99) WITHIN GROUP (ORDER BY m.lateness_ms) AS p99_ms,
       max(m.lateness_ms) AS max_ms,
       (SELECT array_agg(coalesce(c.number, 0) ORDER BY b)
          FROM generate_series(0, cardinality(%(bounds)s::double precision[])) AS b
          LEFT JOIN counted c ON c.bucket = b AND c.kind = m.kind) AS counts
FROM measured m
GROUP BY m.kind
ORDER BY m.kind

-- name: ping
-- Whether the database answers, and what it is.
SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS read_only

-- name: find_named
-- The definitions with this name, the ones that are not deleted first, then the newest.
SELECT id, kind, project_id, deleted_at
FROM definition
WHERE name = %(name)s
  AND (%(projects)s::text[] IS NULL OR project_id = ANY(%(projects)s))
ORDER BY deleted_at IS NOT NULL, id DESC
