-- name: lock_definition
-- A definition that is not deleted, locked; the caller's projects decide whether it can be seen.
SELECT id, kind, schedule_id, enabled, due_at, spent
FROM definition
WHERE id = %(id)s AND deleted_at IS NULL
  AND (%(projects)s::text[] IS NULL OR project_id = ANY(%(projects)s))
FOR UPDATE

-- name: switch_definition
-- Enable or disable. What is enabled answers for instants from now on.
UPDATE definition
SET enabled = %(enabled)s, active_since = CASE WHEN %(enabled)s THEN %(now)s ELSE active_since END,
    revision = revision + 1, updated_at = %(now)s
WHERE id = %(id)s

-- name: delete_definition
-- Out of sight for good; what it did stays in the ledger.
UPDATE definition
SET deleted_at = %(now)s, revision = revision + 1, updated_at = %(now)s
WHERE id = %(id)s
