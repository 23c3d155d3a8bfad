-- name: insert_attachment
-- A new file.
INSERT INTO maintenance_attachment (organization_id, name, content_type, content, created_at)
VALUES (%(organization_id)s, %(name)s, %(content_type)s, %(content)s, %(now)s)
RETURNING id, organization_id, name, content_type, octet_length(content) AS size, created_at

-- name: find_attachment
-- A file with its contents.
SELECT id, organization_id, name, content_type, octet_length(content) AS size, created_at, content
FROM maintenance_attachment
WHERE id = %(id)s AND (%(projects)s::text[] IS NULL OR organization_id = ANY(%(projects)s))

-- name: delete_attachment
-- A file that the caller sees.
DELETE FROM maintenance_attachment
WHERE id = %(id)s AND (%(projects)s::text[] IS NULL OR organization_id = ANY(%(projects)s))
