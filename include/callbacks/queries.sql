-- name: insert_tasks
-- The definitions and callback tasks of one batch; a name that is taken is left out.
WITH item AS (
    SELECT * FROM jsonb_to_recordset(%(items)s::jsonb) AS i (
        schedule_id bigint, project_id text, name text, description text, enabled boolean, due_at timestamptz,
        expires_at timestamptz, misfire text, misfire_grace interval, overlap text, module integer,
        type smallint, start_time text, timezone text, url text, method text, resp_regexp text, body text,
        body_type smallint, redo_delays integer[], timeout double precision, headers jsonb, secret text)
), made AS (
    INSERT INTO definition (kind, schedule_id, project_id, name, description, enabled, active_since, due_at,
                            expires_at, misfire, misfire_grace, overlap, created_at, updated_at)
    SELECT 'callback', schedule_id, project_id, name, description, enabled, %(now)s, due_at,
           expires_at, misfire, misfire_grace, overlap, %(now)s, %(now)s
    FROM item
    ON CONFLICT (kind, coalesce(project_id, ''), name) WHERE deleted_at IS NULL AND kind NOT IN ('billing', 'timer') DO NOTHING
    RETURNING id, name, schedule_id
), detail AS (
    INSERT INTO callback_task (definition_id, module, type, start_time, timezone, url, method, resp_regexp, body,
                               body_type, redo_delays, timeout, headers, secret)
    SELECT made.id, module, type, start_time, timezone, url, method, resp_regexp, body, body_type, redo_delays,
           timeout, coalesce(headers, '{}'), secret
    FROM made JOIN item ON item.name = made.name
)
SELECT id, name, schedule_id FROM made

-- name: lock_tasks
-- The tasks that these ids or names mean, locked; the token's projects decide which can be seen.
SELECT d.id, d.name, d.project_id, d.schedule_id, d.enabled, d.due_at, d.spent, d.expires_at, d.description,
       d.misfire, d.overlap, t.timezone,
       t.module, t.type, t.start_time, t.url, t.method, t.resp_regexp, t.body, t.body_type,
       t.redo_delays, t.timeout, t.headers, t.secret
FROM definition d
JOIN callback_task t ON t.definition_id = d.id
WHERE d.kind = 'callback' AND d.deleted_at IS NULL
  AND (d.id = ANY(%(ids)s) OR d.name = ANY(%(names)s))
  AND (%(projects)s::text[] IS NULL OR d.project_id = ANY(%(projects)s))
ORDER BY d.id
FOR NO KEY UPDATE OF d

-- name: update_tasks
-- New values of a batch of tasks, every column given; `rescheduled` ones answer for instants from now on.
WITH item AS (
    SELECT * FROM jsonb_to_recordset(%(items)s::jsonb) AS i (
        id bigint, schedule_id bigint, description text, enabled boolean, due_at timestamptz,
        expires_at timestamptz, misfire text, misfire_grace interval, overlap text, module integer,
        type smallint, start_time text, timezone text, url text, method text, resp_regexp text, body text,
        body_type smallint, redo_delays integer[], timeout double precision, headers jsonb, secret text,
        rescheduled boolean, restarted boolean)
), changed AS (
    UPDATE definition d
    SET schedule_id = i.schedule_id, description = i.description, enabled = i.enabled, due_at = i.due_at,
        expires_at = i.expires_at, misfire = i.misfire, misfire_grace = i.misfire_grace, overlap = i.overlap,
        active_since = CASE WHEN i.rescheduled OR i.restarted THEN %(now)s ELSE d.active_since END,
        spent = d.spent AND NOT i.rescheduled,
        revision = d.revision + 1, updated_at = %(now)s
    FROM item i
    WHERE d.id = i.id
)
UPDATE callback_task t
SET module = i.module, type = i.type, start_time = i.start_time, timezone = i.timezone, url = i.url, method = i.method,
    resp_regexp = i.resp_regexp, body = i.body, body_type = i.body_type, redo_delays = i.redo_delays,
    timeout = i.timeout, headers = coalesce(i.headers, '{}'), secret = i.secret
FROM item i
WHERE t.definition_id = i.id

-- name: load_tasks
-- What firing needs of these tasks.
SELECT t.definition_id, d.revision, t.url, t.method, t.resp_regexp, t.body, t.body_type, t.redo_delays,
       t.timeout, t.headers, t.secret
FROM callback_task t JOIN definition d ON d.id = t.definition_id
WHERE t.definition_id = ANY(%(ids)s)

-- name: find_task_ids
-- The tasks that these ids or names mean.
SELECT d.id, d.name FROM definition d
WHERE d.kind = 'callback' AND d.deleted_at IS NULL
  AND (d.id = ANY(%(ids)s) OR d.name = ANY(%(names)s))
  AND (%(projects)s::text[] IS NULL OR d.project_id = ANY(%(projects)s))

-- name: task_log
-- The newest attempts of each of these tasks, newest first.
SELECT d.id AS task_id, d.name, a.run_type, a.state, a.begin_at, a.end_at,
       coalesce(a.url, t.url) AS url, coalesce(a.body, t.body) AS body, a.response, a.error
FROM unnest(%(ids)s::bigint[]) AS wanted (id)
JOIN definition d ON d.id = wanted.id
JOIN callback_task t ON t.definition_id = d.id
CROSS JOIN LATERAL (
    SELECT * FROM attempt WHERE definition_id = d.id ORDER BY begin_at DESC, number DESC LIMIT %(limit)s
) a
ORDER BY a.begin_at DESC, a.number DESC
