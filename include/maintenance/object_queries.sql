-- name: put_objects
-- New and changed names; a row says whether it is new, unchanged ones are left out.
INSERT INTO maintenance_object AS o (organization_id, object_id, name, alias, updated_at)
SELECT %(organization_id)s, object_id, name, alias, %(now)s
FROM jsonb_to_recordset(%(items)s::jsonb) AS i (object_id text, name text, alias text)
ORDER BY object_id
ON CONFLICT (organization_id, object_id) DO UPDATE
SET name = excluded.name, alias = excluded.alias, updated_at = excluded.updated_at
WHERE (o.name, o.alias) IS DISTINCT FROM (excluded.name, excluded.alias)
RETURNING xmax = 0 AS created

-- name: list_objects
-- A page of objects by organisation and id.
SELECT object_id, organization_id, name, alias, updated_at
FROM maintenance_object
WHERE (organization_id, object_id) > (%(after_organization)s, %(after)s)
  AND (%(projects)s::text[] IS NULL OR organization_id = ANY(%(projects)s))
  AND (%(organization_id)s::text IS NULL OR organization_id = %(organization_id)s)
ORDER BY organization_id, object_id
LIMIT %(limit)s
