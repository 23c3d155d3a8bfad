-- name: delete_expired
-- Files that nobody may read any more, but for those of which a task has still to take its targets.
DELETE FROM batch_file f
WHERE f.expires_at <= %(now)s
  AND NOT EXISTS (SELECT FROM batch_task b WHERE b.status = 'Initializing' AND b.document_source = f.file_id)

-- name: lock_owner
-- An owner's files change one after the other.
SELECT pg_advisory_xact_lock(
    hashtextextended(concat_ws('|', 'batch_file', %(project_id)s::text, %(owner)s::text), 0))

-- name: file_names
-- What an owner's files are called.
SELECT file_name FROM batch_file WHERE project_id = %(project_id)s AND owner = %(owner)s AND expires_at > %(now)s

-- name: insert_file
-- A new file, still without its rows.
INSERT INTO batch_file (file_id, project_id, owner, file_name, columns, rows, uploaded_at, expires_at)
VALUES (%(file_id)s, %(project_id)s, %(owner)s, %(file_name)s, %(columns)s, %(rows)s, %(now)s, %(expires_at)s)
RETURNING *

-- name: copy_rows
-- Rows of files, streamed.
COPY batch_file_row (file_id, row, cells) FROM STDIN

-- name: list_files
-- The files of an owner, the newest first.
SELECT * FROM batch_file
WHERE project_id = %(project_id)s AND owner = %(owner)s AND expires_at > %(now)s
ORDER BY id DESC

-- name: find_file
-- A file of a project.
SELECT * FROM batch_file WHERE project_id = %(project_id)s AND file_id = %(file_id)s AND expires_at > %(now)s

-- name: expire_file
-- A file of an owner is not there any more.
UPDATE batch_file SET expires_at = %(now)s
WHERE project_id = %(project_id)s AND owner = %(owner)s AND file_id = %(file_id)s AND expires_at > %(now)s
