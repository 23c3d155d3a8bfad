-- name: page_devices
-- Devices of a project before an id, the newest first.
SELECT d.* FROM device d
WHERE d.project_id = %(project_id)s AND d.id < %(before)s
  AND (%(product_id)s::text IS NULL OR d.product_id = %(product_id)s)
  AND (%(gateway_id)s::text IS NULL OR d.gateway_id = %(gateway_id)s)
  AND (%(node_id)s::text IS NULL OR d.node_id = %(node_id)s)
  AND (%(name)s::text IS NULL OR d.name COLLATE "C" = %(name)s)
  AND (%(app_id)s::text IS NULL OR d.app_id = %(app_id)s)
  AND (%(since)s::timestamptz IS NULL OR d.created_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR d.created_at <= %(until)s)
ORDER BY d.id DESC OFFSET %(offset)s LIMIT %(limit)s

-- name: count_devices
-- How many devices match, on all pages.
SELECT count(*) AS count FROM device d
WHERE d.project_id = %(project_id)s
  AND (%(product_id)s::text IS NULL OR d.product_id = %(product_id)s)
  AND (%(gateway_id)s::text IS NULL OR d.gateway_id = %(gateway_id)s)
  AND (%(node_id)s::text IS NULL OR d.node_id = %(node_id)s)
  AND (%(name)s::text IS NULL OR d.name COLLATE "C" = %(name)s)
  AND (%(app_id)s::text IS NULL OR d.app_id = %(app_id)s)
  AND (%(since)s::timestamptz IS NULL OR d.created_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR d.created_at <= %(until)s)

-- name: page_members
-- Devices of a group before an id, the newest first.
SELECT d.* FROM device_group_member m JOIN device d ON d.id = m.device_id
WHERE m.group_id = %(group)s AND m.device_id < %(before)s
ORDER BY m.device_id DESC OFFSET %(offset)s LIMIT %(limit)s

-- name: count_members
-- How many devices a group has.
SELECT count(*) AS count FROM device_group_member WHERE group_id = %(group)s

-- name: page_groups
-- Groups of a project before an id, the newest first.
SELECT * FROM device_group
WHERE project_id = %(project_id)s AND id < %(before)s AND (%(name)s::text IS NULL OR name = %(name)s)
ORDER BY id DESC OFFSET %(offset)s LIMIT %(limit)s

-- name: count_groups
-- How many groups match, on all pages.
SELECT count(*) AS count FROM device_group
WHERE project_id = %(project_id)s AND (%(name)s::text IS NULL OR name = %(name)s)

-- name: page_commands
-- Commands of a device before an id, the newest first.
SELECT c.id, c.command_id, d.device_id, c.service_id, c.command_name, c.paras, c.send_strategy, c.status, c.result,
       c.expires_at, c.created_at, c.sent_at, c.delivered_at, c.responded_at
FROM device_command c JOIN device d ON d.id = c.device_id
WHERE c.device_id = %(device)s AND c.id < %(before)s AND c.status = ANY(%(statuses)s)
  AND (%(command_name)s::text IS NULL OR c.command_name = %(command_name)s)
  AND (%(since)s::timestamptz IS NULL OR c.created_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR c.created_at <= %(until)s)
ORDER BY c.id DESC OFFSET %(offset)s LIMIT %(limit)s

-- name: count_commands
-- How many commands of a device match, on all pages.
SELECT count(*) AS count FROM device_command c
WHERE c.device_id = %(device)s AND c.status = ANY(%(statuses)s)
  AND (%(command_name)s::text IS NULL OR c.command_name = %(command_name)s)
  AND (%(since)s::timestamptz IS NULL OR c.created_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR c.created_at <= %(until)s)

-- name: find_message
-- A message to a device.
SELECT m.id, m.message_id, d.device_id, m.name, m.message, m.encoding, m.payload_format, m.topic, m.properties,
       m.status, m.error, m.expires_at, m.created_at, m.finished_at
FROM device_message m JOIN device d ON d.id = m.device_id
WHERE m.device_id = %(device)s AND m.message_id = %(message_id)s
