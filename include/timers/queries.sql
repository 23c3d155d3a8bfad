-- name: lock_device
-- A device that timers are about to be set on, locked, and whether the user is bound to it.
SELECT v.id, v.device_id, v.project_id, v.timezone, v.timers_paused AS paused,
       EXISTS (SELECT FROM device_binding b WHERE b.device_id = v.id AND b.user_name = %(user)s) AS bound
FROM device v
WHERE v.device_id = %(device_id)s
FOR NO KEY UPDATE

-- name: find_device
-- A device, and whether the user is bound to it.
SELECT v.id, v.device_id, v.project_id, v.timezone, v.timers_paused AS paused,
       EXISTS (SELECT FROM device_binding b WHERE b.device_id = v.id AND b.user_name = %(user)s) AS bound
FROM device v
WHERE v.device_id = %(device_id)s

-- name: lock_device_of_projects
-- A device, locked; the caller's projects decide whether it can be seen.
SELECT v.id, v.device_id, v.project_id, v.timezone, v.timers_paused AS paused, true AS bound
FROM device v
WHERE v.device_id = %(device_id)s
  AND (%(projects)s::text[] IS NULL OR v.project_id = ANY(%(projects)s))
FOR NO KEY UPDATE

-- name: count_groups
-- How many groups a device has.
SELECT count(*) AS count FROM timer_group WHERE device_id = %(device)s AND deleted_at IS NULL

-- name: insert_group
-- A new group; its timers come with `insert_timers`.
INSERT INTO timer_group (group_id, device_id, period, first_day, timezone, enabled, offline, offline_ttl,
                         created_by, created_at, updated_at)
VALUES (%(group_id)s, %(device)s, %(period)s, %(first_day)s, %(timezone)s, %(enabled)s, %(offline)s,
        %(offline_ttl)s, %(user)s, %(now)s, %(now)s)
RETURNING id

-- name: update_group
-- New values of a group.
UPDATE timer_group
SET period = %(period)s, first_day = %(first_day)s, timezone = %(timezone)s, enabled = %(enabled)s,
    offline = %(offline)s, offline_ttl = %(offline_ttl)s, updated_at = %(now)s
WHERE id = %(id)s

-- name: groups_of_devices
-- The groups that devices have, by the devices' ids.
SELECT id FROM timer_group WHERE device_id = ANY(%(devices)s) AND deleted_at IS NULL

-- name: delete_groups
-- Out of sight for good, with their timers; what they did stays in the ledger.
WITH gone AS (
    UPDATE timer_group SET deleted_at = %(now)s, updated_at = %(now)s WHERE id = ANY(%(ids)s) RETURNING id
)
UPDATE definition d
SET deleted_at = %(now)s, updated_at = %(now)s, revision = d.revision + 1
FROM device_timer t, gone
WHERE t.group_id = gone.id AND d.id = t.definition_id AND d.deleted_at IS NULL
RETURNING d.schedule_id

-- name: insert_timers
-- New timers of a group: their definitions, and what is particular to them.
WITH item AS (
    SELECT * FROM jsonb_to_recordset(%(items)s::jsonb) AS i (
        name text, description text, schedule_id bigint, enabled boolean, weekdays smallint, due_at timestamptz,
        ordinal smallint, hour text, minute text, commands text)
), made AS (
    INSERT INTO definition (kind, schedule_id, project_id, name, description, enabled, active_since, weekdays, due_at,
                            misfire, misfire_grace, overlap, created_at, updated_at)
    SELECT 'timer', schedule_id, %(project_id)s, name, description, enabled, %(now)s, weekdays, due_at,
           'skip', %(misfire_grace)s, 'allow', %(now)s, %(now)s
    FROM item
    RETURNING id, name
)
INSERT INTO device_timer (definition_id, group_id, name, ordinal, hour, minute, commands)
SELECT made.id, %(group)s, name, ordinal, hour, minute, commands
FROM made JOIN item USING (name)

-- name: update_timers
-- New values of timers; `restarted` ones answer for instants from now on.
WITH item AS (
    SELECT * FROM jsonb_to_recordset(%(items)s::jsonb) AS i (
        definition_id bigint, description text, schedule_id bigint, enabled boolean, weekdays smallint,
        due_at timestamptz, spent boolean, restarted boolean, ordinal smallint, hour text, minute text, commands text)
), changed AS (
    UPDATE definition d
    SET schedule_id = i.schedule_id, description = i.description, enabled = i.enabled, weekdays = i.weekdays,
        due_at = i.due_at, spent = i.spent,
        active_since = CASE WHEN i.restarted THEN %(now)s ELSE d.active_since END,
        revision = d.revision + 1, updated_at = %(now)s
    FROM item i
    WHERE d.id = i.definition_id
)
UPDATE device_timer t
SET ordinal = i.ordinal, hour = i.hour, minute = i.minute, commands = i.commands
FROM item i
WHERE t.definition_id = i.definition_id

-- name: delete_timers
-- Timers that a group has no more.
UPDATE definition
SET deleted_at = %(now)s, updated_at = %(now)s, revision = revision + 1
WHERE id = ANY(%(ids)s)

-- name: lock_group
-- A group, its device locked as by whatever changes its timers; only a user that is bound to the device sees it.
SELECT g.id
FROM timer_group g JOIN device v ON v.id = g.device_id
WHERE g.group_id = %(group_id)s AND g.deleted_at IS NULL
  AND EXISTS (SELECT FROM device_binding b WHERE b.device_id = v.id AND b.user_name = %(user)s)
FOR NO KEY UPDATE OF v

-- name: find_group
-- A group with its timers, a row each; the user (null: any) must be bound to the device, the device be in one
-- of the projects (null: any).
SELECT 1::bigint AS count, g.id, g.group_id, v.device_id, v.project_id, g.period, g.first_day, g.timezone,
       g.enabled, v.timers_paused AS paused, g.offline, g.offline_ttl, g.created_by, g.created_at, g.updated_at,
       t.definition_id, t.name, t.hour, t.minute, t.commands, t.expression, t.schedule_id, t.live, t.weekdays,
       t.due_at, t.spent, t.active_since
FROM timer_group g
JOIN device v ON v.id = g.device_id
LEFT JOIN LATERAL (
    SELECT t.definition_id, t.ordinal, t.name, t.hour, t.minute, t.commands, s.expression, d.schedule_id,
           d.enabled AS live, d.weekdays, d.due_at, d.spent, d.active_since
    FROM device_timer t
    JOIN definition d ON d.id = t.definition_id AND d.deleted_at IS NULL
    JOIN schedule s ON s.id = d.schedule_id
    WHERE t.group_id = g.id
) AS t ON true
WHERE g.group_id = %(group_id)s AND g.deleted_at IS NULL
  AND (%(user)s::text IS NULL
       OR EXISTS (SELECT FROM device_binding b WHERE b.device_id = v.id AND b.user_name = %(user)s))
  AND (%(projects)s::text[] IS NULL OR v.project_id = ANY(%(projects)s))
ORDER BY t.ordinal

-- name: list_groups
-- A page of a device's groups, the newest first, with their timers, a row each; one row of nulls where the page
-- is empty.
WITH page AS (
    SELECT * FROM timer_group
    WHERE device_id = %(device)s AND deleted_at IS NULL
    ORDER BY id DESC
    LIMIT %(limit)s OFFSET %(offset)s
)
SELECT c.count, g.id, g.group_id, v.device_id, v.project_id, g.period, g.first_day, g.timezone,
       g.enabled, v.timers_paused AS paused, g.offline, g.offline_ttl, g.created_by, g.created_at, g.updated_at,
       t.definition_id, t.name, t.hour, t.minute, t.commands, t.expression, t.schedule_id, t.live, t.weekdays,
       t.due_at, t.spent, t.active_since
FROM (SELECT count(*) AS count FROM timer_group WHERE device_id = %(device)s AND deleted_at IS NULL) AS c
LEFT JOIN page g ON true
LEFT JOIN device v ON v.id = g.device_id
LEFT JOIN LATERAL (
    SELECT t.definition_id, t.ordinal, t.name, t.hour, t.minute, t.commands, s.expression, d.schedule_id,
           d.enabled AS live, d.weekdays, d.due_at, d.spent, d.active_since
    FROM device_timer t
    JOIN definition d ON d.id = t.definition_id AND d.deleted_at IS NULL
    JOIN schedule s ON s.id = d.schedule_id
    WHERE t.group_id = g.id
) AS t ON true
ORDER BY g.id DESC, t.ordinal

-- name: load_timers
-- What firing needs of these timers.
SELECT t.definition_id, v.device_id, v.status AS device_status, t.commands, g.offline, g.offline_ttl,
       d.misfire_grace AS grace
FROM device_timer t
JOIN definition d ON d.id = t.definition_id
JOIN timer_group g ON g.id = t.group_id
LEFT JOIN device v ON v.id = g.device_id
WHERE t.definition_id = ANY(%(ids)s)

-- name: pause_device
-- Have all timers of a device rest, or go on; each goes on as its group was set. What goes on answers for
-- instants from now on.
WITH chosen AS (
    UPDATE device SET timers_paused = %(paused)s WHERE id = %(device)s RETURNING id
)
UPDATE definition d
SET enabled = g.enabled AND NOT %(paused)s,
    active_since = CASE WHEN g.enabled AND NOT %(paused)s THEN %(now)s ELSE d.active_since END,
    revision = d.revision + 1, updated_at = %(now)s
FROM chosen, timer_group g, device_timer t
WHERE g.device_id = chosen.id AND g.deleted_at IS NULL AND t.group_id = g.id
  AND d.id = t.definition_id AND d.deleted_at IS NULL AND d.enabled <> (g.enabled AND NOT %(paused)s)
RETURNING d.schedule_id

-- name: list_manual_runs
-- The executions that a run on demand made.
SELECT id, definition_id FROM execution
WHERE definition_id = ANY(%(ids)s) AND due_at = %(due_at)s AND origin = 'manual'
ORDER BY id
