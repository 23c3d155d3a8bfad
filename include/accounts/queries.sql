-- name: insert_account
-- A new account; nothing where the name is taken.
INSERT INTO account (name, password_hash, apis, projects, created_at)
VALUES (%(name)s, %(password_hash)s, %(apis)s::text[], %(projects)s::text[], %(now)s)
ON CONFLICT (name) DO NOTHING
RETURNING id, name, apis, projects, created_at, disabled_at, password_hash

-- name: find_account
-- The account with this name.
SELECT id, name, apis, projects, created_at, disabled_at, password_hash FROM account WHERE name = %(name)s

-- name: lock_account
-- The account as it is now, held until the end: whoever disables it meanwhile also ends the token made here.
SELECT id, name, apis, projects, created_at, disabled_at, password_hash
FROM account WHERE id = %(id)s
FOR NO KEY UPDATE

-- name: list_accounts
-- Every account, by name, the disabled ones too.
SELECT id, name, apis, projects, created_at, disabled_at, password_hash FROM account ORDER BY name

-- name: disable_account
-- Disable an account; one that was disabled before keeps its moment.
UPDATE account SET disabled_at = coalesce(disabled_at, %(now)s)
WHERE name = %(name)s
RETURNING id, name, apis, projects, created_at, disabled_at, password_hash
