-- name: insert_token
-- A new token; only the hash of its secret is kept.
INSERT INTO token (name, secret_hash, apis, projects, created_at, expires_at, account_id)
VALUES (%(name)s, %(secret_hash)s, %(apis)s::text[], %(projects)s::text[], %(now)s, %(expires_at)s, %(account_id)s)
RETURNING id, name, apis, projects, created_at, expires_at, revoked_at

-- name: find_token
-- The token with this id and what its secret hashes to.
SELECT id, name, apis, projects, created_at, expires_at, revoked_at, secret_hash
FROM token
WHERE id = %(id)s

-- name: set_access_key
-- A token gets an access key; its secret is encrypted.
UPDATE token SET access_key = %(access_key)s, secret_key = %(secret_key)s WHERE id = %(id)s

-- name: find_access_key
-- The token with this access key, and its secret.
SELECT id, name, apis, projects, created_at, expires_at, revoked_at, secret_key
FROM token
WHERE access_key = %(access_key)s

-- name: list_tokens
-- Every token, the oldest first, the revoked ones too.
SELECT id, name, apis, projects, created_at, expires_at, revoked_at
FROM token
ORDER BY id

-- name: revoke_token
-- Revoke a token; one that was revoked before keeps its moment.
UPDATE token SET revoked_at = coalesce(revoked_at, %(now)s)
WHERE id = %(id)s
RETURNING id, name, apis, projects, created_at, expires_at, revoked_at

-- name: revoke_account_tokens
-- Revoke what an account got by logging in and has not ended yet.
UPDATE token SET revoked_at = %(now)s WHERE account_id = %(account_id)s AND revoked_at IS NULL
