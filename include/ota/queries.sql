-- name: insert_package
-- A new package.
INSERT INTO ota_package (package_id, project_id, app_id, package_type, product_id, module_name, version,
                         support_source_versions, description, custom_info, file_location, created_at)
VALUES (%(package_id)s, %(project_id)s, %(app_id)s, %(package_type)s, %(product_id)s, %(module_name)s, %(version)s,
        %(support_source_versions)s, %(description)s, %(custom_info)s, %(file_location)s::jsonb, %(now)s)
RETURNING *

-- name: find_package
-- A package of a project.
SELECT * FROM ota_package WHERE project_id = %(project_id)s AND package_id = %(package_id)s

-- name: hold_package
-- The same, kept from being deleted until the end of the transaction.
SELECT * FROM ota_package WHERE project_id = %(project_id)s AND package_id = %(package_id)s
FOR SHARE

-- name: lock_package
-- The same, for whoever deletes it.
SELECT * FROM ota_package WHERE project_id = %(project_id)s AND package_id = %(package_id)s
FOR UPDATE

-- name: list_packages
-- Packages of a project, the newest first.
SELECT * FROM ota_package
WHERE project_id = %(project_id)s AND package_id < %(marker)s
  AND (%(app_id)s::text IS NULL OR app_id = %(app_id)s)
  AND (%(package_type)s::text IS NULL OR package_type = %(package_type)s)
  AND (%(product_id)s::text IS NULL OR product_id = %(product_id)s)
  AND (%(version)s::text IS NULL OR version = %(version)s)
ORDER BY package_id DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: count_packages
-- How many packages match, on all pages.
SELECT count(*) AS count FROM ota_package
WHERE project_id = %(project_id)s
  AND (%(app_id)s::text IS NULL OR app_id = %(app_id)s)
  AND (%(package_type)s::text IS NULL OR package_type = %(package_type)s)
  AND (%(product_id)s::text IS NULL OR product_id = %(product_id)s)
  AND (%(version)s::text IS NULL OR version = %(version)s)

-- name: find_user_of_package
-- A task that has not ended and needs a package.
SELECT task_id FROM batch_task
WHERE project_id = %(project_id)s AND task_type IN ('firmwareUpgrade', 'softwareUpgrade', 'moduleUpgrade')
  AND status IN ('Initializing', 'Waitting', 'Processing', 'Stopping')
  AND (document ->> 'package_id' = %(package_id)s OR document -> 'package_ids' ? %(package_id)s)
LIMIT 1

-- name: delete_package
-- Forget a package.
DELETE FROM ota_package WHERE id = %(id)s

-- name: open_upgrades
-- Begin upgrades, or begin anew where the sub-task is at another attempt. A device in another upgrade is left out.
INSERT INTO device_upgrade (device_id, subtask_id, attempt, stage, since, kind, module_name, target)
SELECT DISTINCT ON (i.device_id)
       i.device_id, i.subtask_id, i.attempt, 'online', %(now)s, i.kind, i.module_name, i.target
FROM jsonb_to_recordset(%(items)s::jsonb)
     AS i (device_id text, subtask_id bigint, attempt integer, kind text, module_name text, target text)
JOIN batch_subtask s ON s.id = i.subtask_id AND s.status = 'Processing'
LEFT JOIN device_upgrade u ON u.device_id = i.device_id
ORDER BY i.device_id, u.subtask_id = i.subtask_id DESC, i.subtask_id
ON CONFLICT (device_id) DO UPDATE
SET attempt = excluded.attempt, stage = 'online', since = excluded.since, asked = 0, version = NULL,
    result_code = NULL, result_text = NULL, progress = NULL, heard_at = NULL, news = false
WHERE device_upgrade.subtask_id = excluded.subtask_id AND device_upgrade.attempt <> excluded.attempt

-- name: look_at_upgrades
-- The open upgrades of sub-tasks; what was heard counts as looked at.
UPDATE device_upgrade SET news = false WHERE subtask_id = ANY(%(subtasks)s) RETURNING *

-- name: enter_stages
-- What upgrades wait for from now on, before the device is told. Only a new question forgets the former answer.
UPDATE device_upgrade u
SET stage = i.stage, asked = u.asked + 1,
    version = CASE WHEN i.stage = u.stage OR i.stage = 'result' THEN u.version END,
    heard_at = CASE WHEN i.stage = u.stage THEN u.heard_at ELSE %(now)s END,
    news = u.news AND i.stage = u.stage
FROM jsonb_to_recordset(%(items)s::jsonb) AS i (subtask_id bigint, stage text)
WHERE u.subtask_id = i.subtask_id
RETURNING u.*

-- name: tasks_of_devices
-- The tasks whose upgrades of these devices are open, in the order in which they are locked.
SELECT DISTINCT s.batch_id
FROM device_upgrade u JOIN batch_subtask s ON s.id = u.subtask_id
WHERE u.device_id = ANY(%(device_ids)s)
ORDER BY 1

-- name: lock_tasks
-- Keep others from changing sub-tasks of these tasks.
SELECT id FROM batch_task WHERE id = ANY(%(ids)s) ORDER BY id FOR NO KEY UPDATE

-- name: upgrades_of_devices
-- Open upgrades of devices.
SELECT u.*, s.phase FROM device_upgrade u JOIN batch_subtask s ON s.id = u.subtask_id
WHERE u.device_id = ANY(%(device_ids)s) AND s.batch_id = ANY(%(tasks)s)

-- name: keep_words
-- What devices said.
UPDATE device_upgrade u
SET version = i.version, result_code = i.result_code, result_text = i.result_text, progress = i.progress,
    heard_at = %(now)s, device_time = i.device_time, news = u.news OR i.news
FROM jsonb_to_recordset(%(items)s::jsonb)
     AS i (device_id text, version text, result_code smallint, result_text text, progress smallint,
           device_time timestamptz, news boolean)
WHERE u.device_id = i.device_id

-- name: move_subtasks
-- How far the devices of sub-tasks are; those with news want attention, unless somebody has them in hand.
UPDATE batch_subtask s
SET progress = coalesce(i.progress, s.progress), updated_at = %(now)s,
    wake_at = CASE WHEN i.news AND s.claimed_by IS NULL AND s.phase IS NOT NULL
              THEN least(s.wake_at, %(now)s) ELSE s.wake_at END
FROM jsonb_to_recordset(%(items)s::jsonb) AS i (subtask_id bigint, progress smallint, news boolean)
WHERE s.id = i.subtask_id AND s.status = 'Processing'
RETURNING s.batch_id, i.news

-- name: put_versions
-- The versions that devices have.
WITH changed AS (
    SELECT d.id, coalesce(i.fw_version, d.fw_version) AS fw_version, coalesce(i.sw_version, d.sw_version) AS sw_version
    FROM jsonb_to_recordset(%(items)s::jsonb) AS i (device_id text, fw_version text, sw_version text)
    JOIN device d ON d.device_id = i.device_id
    WHERE (coalesce(i.fw_version, d.fw_version), coalesce(i.sw_version, d.sw_version))
          IS DISTINCT FROM (d.fw_version, d.sw_version)
    ORDER BY d.id
    FOR NO KEY UPDATE OF d
)
UPDATE device d SET fw_version = c.fw_version, sw_version = c.sw_version, updated_at = %(now)s
FROM changed c
WHERE d.id = c.id

-- name: count_siblings
-- How many sub-devices of each gateway a task is about.
SELECT d.gateway_id, count(*) AS count
FROM batch_subtask s JOIN device d ON d.device_id = s.target
WHERE s.batch_id = %(batch_id)s AND d.gateway_id IS NOT NULL
GROUP BY 1

-- name: tell_batches
-- Wake whoever performs these tasks.
SELECT pg_notify('carillon_batch', id::text) FROM unnest(%(ids)s::bigint[]) id
