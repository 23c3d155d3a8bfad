-- name: lock_devices
-- Devices by device_id, whosever they are, locked against other changes.
SELECT d.id, d.device_id, d.project_id, d.product_id, d.node_id, d.gateway_id, d.auth_type, d.secret, d.status,
       EXISTS (SELECT FROM device c WHERE c.gateway_id = d.device_id) AS parent
FROM device d
WHERE d.device_id = ANY(%(device_ids)s)
ORDER BY d.id
FOR NO KEY UPDATE

-- name: devices_at_nodes
-- Which devices have these nodes of a product already.
SELECT i.row, d.device_id
FROM jsonb_to_recordset(%(items)s::jsonb) AS i (row integer, project_id text, product_id text, node_id text)
JOIN device d ON d.project_id = i.project_id AND d.node_id = i.node_id AND d.product_id = i.product_id

-- name: insert_devices
-- New devices.
INSERT INTO device (device_id, project_id, product_id, product_name, app_id, app_name, node_id, node_type, gateway_id,
                    name, description, auth_type, secret, fingerprint, status, status_at, active_at, fw_version,
                    sw_version, tags, extension_info, timezone, created_at, updated_at)
SELECT device_id, project_id, product_id, product_name, app_id, app_name, node_id, node_type, gateway_id,
       name, description, auth_type, secret, fingerprint, coalesce(status, 'INACTIVE'),
       CASE WHEN status <> 'INACTIVE' THEN %(now)s::timestamptz END,
       CASE WHEN status = 'ONLINE' THEN %(now)s::timestamptz END, fw_version,
       sw_version, tags, extension_info, timezone, %(now)s, %(now)s
FROM jsonb_to_recordset(%(items)s::jsonb)
     AS i (device_id text, project_id text, product_id text, product_name text, app_id text, app_name text,
           node_id text, node_type text, gateway_id text, name text, description text, auth_type text, secret text,
           fingerprint text, status text, fw_version text, sw_version text, tags jsonb, extension_info jsonb,
           timezone text)
ORDER BY device_id

-- name: update_devices
-- Devices that are there, as they should be; unchanged ones are left out. A frozen one stays frozen.
UPDATE device d
SET product_id = i.product_id, product_name = i.product_name, app_id = i.app_id, app_name = i.app_name,
    node_id = i.node_id, node_type = i.node_type, gateway_id = i.gateway_id, name = i.name,
    description = i.description, auth_type = i.auth_type, secret = i.secret, fingerprint = i.fingerprint,
    status = CASE WHEN d.status = 'FROZEN' THEN d.status ELSE coalesce(i.status, d.status) END,
    status_before_freeze = CASE WHEN d.status = 'FROZEN' THEN coalesce(i.status, d.status_before_freeze) END,
    status_at = CASE WHEN i.status <> coalesce(d.status_before_freeze, d.status) THEN %(now)s ELSE d.status_at END,
    active_at = CASE WHEN i.status = 'ONLINE' THEN coalesce(d.active_at, %(now)s) ELSE d.active_at END,
    fw_version = i.fw_version, sw_version = i.sw_version, tags = i.tags, extension_info = i.extension_info,
    timezone = i.timezone, updated_at = %(now)s
FROM jsonb_to_recordset(%(items)s::jsonb)
     AS i (id bigint, product_id text, product_name text, app_id text, app_name text, node_id text, node_type text,
           gateway_id text, name text, description text, auth_type text, secret text, fingerprint text, status text,
           fw_version text, sw_version text, tags jsonb, extension_info jsonb, timezone text)
WHERE d.id = i.id
  AND (d.product_id, d.product_name, d.app_id, d.app_name, d.node_id, d.node_type, d.gateway_id, d.name,
       d.description, d.auth_type, d.secret, d.fingerprint, coalesce(d.status_before_freeze, d.status), d.fw_version,
       d.sw_version, d.tags, d.extension_info, d.timezone)
      IS DISTINCT FROM
      (i.product_id, i.product_name, i.app_id, i.app_name, i.node_id, i.node_type, i.gateway_id, i.name,
       i.description, i.auth_type, i.secret, i.fingerprint,
       coalesce(i.status, d.status_before_freeze, d.status), i.fw_version,
       i.sw_version, i.tags, i.extension_info, i.timezone)
RETURNING d.id

-- name: find_devices
-- Devices by device_id, as far as they may be seen.
SELECT d.* FROM device d
WHERE d.device_id = ANY(%(device_ids)s) AND (%(projects)s::text[] IS NULL OR d.project_id = ANY(%(projects)s))

-- name: device_projects
-- The projects that have devices, each found by one step along an index.
WITH RECURSIVE p AS (
    (SELECT project_id FROM device ORDER BY project_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.project_id FROM device d WHERE d.project_id > p.project_id ORDER BY d.project_id LIMIT 1)
    FROM p WHERE p.project_id IS NOT NULL
)
SELECT project_id FROM p WHERE project_id IS NOT NULL

-- name: list_devices
-- Devices of projects, the oldest first: of each project as many as the page takes, along the index that fits.
SELECT d.*
FROM (
    SELECT f.id FROM unnest(%(projects)s::text[]) AS p (project_id)
    CROSS JOIN LATERAL (
        SELECT d.id FROM device d
        WHERE d.project_id = p.project_id AND d.id > %(after)s
          AND (%(product)s::text IS NULL OR d.product_id = %(product)s)
          AND (%(status)s::text IS NULL OR d.status = %(status)s)
          AND (%(node_id)s::text IS NULL OR d.node_id = %(node_id)s)
        ORDER BY d.id LIMIT %(limit)s
    ) f
    ORDER BY f.id LIMIT %(limit)s
) page
JOIN device d ON d.id = page.id
ORDER BY d.id

-- name: list_devices_by_tag
-- Devices of projects with a tag, the oldest first.
SELECT d.*
FROM (
    SELECT f.device_id FROM unnest(%(projects)s::text[]) AS p (project_id)
    CROSS JOIN LATERAL (
        SELECT t.device_id FROM device_tag t JOIN device d ON d.id = t.device_id
        WHERE t.project_id = p.project_id AND t.key = %(tag_key)s AND t.value = %(tag_value)s
          AND t.device_id > %(after)s AND d.id > %(after)s
          AND (%(product)s::text IS NULL OR d.product_id = %(product)s)
          AND (%(status)s::text IS NULL OR d.status = %(status)s)
          AND (%(gateway)s::text IS NULL OR d.gateway_id = %(gateway)s)
          AND (%(node_id)s::text IS NULL OR d.node_id = %(node_id)s)
        ORDER BY t.device_id LIMIT %(limit)s
    ) f
    ORDER BY f.device_id LIMIT %(limit)s
) page
JOIN device d ON d.id = page.device_id
ORDER BY d.id

-- name: list_devices_of_group
-- Devices of a group, the oldest first.
SELECT d.*
FROM device_group_member m
JOIN device d ON d.id = m.device_id
WHERE m.group_id = (SELECT g.id FROM device_group g
                    WHERE g.group_id = %(group)s AND g.project_id = ANY(%(projects)s))
  AND m.device_id > %(after)s AND d.id > %(after)s
  AND (%(product)s::text IS NULL OR d.product_id = %(product)s)
  AND (%(status)s::text IS NULL OR d.status = %(status)s)
  AND (%(gateway)s::text IS NULL OR d.gateway_id = %(gateway)s)
  AND (%(node_id)s::text IS NULL OR d.node_id = %(node_id)s)
  AND (%(tag_key)s::text IS NULL OR EXISTS
       (SELECT FROM device_tag t WHERE t.device_id = m.device_id AND t.key = %(tag_key)s AND t.value = %(tag_value)s))
ORDER BY m.device_id LIMIT %(limit)s

-- name: list_devices_of_gateway
-- Devices behind a gateway, which are of its project, the oldest first.
SELECT d.*
FROM device g
JOIN device d ON d.gateway_id = g.device_id
WHERE g.device_id = %(gateway)s AND g.project_id = ANY(%(projects)s)
  AND d.gateway_id = %(gateway)s AND d.id > %(after)s
  AND (%(product)s::text IS NULL OR d.product_id = %(product)s)
  AND (%(status)s::text IS NULL OR d.status = %(status)s)
  AND (%(node_id)s::text IS NULL OR d.node_id = %(node_id)s)
ORDER BY d.id LIMIT %(limit)s

-- name: list_devices_by_name
-- Devices of projects whose names begin in a way, by name and then by age.
SELECT d.*
FROM (
    SELECT f.id, f.name FROM unnest(%(projects)s::text[]) AS p (project_id)
    CROSS JOIN LATERAL (
        SELECT d.id, d.name COLLATE "C" AS name FROM device d
        WHERE d.project_id = p.project_id
          AND (d.name COLLATE "C", d.id) > (%(after_name)s, %(after)s) AND d.name COLLATE "C" < %(before_name)s
          AND (%(product)s::text IS NULL OR d.product_id = %(product)s)
          AND (%(status)s::text IS NULL OR d.status = %(status)s)
          AND (%(gateway)s::text IS NULL OR d.gateway_id = %(gateway)s)
          AND (%(node_id)s::text IS NULL OR d.node_id = %(node_id)s)
          AND (%(tag_key)s::text IS NULL OR EXISTS
               (SELECT FROM device_tag t
                WHERE t.device_id = d.id AND t.key = %(tag_key)s AND t.value = %(tag_value)s))
          AND (%(group)s::text IS NULL OR EXISTS
               (SELECT FROM device_group_member m
                WHERE m.group_id = (SELECT g.id FROM device_group g
                                    WHERE g.group_id = %(group)s AND g.project_id = p.project_id)
                  AND m.device_id = d.id))
        ORDER BY d.name COLLATE "C", d.id LIMIT %(limit)s
    ) f
    ORDER BY f.name, f.id LIMIT %(limit)s
) page
JOIN device d ON d.id = page.id
ORDER BY page.name, d.id

-- name: delete_device
-- A device goes with its bindings, shadow, commands and messages; its children refuse that.
DELETE FROM device WHERE id = %(id)s

-- name: freeze_device
-- A device may not speak any more.
UPDATE device SET status = 'FROZEN', status_before_freeze = status, updated_at = %(now)s
WHERE id = %(id)s AND status <> 'FROZEN'

-- name: unfreeze_device
-- A frozen device is again what it was, or what was heard of it since.
UPDATE device SET status = status_before_freeze, status_before_freeze = NULL, updated_at = %(now)s
WHERE id = %(id)s AND status = 'FROZEN'

-- name: mark_devices
-- What became of the connections of devices at a moment, unless something later is known; a frozen one stays frozen.
WITH found AS (
    SELECT id, coalesce(status_before_freeze, status) AS was FROM device
    WHERE device_id = ANY(%(device_ids)s) AND (status_at IS NULL OR status_at <= %(at)s)
    ORDER BY id
    FOR NO KEY UPDATE
)
UPDATE device d
SET status = CASE WHEN d.status = 'FROZEN' THEN d.status ELSE %(status)s::text END,
    status_before_freeze = CASE WHEN d.status = 'FROZEN' THEN %(status)s::text END,
    status_at = %(at)s,
    active_at = CASE WHEN %(status)s::text = 'ONLINE' THEN coalesce(d.active_at, %(at)s) ELSE d.active_at END
FROM found
WHERE d.id = found.id
RETURNING d.device_id, found.was <> %(status)s::text AS changed

-- name: device_secret
-- The encrypted secret of a device.
SELECT secret FROM device WHERE device_id = %(device_id)s

-- name: insert_group
-- A new group.
INSERT INTO device_group (group_id, project_id, name, description, created_at)
VALUES (%(group_id)s, %(project_id)s, %(name)s, %(description)s, %(now)s)
RETURNING *

-- name: find_group
-- A group, if it may be seen.
SELECT * FROM device_group
WHERE group_id = %(group_id)s AND (%(projects)s::text[] IS NULL OR project_id = ANY(%(projects)s))

-- name: update_group
-- Another name or description of a group.
UPDATE device_group SET name = %(name)s, description = %(description)s WHERE id = %(id)s RETURNING *

-- name: delete_group
-- A group goes; its devices stay.
DELETE FROM device_group WHERE id = %(id)s

-- name: list_groups
-- Groups, the oldest first; of one project or of all that may be seen, or those of one device.
SELECT g.* FROM device_group g
WHERE g.id > %(after)s
  AND (%(projects)s::text[] IS NULL OR g.project_id = ANY(%(projects)s))
  AND (%(device_id)s::text IS NULL OR g.id IN
       (SELECT m.group_id FROM device_group_member m JOIN device d ON d.id = m.device_id
        WHERE d.device_id = %(device_id)s))
ORDER BY g.id LIMIT %(limit)s

-- name: devices_in_project
-- Which of these devices a project has; they stay until the transaction ends.
SELECT device_id, id FROM device
WHERE device_id = ANY(%(device_ids)s) AND project_id = %(project_id)s
ORDER BY id FOR KEY SHARE

-- name: add_members
-- Devices come into a group.
INSERT INTO device_group_member (group_id, device_id)
SELECT %(group)s, id FROM unnest(%(ids)s::bigint[]) AS i (id) ORDER BY id
ON CONFLICT DO NOTHING
RETURNING device_id

-- name: remove_members
-- Devices leave a group.
DELETE FROM device_group_member WHERE group_id = %(group)s AND device_id = ANY(%(ids)s::bigint[]) RETURNING device_id

-- name: bind_user
-- A user may set timers on a device.
INSERT INTO device_binding (user_name, device_id, created_at) VALUES (%(user)s, %(id)s, %(now)s)
ON CONFLICT DO NOTHING
RETURNING created_at

-- name: unbind_user
-- A user may no more.
DELETE FROM device_binding WHERE user_name = %(user)s AND device_id = %(id)s RETURNING created_at

-- name: is_bound
-- Whether a user may set timers on a device.
SELECT EXISTS (SELECT FROM device_binding b JOIN device d ON d.id = b.device_id
               WHERE b.user_name = %(user)s AND d.device_id = %(device_id)s) AS bound

-- name: list_bindings
-- Users of a device by name.
SELECT user_name AS "user", created_at FROM device_binding
WHERE device_id = %(id)s AND user_name > %(after)s ORDER BY user_name LIMIT %(limit)s

-- name: find_shadow
-- The shadow of a device.
SELECT service_id, desired, desired_at, reported, reported_at, version
FROM device_shadow WHERE device_id = %(id)s ORDER BY service_id

-- name: put_desired
-- What services of a device should be: a null key goes, {} clears, others stay; unchanged ones keep their version.
INSERT INTO device_shadow AS s (device_id, service_id, desired, desired_at, version)
SELECT %(id)s, i.service_id, i.desired - i.gone, %(now)s, 1
FROM (
    SELECT service_id, desired,
           ARRAY(SELECT key FROM jsonb_each(desired) WHERE value = 'null'::jsonb) AS gone
    FROM jsonb_to_recordset(%(items)s::jsonb) AS r (service_id text, desired jsonb)
) i
ORDER BY i.service_id
ON CONFLICT (device_id, service_id) DO NOTHING

-- name: change_desired
-- The same of services that are there; a row says which changed.
UPDATE device_shadow s
SET desired = i.merged, desired_at = %(now)s, version = s.version + 1
FROM (
    SELECT r.service_id,
           CASE WHEN r.desired = '{}'::jsonb THEN r.desired
                ELSE (o.desired || r.desired)
                     - ARRAY(SELECT key FROM jsonb_each(r.desired) WHERE value = 'null'::jsonb) END AS merged
    FROM jsonb_to_recordset(%(items)s::jsonb) AS r (service_id text, desired jsonb)
    JOIN device_shadow o ON o.device_id = %(id)s AND o.service_id = r.service_id
) i
WHERE s.device_id = %(id)s AND s.service_id = i.service_id AND s.desired <> i.merged
RETURNING s.service_id

-- name: spread_desired
-- The same change in the shadows of many devices, which are locked, where they have room for its services.
WITH change AS (
    SELECT service_id, desired, ARRAY(SELECT key FROM jsonb_each(desired) WHERE value = 'null'::jsonb) AS gone
    FROM jsonb_to_recordset(%(items)s::jsonb) AS r (service_id text, desired jsonb)
), roomy AS (
    SELECT d.id, d.device_id FROM device d
    WHERE d.device_id = ANY(%(device_ids)s)
      AND (SELECT count(*) FROM change) + (SELECT count(*) FROM device_shadow o WHERE o.device_id = d.id
               AND o.service_id NOT IN (SELECT service_id FROM change)) <= %(most)s
), spread AS (
    INSERT INTO device_shadow AS s (device_id, service_id, desired, desired_at, version)
    SELECT r.id, c.service_id, c.desired - c.gone, %(now)s, 1
    FROM roomy r CROSS JOIN change c ORDER BY r.id, c.service_id
    ON CONFLICT (device_id, service_id) DO UPDATE
    SET desired = (SELECT CASE WHEN c.desired = '{}'::jsonb THEN c.desired ELSE (s.desired || c.desired) - c.gone END
                   FROM change c WHERE c.service_id = excluded.service_id),
        desired_at = excluded.desired_at, version = s.version + 1
    WHERE s.desired <> (SELECT CASE WHEN c.desired = '{}'::jsonb THEN c.desired
                                    ELSE (s.desired || c.desired) - c.gone END
                        FROM change c WHERE c.service_id = excluded.service_id)
)
SELECT device_id FROM roomy

-- name: put_reported
-- What a service of a device said it is, unless something later is known; a null key goes, others stay.
INSERT INTO device_shadow AS s (device_id, service_id, reported, reported_at)
SELECT d.id, %(service_id)s, %(reported)s::jsonb - ARRAY(SELECT key FROM jsonb_each(%(reported)s::jsonb) WHERE value = 'null'::jsonb), %(at)s
FROM device d WHERE d.device_id = %(device_id)s
ON CONFLICT (device_id, service_id) DO UPDATE
SET reported = (s.reported || %(reported)s::jsonb)
               - ARRAY(SELECT key FROM jsonb_each(%(reported)s::jsonb) WHERE value = 'null'::jsonb),
    reported_at = excluded.reported_at
WHERE s.reported_at IS NULL OR s.reported_at <= excluded.reported_at

-- name: add_commands
-- New commands in their order, as many as may wait for each device; the devices are locked.
INSERT INTO device_command (command_id, device_id, service_id, command_name, paras, send_strategy, status,
                            expires_at, created_at)
SELECT n.command_id, n.id, n.service_id, n.command_name, n.paras, n.send_strategy, 'PENDING', n.expires_at, %(now)s
FROM (
    SELECT i.*, d.id, row_number() OVER (PARTITION BY d.id ORDER BY i.place) AS number,
           (SELECT count(*) FROM device_command c WHERE c.device_id = d.id AND c.status = 'PENDING') AS waiting
    FROM jsonb_to_recordset(%(items)s::jsonb)
         AS i (place integer, command_id text, device_id text, service_id text, command_name text, paras jsonb,
               send_strategy text, expires_at timestamptz)
    JOIN device d ON d.device_id = i.device_id
) n
WHERE n.number + n.waiting <= %(most)s
ORDER BY n.place
ON CONFLICT ON CONSTRAINT device_command_id_unique DO NOTHING
RETURNING command_id

-- name: move_commands
-- Commands get another status, those that may; which they were is said.
UPDATE device_command c
SET status = %(status)s::text,
    sent_at = CASE WHEN %(status)s::text = 'SENT' THEN %(at)s ELSE c.sent_at END,
    delivered_at = CASE WHEN %(status)s::text = 'DELIVERED' THEN %(at)s ELSE c.delivered_at END,
    responded_at = CASE WHEN %(status)s::text IN ('SUCCESSFUL', 'FAILED') THEN %(at)s ELSE c.responded_at END,
    result = coalesce(%(result)s::jsonb, c.result)
FROM (SELECT id FROM device_command
      WHERE command_id = ANY(%(command_ids)s) ORDER BY id FOR NO KEY UPDATE) f
WHERE c.id = f.id AND c.status = ANY(%(sources)s)
RETURNING c.command_id

-- name: expire_commands
-- Commands whose time is over: those not sent expire, the others time out.
UPDATE device_command c
SET status = CASE WHEN c.status = 'PENDING' THEN 'EXPIRED' ELSE 'TIMEOUT' END
FROM (SELECT id FROM device_command
      WHERE expires_at <= %(now)s AND status IN ('PENDING', 'SENT', 'DELIVERED')
      ORDER BY expires_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED) f
WHERE c.id = f.id
RETURNING c.command_id

-- name: list_commands
-- Commands of a device, the newest first.
SELECT c.id, c.command_id, d.device_id, c.service_id, c.command_name, c.paras, c.send_strategy, c.status, c.result,
       c.expires_at, c.created_at, c.sent_at, c.delivered_at, c.responded_at
FROM device_command c JOIN device d ON d.id = c.device_id
WHERE c.device_id = %(id)s AND c.id < %(before)s
ORDER BY c.id DESC LIMIT %(limit)s

-- name: find_commands
-- Commands by their ids.
SELECT c.id, c.command_id, d.device_id, c.service_id, c.command_name, c.paras, c.send_strategy, c.status, c.result,
       c.expires_at, c.created_at, c.sent_at, c.delivered_at, c.responded_at
FROM device_command c JOIN device d ON d.id = c.device_id
WHERE c.command_id = ANY(%(command_ids)s) ORDER BY c.id

-- name: known_messages
-- Which of these messages there are already.
SELECT d.device_id, m.message_id
FROM jsonb_to_recordset(%(items)s::jsonb) AS i (device_id text, message_id text)
JOIN device d ON d.device_id = i.device_id
JOIN device_message m ON m.device_id = d.id AND m.message_id = i.message_id

-- name: add_messages
-- New messages in their order, as many as may wait for each device; the devices are locked.
INSERT INTO device_message AS m (message_id, device_id, name, message, encoding, payload_format, topic, properties,
                                 status, expires_at, created_at)
SELECT n.message_id, n.id, n.name, n.message, n.encoding, n.payload_format, n.topic, n.properties, 'PENDING',
       n.expires_at, %(now)s
FROM (
    SELECT i.*, d.id, row_number() OVER (PARTITION BY d.id ORDER BY i.place) AS number,
           (SELECT count(*) FROM device_message c WHERE c.device_id = d.id AND c.status = 'PENDING') AS waiting
    FROM jsonb_to_recordset(%(items)s::jsonb)
         AS i (place integer, message_id text, device_id text, name text, message jsonb, encoding text,
               payload_format text, topic text, properties jsonb, expires_at timestamptz)
    JOIN device d ON d.device_id = i.device_id
) n
WHERE n.number + n.waiting <= %(most)s
ORDER BY n.place
RETURNING (SELECT device_id FROM device WHERE id = m.device_id) AS device_id, message_id

-- name: move_messages
-- Messages of devices get another status, those that may.
UPDATE device_message m
SET status = %(status)s::text, error = %(error)s::text, finished_at = %(at)s
FROM (SELECT g.id, d.device_id AS key
      FROM jsonb_to_recordset(%(items)s::jsonb) AS i (device_id text, message_id text)
      JOIN device d ON d.device_id = i.device_id
      JOIN device_message g ON g.device_id = d.id AND g.message_id = i.message_id
      ORDER BY g.id FOR NO KEY UPDATE OF g) f
WHERE m.id = f.id AND m.status = ANY(%(sources)s)
RETURNING f.key AS device_id, m.message_id

-- name: expire_messages
-- Messages whose time is over.
UPDATE device_message m SET status = 'TIMEOUT', finished_at = %(now)s
FROM (SELECT id FROM device_message WHERE expires_at <= %(now)s AND status = 'PENDING'
      ORDER BY expires_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED) f
WHERE m.id = f.id
RETURNING m.message_id

-- name: list_messages
-- Messages of a device, the newest first.
SELECT m.id, m.message_id, d.device_id, m.name, m.message, m.encoding, m.payload_format, m.topic, m.properties,
       m.status, m.error, m.expires_at, m.created_at, m.finished_at
FROM device_message m JOIN device d ON d.id = m.device_id
WHERE m.device_id = %(id)s AND m.id < %(before)s
ORDER BY m.id DESC LIMIT %(limit)s
